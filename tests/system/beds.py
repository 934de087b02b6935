"""A bed for system tests: configuration text, a daemon in this process, and questions to InfluxDB 1.x."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from acquisition.clock import Clock
from acquisition.config import load_config
from acquisition.daemon import Daemon
from tests.system.servers import Server

DATABASE = "ecmo"
PATIENCE_S = 90.0

HEAD = """\
[site]
site = "site-1"
bed = "bed-1"
timezone = "UTC"

[journal]
directory = "journal"
min_free_gb = {min_free_gb}
commit_interval_ms = {commit_ms}
"""


def device(name: str, driver: str, link: str, *lines: str) -> str:
    """A `[[device]]` table."""
    return "\n".join(["", "[[device]]", f'id = "{name}"', f'driver = "{driver}"', f'link = "{link}"', *lines, ""])


def v1_sink(server: Server) -> str:
    """A `[[sink]]` table for InfluxDB 1.x."""
    return f'\n[[sink]]\nid = "central"\ntype = "influxdb_v1"\nurl = "{server.url}"\ndatabase = "{DATABASE}"\n'


def write_config(directory: Path, *tables: str, commit_ms: int = 200, min_free_gb: float = 0) -> Path:
    """The configuration file of the bed."""
    path = directory / "bed.toml"
    path.write_text(HEAD.format(commit_ms=commit_ms, min_free_gb=min_free_gb) + "".join(tables), encoding="utf-8")
    return path


@contextlib.asynccontextmanager
async def daemon(config: Path, clock: Clock | None = None) -> AsyncIterator[Daemon]:
    """A daemon that runs in this process for the length of the block."""
    running = Daemon(load_config(config, for_sinks=False), clock=clock)
    task = asyncio.create_task(running.run())
    try:
        yield running
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def rows(server: Server, query: str) -> list[list[Any]]:
    """What InfluxDB 1.x answers, times in nanoseconds, all series one after the other."""
    answer = json.loads(await server.get("/query", {"db": DATABASE, "epoch": "ns", "q": query}))
    return [row for series in answer["results"][0].get("series", []) for row in series["values"]]


async def until(condition: Callable[[], bool | Awaitable[bool]], patience_s: float = PATIENCE_S) -> None:
    """Waits for something of another process or server, looking ten times a second.

    Raises:
        TimeoutError: it did not come about.
    """
    async with asyncio.timeout(patience_s):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.1)


def consecutive(values: list[float]) -> bool:
    """Whether a counter was seen at each of its steps exactly once."""
    numbers = sorted(int(value) for value in values)
    return numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else False


def delivered(running: Daemon) -> int:
    """Points that the daemon's sinks took since it started."""
    return sum(forwarder.status.delivered for forwarder in running.forwarders)
