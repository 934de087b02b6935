"""What a power cut leaves is not damage, and mending what is damaged can be interrupted and done again."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from random import Random

import pytest

from acquisition.journal import Journal
from acquisition.journal.anew import mend
from acquisition.journal.mending import fault, log_of
from acquisition.journal.schema import create_tables, finish_setting_aside, new_file, reading, rows, set_aside
from acquisition.journal.wal import FRAME, HEADER, Log
from tests.acquisition.journal_observations import QUICK, T0, everything, numerics

DAY = "2026-01-01.journal"
SECTOR = 512
SECOND = 1_000_000_000


@pytest.fixture
async def crashed(tmp_path: Path) -> Path:
    """The file of a journal that was killed; all that it has is in the log."""
    async with Journal(tmp_path / "running", commit_interval_s=QUICK) as journal:
        for number in range(20):
            await journal.append([numerics(T0 + number * SECOND, float(number))])
        shutil.copytree(tmp_path / "running", tmp_path / "crashed")
    return tmp_path / "crashed" / DAY


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def frames(log: Path) -> int:
    return (log.stat().st_size - HEADER) // FRAME


def read(log: Path) -> Log:
    found = Log.read(log)
    assert found is not None
    return found


def numbers(path: Path) -> list[int]:
    with reading(path) as connection:
        assert connection is not None
        return [block.seq for block in rows(connection, "SELECT * FROM block") if block.intact]


async def test_a_first_page_torn_while_it_was_written_from_the_log_is_not_damage(crashed: Path) -> None:
    old, new = crashed.read_bytes()[:4096], new_file()[:4096]
    assert len(old) == 4096
    for sector in range(0, 4096, SECTOR):
        crashed.write_bytes(old[:sector] + new[sector:])
        assert fault(crashed, new_file()) == ""
        crashed.write_bytes(new[:sector] + old[sector:])
        assert fault(crashed, new_file()) == ""


def test_a_file_whose_making_will_be_undone_is_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / DAY
    path.write_bytes(bytes(4096))
    assert fault(path, new_file()) == "its header is damaged"
    (tmp_path / f"{DAY}-journal").write_bytes(b"x")
    assert fault(path, new_file()) == ""


def test_a_torn_transaction_in_front_of_what_an_earlier_cut_tore_is_not_damage(tmp_path: Path) -> None:
    path = tmp_path / DAY
    keep = sqlite3.connect(path, isolation_level=None)
    keep.execute("PRAGMA journal_mode=WAL")
    create_tables(keep)
    keep.execute("INSERT INTO message_key VALUES (1, 'x', zeroblob(60000))")
    image = {each: each.read_bytes() for each in (path, log_of(path))}
    keep.execute("INSERT INTO message_key VALUES (2, 'x', zeroblob(90000))")
    torn = bytearray(log_of(path).read_bytes())
    keep.close()
    torn[len(image[log_of(path)]) + 100] ^= 1
    path.write_bytes(image[path])
    log_of(path).write_bytes(torn)
    assert not read(log_of(path)).is_damaged
    again = sqlite3.connect(path, isolation_level=None)
    again.execute("PRAGMA wal_autocheckpoint=0")
    again.execute("INSERT INTO message_key VALUES (2, 'y', zeroblob(20000))")
    torn = bytearray(log_of(path).read_bytes())
    again.close()
    torn[len(image[log_of(path)]) + 100] ^= 1
    log_of(path).write_bytes(torn)
    log = read(log_of(path))
    assert int((log.ours & (log.commits > 0)).sum()) == 4, "two of them are behind the first torn frame"
    assert not log.is_damaged


async def test_a_cut_between_the_two_renames_of_setting_aside_costs_nothing(crashed: Path) -> None:
    whole = numbers(crashed)
    log_of(crashed).rename(crashed.with_name(f"{DAY}.damaged-1-wal"))
    finish_setting_aside(crashed.parent)
    assert not crashed.exists()
    assert numbers(crashed.with_name(f"{DAY}.damaged-1")) == whole


async def test_what_was_set_aside_and_not_mended_when_the_power_went_is_mended_by_the_next_start(crashed: Path) -> None:
    whole = numbers(crashed)
    flip(log_of(crashed), HEADER + FRAME * (frames(log_of(crashed)) // 2) + 8)  # salts: the content is sound
    assert len(numbers(crashed)) < len(whole)
    set_aside(crashed)
    async with Journal(crashed.parent, commit_interval_s=QUICK) as journal:
        assert len(await everything(journal)) == 20
    assert numbers(crashed.with_name(f"{DAY}.damaged-1")) == whole


def test_a_first_page_of_which_a_part_was_mended_is_mended_again(tmp_path: Path) -> None:
    path = tmp_path / f"{DAY}.damaged-1"
    connection = sqlite3.connect(path, isolation_level=None)
    create_tables(connection)
    connection.close()
    sound = new_file()
    mend(path, sound)
    mended = path.read_bytes()
    for sector in range(0, 4096, SECTOR):
        noise = Random(sector).randbytes(4096)
        path.write_bytes(mended[:sector] + noise[sector:4096] + mended[4096:])
        mend(path, sound)
        assert path.read_bytes() == mended
        mend(path, sound)
        assert path.read_bytes() == mended


def test_a_file_of_a_newer_layout_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / f"{DAY}.damaged-1"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript("CREATE TABLE other (x); PRAGMA user_version = 99;")
    connection.close()
    before = path.read_bytes()
    assert fault(path, new_file()) == ""
    mend(path, new_file())
    assert path.read_bytes() == before
