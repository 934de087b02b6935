"""Replay of numerics through driver, session and validation, as a multiple of real time."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from acquisition.catalogue import Catalogue
from acquisition.registry import build_driver
from acquisition.replay import replay
from acquisition.trace import TraceHeader, TraceWriter
from benchmarks.result import Result

LINES = 20_000
NS_PER_LINE = 100_000_000


def measure() -> list[Result]:
    """A clamp-on flow sensor, ten lines a second."""
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(directory) / "flow.trace"
        header = TraceHeader(link="serial:///dev/null", driver="delimited", started="2026-01-01T00:00:00Z")
        with TraceWriter(trace, header) as writer:
            for number in range(LINES):
                flow = f"{3500 + number % 50:>7}"
                line = f"00 40 100 1.00 {flow} {flow} {flow}    +41 \r\n".encode("ascii")
                writer.write(number * NS_PER_LINE, "<", line)
        driver = build_driver("delimited", "emtec_bioprott", {}, Catalogue.shipped(), ())
        start = time.perf_counter()
        asyncio.run(replay(trace, driver, lambda _: None))
        elapsed = time.perf_counter() - start
    return [Result("replay, numerics at 10 Hz", LINES * NS_PER_LINE / 1e9 / elapsed, "x real time")]
