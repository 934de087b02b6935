"""What a sink has and has not: what it got ahead of its cursor, over restarts and old files, and its backlog."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from acquisition.journal import Journal
from acquisition.journal.cursors import Cursors
from acquisition.journal.reader import JournalReader
from acquisition.journal.schema import day_file
from acquisition.lanes import LATE_NS, LIVE_NS, Progress, Span
from tests.acquisition.journal_observations import DAY_NS, QUICK, T0, alter, event, everything, numerics, waveform

SECOND = 1_000_000_000
AHEAD = Progress(1, (Span(3, 4), Span(6, 7)))


async def test_what_was_delivered_ahead_survives_a_restart(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=60) as journal:
        journal.commit("influx", AHEAD)
    assert JournalReader(tmp_path).stat().progress == {"influx": AHEAD}
    async with Journal(tmp_path, commit_interval_s=60) as journal:
        assert journal.progress("influx") == AHEAD
        journal.commit("influx", Progress(6))
        assert journal.progress("influx") == Progress(7)
    async with Journal(tmp_path) as journal:
        assert journal.progress("influx") == Progress(7)


async def test_nothing_is_ever_taken_from_what_a_sink_has(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        journal.commit("influx", AHEAD)
        journal.commit("influx", Progress(0))
        journal.commit("influx", Progress(2))
        assert journal.progress("influx") == Progress(2, AHEAD.ahead)


async def test_a_file_from_before_there_was_ahead_keeps_its_cursors(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "cursors.db")
    connection.executescript("""
        PRAGMA journal_mode=WAL;
        CREATE TABLE cursor (sink TEXT PRIMARY KEY, seq INTEGER NOT NULL);
        CREATE TABLE quarantine (id INTEGER PRIMARY KEY, sink TEXT NOT NULL, reason TEXT NOT NULL, line TEXT NOT NULL);
        INSERT INTO cursor VALUES ('influx', 5);
        PRAGMA user_version = 1;
    """)
    connection.close()
    assert JournalReader(tmp_path).stat().progress == {"influx": Progress(5)}
    async with Journal(tmp_path) as journal:
        assert journal.damaged == []
        journal.commit("influx", Progress(5, (Span(8, 9),)))
    assert JournalReader(tmp_path).stat().progress == {"influx": Progress(5, (Span(8, 9),))}


def test_a_cursor_that_an_older_program_moved_meets_the_spans_it_did_not_know_of(tmp_path: Path) -> None:
    cursors = Cursors(tmp_path)
    cursors.set("influx", AHEAD)
    cursors.flush()
    cursors.close()
    alter(tmp_path / "cursors.db", "UPDATE cursor SET seq = 3")
    cursors = Cursors(tmp_path)
    assert cursors.get("influx") == Progress(4, (Span(6, 7),))
    assert cursors.mark == 7
    cursors.close()


async def test_a_backlog_is_the_points_that_a_sink_does_not_have(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        assert journal.backlog("influx") == 0
        await journal.append([waveform(T0, [0] * 100)])
        await journal.append([numerics(T0 + DAY_NS)])
        await journal.append([event(T0 + DAY_NS)])
        backlogs = [journal.backlog("influx")]
        after = 0
        for _ in range(3):
            after = (await journal.read(after, 1)).last_seq
            journal.commit("influx", Progress(after))
            backlogs.append(journal.backlog("influx"))
        assert backlogs == [102, 2, 1, 0]
    async with Journal(tmp_path) as journal:
        assert journal.backlog("influx") == 0
        assert journal.backlog("mqtt") == 102


async def test_a_deleted_day_is_no_backlog(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([waveform(T0, [0] * 100)])
        await journal.append([numerics(T0 + DAY_NS)])
    day_file(tmp_path, "2026-01-01").unlink()
    async with Journal(tmp_path) as journal:
        assert journal.backlog("influx") == 1
        assert await everything(journal) == [numerics(T0 + DAY_NS)]


async def test_a_backlog_is_less_by_what_was_delivered_ahead(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([waveform(T0, [0] * 100)])
        await journal.append([waveform(T0 + DAY_NS, [0] * 10)])
        await journal.append([numerics(T0 + 2 * DAY_NS)])
        await journal.append([event(T0 + 2 * DAY_NS)])
        assert journal.backlog("influx") == 112
        journal.commit("influx", Progress(0, (Span(1, 2), Span(3, 4))))
        assert journal.backlog("influx") == 101
        assert journal.stat().backlog == {"influx": 101}
        journal.commit("influx", Progress(1))
        assert journal.backlog("influx") == 1
    assert JournalReader(tmp_path).stat().backlog == {"influx": 1}
    async with Journal(tmp_path) as journal:
        journal.commit("influx", Progress(3))
        assert journal.backlog("influx") == 0


async def test_the_oldest_unsent_reading_tells_its_time(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        assert journal.oldest_unsent("influx") is None
        for day in range(3):
            await journal.append([numerics(T0 + day * DAY_NS)])
        assert journal.oldest_unsent("influx") == T0
        journal.commit("influx", Progress(1, (Span(2, 3),)))
        assert journal.oldest_unsent("influx") == T0 + DAY_NS
        journal.commit("influx", Progress(2))
        assert journal.oldest_unsent("influx") is None


async def test_a_day_that_was_deleted_is_neither_backlog_nor_oldest(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([waveform(T0, [0] * 100)])
        await journal.append([numerics(T0), numerics(T0 + DAY_NS)])
        await journal.append([event(T0 + DAY_NS)])
        last = journal.last_seq
    day_file(tmp_path, "2026-01-01").unlink()
    async with Journal(tmp_path) as journal:
        journal.commit("influx", Progress(0, (Span(last - 1, last),)))
        assert journal.backlog("influx") == 2
        assert journal.oldest_unsent("influx") == T0


async def test_a_batch_ends_where_it_was_told_to(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for step in range(5):
            await journal.append([numerics(T0 + step * DAY_NS // 2)])
        batch = await journal.read(1, 100, 4)
        assert [one.time_ns for one in batch.observations] == [T0 + step * DAY_NS // 2 for step in (1, 2, 3)]
        assert batch.last_seq == 4
        alter(day_file(tmp_path, "2026-01-02"), "UPDATE block SET payload = x'00'")
        passed = await journal.read(2, 100, 3)
        assert (passed.observations, passed.last_seq, len(passed.damaged)) == ((), 3, 1)


async def test_what_is_live_is_told_by_the_time_of_the_data_and_what_was_there_before_is_old(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        assert journal.seq_before(LIVE_NS) == 0
        await journal.append([numerics(T0)])
        assert journal.seq_before(LIVE_NS) == 0
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        assert (journal.seq_before(LIVE_NS), journal.seq_before(LATE_NS)) == (1, 1)
        for second in range(1, 31):
            await journal.append([numerics(T0 + second * SECOND)])
        assert journal.last_seq == 31
        assert journal.seq_before(LIVE_NS) == 28
        assert journal.seq_before(LATE_NS) == 20
        assert len(journal._ends) == 12
