"""The journal alone: synced appends and what they cost on disk."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np

from acquisition.journal.journal import Journal
from acquisition.model import Numerics, Observation, Waveform
from benchmarks.disk import fsync_s, median
from benchmarks.processes import scratch
from benchmarks.result import Result

SECONDS = 400
RATE = 500
CHANNELS = 40
GROUPS = 1000
T0 = 1_767_225_600_000_000_000


def measure() -> list[Result]:
    """Blocks of a second from eight waves; numerics of forty channels."""
    phase = np.arange(SECONDS * RATE) / RATE
    pressure = np.round(800 + 200 * np.sin(2 * np.pi * 1.6 * phase)).astype("<i4")
    waves: list[list[Observation]] = [
        [
            Waveform(device="mon", channel=f"w{channel}", time_ns=T0 + at * 10**9, period_ns=10**9 // RATE,
                     raw=pressure[at * RATE : (at + 1) * RATE].tobytes(), scale=0.1)
            for channel in range(8)
        ]
        for at in range(SECONDS)
    ]  # fmt: skip
    numerics: list[list[Observation]] = [
        [
            Numerics(device="mon", time_ns=T0 + at * 10**9,
                     values={f"c{number}": 70.0 + (at * number) % 13 for number in range(CHANNELS)})
        ]
        for at in range(10 * SECONDS)
    ]  # fmt: skip
    samples, values = SECONDS * 8 * RATE, 10 * SECONDS * CHANNELS
    wave_rate = samples / asyncio.run(_append(waves))
    value_rate = values / asyncio.run(_append(numerics))
    with scratch() as directory:
        syncs = fsync_s(directory, GROUPS)
        groups = asyncio.run(_append_alone(directory / "journal", numerics[:GROUPS]))
    return [
        Result("append, waves, synced", wave_rate, "samples/s", "1,000,000 on one core"),
        Result("append, numerics, synced", value_rate, "values/s", "150,000 on one core"),
        Result("append, a group for each message, each awaited", 1 / median(groups), "groups/s", "", "fsync of a page",
               1 / median(syncs), f"by medians; {CHANNELS} values in a message, no commit interval"),
    ]  # fmt: skip


async def _append(turns: list[list[Observation]]) -> float:
    with scratch() as directory:
        start = time.perf_counter()
        async with Journal(directory, commit_interval_s=0.2) as journal:
            futures = []
            for turn in turns:
                futures.append(journal.append(turn))
                await asyncio.sleep(0)
            await asyncio.gather(*futures)
        return time.perf_counter() - start


async def _append_alone(directory: Path, turns: list[list[Observation]]) -> list[float]:
    """Seconds of each, in the order of length: the way of a monitor that waits for each acknowledgement."""
    taken = []
    async with Journal(directory, commit_interval_s=0) as journal:
        for turn in turns:
            start = time.perf_counter()
            await journal.append(turn)
            taken.append(time.perf_counter() - start)
    return sorted(taken)
