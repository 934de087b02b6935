"""One journal in a fresh process: `python -m benchmarks.growth_child fill|figures DIRECTORY [SAMPLES]`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from acquisition.journal import Journal
from acquisition.lanes import Progress
from acquisition.model import Observation, Waveform
from benchmarks.footprint import memory_mb
from benchmarks.growth import CHANNELS, RATE, fill

SINK = "influx"
BATCH = 5000
SAMPLES = RATE // 5


async def figures(directory: Path) -> dict[str, float]:
    """Milliseconds of each operation, the lower quartile of many, and memory in MB.

    What somebody else's work on the machine adds to some is no growth.
    """
    opening = []
    for _ in range(20):
        start = time.perf_counter()
        async with Journal(directory, commit_interval_s=0):
            opening.append(1e3 * (time.perf_counter() - start))
    async with Journal(directory, commit_interval_s=0) as journal:
        journal.commit(SINK, Progress(0))
        newest = journal.newest_ns
        found = {
            "open": _quartile(opening),
            "append": await _quartile_ms(300, lambda at: journal.append(_group(newest + at * 200_000_000))),
            "drain": await _quartile_ms(50, lambda _: journal.read(0, BATCH)),
            "stat": await _quartile_ms(40, lambda _: asyncio.to_thread(journal.stat)),
            "backlog": await _quartile_ms(50, lambda _: asyncio.to_thread(_status, journal)),
        }
    files = len(list(directory.glob("*.journal")))
    return {**found, "memory": memory_mb(os.getpid(), "Rss"), "files": files}


def _status(journal: Journal) -> None:
    """What a page asks of the journal for each sink."""
    journal.backlog(SINK)
    journal.oldest_unsent(SINK)


def _group(time_ns: int) -> list[Observation]:
    raw = bytes(4 * SAMPLES)
    return [
        Waveform(device="mon", channel=f"w{channel}", time_ns=time_ns, period_ns=10**9 // RATE, raw=raw)
        for channel in range(CHANNELS)
    ]


async def _quartile_ms(times: int, work: Callable[[int], Awaitable[object]]) -> float:
    taken = []
    for number in range(1, times + 1):
        start = time.perf_counter()
        await work(number)
        taken.append(1e3 * (time.perf_counter() - start))
    return _quartile(taken)


def _quartile(taken: list[float]) -> float:
    return sorted(taken)[len(taken) // 4]


def main() -> None:
    """Does what the arguments say."""
    what, directory = sys.argv[1], Path(sys.argv[2])
    if what == "fill":
        fill(directory, int(sys.argv[3]))
    else:
        print(json.dumps(asyncio.run(figures(directory))))


if __name__ == "__main__":
    main()
