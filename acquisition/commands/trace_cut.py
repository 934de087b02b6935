"""Cuts a window out of a trace so that it still replays: with as much of the conversation's opening as that takes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from acquisition.clock import NS
from acquisition.commands.trace_info import cut_trace
from acquisition.driver import Driver
from acquisition.model import Event, Observation, json_line
from acquisition.replay import replay

OPENINGS = (0, 2, 4, 6, 8, 12, 16, 24, 32, 48)
"""Pieces of the opening that are tried. A driver asks questions first, associates, or learns what the device is."""
SETTLING_NS = NS
"""What a driver may miss at the beginning of a window: a line that began before it, a poll that was under way."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """How a window was cut.

    Attributes:
        pieces: Written, the opening's among them.
        opening: Pieces of the conversation's opening, moved to directly before the window.
        readings: Of the window, in the whole trace.
        kept: How many of them the new trace replays to.
        damage: What is wrong with the source, or "".
    """

    pieces: int
    opening: int
    readings: int
    kept: int
    damage: str


async def cut_excerpt(source: Path, target: Path, from_ns: int, to_ns: int, build: Callable[[], Driver]) -> Excerpt:
    """Writes the window to a new trace that replays to the very readings which the whole trace has there, if any does.

    The shortest opening is taken with which it does and which gives no reading itself, since its time is not true.

    Args:
        source: The trace.
        target: A file that does not exist yet.
        from_ns: UTC of the first instant.
        to_ns: UTC after the last one.
        build: Makes a fresh driver.

    Raises:
        TraceError: a file cannot be read or written.
    """
    inside = [(at, line) for at, line in await _readings(source, build()) if from_ns <= at < to_ns]
    wanted = {line for _, line in inside}
    settled = {line for at, line in inside if at >= from_ns + SETTLING_NS}
    best, most = (0, False), -1
    with tempfile.TemporaryDirectory() as directory:
        for number, (of_first, opening) in enumerate(product((False, True), OPENINGS)):
            candidate = Path(directory) / f"{number}.trace"
            cut_trace(source, candidate, from_ns, to_ns, None, opening=opening, of_first=of_first)
            found = await _readings(candidate, build())
            if any(at < from_ns for at, _ in found):
                continue
            lines = {line for _, line in found}
            if len(lines & wanted) > most:
                best, most = (opening, of_first), len(lines & wanted)
            if settled <= lines:
                break
    opening, of_first = best
    pieces, damage = cut_trace(source, target, from_ns, to_ns, None, opening=opening, of_first=of_first)
    return Excerpt(pieces, opening, len(wanted), max(0, most), damage)


async def _readings(trace: Path, driver: Driver) -> list[tuple[int, str]]:
    readings: list[tuple[int, str]] = []

    def take(observation: Observation) -> None:
        if not isinstance(observation, Event):
            readings.append((observation.time_ns, json_line(observation)))

    await replay(trace, driver, take)
    return readings
