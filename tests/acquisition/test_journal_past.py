"""A note of what finished days hold spares reading them, and is never believed further than it is true."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from acquisition.journal import Journal, past, schema
from acquisition.journal.reader import JournalReader, JournalStat
from acquisition.journal.schema import day_names
from tests.acquisition.journal_observations import DAY_NS, QUICK, T0, alter, event, everything, numerics, waveform

DAYS = 5
FIRST = "2026-01-01.journal"


async def filled(directory: Path, days: int = DAYS) -> Path:
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        for day in range(days):
            now = T0 + day * DAY_NS
            await journal.append([numerics(now, day), waveform(now, [day] * 9), event(now, device=f"d{day}")])
    return directory


@pytest.fixture(scope="module")
def five_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(filled(tmp_path_factory.mktemp("five")))


@pytest.fixture
def journal_of(five_days: Path, tmp_path: Path) -> Path:
    """A copy of its own; the note counts there after the next start only."""
    return shutil.copytree(five_days, tmp_path / "journal")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the day files that are opened to be read."""
    names: list[str] = []
    connect = schema._connect_to_read

    def connect_to_read(path: Path, how: str) -> object:
        names.append(path.name)
        return connect(path, how)

    monkeypatch.setattr(schema, "_connect_to_read", connect_to_read)
    return names


async def started(directory: Path) -> Path:
    async with Journal(directory):
        return directory


def stat(directory: Path) -> JournalStat:
    """What is said with the note, but for the bytes: the note itself is among them."""
    return replace(JournalReader(directory).stat(), bytes=0)


def told_by_files(directory: Path) -> JournalStat:
    """The same without the note."""
    note = directory / past.FILE
    kept = note.read_bytes()
    note.unlink()
    try:
        return stat(directory)
    finally:
        note.write_bytes(kept)


async def test_neither_a_start_nor_a_status_opens_a_finished_day(journal_of: Path, opened: list[str]) -> None:
    await started(journal_of)
    assert FIRST in opened
    opened.clear()
    await started(journal_of)
    found = stat(journal_of)
    JournalReader(journal_of).last_seen()
    assert {name for name in opened if name.endswith(".journal")} == {day_names(journal_of)[-1]}
    assert (found.files, found.blocks, found.last_seq) == (DAYS, 3 * DAYS, 3 * DAYS)


async def test_what_the_note_says_is_what_the_files_say(journal_of: Path) -> None:
    await started(journal_of)
    assert past.read(journal_of).names == set(day_names(journal_of)[:-1])
    seen = JournalReader(journal_of).last_seen()
    assert stat(journal_of) == told_by_files(journal_of)
    (journal_of / past.FILE).unlink()
    assert JournalReader(journal_of).last_seen() == seen == {"mon": T0 + 4 * DAY_NS + 16_000_000}


async def test_a_day_that_ends_during_a_run_is_noted_at_once(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0)])
        assert past.read(tmp_path).names == frozenset()
        await journal.append([numerics(T0 + DAY_NS)])
        assert past.read(tmp_path).names == {FIRST}
        await journal.append([numerics(T0 + 2 * DAY_NS)])
        assert past.read(tmp_path).names == {FIRST, "2026-01-02.journal"}
        assert journal.stat().readings == {"mon": {"abp_mean": 3}}


@pytest.mark.parametrize("at", [0, 4, 9, 40, 300, 800, -3])
async def test_a_note_that_is_damaged_says_nothing_wrong(journal_of: Path, at: int) -> None:
    told = told_by_files(await started(journal_of))
    note = journal_of / past.FILE
    content = bytearray(note.read_bytes())
    content[at] ^= 1
    note.write_bytes(content)
    assert stat(journal_of) == told
    async with Journal(journal_of, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0 + DAYS * DAY_NS)])
        assert journal.last_seq > told.last_seq
    assert past.read(journal_of).names == set(day_names(journal_of)[:-1])


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
async def test_a_note_that_a_power_cut_left_half_written_says_nothing_wrong(journal_of: Path, part: float) -> None:
    told = told_by_files(await started(journal_of))
    note = journal_of / past.FILE
    os.truncate(note, int(part * note.stat().st_size))
    assert stat(journal_of) == told


def remove(path: Path) -> None:
    path.unlink()


def delete_a_block(path: Path) -> None:
    alter(path, "DELETE FROM block WHERE seq = 1")


def put_another_in_its_place(path: Path) -> None:
    shutil.copy2(path.with_name("2026-01-02.journal"), path.with_name("other"))
    path.with_name("other").replace(path)


@pytest.mark.parametrize("change", [remove, delete_a_block, put_another_in_its_place])
async def test_what_the_note_says_of_a_file_counts_only_while_it_is_that_file(
    journal_of: Path, change: Callable[[Path], None]
) -> None:
    await started(journal_of)
    change(journal_of / FIRST)
    assert FIRST not in past.read(journal_of).names
    assert len(past.read(journal_of).names) == DAYS - 2
    assert stat(journal_of) == told_by_files(journal_of)


async def test_a_first_page_that_rots_unseen_is_found_by_the_next_start(journal_of: Path) -> None:
    path = (await started(journal_of)) / FIRST
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"rotten")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert FIRST in past.read(journal_of).names
    async with Journal(journal_of, commit_interval_s=QUICK) as journal:
        (report,) = journal.damaged
        assert report.startswith(f"{FIRST}: its header is damaged")
        found = await everything(journal)
    assert [each.time_ns for each in found] == [T0 + day * DAY_NS for day in range(DAYS) for _ in range(3)]


async def test_numbers_go_on_behind_finished_days_of_which_the_note_alone_tells(journal_of: Path) -> None:
    await started(journal_of)
    (journal_of / day_names(journal_of)[-1]).unlink()
    (journal_of / "cursors.db").unlink()
    async with Journal(journal_of, commit_interval_s=QUICK) as journal:
        assert journal.last_seq == 3 * (DAYS - 1)
        await journal.append([numerics(T0 + DAYS * DAY_NS)])
        assert len(await everything(journal)) == journal.last_seq == 3 * (DAYS - 1) + 1


async def test_a_disk_that_refuses_the_note_is_no_matter(journal_of: Path) -> None:
    (journal_of / past.FILE).unlink(missing_ok=True)
    (journal_of / past.FILE).mkdir()
    await started(journal_of)
    assert past.read(journal_of).names == frozenset()
    assert stat(journal_of).blocks == 3 * DAYS
    assert not list(journal_of.glob(".*"))
