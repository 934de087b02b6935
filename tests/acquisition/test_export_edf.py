"""Waves as EDF+C and EDF+D: samples, gaps and times read back by edfio, and record times by the specification alone."""

from __future__ import annotations

import asyncio
import csv
from itertools import pairwise
from pathlib import Path

import edfio
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from acquisition.archive.export.edf_files import EdfFiles
from acquisition.archive.export.edf_plus import MISSING, EdfPlus, Signal
from acquisition.archive.export.request import Format
from acquisition.archive.export.segments import Segment
from acquisition.archive.source import JournalSource
from acquisition.errors import ConfigError
from tests.acquisition.journal_observations import T0
from tests.acquisition.wave_bed import S, bed, exported, truth, wave

PERIOD = 4_000_000
MMHG = Signal("wf_abp", "mmHg", PERIOD, -3276.8, 3276.7)


def nanoseconds(seconds: str) -> int:
    whole, _, rest = seconds.partition(".")
    return int(whole) * S + int(rest.ljust(9, "0") or 0)


def record_times(path: Path) -> list[int]:
    """Nanoseconds of the first annotation of each record, by section 2.2.4 of the specification and by nothing else."""
    raw = path.read_bytes()
    signals = int(raw[252:256])
    sizes = [int(raw[256 + 216 * signals + 8 * each :][:8]) for each in range(signals)]
    labels = [raw[256 + 16 * each :][:16].strip() for each in range(signals)]
    before = 2 * sum(sizes[: labels.index(b"EDF Annotations")])
    length = 2 * sum(sizes)
    data = raw[256 * (signals + 1) :]
    assert len(data) == length * int(raw[236:244])
    firsts = [data[at + before : at + length].split(b"\x14\x14\x00")[0] for at in range(0, len(data), length)]
    return [nanoseconds(first.decode().removeprefix("+")) for first in firsts]


def read(path: Path) -> tuple[edfio.Edf, NDArray[np.int64], NDArray[np.float64]]:
    """The file, and time since its beginning and value of every slot that holds a sample."""
    edf = edfio.read_edf(path)
    signal = edf.signals[0]
    size = signal.samples_per_data_record
    slots = np.arange(size) * round(edf.data_record_duration * S / size)
    times = (np.array(record_times(path))[:, None] + slots).ravel()
    held = signal.digital != MISSING
    return edf, times[held], signal.data[held]


def gaps(edf: edfio.Edf) -> list[tuple[int, int]]:
    assert {each.text for each in edf.annotations} <= {"no samples"}
    return [(round(each.onset * S), round((each.duration or 0) * S)) for each in edf.annotations]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, JournalSource]:
    """A data set of a quarter of an hour with a break of two minutes."""
    return asyncio.run(exported(tmp_path_factory.mktemp("broken"), Format.EDF, bed(900, (720, 840))))


def test_a_day_is_one_file_that_has_every_sample_and_tells_every_gap(broken: tuple[Path, JournalSource]) -> None:
    out, source = broken
    times, values = truth(source, "wf_abp")
    edf, at, found = read(out / "waves" / "bed-1" / "wf_abp_mon_0_0001.edf")
    assert at.tolist() == (times - T0).tolist()
    np.testing.assert_allclose(found, values, atol=1e-6)
    assert gaps(edf) == [(601 * S, S), (720 * S, 120 * S)]
    assert edf.reserved == "EDF+D"
    assert not edf.is_continuous
    signal = edf.signals[0]
    assert (signal.label, signal.physical_dimension, signal.sampling_frequency) == ("wf_abp", "mmHg", 250)
    assert edf.local_patient_identification == "X X X X"
    with (out / "waves_index.csv").open(encoding="utf-8") as file:
        index = [row for row in csv.DictReader(file) if row["channel"] == "wf_abp"]
    assert {row["file"] for row in index} == {"waves/bed-1/wf_abp_mon_0_0001.edf"}
    assert sum(int(row["samples"]) for row in index) == values.size


async def test_a_wave_without_a_gap_is_continuous(tmp_path: Path) -> None:
    counts = np.round(900 + 300 * np.sin(np.arange(15_000) / 25)).astype(np.int32)
    out, source = await exported(tmp_path, Format.EDF, [wave(T0 + at * S, counts) for at in range(0, 300, 60)])
    edf, at, found = read(out / "waves" / "bed-1" / "wf_abp_mon_0_0001.edf")
    times, values = truth(source, "wf_abp")
    assert (edf.reserved, edf.is_continuous, gaps(edf)) == ("EDF+C", True, [])
    assert at.tolist() == (times - T0).tolist()
    np.testing.assert_allclose(found, values, atol=1e-6)


def test_counts_that_the_header_cannot_tell_keep_their_values(broken: tuple[Path, JournalSource]) -> None:
    out, source = broken
    _, values = truth(source, "wf_ecg_ii")
    _, _, found = read(out / "waves" / "bed-1" / "wf_ecg_ii_mon_0_0001.edf")
    np.testing.assert_allclose(found, values, atol=np.ptp(values) / 60_000)


