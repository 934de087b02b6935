"""Waves as WFDB and EDF+, read back by the packages that physiologists use."""

from __future__ import annotations

import csv
from pathlib import Path

import edfio
import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from acquisition.archive.chunk import Chunk, Window
from acquisition.archive.episodes import Registry
from acquisition.archive.export.dataset import export
from acquisition.archive.export.request import Format, Request
from acquisition.archive.export.segments import Segment, Segmenter
from acquisition.archive.export.wave_files import _digital
from acquisition.archive.scope import of_bed
from acquisition.archive.source import JournalSource
from acquisition.journal import Journal
from acquisition.model import MISSING_COUNT, Observation, Waveform
from tests.acquisition.journal_observations import T0

S = 1_000_000_000
ALL = Window(None, 0, 2**63 - 1)


def wave(
    at: int, counts: NDArray[np.int32], scale: float = 0.1, offset: float = 0.0, channel: str = "wf_abp"
) -> Waveform:
    raw = counts.astype("<i4").tobytes()
    return Waveform(device="mon", channel=channel, time_ns=at, period_ns=4_000_000, raw=raw, scale=scale, offset=offset)


def bed() -> list[Observation]:
    """Two hours at 250 Hz with a break of half an hour in the middle, a missing second, and a second channel."""
    chance = np.random.default_rng(3)
    found: list[Observation] = []
    for at in range(0, 7200, 60):
        if 3000 <= at < 4800:
            continue
        counts = np.round(900 + 300 * np.sin(np.arange(15_000) / 25) + chance.normal(0, 2, 15_000)).astype(np.int32)
        if at == 600:
            counts[250:500] = MISSING_COUNT
        found.append(wave(T0 + at * S, counts))
        if at < 300:
            found.append(wave(T0 + at * S, counts * 100, scale=1 / 3, offset=0.25, channel="wf_ecg_ii"))
    return found


async def exported(directory: Path, form: Format, observations: list[Observation]) -> tuple[Path, JournalSource]:
    async with Journal(directory / "journal", commit_interval_s=0.001) as journal:
        for each in observations:
            await journal.append([each])
    source = JournalSource(directory / "journal")
    export(source, Registry(), [of_bed("bed-1")], Request(form), directory / "set")
    return directory / "set", source


def truth(source: JournalSource, channel: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    chunks = list(source.waves(ALL, channels=[channel]))
    return np.concatenate([each.time_ns for each in chunks]), np.concatenate([each.values for each in chunks])


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


async def test_edf_files_hold_every_sample_and_a_gap_begins_a_new_one(tmp_path: Path) -> None:
    out, source = await exported(tmp_path, Format.EDF, bed())
    with (out / "waves_index.csv").open(encoding="utf-8") as file:
        index = [row for row in csv.DictReader(file) if row["channel"] == "wf_abp"]
    times, values = truth(source, "wf_abp")
    at = 0
    for row in index:
        edf = edfio.read_edf(out / row["file"])
        size = int(row["samples"])
        signal = edf.signals[0]
        assert (signal.label, signal.physical_dimension, signal.sampling_frequency) == ("wf_abp", "mmHg", 250)
        assert edf.local_patient_identification == "X X X X"
        np.testing.assert_allclose(signal.data[:size], values[at : at + size], atol=0.01)
        assert float(row["start"]) * 3600 == pytest.approx((times[at] - T0) / S, abs=0.004)
        at += size
    assert at == values.size
    assert len(index) >= 3


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
