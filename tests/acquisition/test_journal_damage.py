"""Damage at every kind of place of a journal's files: it opens, keeps every intact block, and names what is gone."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from acquisition.journal import Journal, merger, summary
from acquisition.journal.reader import JournalReader
from acquisition.journal.wal import Log
from acquisition.model import Observation
from tests.acquisition.journal_observations import NEVER_NS, QUICK, T0, everything, numerics, waveform
from tests.sparing import most_slow

DAY = "2026-01-01.journal"
LOG = f"{DAY}-wal"
SECOND = 1_000_000_000
PAGE = 4096
FRAME = 24 + PAGE
GROUPS = 100
ON_A_PAGE = 60
"""No page holds as many observations, nor does one block beside those of a page."""


@dataclass(frozen=True)
class Filled:
    """A journal of one day: closed in order, and as a crash left it, with the newest in the log."""

    closed: Path
    crashed: Path
    given: tuple[Observation, ...]


def unmerged(patch: pytest.MonkeyPatch) -> None:
    """Blocks stay as small as they were, so that it shows how little a flipped bit costs."""
    patch.setattr(summary, "FLUSH_GROUPS", 20)
    patch.setattr(merger, "LATE_NS", NEVER_NS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """Made once; every test has a copy."""
    directory = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        unmerged(patch)
        given = asyncio.run(fill(directory))
    return Filled(directory / "closed", directory / "crashed", given)


async def fill(directory: Path) -> tuple[Observation, ...]:
    chance = Random(1)
    given: list[Observation] = []
    async with Journal(directory / "closed", commit_interval_s=QUICK) as journal:
        for number in range(GROUPS):
            counts = [chance.randrange(-(2**30), 2**30) for _ in range(chance.choice((3, 300, 3000)))]
            now = T0 + number * SECOND
            group: list[Observation] = [numerics(now, float(number)), waveform(now, counts, period_ns=100)]
            await journal.append(group, [("mon", str(number))])
            given += group
        journal.quarantine("central", given[0], "no")
        shutil.copytree(directory / "closed", directory / "crashed")
    return tuple(given)


@pytest.fixture
def filled(tmp_path: Path, made: Filled, monkeypatch: pytest.MonkeyPatch) -> Filled:
    unmerged(monkeypatch)
    for directory in (made.closed, made.crashed):
        shutil.copytree(directory, tmp_path / directory.name)
    return Filled(tmp_path / "closed", tmp_path / "crashed", made.given)


async def opened(directory: Path) -> tuple[list[Observation], list[str]]:
    """All that a damaged journal still has, and its reports; it takes a new reading, and every question is answered."""
    new = numerics(T0 + 10_000 * SECOND)
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        batch = await journal.read(0, 10_000_000)
        reports = [*journal.damaged, *batch.damaged]
        last = journal.last_seq
        await journal.append([new])
        assert (await everything(journal, last))[-1] == new
        journal.stat()
        journal.keys("mon")
        journal.last_seen()
        journal.backlog("central")
        journal.quarantined()
        journal.begin_run({})
        reader = JournalReader(directory)
        list(reader.query())
        list(reader.verify())
        reports += reader.damaged
    return list(batch.observations), reports


async def check(directory: Path, filled: Filled, most_lost: int = ON_A_PAGE) -> list[str]:
    found, reports = await opened(directory)
    still, lost = iter([*found, None]), 0
    expected = next(still)
    for each in filled.given:
        if each == expected:
            expected = next(still)
        else:
            lost += 1
    assert expected is None, "nothing that was not given, nothing twice, nothing out of order"
    assert lost <= most_lost, reports
    assert reports or not lost, "something is gone and nobody is told"
    return reports


def flip(file: Path, at: int, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1 << bit
    file.write_bytes(content)


def damaged_log(path: Path) -> bool:
    log = Log.read(path)
    assert log is not None
    return log.is_damaged


def pages(path: Path, wanted: Callable[[int], bool]) -> list[int]:
    """The pages of a file whose first byte, the kind of b-tree page, is wanted; the first page is not."""
    content = path.read_bytes()
    return [page for page in range(1, len(content) // PAGE) if wanted(content[page * PAGE])]


def newest_series(log: Path) -> list[int]:
    """Where its frames begin."""
    content = log.read_bytes()
    begins = range(32, len(content) - FRAME + 1, FRAME)
    return [begin for begin in begins if content[begin + 8 : begin + 16] == content[16:24]]


def commits(log: Path) -> list[int]:
    """Where the frames begin that end a transaction."""
    content = log.read_bytes()
    return [begin for begin in newest_series(log) if struct.unpack_from(">I", content, begin + 4)[0]]


@pytest.mark.parametrize(
    "at", most_slow([0, 18, 28, 100, 5, 15, 16, 17, 19, 20, 21, 24, 31, 44, 47, 59, 63, 95, 103, 105, 107], 4)
)
async def test_a_flipped_bit_in_the_header_costs_nothing(filled: Filled, at: int) -> None:
    flip(filled.closed / DAY, at, bit=at % 8)
    await check(filled.closed, filled, most_lost=0)


async def test_a_first_page_that_is_noise_costs_nothing(filled: Filled) -> None:
    file = filled.closed / DAY
    file.write_bytes(Random(2).randbytes(PAGE) + file.read_bytes()[PAGE:])
    reports = await check(filled.closed, filled, most_lost=0)
    assert any("set aside" in report for report in reports)


@pytest.mark.parametrize("seed", most_slow(range(12), 4))
async def test_a_flipped_bit_in_the_head_of_a_page_costs_at_most_that_page(filled: Filled, seed: int) -> None:
    chance = Random(seed)
    file = filled.closed / DAY
    page = chance.choice(pages(file, lambda kind: kind == 0x0D))
    flip(file, page * PAGE + chance.randrange(40), chance.randrange(8))
    await check(filled.closed, filled)


@pytest.mark.parametrize("seed", most_slow(range(24), 4))
async def test_a_flipped_bit_anywhere_is_never_read_as_a_reading(filled: Filled, seed: int) -> None:
    chance = Random(seed)
    file = filled.closed / DAY
    flip(file, chance.randrange(PAGE, file.stat().st_size), chance.randrange(8))
    await check(filled.closed, filled)


@pytest.mark.parametrize("seed", range(6))
async def test_a_page_of_a_payload_that_is_noise_costs_its_block(filled: Filled, seed: int) -> None:
    chance = Random(seed)
    file = filled.closed / DAY
    page = chance.choice(pages(file, lambda kind: kind not in (0x02, 0x05, 0x0A, 0x0D)))
    content = bytearray(file.read_bytes())
    content[page * PAGE + 4 : (page + 1) * PAGE] = chance.randbytes(PAGE - 4)
    file.write_bytes(content)
    await check(filled.closed, filled, most_lost=1)


@pytest.mark.parametrize("seed", most_slow(range(16), 4))
async def test_a_flipped_bit_in_the_log_costs_no_group_behind_it(filled: Filled, seed: int) -> None:
    chance = Random(seed)
    log = filled.crashed / LOG
    # Not in the last transactions, where it might be what a power cut tore.
    newest = commits(log)[-4]
    begin = chance.choice([each for each in newest_series(log) if each <= newest])
    place = chance.randrange(24) if seed % 2 else chance.randrange(24, FRAME)
    flip(log, begin + place, chance.randrange(8))
    assert damaged_log(log)
    reports = await check(filled.crashed, filled)
    assert any("its log is damaged" in report for report in reports)


@pytest.mark.parametrize("at", range(0, 32, 4))
async def test_a_flipped_bit_in_the_header_of_the_log_costs_nothing(filled: Filled, at: int) -> None:
    flip(filled.crashed / LOG, at, 3)
    await check(filled.crashed, filled, most_lost=0)


async def test_a_log_as_a_crash_leaves_it_is_not_called_damaged(filled: Filled) -> None:
    assert len(commits(filled.crashed / LOG)) > 10
    assert not damaged_log(filled.crashed / LOG)
    assert await check(filled.crashed, filled, most_lost=0) == []


async def test_a_last_transaction_that_was_torn_is_not_called_damage(filled: Filled) -> None:
    log = filled.crashed / LOG
    flip(log, commits(log)[-2] + FRAME + 100)  # in the first frame of the last transaction
    assert not damaged_log(log)


@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.95])
async def test_a_file_cut_short_keeps_what_is_before_the_cut(filled: Filled, part: float) -> None:
    file = filled.closed / DAY
    with file.open("r+b") as opened_file:
        opened_file.truncate(int(file.stat().st_size * part))
    await check(filled.closed, filled, most_lost=int(len(filled.given) * (1 - part)) + ON_A_PAGE)


@pytest.mark.parametrize("name", ["cursors.db", "cursors.db-wal"])
@pytest.mark.parametrize("seed", most_slow(range(12), 4))
async def test_damaged_cursors_cost_no_reading(filled: Filled, name: str, seed: int) -> None:
    chance = Random(seed)
    directory = filled.crashed if name.endswith("wal") else filled.closed
    file = directory / name
    size = file.stat().st_size
    if seed % 3 == 2:
        with file.open("r+b") as opened_file:
            opened_file.truncate(chance.randrange(size))
    else:
        flip(file, chance.randrange(min(size, 120 if seed % 3 else size)), chance.randrange(8))
    await check(directory, filled, most_lost=0)


async def test_verify_finds_a_flipped_bit_in_a_block_without_a_daemon(filled: Filled) -> None:
    connection = sqlite3.connect(filled.closed / DAY)
    (last,) = connection.execute("SELECT payload FROM block ORDER BY seq DESC LIMIT 1").fetchone()
    connection.close()
    flip(filled.closed / DAY, (filled.closed / DAY).read_bytes().rindex(last[:16]) + 15)
    reader = JournalReader(filled.closed)
    sound = dict(reader.verify())
    assert sound[DAY] == 2 * GROUPS - 1
    assert len(reader.damaged) == 1
