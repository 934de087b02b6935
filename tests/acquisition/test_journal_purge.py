from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from acquisition.errors import JournalError
from acquisition.journal import Journal
from acquisition.journal.purging import Window, alone, purge
from acquisition.journal.quarantine import Quarantine
from acquisition.journal.reader import JournalReader
from acquisition.journal.schema import day_files, reading
from acquisition.journal.window import within
from acquisition.model import Event, EventKind, Numerics, Observation, Waveform, json_line

T0 = 1_790_000_000_000_000_000
S = 1_000_000_000
DAY = 86_400 * S


def said(device: str, second: int) -> list[Observation]:
    at = T0 + second * S
    raw = np.arange(second * 10, second * 10 + 10, dtype="<i4").tobytes()
    return [
        Numerics(device=device, time_ns=at, values={"ecmo_flow": 3.0 + second}),
        Waveform(device=device, channel="wf_abp", time_ns=at, period_ns=S // 10, raw=raw),
        Event(device=device, time_ns=at, event=EventKind.STATE, text=f"{second}"),
    ]


async def fill(directory: Path, *, days: int = 2, seconds: int = 60) -> None:
    for day in range(days):
        async with Journal(directory, commit_interval_s=0.002) as journal:
            for second in range(seconds):
                at = day * 86_400 + second
                stored = journal.append([*said("pump", at), *said("mon", at)])
                if second % 6 == 0:
                    await stored
            await journal.append(
                [Event(device="daemon", time_ns=T0 + day * DAY + 30 * S, event=EventKind.CLOCK, text="c")]
            )


def everything(directory: Path) -> list[str]:
    reader = JournalReader(directory)
    found = [_text(each) for each in joined(reader.query())]
    assert reader.damaged == []
    assert _verified(directory) == []
    return sorted(found)


def _verified(directory: Path) -> list[str]:
    reader = JournalReader(directory)
    list(reader.verify())
    return reader.damaged


def joined(observations: Iterable[Observation]) -> list[Observation]:
    """Waveforms sample by sample, so that how they are cut makes no difference."""
    singles: list[Observation] = []
    for each in observations:
        if isinstance(each, Waveform):
            number = len(each.raw) // 4
            parts = (
                within(each, each.time_ns + n * each.period_ns, each.time_ns + n * each.period_ns + 1)
                for n in range(number)
            )
            singles += [part for part in parts if part is not None]
        else:
            singles.append(each)
    return singles


def _text(each: Observation) -> str:
    return json_line(each)


def merged_rows(directory: Path) -> int:
    number = 0
    for path in day_files(directory):
        with reading(path) as connection:
            assert connection is not None
            number += connection.execute("SELECT count(*) FROM block WHERE blocks > 1").fetchone()[0]
    return number


WINDOWS = {
    "in the middle of a sample's block": [Window(T0 + 10 * S + S // 2, T0 + 20 * S + S // 4)],
    "of one device": [Window(T0 + 10 * S, T0 + 20 * S, devices=frozenset({"mon"}))],
    "over midnight": [Window(T0 + 50 * S, T0 + DAY + 5 * S)],
    "two of them": [Window(T0, T0 + 3 * S), Window(T0 + DAY + 50 * S)],
    "everything": [Window(0)],
    "nothing": [Window(T0 - 9 * S, T0)],
}


@pytest.mark.parametrize("case", WINDOWS)
async def test_what_lies_in_a_window_goes_to_the_sample_and_nothing_else(tmp_path: Path, case: str) -> None:
    await fill(tmp_path)
    windows = [Window(w.from_ns, w.to_ns, w.devices, spared=frozenset({"daemon"})) for w in WINDOWS[case]]
    before = joined(JournalReader(tmp_path).query())
    assert merged_rows(tmp_path) > 0, "rows of many blocks are cut too"

    def in_window(each: Observation) -> bool:
        return any(window.touches(each.device, each.time_ns, each.time_ns) for window in windows)

    with alone(tmp_path):
        gone = purge(tmp_path, windows, lambda _: False, [])
    assert everything(tmp_path) == sorted(_text(each) for each in before if not in_window(each))
    counted = sum(each.points for each in gone)
    assert counted == sum(1 for each in before if in_window(each))
    assert all(len(each.told["sha256"]) == 64 for each in gone)


async def test_a_purged_journal_goes_on_and_its_sinks_keep_their_place(tmp_path: Path) -> None:
    await fill(tmp_path, days=1)
    last = JournalReader(tmp_path).stat().last_seq
    purge(tmp_path, [Window(T0 + 30 * S, spared=frozenset({"daemon"}))], lambda _: False, [])
    async with Journal(tmp_path, commit_interval_s=0.002) as journal:
        await journal.append(said("pump", 100))
        batch = await journal.read(last, 1000)
        assert [each.kind for each in batch.observations] == ["numerics", "waveform", "event"]
    assert JournalReader(tmp_path).stat().last_seq > last
    stat = JournalReader(tmp_path).stat()
    assert stat.readings["pump"]["ecmo_flow"] == 31
    assert stat.readings["mon"]["wf_abp"] == 300


async def test_events_that_are_named_go_at_any_time(tmp_path: Path) -> None:
    await fill(tmp_path, days=1)
    (gone,) = purge(tmp_path, [], lambda each: each.device == "daemon", [])
    assert (gone.device, gone.kind, gone.points) == ("daemon", "event", 1)
    assert not list(JournalReader(tmp_path).query(devices={"daemon"}))


async def test_what_a_sink_rejected_goes_too(tmp_path: Path) -> None:
    await fill(tmp_path, days=1)
    async with Journal(tmp_path, commit_interval_s=0.002) as journal:
        journal.quarantine("s", said("pump", 5)[0], "no")
        journal.quarantine("s", said("pump", 50)[0], "no")
    purge(tmp_path, [Window(T0, T0 + 10 * S)], lambda _: False, [])
    (left,) = Quarantine(tmp_path).entries()
    assert '"ecmo_flow":53.0' in left.line


async def test_a_journal_that_a_daemon_writes_is_not_touched(tmp_path: Path) -> None:
    await fill(tmp_path, days=1, seconds=3)
    before = everything(tmp_path)
    async with Journal(tmp_path, commit_interval_s=0.002):
        with pytest.raises(JournalError, match="the daemon writes this journal"), alone(tmp_path):
            pass
    assert everything(tmp_path) == before


async def test_nothing_of_what_went_is_in_any_file(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=0.002) as journal:
        secret = Event(device="pump", time_ns=T0, event=EventKind.STATE, text="x" * 40)
        await journal.append([secret, *said("pump", 5)])
    size = sum(path.stat().st_size for path in tmp_path.glob("*.journal*"))
    purge(tmp_path, [Window(T0, T0 + S)], lambda _: False, [])
    assert not list(tmp_path.glob("*.journal-wal"))
    assert not list(tmp_path.glob(".*.new"))
    assert sum(path.stat().st_size for path in tmp_path.glob("*.journal*")) <= size
    assert sorted(each.kind for each in JournalReader(tmp_path).query()) == ["event", "numerics", "waveform"]
