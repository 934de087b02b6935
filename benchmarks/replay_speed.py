"""Replay of traces through driver, session and validation, as a multiple of real time; how late a paced one is."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from acquisition.catalogue import Catalogue
from acquisition.clock import NS
from acquisition.registry import build_driver
from acquisition.replay import Replayed, replay
from acquisition.trace import TraceHeader, TraceWriter
from benchmarks.messages import second
from benchmarks.result import Result

LINES = 20_000
SECONDS_OF_WAVES = 200
PACED_LINES = 200
PROFILE = "emtec_bioprott"


def measure() -> list[Result]:
    """A clamp-on flow sensor at the rate of a console and at its own, a monitor's waves, and a replay in real time."""
    with tempfile.TemporaryDirectory() as directory:
        flow, paced, waves = (Path(directory) / f"{name}.trace" for name in ("flow", "paced", "waves"))
        _write(flow, "delimited", (_line(number) for number in range(LINES)), NS)
        _write(paced, "delimited", (_line(number) for number in range(PACED_LINES)), NS // 20)
        messages = (second(number, waves=8, rate=250, numerics=0) for number in range(SECONDS_OF_WAVES))
        _write(waves, "hl7", messages, NS)
        line_s = _timed(flow, "delimited", PROFILE)[0] / LINES
        wave_s = _timed(waves, "hl7", None)[0] / SECONDS_OF_WAVES
        late = _timed(paced, "delimited", PROFILE, speed=1.0)[1]
    bare = sorted(asyncio.run(_bare_timer()))
    return [
        Result("replay, numerics once a second", 1 / line_s, "x real time", "at least 5,000"),
        Result("replay, numerics at 10 Hz", 0.1 / line_s, "x real time"),
        Result("replay, 8 waves at 250 Hz", 1 / wave_s, "x real time", "at least 200"),
        Result("replay in real time, 20 pieces a second: late by (p99)", late.pacing_ms(0.99), "ms", "under 5"),
        Result("of it a bare timer of the event loop: late by (p99)", bare[int(0.99 * len(bare))] * 1000, "ms"),
    ]


async def _bare_timer() -> list[float]:
    """How late, in seconds, the event loop itself wakes on this machine when nothing is replayed."""
    loop = asyncio.get_running_loop()
    start, late = loop.time(), []
    for number in range(PACED_LINES):
        due = start + number / 20
        await asyncio.sleep(max(0.0, due - loop.time()))
        late.append(loop.time() - due)
    return late


def _line(number: int) -> bytes:
    flow = f"{3500 + number % 50:>7}"
    return f"00 40 100 1.00 {flow} {flow} {flow}    +41 \r\n".encode("ascii")


def _write(trace: Path, driver: str, pieces: Iterable[bytes], every_ns: int) -> None:
    header = TraceHeader(link="serial:///dev/null", driver=driver, started="2026-01-01T00:00:00Z")
    with TraceWriter(trace, header) as writer:
        for number, piece in enumerate(pieces):
            writer.write(number * every_ns, "<", piece)


def _timed(trace: Path, name: str, profile: str | None, speed: float | None = None) -> tuple[float, Replayed]:
    driver = build_driver(name, profile, {}, Catalogue.shipped(), ())
    start = time.perf_counter()
    replayed = asyncio.run(replay(trace, driver, lambda _: None, speed=speed))
    return time.perf_counter() - start, replayed