@settings(max_examples=60, deadline=None)
@example(pieces=[(0, 1), (4_166_667, 1), (16_666_667, 1)], period=8_333_333)
@example(pieces=[(0, 1), (4_166_667, 359)], period=8_333_333)
@given(
    st.lists(st.tuples(st.integers(0, 700 * PERIOD), st.integers(1, 600)), min_size=1, max_size=8),
    st.sampled_from([PERIOD, 8_333_333, 10_000_000]),
)
def test_every_sample_is_near_its_time_and_no_record_overlaps(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int]], period: int
) -> None:
    path = tmp_path_factory.mktemp("edf") / "x.edf"
    file = EdfPlus(path, Signal("wf_abp", "mmHg", period, -3276.8, 3276.7), T0)
    start, times, counts = T0, list[int](), list[int]()
    for away, size in pieces:
        start += away if times else 0
        values = np.arange(len(counts), len(counts) + size, dtype=np.int16)
        assert file.add(start, values)
        times += (start + np.arange(size) * period - T0).tolist()
        counts += values.tolist()
        start = T0 + times[-1] + period
    file.close()
    edf, at, _ = read(path)
    digital = edf.signals[0].digital
    assert digital[digital != MISSING].tolist() == counts
    # The header tells a record's duration in microseconds: so much a record, a piece that goes on moves from its time.
    slip = abs(file.record_ns - period * edf.signals[0].samples_per_data_record)
    assert np.abs(at - np.array(times)).max() <= period // 2 + 1 + slip * len(record_times(path))
    records, length = record_times(path), round(edf.data_record_duration * S)
    assert all(later - earlier >= length for earlier, later in pairwise(records))
    assert edf.is_continuous == (edf.reserved == "EDF+C")
    told = [(times[place] + period, after - times[place] - period) for place, after in enumerate(times[1:])]
    said = gaps(edf)
    for onset, length in told:
        if length > 2 * period:
            assert any(abs(at - onset) <= period and abs(long - length) <= period for at, long in said)


def test_samples_that_come_before_the_last_ones_are_over_begin_another_file(tmp_path: Path) -> None:
    files = EdfFiles(tmp_path, "s")
    values = np.linspace(50.0, 100.0, 1000)
    paths = [
        files.write(Segment("mon", "wf_abp", start, PERIOD, values, 0.1, 0.0), "0", "mon")
        for start in (T0, T0 + 4 * S, T0 + 8 * S - S // 10)
    ]
    files.close()
    assert [path[-8:-4] for path in paths] == ["0001", "0001", "0002"]
    assert [read(tmp_path / path)[2].size for path in sorted(set(paths))] == [2000, 1000]


def test_what_does_not_fit_the_range_or_the_rate_begins_another_file(tmp_path: Path) -> None:
    files = EdfFiles(tmp_path, "s")
    first, wide = np.full(500, 80.0), np.full(500, 5000.0)
    paths = [
        files.write(Segment("mon", "wf_abp", T0 + number * 10 * S, period, values, 0.1, 0.0), "0", "mon")
        for number, (period, values) in enumerate([(PERIOD, first), (PERIOD, wide), (2 * PERIOD, wide)])
    ]
    files.close()
    assert len(set(paths)) == 3
    found = [read(tmp_path / path)[2] for path in paths]
    np.testing.assert_allclose(found, [first, wide, wide], atol=0.1)


def test_what_is_no_number_is_never_lost_in_silence(tmp_path: Path) -> None:
    files = EdfFiles(tmp_path, "s")
    with pytest.raises(ConfigError, match="no numbers"):
        files.write(Segment("mon", "wf_abp", T0, PERIOD, np.array([80.0, np.nan]), 0.1, 0.0), "0", "mon")
    files.abandon()


def test_more_gaps_than_a_record_has_room_for_are_all_told(tmp_path: Path) -> None:
    file = EdfPlus(tmp_path / "x.edf", MMHG, T0)
    for number in range(40):
        assert file.add(T0 + 2 * number * PERIOD, np.array([number], np.int16))
    file.close()
    edf, at, _ = read(tmp_path / "x.edf")
    assert at.tolist() == [2 * number * PERIOD for number in range(40)]
    told = gaps(edf)
    assert told[:39] == [((2 * number + 1) * PERIOD, PERIOD) for number in range(39)]
    assert told[39] == (79 * PERIOD, S - 79 * PERIOD)
    assert told[40:] == [(S, (edf.num_data_records - 1) * S)]


def test_a_header_that_cannot_say_it_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="8 characters"):
        EdfPlus(tmp_path / "x.edf", Signal("wf_abp", "mmHg", PERIOD, -123456789.0, 1.0), T0)
    assert not (tmp_path / "x.edf").exists()
