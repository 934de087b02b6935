"""Append, drain, open and status of a journal that holds a hundred times as much: they should cost the same."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from acquisition.journal import Journal, summary
from acquisition.model import Observation, Waveform
from benchmarks.processes import BUILD, scratch
from benchmarks.result import Result

ROUNDS = 3
SMALL = 10**6
LARGE = (10**8, 10**9) if os.environ.get("FULL") else (10**8,)
"""A thousand million samples, with FULL=1, need 2 GB of disk and some minutes."""

MIDNIGHT = 1_767_225_600_000_000_000
CHANNELS, RATE, BLOCK_S = 8, 250, 10
BLOCK = CHANNELS * RATE * BLOCK_S
STEP_NS = BLOCK_S * 10**9
BLOCKS_A_DAY = 86_400 // BLOCK_S
FIGURES = {
    "append": ("append of 0.2 s of 8 waves, synced, alone in its group", "ms"),
    "drain": ("drain: 5,000 points read at the front of the backlog", "ms"),
    "open": ("open: start of the journal", "ms"),
    "stat": ("status: journal stat", "ms"),
    "backlog": ("status: backlog and oldest unsent of a sink that has nothing", "ms"),
    "memory": ("resident memory of a process that did all this", "MB"),
}


def measure(small: int = SMALL, large: tuple[int, ...] = LARGE) -> list[Result]:
    """Fresh processes with each journal in turn, so that a busy moment hits all alike; the small one is the peer."""
    with scratch() as directory:
        sizes = (small, *large)
        for samples in sizes:
            _child("fill", directory / str(samples), str(samples))
        rounds = [
            {samples: json.loads(_child("figures", directory / str(samples))) for samples in sizes}
            for _ in range(ROUNDS)
        ]
    names = rounds[0][small].keys()
    best = {samples: {name: min(each[samples][name] for each in rounds) for name in names} for samples in sizes}
    return [row for samples in large for row in _rows(samples, best[samples], small, best[small])]


def _rows(samples: int, after: Mapping[str, float], small: int, before: Mapping[str, float]) -> list[Result]:
    note = f"{after['files']:.0f} day files beside {before['files']:.0f}"
    return [
        Result(f"{what}, {_told(samples)} samples", after[name], unit, "ratio 0.9 to 1.1", f"{_told(small)} samples",
               before[name], note)
        for name, (what, unit) in FIGURES.items()
    ]  # fmt: skip


def fill(directory: Path, samples: int) -> None:
    """Makes a journal of so many samples of pulsating pressure, ten seconds of a bed in a group."""
    # A group is ten seconds here and not 0.2, so that sums stand as closely in the file as those of a real bed.
    summary.FLUSH_GROUPS = summary.FLUSH_GROUPS * 2 // (10 * BLOCK_S)
    shapes = [_shape(channel) for channel in range(CHANNELS)]
    asyncio.run(_fill(directory, samples, shapes))


async def _fill(directory: Path, samples: int, shapes: list[list[bytes]]) -> None:
    blocks = samples // BLOCK
    # The oldest blocks are of a day that is over, whatever the size: today's file is read a little faster.
    start = MIDNIGHT - min(BLOCKS_A_DAY, blocks // 2) * STEP_NS
    async with Journal(directory, commit_interval_s=0) as journal:
        for number in range(blocks):
            keys = [("mon", f"B{number * BLOCK_S + second}") for second in range(BLOCK_S)]
            await journal.append(_group(start + number * STEP_NS, number, shapes), keys)


def _group(time_ns: int, number: int, shapes: list[list[bytes]]) -> list[Observation]:
    return [
        Waveform(device="mon", channel=f"w{channel}", time_ns=time_ns, period_ns=10**9 // RATE,
                 raw=shape[number % len(shape)], scale=0.1)
        for channel, shape in enumerate(shapes)
    ]  # fmt: skip


def _shape(channel: int) -> list[bytes]:
    """Blocks of an arterial pressure in tenths of mmHg: harmonics, breathing and the last digit's noise."""
    chance = np.random.default_rng(channel)
    phase = 2 * np.pi * (1.2 + 0.1 * channel) * np.arange(16 * RATE * BLOCK_S) / RATE
    pulse = 160 * np.sin(phase) + 80 * np.sin(2 * phase + 1) + 30 * np.sin(3 * phase + 2) + 20 * np.sin(phase / 5)
    counts = np.round(900 + pulse + chance.normal(0, 1.5, phase.size)).astype("<i4")
    return [block.tobytes() for block in np.split(counts, 16)]


def _child(*arguments: object) -> str:
    command = [sys.executable, "-m", "benchmarks.growth_child", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(BUILD.parent)}
    return subprocess.run(
        command, cwd=BUILD.parent, env=environment, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def _told(samples: int) -> str:
    return f"10^{len(str(samples)) - 1}"
