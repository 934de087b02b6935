"""Reading the journal for people: in order, cut to the window, counted, beside a writer or without one."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from acquisition.errors import JournalError
from acquisition.journal import Journal, summary
from acquisition.journal.reader import JournalReader
from acquisition.journal.schema import day_files
from acquisition.lanes import Progress
from acquisition.model import MISSING_COUNT, Numerics, Quality, State, Waveform
from tests.acquisition.journal_observations import DAY_NS, QUICK, T0, event, numerics, waveform

SECOND = 1_000_000_000


async def test_a_query_is_in_the_order_of_time_within_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "FLUSH_GROUPS", 3)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for step in range(20):
            now = T0 + DAY_NS - 10 * SECOND + step * SECOND
            late = waveform(now - 5 * SECOND, [step] * 10)  # stamped with its first sample, five seconds ago
            await journal.append([numerics(now), numerics(now, device="pump"), late])
        await journal.append([event(T0 + DAY_NS - 3 * SECOND, "began long ago")])
    assert len(day_files(tmp_path)) == 2
    found = list(JournalReader(tmp_path).query())
    assert len(found) == 61
    for device in ("mon", "pump"):
        times = [each.time_ns for each in found if each.device == device]
        assert times == sorted(times)


async def test_a_query_is_cut_to_the_asked_window(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([waveform(T0, list(range(10))), numerics(T0), numerics(T0 + 6_000_000), event(T0 + 1)])
    reader = JournalReader(tmp_path)
    assert list(reader.query(from_ns=T0 + 3_000_000, to_ns=T0 + 6_000_000)) == [waveform(T0 + 4_000_000, [2])]
    later = list(reader.query(from_ns=T0 + 6_000_000, to_ns=T0 + 10_000_000))
    assert sorted(later, key=lambda each: each.kind) == [
        numerics(T0 + 6_000_000),
        waveform(T0 + 6_000_000, [3, 4]),
    ]
    assert list(reader.query(from_ns=T0 + 20_000_000)) == []


async def test_windows_that_meet_share_nothing_and_miss_nothing(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for step in range(10):
            await journal.append([waveform(T0 + step * 20_000_000, list(range(10)))])
    cuts = [T0, T0 + 1, T0 + 33_333_333, T0 + 40_000_000, T0 + 99_999_999, T0 + DAY_NS]
    reader = JournalReader(tmp_path)
    pieces = [
        list(reader.query(from_ns=begin, to_ns=end, kinds=["waveform"])) for begin, end in itertools.pairwise(cuts)
    ]
    flat = [each for piece in pieces for each in piece if isinstance(each, Waveform)]
    assert [count for each in flat for count in each.counts.tolist()] == list(range(10)) * 10


async def test_numerics_keep_only_the_asked_channels(tmp_path: Path) -> None:
    both = Numerics(
        device="mon",
        time_ns=T0,
        device_time="2026-01-01T01:00:00+01:00",
        values={"abp_mean": 70.0, "hr": 80.0},
        states={"spo2": State.NOT_CONNECTED},
        quality={"abp_mean": Quality.GOOD, "hr": Quality.SUSPECT},
    )
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([both, waveform(T0, [1]), waveform(T0, [2], channel="wf_ecg"), event(T0)])
    reader = JournalReader(tmp_path)
    (found,) = reader.query(channels=["hr"])
    assert found == both.model_copy(update={"values": {"hr": 80.0}, "states": {}, "quality": {"hr": Quality.SUSPECT}})
    (found,) = reader.query(channels=["spo2"])
    assert isinstance(found, Numerics)
    assert (found.values, found.states) == ({}, {"spo2": State.NOT_CONNECTED})
    assert list(reader.query(channels=["wf_ecg"])) == [waveform(T0, [2], channel="wf_ecg")]
    assert list(reader.query(channels=["etco2"])) == []
    assert list(reader.query(channels=["wf_ecg"], kinds=["event"])) == [event(T0)]


async def test_a_query_may_ask_for_devices_and_kinds(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0), numerics(T0, device="pump"), event(T0, device="pump"), waveform(T0, [1])])
    reader = JournalReader(tmp_path)
    assert {each.kind for each in reader.query(devices=["pump"])} == {"numerics", "event"}
    assert {each.device for each in reader.query(kinds=["numerics"])} == {"mon", "pump"}
    assert list(reader.query(devices=[])) == []


@pytest.mark.parametrize("groups", [1, 5, 14])
async def test_a_file_sums_up_what_it_holds_and_what_is_newer_is_summed_by_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: int
) -> None:
    monkeypatch.setattr(summary, "FLUSH_GROUPS", 5)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for step in range(groups):
            now = T0 + step * SECOND
            await journal.append([numerics(now), waveform(now, [MISSING_COUNT, 1]), event(now, device="pump")])
        journal.commit("influx", Progress(3))
        live, apart = journal.stat(), JournalReader(tmp_path).stat()
        assert live.progress == {"influx": Progress(3)}
        assert live.backlog == {"influx": 4 * groups - 4}
    closed = JournalReader(tmp_path).stat()
    for found in (live, apart, closed):
        assert found.readings == {"mon": {"abp_mean": groups, "wf_abp": 2 * groups}}
        assert found.events == {"pump": groups}
        assert (found.blocks, found.points, found.last_seq) == (3 * groups, 4 * groups, 3 * groups)
        assert (found.first_ns, found.last_ns) == (T0, T0 + (groups - 1) * SECOND + 2_000_000)
        assert (found.files, found.quarantined, found.damaged) == (1, 0, ())
    assert closed.backlog == live.backlog
    assert closed.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


async def test_last_seen_is_the_newest_reading_of_each_device_and_no_event(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        assert (journal.last_seen(), journal.newest_ns) == ({}, 0)
        await journal.append([numerics(T0), waveform(T0, [1, 2], device="wave"), event(T0 + 9 * SECOND)])
        await journal.append([numerics(T0 + SECOND)])
        assert journal.last_seen() == {"mon": T0 + SECOND, "wave": T0 + 2_000_000}
        assert journal.newest_ns == T0 + 9 * SECOND
    async with Journal(tmp_path) as journal:
        assert journal.last_seen() == {"mon": T0 + SECOND, "wave": T0 + 2_000_000}
        assert journal.newest_ns == T0 + 9 * SECOND


async def test_an_empty_journal_answers(tmp_path: Path) -> None:
    async with Journal(tmp_path):
        pass
    reader = JournalReader(tmp_path)
    assert list(reader.query()) == []
    assert (reader.stat().blocks, reader.stat().first_ns, reader.stat().last_seq) == (0, 0, 0)


def test_a_reader_of_no_journal_says_so(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no journal here"):
        JournalReader(tmp_path / "nowhere")


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that another user can reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.mark.system
async def test_a_journal_on_a_medium_that_cannot_be_written_to_is_read(open_directory: Path) -> None:
    directory = open_directory / "journal"
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)])
    for path in (*directory.iterdir(), directory):
        path.chmod(0o555 if path.is_dir() else 0o444)
    code = (
        "import os, sys; from pathlib import Path; from acquisition.journal.reader import JournalReader;"
        # Only now: another user may not be able to reach the checkout and its environment.
        "os.setuid(65534) if os.getuid() == 0 else None;"  # permissions do not hold root back
        "assert not os.access(sys.argv[1], os.W_OK);"
        "print(len(list(JournalReader(Path(sys.argv[1])).query())))"
    )
    command = [sys.executable, "-c", code, str(directory)]
    answer = await asyncio.to_thread(lambda: subprocess.run(command, capture_output=True, text=True))
    directory.chmod(0o755)
    assert answer.stdout == "1\n", answer.stderr
