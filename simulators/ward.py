"""Scenarios without wires, and many beds at once."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from acquisition.clock import NS, ScaledClock, from_rfc3339
from simulators.life import Life
from simulators.scenario import Scenario
from simulators.truth import TruthWriter

EPOCH_NS = from_rfc3339("2026-01-01T00:00:00Z")
"""When a scenario without wires begins, so that the same one gives the same file."""
TURN_S = 60.0
PACED_TURN_S = 0.1
PATIENCE_S = 20.0
HOUR_S = 3600


async def run_scenario(scenario: Scenario, path: Path, speed: float | None, tell: Callable[[str], None]) -> None:
    """Lives through a scenario and writes the ground truth.

    Args:
        scenario: What happens.
        path: Of the new file.
        speed: How much faster than real; None as fast as the processor goes.
        tell: Gets a sentence at the end: how much was lived through, and how fast.
    """
    life = Life(scenario)
    clock = ScaledClock(speed or 1.0)
    start = clock.now().mono_ns
    try:
        with TruthWriter(path, life, EPOCH_NS) as truth:
            while not life.over:
                turn = TURN_S if speed is None else PACED_TURN_S * speed
                truth.live_until(min(scenario.duration_s, life.time_s + turn))
                due = start + round(life.time_s * NS)
                await asyncio.sleep(0.0 if speed is None else clock.seconds_until(due))
    finally:
        took_s = max(1e-9, (clock.now().mono_ns - start) / NS / (speed or 1.0))
        whole = "" if life.over else f" of {scenario.duration_s / HOUR_S:g}; STOPPED, the truth ends there"
        tell(f"{life.time_s / HOUR_S:.4g} h{whole}: {life.time_s / took_s:,.0f} times as fast as real")


async def run_ward(beds: int, directory: Path, scenario: str, devices: Sequence[str], speed: float) -> None:
    """Runs beds, each in a process of its own, until cancelled.

    Args:
        beds: How many.
        directory: Each bed gets `bed-01`, `bed-02` and so on in it.
        scenario: Name or path.
        devices: At each bed.
        speed: How much faster than real.
    """
    words = [sys.executable, "-m", "simulators.cli", "bed", scenario, "--devices", ",".join(devices)]
    running: list[asyncio.subprocess.Process] = []
    try:
        for number in range(1, beds + 1):
            place = directory / f"bed-{number:02d}"
            more = ["--dir", str(place), "--speed", str(speed), "--seed", str(number)]
            running.append(await asyncio.create_subprocess_exec(*words, *more, start_new_session=True))
        await asyncio.gather(*(bed.wait() for bed in running))
    finally:
        for bed in running:
            with contextlib.suppress(ProcessLookupError):
                bed.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*(bed.wait() for bed in running))
        for bed in running:
            if bed.returncode is None:
                bed.kill()
