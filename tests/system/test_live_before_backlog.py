"""Promise 2 on a real InfluxDB: live data stays live while the backlog drains."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from acquisition.clock import Clock, SystemClock
from acquisition.forwarder import Forwarder
from acquisition.journal import Journal
from acquisition.lanes import Progress
from acquisition.model import Numerics, Observation, Quality, Waveform
from acquisition.sinks.influxdb import InfluxV1Sink
from acquisition.sinks.influxdb_servers import InfluxV1Server
from tests.system.beds import DATABASE, rows, until
from tests.system.servers import Server, influxd

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(400)]

NS = 1_000_000_000
CHANNELS = ("wf_abp", "wf_ecg_ii", "wf_resp", "wf_spo2")
SECONDS = 1000
SAMPLES = SECONDS * 500 * len(CHANNELS)


async def fill(directory: Path, until_ns: int) -> None:
    """Four channels at 500 Hz as a monitor sends them, a second at a time; up to an hour before `until_ns`."""
    begin = until_ns - 3600 * NS - SECONDS * NS
    noise = np.random.default_rng(1)
    async with Journal(directory, commit_interval_s=0.0) as journal:
        for second in range(SECONDS):
            raws = [noise.integers(600, 1400, 500).astype("<i4").tobytes() for _ in CHANNELS]
            group: list[Observation] = [
                Waveform(
                    device="mon", channel=name, time_ns=begin + second * NS, period_ns=2_000_000, raw=raw, scale=0.1
                )
                for name, raw in zip(CHANNELS, raws, strict=True)
            ]
            await journal.append(group)


@asynccontextmanager
async def forwarding(server: Server, journal: Journal) -> AsyncIterator[Forwarder]:
    sink = InfluxV1Sink(InfluxV1Server(url=server.url, database=DATABASE), site="here", bed="bed-1")
    forwarder = Forwarder("central", sink, journal, SystemClock(), rng=random.Random(1))
    task = asyncio.create_task(forwarder.run())
    try:
        yield forwarder
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def live(journal: Journal, clock: Clock, until_seq: int) -> list[int]:
    """Appends a reading a second until most of the backlog is gone; returns their times."""
    times: list[int] = []
    while journal.progress("central").cursor < until_seq:
        times.append(clock.now().utc_ns)
        reading = Numerics(device="mon", time_ns=times[-1], values={"hr": 60.0}, quality={"hr": Quality.GOOD})
        await journal.append([reading])
        await asyncio.sleep(1.0)
    return times


async def watch(server: Server, seen: Callable[[int], None]) -> None:
    """Tells of each live reading, once it can be read from the server."""
    known: set[int] = set()
    while True:
        found = {row[0] for row in await rows(server, "SELECT hr FROM numerics")}
        for time_ns in sorted(found - known):
            seen(time_ns)
        known |= found
        await asyncio.sleep(0.02)


async def test_every_live_reading_arrives_while_the_backlog_drains_and_everything_is_there_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SystemClock()
    await fill(tmp_path / "journal", clock.now().utc_ns)
    async with influxd(tmp_path / "influxd", DATABASE) as server, Journal(tmp_path / "journal") as journal:
        backlog_end = journal.last_seq
        delays: dict[int, float] = {}
        behind: list[int] = []

        def seen(time_ns: int) -> None:
            delays[time_ns] = (clock.now().utc_ns - time_ns) / NS
            behind.append(journal.progress("central").cursor)

        watching = asyncio.create_task(watch(server, seen))
        async with forwarding(server, journal) as forwarder:
            begin = clock.now().mono_ns
            times = await live(journal, clock, backlog_end * 3 // 4)
            await until(lambda: journal.progress("central") == Progress(journal.last_seq), 200)
            took = (clock.now().mono_ns - begin) / NS
            assert forwarder.status.delivered == SAMPLES + len(times), "nothing was sent twice"
        await until(lambda: len(delays) == len(times))
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert len(times) >= 3
        assert sorted(delays) == times
        assert max(behind) < backlog_end, "each could be read before the backlog was empty"
        ((_, *counts),) = await rows(server, f"SELECT {', '.join(f'count({name})' for name in CHANNELS)} FROM waves")
        assert counts == [500 * SECONDS] * len(CHANNELS)
        assert journal.backlog("central") == 0
    late = sorted(delays.values())
    with capsys.disabled():
        print(
            f"\n{len(late)} live readings: median {np.median(late):.2f} s, p99 {np.percentile(late, 99):.2f} s, worst "
            f"{late[-1]:.2f} s; {SAMPLES:,} samples drained in {took:.1f} s, {SAMPLES / took:,.0f} points/s"
        )
