"""Appends until it is killed and says what was acknowledged: `python -m tests.acquisition.journal_child DIR FIRST`."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

from acquisition.journal import Journal
from acquisition.model import Observation
from tests.acquisition.journal_observations import T0, numerics, waveform

HOUR_NS = 3_600_000_000_000


def acknowledged(number: int, future: asyncio.Future[None]) -> None:
    future.result()
    os.write(1, b"%d\n" % number)


async def append_for_ever(directory: Path, first: int) -> None:
    async with Journal(directory, commit_interval_s=0.001) as journal:
        number = first
        while True:
            for _ in range(3):
                now = T0 + number * HOUR_NS  # a new day file every eight groups
                readings: list[Observation] = [numerics(now, float(number)), waveform(now, [number, -number])]
                future = journal.append(readings, [("mon", str(number))])
                future.add_done_callback(partial(acknowledged, number))
                number += 1
            await future


if __name__ == "__main__":
    asyncio.run(append_for_ever(Path(sys.argv[1]), int(sys.argv[2])))
