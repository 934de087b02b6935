"""The journal's promises of writing, reading and acknowledging, sentence by sentence."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acquisition.errors import JournalError
from acquisition.journal import Journal, writer
from acquisition.journal.cursors import Cursors, Quarantined
from acquisition.journal.reader import JournalReader
from acquisition.journal.schema import Block, connect_day, day_file, day_files, day_of
from acquisition.lanes import Progress, Span
from acquisition.model import Observation
from tests.acquisition.journal_observations import DAY_NS, QUICK, T0, alter, event, everything, numerics, waveform

DAY = "2026-01-01"


async def test_the_future_resolves_only_after_the_transaction_that_holds_all_of_it_is_synced(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        future = journal.append([numerics(T0), waveform(T0, [1, 2])])
        assert not future.done()
        await future
        assert len(list(JournalReader(tmp_path).query())) == 2
        connection = journal._store._connection
        assert connection is not None
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


async def test_numbers_only_rise_across_day_files_and_restarts(tmp_path: Path) -> None:
    for day in range(3):
        async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
            await journal.append([numerics(T0 + day * DAY_NS)])
            await journal.append([numerics(T0 + day * DAY_NS + DAY_NS // 2, device="pump")])
    seqs = []
    for path in day_files(tmp_path):
        connection = sqlite3.connect(path)
        seqs += [seq for (seq,) in connection.execute("SELECT seq FROM block ORDER BY seq")]
        connection.close()
    assert len(seqs) == 6
    assert seqs == sorted(set(seqs))


async def test_what_is_read_is_what_was_appended(tmp_path: Path) -> None:
    given: list[Observation] = [
        numerics(T0),
        event(T0 + 1, "line 1\nline 2\u2028"),
        waveform(T0 + 2, [1, -5, 2**31 - 1]),
    ]
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append(given)
        assert await everything(journal) == given
    async with Journal(tmp_path) as journal:
        assert await everything(journal) == given


async def test_a_reader_never_waits_for_the_writer(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)])
        connection = journal._store._connection
        assert connection is not None
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("DELETE FROM block")
        assert list(JournalReader(tmp_path).query()) == [numerics(T0)]
        assert (await journal.read(0, 10)).observations == (numerics(T0),)
        connection.execute("ROLLBACK")


async def test_a_reader_never_makes_the_writer_wait(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0), event(T0)])
        reading = JournalReader(tmp_path).query()
        next(reading)
        await asyncio.wait_for(journal.append([numerics(T0 + 1)]), timeout=2)
        assert list(reading) == [event(T0)]


async def test_there_is_one_sqlite_file_in_wal_mode_per_utc_day(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)])
        await journal.append([numerics(T0 + DAY_NS)])
        await journal.append([numerics(T0 + DAY_NS + 1)])
    assert [path.name for path in day_files(tmp_path)] == ["2026-01-01.journal", "2026-01-02.journal"]
    for path, blocks in zip(day_files(tmp_path), (1, 2), strict=True):
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT count(*) FROM block").fetchone() == (blocks,)
        connection.close()


async def test_a_group_goes_to_the_day_of_its_newest_time(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0 - 1), numerics(T0, device="pump")])
        assert [path.name for path in day_files(tmp_path)] == [f"{DAY}.journal"]


async def test_a_group_never_goes_to_an_older_file_than_the_last(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0 + DAY_NS)])
        await journal.append([numerics(T0)])
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0 + 1)])
        assert await everything(journal) == [numerics(T0 + DAY_NS), numerics(T0), numerics(T0 + 1)]
    assert [path.name for path in day_files(tmp_path)] == ["2026-01-02.journal"]


def test_the_checksum_is_over_everything_else_in_the_row() -> None:
    block = Block(1, 1, "mon", "waveform", "wf_abp", 2, 3, 4, 1, 5, 6, 0, b"payload").sealed()
    assert block.intact
    for field in set(Block._fields) - {"checksum"}:
        value = getattr(block, field)
        other: Any = value + 1 if isinstance(value, int) else value[:-1]
        assert not block._replace(**{field: other}).intact, field


async def test_a_group_is_all_that_gathered_in_an_interval_in_one_transaction(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=0.05) as journal:
        futures = [journal.append([numerics(T0 + index)]) for index in range(20)]
        await futures[0]
        assert all(future.done() for future in futures)
        assert journal.stat().blocks == 1


async def test_an_append_never_blocks(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)])
        stall = sqlite3.connect(day_file(tmp_path, DAY), isolation_level=None)
        stall.execute("BEGIN IMMEDIATE")
        futures = [journal.append([numerics(T0 + index)]) for index in range(1, 100)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert not any(future.done() for future in futures)
        stall.execute("ROLLBACK")
        stall.close()
        await asyncio.gather(*futures)


async def test_when_too_much_waits_for_the_disk_an_append_fails_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING_BYTES", 20_000)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)])
        stall = sqlite3.connect(day_file(tmp_path, DAY), isolation_level=None)
        stall.execute("BEGIN IMMEDIATE")
        waiting = journal.append([waveform(T0, [0] * 4000)])
        refused = journal.append([waveform(T0, [0] * 4000)])
        assert isinstance(refused.exception(), JournalError)
        stall.execute("ROLLBACK")
        stall.close()
        await waiting
        await journal.append([waveform(T0 + 1, [0] * 4000)])


async def fill_the_disk(journal: Journal) -> None:
    """SQLite answers SQLITE_FULL to the next large group, as on a full disk."""
    connection = journal._store._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages}")


def incompressible(time_ns: int) -> Observation:
    return waveform(time_ns, np.random.default_rng(0).integers(-(2**31), 2**31, 9000).tolist())


async def test_when_the_disk_refuses_the_group_fails_and_the_next_is_tried_again(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)])
        await fill_the_disk(journal)
        with pytest.raises(JournalError, match="full"):
            await journal.append([incompressible(T0)])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await journal.append([numerics(T0 + 1)])
        assert await everything(journal) == [numerics(T0), numerics(T0 + 1)]


async def test_what_is_appended_before_its_callers_know_of_a_refusal_fails_too(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)])
        await fill_the_disk(journal)
        first = journal.append([incompressible(T0)], [("mon", "message 1")])
        deadline = time.monotonic() + 10
        while journal._writer._refusal is None:  # the loop stands still, so nobody has been told yet
            assert time.monotonic() < deadline
            time.sleep(0.001)  # noqa: ASYNC251 - to hold the loop up is the point
        repeated = journal.append([], [("mon", "message 1")])
        with pytest.raises(JournalError):
            await repeated
        with pytest.raises(JournalError):
            await first
        assert journal.keys("mon") == []


async def test_one_observation_that_cannot_be_stored_fails_its_own_append_and_no_other(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=0.02) as journal:
        good = journal.append([numerics(T0)])
        bad = journal.append([event(T0, "\ud800")], [("mon", "bad")])
        also_good = journal.append([numerics(T0 + 1)], [("mon", "good")])
        with pytest.raises(JournalError, match="cannot be stored"):
            await bad
        await asyncio.gather(good, also_good)
        assert await everything(journal) == [numerics(T0), numerics(T0 + 1)]
        assert journal.keys("mon") == ["good"]


async def test_keys_of_messages_are_stored_in_the_transaction_of_their_readings(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)], [("mon", "a"), ("pump", "x")])
        await fill_the_disk(journal)
        with pytest.raises(JournalError):
            await journal.append([incompressible(T0)], [("mon", "b")])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await journal.append([numerics(T0 + DAY_NS)], [("mon", "a"), ("mon", "c")])
    async with Journal(tmp_path) as journal:
        assert journal.keys("mon") == ["a", "c"]
        assert journal.keys("mon", limit=1) == ["c"]
        assert journal.keys("pump") == ["x"]


async def test_keys_come_from_the_two_newest_days(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for day in range(3):
            await journal.append([numerics(T0 + day * DAY_NS)], [("mon", f"day {day}")])
        assert journal.keys("mon") == ["day 1", "day 2"]


async def test_keys_without_readings_are_kept_too(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([], [("mon", "empty message")])
        assert journal.keys("mon") == ["empty message"]


async def test_one_process_writes_and_a_second_is_refused(tmp_path: Path) -> None:
    async with Journal(tmp_path):
        with pytest.raises(JournalError, match="stop process") as refused:
            await Journal(tmp_path).__aenter__()
        assert refused.value.hint
    async with Journal(tmp_path):
        pass


async def test_a_directory_that_cannot_be_made_is_told_to_the_operator(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot be opened"):
        await Journal(tmp_path / "file" / "journal").__aenter__()


async def test_leaving_writes_what_was_appended_and_later_appends_fail(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=60) as journal:
        future = journal.append([numerics(T0)])
    assert future.done()
    assert future.exception() is None
    assert isinstance(journal.append([numerics(T0)]).exception(), JournalError)
    assert list(JournalReader(tmp_path).query()) == [numerics(T0)]


async def test_a_batch_is_whole_blocks_in_the_order_of_seq_and_at_least_one(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for index in range(4):
            await journal.append([waveform(T0 + index * DAY_NS // 2, [index] * 10)])
        sizes, after = [], 0
        for max_points in (1, 25, 100):
            batch = await journal.read(after, max_points)
            sizes.append(batch.points)
            after = batch.last_seq
        assert sizes == [10, 20, 10]
        assert after == journal.last_seq
        nothing = await journal.read(after, 100)
        assert (nothing.observations, nothing.last_seq, nothing.points) == ((), after, 0)


async def test_waiting_for_new_ends_with_the_commit_that_brings_it(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        waiter = asyncio.create_task(journal.wait_for_new(0))
        await asyncio.sleep(0)
        assert not waiter.done()
        await journal.append([numerics(T0)])
        await asyncio.wait_for(waiter, timeout=30)
        await journal.wait_for_new(0)


async def test_a_block_that_fails_its_checksum_is_skipped_and_reported(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for index in range(3):
            await journal.append([numerics(T0 + index)])
    path = day_file(tmp_path, DAY)
    raw = bytearray(path.read_bytes())
    connection = sqlite3.connect(path)
    seq, payload = connection.execute("SELECT seq, payload FROM block ORDER BY seq LIMIT 1 OFFSET 1").fetchone()
    connection.close()
    # Two payloads differ in the digits of the time, so this finds the second block and no other.
    assert raw.count(payload) == 1
    raw[raw.index(payload) + len(payload) // 2] ^= 1
    path.write_bytes(raw)
    async with Journal(tmp_path) as journal:
        batch = await journal.read(0, 100)
        assert batch.observations == (numerics(T0), numerics(T0 + 2))
        assert batch.last_seq == journal.last_seq
        assert batch.damaged == (f"{DAY}.journal: block {seq} (mon numerics) fails its checksum",)
    reader = JournalReader(tmp_path)
    assert list(reader.query()) == [numerics(T0), numerics(T0 + 2)]
    assert len(reader.damaged) == 1
    assert list(JournalReader(tmp_path).verify()) == [(f"{DAY}.journal", 2), ("cursors.db", 0)]


async def test_a_cursor_never_runs_backwards(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        assert journal.progress("influx").cursor == 0
        for seq in (3, 7, 5):
            journal.commit("influx", Progress(seq))
        journal.commit("mqtt", Progress(2))
        assert journal.progress("influx").cursor == 7
    async with Journal(tmp_path) as journal:
        assert (journal.progress("influx").cursor, journal.progress("mqtt").cursor) == (7, 2)


async def test_what_a_sink_rejected_is_kept_with_the_reason(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        journal.quarantine("influx", numerics(T0), "field type conflict")
        journal.quarantine("mqtt", event(T0), "too large")
        assert [each.sink for each in journal.quarantined()] == ["influx", "mqtt"]
    async with Journal(tmp_path) as journal:
        (kept,) = journal.quarantined("influx")
        assert kept.reason == "field type conflict"
        assert '"abp_mean":1.0' in kept.line
        assert journal.stat().quarantined == 2


def test_a_rejected_observation_is_written_no_later_than_the_cursor_that_passes_it(tmp_path: Path) -> None:
    cursors = Cursors(tmp_path)
    statements: list[str] = []
    cursors._connection.set_trace_callback(lambda sql: statements.append(sql[:22]))
    cursors.quarantine(Quarantined("influx", "never", "{}"))
    cursors.set("influx", Progress(1, (Span(2, 3),)))
    cursors.flush()
    cursors.close()
    written = [sql for sql in statements if sql.startswith(("BEGIN", "INSERT", "COMMIT"))]
    rejected, ahead, cursor = "INSERT INTO quarantine", "INSERT INTO ahead VALU", "INSERT OR REPLACE INTO"
    assert written == ["BEGIN IMMEDIATE", rejected, ahead, cursor, "COMMIT"]


async def test_a_cursor_is_written_without_waiting_for_a_reading(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        journal.commit("influx", Progress(1))
        await asyncio.wait_for(asyncio.to_thread(wait_until_written, tmp_path), timeout=10)


def wait_until_written(directory: Path) -> None:
    while JournalReader(directory).stat().progress != {"influx": Progress(1)}:
        time.sleep(QUICK)


async def test_a_cursor_that_was_committed_last_of_all_survives_leaving(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=60) as journal:
        journal.commit("influx", Progress(9))
    assert JournalReader(tmp_path).stat().progress == {"influx": Progress(9)}


async def test_a_reading_is_never_attributed_to_another_device_by_damage(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)])
    alter(day_file(tmp_path, DAY), "UPDATE block SET device = 'pump'")
    reader = JournalReader(tmp_path)
    assert list(reader.query()) == []
    assert "fails its checksum" in reader.damaged[0]


async def test_days_without_keys_do_not_hide_those_before_them(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)], [("mon", "a")])
    for day in (1, 2):
        connect_day(day_file(tmp_path, day_of(T0 + day * DAY_NS))).close()  # as a power cut leaves it
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        assert journal.keys("mon") == ["a"]
