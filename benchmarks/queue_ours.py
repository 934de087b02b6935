"""Feeds a journal in a process of its own: `python -m benchmarks.queue_ours flood|steady|count DIRECTORY [PIECES]`.

`flood` prints points a second until all is on the disk; `steady` prints the number of each piece that is acknowledged;
`count` prints how many points of the first PIECES are there.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from functools import partial
from pathlib import Path

from acquisition.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.model import Numerics

VALUES, PIECE_S = 100, 0.1
STEP_NS = 100_000_000
T0 = 1_767_225_600_000_000_000
WINDOW = 3000
"""Pieces that wait for the disk at most; a little more would be refused."""


def piece(number: int) -> Numerics:
    """What a bed sends at once."""
    values = {f"c{at}": 70.0 + (at + number) % 13 for at in range(VALUES)}
    return Numerics(device="mon", time_ns=T0 + number * STEP_NS, values=values)


async def flood(directory: Path, pieces: int) -> float:
    """Points a second."""
    made = [piece(number) for number in range(pieces)]
    async with Journal(directory) as journal:
        start = time.perf_counter()
        waiting: deque[asyncio.Future[None]] = deque()
        for each in made:
            waiting.append(journal.append([each]))
            if len(waiting) >= WINDOW:
                await waiting.popleft()
        await asyncio.gather(*waiting)
        return pieces * VALUES / (time.perf_counter() - start)


async def steady(directory: Path) -> None:
    """A piece every tenth of a second, until it is killed."""
    async with Journal(directory) as journal:
        start = time.monotonic()
        number = 0
        while True:
            journal.append([piece(number)]).add_done_callback(partial(_acknowledged, number))
            number += 1
            await asyncio.sleep(start + number * PIECE_S - time.monotonic())


def _acknowledged(number: int, future: asyncio.Future[None]) -> None:
    future.result()
    print(number, flush=True)


async def count(directory: Path, pieces: int) -> int:
    """Points of the first so many pieces that are there after a restart."""
    async with Journal(directory):
        found = JournalReader(directory).query(to_ns=T0 + pieces * STEP_NS)
        return sum(len(each.values) for each in found if isinstance(each, Numerics))


def main() -> None:
    """Does what the arguments say."""
    what, directory = sys.argv[1], Path(sys.argv[2])
    if what == "flood":
        print(asyncio.run(flood(directory, int(sys.argv[3]))))
    elif what == "steady":
        asyncio.run(steady(directory))
    else:
        print(asyncio.run(count(directory, int(sys.argv[3]))))


if __name__ == "__main__":
    main()
