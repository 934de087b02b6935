"""The journal opens always, keeps every intact block, and reports what is gone (promise 11)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from acquisition.errors import JournalError
from acquisition.journal import Journal, merger, summary
from acquisition.journal.reader import JournalReader
from acquisition.journal.schema import day_file, day_files
from acquisition.lanes import Progress
from acquisition.model import Observation
from tests.acquisition.journal_observations import DAY_NS, NEVER_NS, QUICK, T0, alter, everything, numerics, waveform

DAY = "2026-01-01"
SECOND = 1_000_000_000


async def filled(directory: Path, blocks: int = 300) -> list[Observation]:
    """A journal of one day, closed; each block is some 100 bytes, so that the file has tens of pages."""
    given: list[Observation] = [waveform(T0 + n * SECOND, [n * 77_777, -n, n * n, 5, 1, n]) for n in range(blocks)]
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        for each in given:
            await journal.append([each])
    return given


async def test_a_truncated_day_file_is_set_aside_and_its_readable_blocks_are_still_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merger, "LATE_NS", NEVER_NS)
    given = await filled(tmp_path)
    path = day_file(tmp_path, DAY)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        (report,) = journal.damaged
        assert report.startswith(f"{DAY}.journal: ")
        assert f"{DAY}.journal.damaged-1" in report
        new = numerics(T0 + 1000 * SECOND)
        await journal.append([new])
        found = await everything(journal)
    assert found[-1] == new
    assert found[:-1] == [each for each in given if each in found]
    assert len(found) > 100
    reader = JournalReader(tmp_path)
    assert list(reader.query()) == found
    assert reader.damaged
    assert reader.stat().damaged


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.99])
async def test_a_day_file_truncated_anywhere_opens(tmp_path: Path, part: float) -> None:
    await filled(tmp_path, 50)
    path = day_file(tmp_path, DAY)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * part))
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        new = numerics(T0 + 1000 * SECOND)
        await journal.append([new])
        assert (await everything(journal))[-1] == new


async def test_a_day_file_that_is_no_database_any_more_is_set_aside_and_numbers_go_on(tmp_path: Path) -> None:
    await filled(tmp_path, 5)
    day_file(tmp_path, DAY).write_bytes(b"\xff" * 8192)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        assert len(journal.damaged) == 1
        assert journal.last_seq == 0
        await journal.append([numerics(T0 + SECOND)])
        assert journal.last_seq == 6
        assert await everything(journal) == [numerics(T0 + SECOND)]
    async with Journal(tmp_path) as journal:
        assert journal.damaged == []
        assert await everything(journal) == [numerics(T0 + SECOND)]


async def test_an_old_day_file_that_is_damaged_is_set_aside_too(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)])
        await journal.append([numerics(T0 + DAY_NS)])
    day_file(tmp_path, DAY).write_bytes(b"\0" * 5000)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        assert len(journal.damaged) == 1
        batch = await journal.read(0, 100)
        assert batch.observations == (numerics(T0 + DAY_NS),)
        assert "damaged-1" in batch.damaged[0]


async def test_a_second_damage_of_a_day_gets_the_next_number(tmp_path: Path) -> None:
    for _ in range(2):
        async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
            await journal.append([numerics(T0)])
        day_file(tmp_path, DAY).write_bytes(b"\xff" * 8192)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)])
    assert [path.name for path in day_files(tmp_path)] == [
        f"{DAY}.journal.damaged-1",
        f"{DAY}.journal.damaged-2",
        f"{DAY}.journal",
    ]


async def test_damage_inside_the_file_costs_only_the_blocks_of_that_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "FLUSH_GROUPS", 20)
    monkeypatch.setattr(merger, "LATE_NS", NEVER_NS)
    given = await filled(tmp_path)
    path = day_file(tmp_path, DAY)
    connection = sqlite3.connect(path)
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.close()
    with path.open("r+b") as file:  # a page in the middle that holds blocks and nothing else
        file.seek(pages // 2 * 4096)
        assert file.read(1) == b"\x0d"
        file.seek(pages // 2 * 4096)
        file.write(b"\xa5" * 4096)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        found = await everything(journal)
        batch = await journal.read(0, 10_000)
    assert found == [each for each in given if each in found]
    assert 0 < len(given) - len(found) < 60
    assert found[-1] == given[-1]
    assert any("nothing can be read of blocks" in report for report in batch.damaged)
    reader = JournalReader(tmp_path)
    assert list(reader.query()) == found
    assert list(reader.query(devices=["mon"], channels=["wf_abp"], from_ns=T0 + SECOND)) == found[1:]


async def test_damage_that_shows_while_writing_costs_no_new_reading(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)])
        connection = journal._store._connection
        assert connection is not None
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with day_file(tmp_path, DAY).open("r+b") as file:
            file.write(b"\xff" * 65536)
        connection.execute("PRAGMA cache_size=0")
        connection.execute("PRAGMA shrink_memory")
        await journal.append([numerics(T0 + 1)], [("mon", "a")])
        await journal.append([numerics(T0 + 2)])
        assert len(journal.damaged) == 1
        assert await everything(journal) == [numerics(T0 + 1), numerics(T0 + 2)]


async def test_numbers_go_on_after_the_largest_ever_reserved_even_when_every_day_file_is_lost(tmp_path: Path) -> None:
    await filled(tmp_path, 20)
    for path in day_files(tmp_path):
        path.unlink()
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        journal.commit("influx", Progress(20))
        await journal.append([numerics(T0)])
        assert journal.last_seq == 21
        assert (await journal.read(journal.progress("influx").cursor, 10)).observations == (numerics(T0),)


async def test_after_a_crash_numbers_go_on_after_all_that_were_reserved(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)])
        for name in ("cursors.db", "cursors.db-wal"):
            (tmp_path / f"{name}.copy").write_bytes((tmp_path / name).read_bytes())
    for name in ("cursors.db", "cursors.db-wal"):  # as a crash would have left them
        (tmp_path / f"{name}.copy").rename(tmp_path / name)
    day_file(tmp_path, DAY).unlink()
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)])
        assert journal.last_seq > 65_536


async def test_numbers_go_on_after_the_cursors_are_lost(tmp_path: Path) -> None:
    given = await filled(tmp_path, 3)
    (tmp_path / "cursors.db").write_bytes(b"\xff" * 8192)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        assert "delivered again" in journal.damaged[0]
        assert journal.progress("influx").cursor == 0
        await journal.append([numerics(T0 + DAY_NS)])
        assert journal.last_seq == 4
        assert await everything(journal) == [*given, numerics(T0 + DAY_NS)]
    assert (tmp_path / "cursors.db.damaged-1").exists()


async def test_a_block_that_can_not_be_read_is_passed_and_never_waited_for(tmp_path: Path) -> None:
    await filled(tmp_path, 3)
    alter(day_file(tmp_path, DAY), "UPDATE block SET payload = x'00'")
    async with Journal(tmp_path) as journal:
        batch = await journal.read(0, 100)
        assert (batch.observations, batch.last_seq, batch.points) == ((), 3, 0)
        assert len(batch.damaged) == 3


async def test_a_journal_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    await filled(tmp_path, 3)
    alter(day_file(tmp_path, DAY), "PRAGMA user_version = 99")
    alter(day_file(tmp_path, DAY), "CREATE TABLE later (x)")
    with pytest.raises(JournalError, match="newer version"):
        await Journal(tmp_path).__aenter__()
    assert [path.name for path in day_files(tmp_path)] == [f"{DAY}.journal"]


async def test_a_start_knows_how_the_run_before_it_ended(tmp_path: Path) -> None:
    async with Journal(tmp_path) as journal:
        assert journal.begin_run({"start_ns": T0, "boot_id": "a"}) is None
    async with Journal(tmp_path) as journal:
        assert journal.begin_run({"start_ns": T0 + 1, "boot_id": "b"}) == {
            "start_ns": T0,
            "boot_id": "a",
            "end_ns": None,
        }
        journal.end_run(T0 + 2)
    async with Journal(tmp_path) as journal:
        assert journal.begin_run({}) == {"start_ns": T0 + 1, "boot_id": "b", "end_ns": T0 + 2}
