"""Appends to a journal on a taped disk and says there what is safe: `python -m ... DIRECTORY FIRST GROUPS STEP_NS HOW`.

HOW is `sound`, or a fault that the test must notice: `off` for a journal that does not sync, `early` for one that
acknowledges before it commits.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from functools import lru_cache
from pathlib import Path
from random import Random

from acquisition.journal import Journal, cursors, schema, summary
from acquisition.lanes import Progress
from acquisition.model import Numerics, Waveform
from tests.acquisition.journal_observations import T0, numerics, waveform
from tests.acquisition.taped_disk import SAID

SINK = "influx"
IN_A_GROUP = 3
MERGED_AFTER = 8
"""Groups after which the blocks are summed up, and merged as soon as they are ten seconds old."""


@lru_cache(maxsize=4096)
def made(number: int, step_ns: int) -> tuple[Numerics, Waveform]:
    """The observations of a number: of any length up to six pages, because not all go the same way through SQLite."""
    chance = Random(number)
    counts = [chance.randrange(-(2**31) + 1, 2**31) for _ in range(chance.choice((2, 300, 3000, 6000)))]
    now = T0 + number * step_ns
    return numerics(now, float(number)), waveform(now, counts, period_ns=100)


def rejected(number: int) -> bool:
    """Whether the sink will never take the numerics of this number."""
    return number % 7 == 0


async def append_many(directory: Path, first: int, groups: int, step_ns: int, *, early: bool) -> None:
    descriptor = os.open(directory / SAID, os.O_WRONLY)
    async with Journal(directory, commit_interval_s=0.0005) as journal:
        for start in range(first, first + groups * IN_A_GROUP, IN_A_GROUP):
            numbers = range(start, start + IN_A_GROUP)
            futures = [journal.append(made(number, step_ns), [("mon", str(number))]) for number in numbers]
            said = b"".join(b"%d\n" % number for number in numbers)
            if early:
                os.write(descriptor, said)
            await asyncio.gather(*futures)
            if not early:
                os.write(descriptor, said)
            batch = await journal.read(journal.progress(SINK).cursor, 1000)
            for observation in batch.observations:
                if isinstance(observation, Numerics) and rejected(int(observation.values["abp_mean"])):
                    journal.quarantine(SINK, observation, "never")
            journal.commit(SINK, Progress(batch.last_seq))
        if start % 2:
            os._exit(0)  # half of the time nothing is tidied up


def without_sync(path: Path) -> sqlite3.Connection:
    connection = sound_connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    return connection


sound_connect = schema.connect

if __name__ == "__main__":
    where, begin, count, step, how = sys.argv[1:]
    summary.FLUSH_GROUPS = MERGED_AFTER
    if how == "off":
        schema.connect = cursors.connect = without_sync  # type: ignore[attr-defined]  # imported there by name
    asyncio.run(append_many(Path(where), int(begin), int(count), int(step), early=how == "early"))
