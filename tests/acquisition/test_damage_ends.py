"""No damage, however much of it, leads a reader astray for ever: every question to a journal ends, and cursors rise."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from acquisition.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.model import Numerics, Observation
from tests.acquisition.journal_observations import QUICK, T0, everything, numerics, waveform
from tests.sparing import most_slow

DAY = "2026-01-01.journal"
PAGE = 4096
SECOND = 1_000_000_000
GROUPS = 150
MOST_STATEMENTS = 40_000
"""Of one question; a sound journal of this size takes some ten, and a hole some 130 to be measured."""
MOST_STEPS = 2_000
"""Of SQLite's machine, in thousands."""


class Counted(sqlite3.Connection):
    """Refuses a question that takes longer than any that ends."""

    statements = 0
    steps = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.set_progress_handler(self._step, 1000)

    @classmethod
    def begin(cls) -> None:
        cls.statements = cls.steps = 0

    @classmethod
    def _step(cls) -> bool:
        cls.steps += 1
        return cls.steps > MOST_STEPS

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        Counted.statements += 1
        if Counted.statements > MOST_STATEMENTS:
            raise AssertionError(f"no end: {sql}")
        return super().execute(sql, parameters)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal whose blocks are small, so that its tree has as many pages with pointers as can be."""
    directory = tmp_path_factory.mktemp("made") / "journal"
    asyncio.run(fill(directory))
    return directory


async def fill(directory: Path) -> None:
    chance = Random(1)
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        for number in range(GROUPS):
            now = T0 + number * SECOND
            group: list[Observation] = [numerics(now + n, float(number)) for n in range(8)]
            counts = [chance.randrange(-(2**30), 2**30) for _ in range(chance.choice((3, 300, 3000)))]
            await journal.append([*group, waveform(now, counts, period_ns=100)])


def damage(file: Path, chance: Random) -> None:
    """Flips bits, most of them where SQLite keeps what leads it on."""
    content = bytearray(file.read_bytes())
    trees = [at for at in range(PAGE, len(content), PAGE) if content[at] in (0x02, 0x05, 0x0A, 0x0D)]
    inner = [at for at in trees if content[at] in (0x02, 0x05)]
    for _ in range(chance.choice((1, 3, 30, 300))):
        place = chance.choice(
            (
                chance.choice(inner) + chance.randrange(PAGE),
                chance.choice(trees) + chance.randrange(60),
                chance.randrange(PAGE, len(content)),
            )
        )
        content[place] ^= 1 << chance.randrange(8)
    for _ in range(chance.choice((0, 0, 1, 3))):  # a pointer to a page where another should be
        page = chance.choice(inner)
        content[page + 8 : page + 12] = (chance.choice(trees) // PAGE + 1).to_bytes(4)
    file.write_bytes(content)


async def ask_everything(directory: Path) -> None:
    """Every question; whatever the answer, it comes."""
    Counted.begin()
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        after = 0
        while after < journal.last_seq:
            Counted.begin()
            batch = await journal.read(after, 100)
            assert batch.last_seq > after, "this forwarder would go round for ever"
            after = batch.last_seq
        new = numerics(T0 + 10_000 * SECOND)
        last = journal.last_seq
        await journal.append([new])
        assert (await everything(journal, last))[-1] == new
        for question in (journal.stat, journal.last_seen, partial(journal.backlog, "central")):
            Counted.begin()
            question()
    reader = JournalReader(directory)
    for answer in (reader.verify, reader.query):
        Counted.begin()
        found: list[object] = list(answer())
    times = [each.time_ns for each in found if isinstance(each, Numerics)]
    assert len(times) == len(set(times)), "read twice"


@pytest.mark.parametrize("seed", most_slow([*range(40), 1236], 4))
async def test_however_damaged_a_file_is_every_question_to_it_ends(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(made, directory)
    damage(directory / DAY, Random(seed))
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Counted))
    await ask_everything(directory)
