"""Waves as WFDB records, read back by the package that physiologists use, and the segments that they are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import wfdb
from hypothesis import given
from hypothesis import strategies as st

from acquisition.archive.chunk import Chunk
from acquisition.archive.export.request import Format
from acquisition.archive.export.segments import Segment, Segmenter
from acquisition.archive.export.wfdb_files import _digital
from tests.acquisition.journal_observations import T0
from tests.acquisition.wave_bed import bed, exported, truth


async def test_a_wfdb_record_reads_as_the_journal_with_nothing_where_nothing_came(tmp_path: Path) -> None:
    out, source = await exported(tmp_path, Format.WFDB, bed())
    record = wfdb.rdrecord(str(out / "waves" / "bed-1" / "wf_abp_mon_0"), m2s=True)
    times, values = truth(source, "wf_abp")
    assert (record.fs, record.units, record.sig_name) == (250, ["mmHg"], ["wf_abp"])
    assert record.base_date is None
    signal = record.p_signal[:, 0]
    places = (times - T0) // 4_000_000
    assert signal.size == 7200 * 250
    np.testing.assert_allclose(signal[places], values, atol=1e-9)
    assert np.isnan(np.delete(signal, places)).all()


async def test_counts_that_no_sixteen_bits_hold_are_written_with_more(tmp_path: Path) -> None:
    out, source = await exported(tmp_path, Format.WFDB, bed())
    record = wfdb.rdrecord(str(out / "waves" / "bed-1" / "wf_ecg_ii_mon_0"), m2s=True)
    _, values = truth(source, "wf_ecg_ii")
    np.testing.assert_allclose(record.p_signal[:, 0], values, atol=0.0005)


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=6),
    st.lists(st.integers(1, 30), min_size=6, max_size=6),
    st.booleans(),
)
def test_segments_together_are_all_samples_each_where_it_was(breaks: list[int], sizes: list[int], fill: bool) -> None:
    segmenter = Segmenter(20 * 4_000_000 if fill else 0)
    start, times, segments = T0, [], list[Segment]()
    for gap, size in zip(breaks, sizes, strict=False):
        start += gap * 4_000_000
        at = start + np.arange(size) * 4_000_000
        chunk = Chunk(
            "mon", "wf_abp", at, (at - T0).astype(np.float64), np.zeros(size, np.uint8), None, 4_000_000, 0.1, 0
        )
        segments += segmenter.add(chunk)
        times += at.tolist()
        start = int(at[-1]) + 4_000_000
    segments += segmenter.close()
    found = [
        (segment.start_ns + number * segment.period_ns, value)
        for segment in segments
        for number, value in enumerate(segment.values.tolist())
        if value == value
    ]
    assert found == [(time_ns, float(time_ns - T0)) for time_ns in times]


@given(
    st.lists(st.integers(-32_000, 32_000), min_size=1, max_size=20),
    st.sampled_from([0.1, 0.25, 1.0, 0.00244140625]),
    st.sampled_from([0.0, -40.0]),
)
def test_counts_are_the_devices_own(counts: list[int], scale: float, offset: float) -> None:
    values = np.array(counts) * scale + offset
    digital, _, gain, baseline = _digital(Segment("mon", "wf_abp", T0, 4_000_000, values, scale, offset))
    np.testing.assert_allclose((digital - baseline) / gain, values, atol=1e-9)


def test_missing_samples_are_told_as_wfdb_tells_them() -> None:
    digital, form, _, _ = _digital(Segment("mon", "wf_abp", T0, 4_000_000, np.array([1.0, np.nan]), 0.1, 0.0))
    assert (form, digital.tolist()) == ("16", [10, -32768])
