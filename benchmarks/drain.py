"""A backlog into a real server: ours, the same lines posted ready-made, and influxdb-client's batching writer.

influxdb-client writes through `/api/v2/write` alone, which InfluxDB knows from 1.8 on: both meet on VictoriaMetrics.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write.point import Point
from influxdb_client.client.write_api import WriteOptions

from acquisition.clock import NS, SystemClock
from acquisition.forwarder import Forwarder
from acquisition.interfaces import Sink
from acquisition.journal import Journal
from acquisition.lanes import Progress
from acquisition.model import Numerics, Observation, Waveform
from acquisition.sink_config import InfluxV1Config
from acquisition.sinks.influxdb import InfluxV1Sink, InfluxV2Sink
from acquisition.sinks.influxdb_servers import InfluxV1Server, InfluxV2Server
from benchmarks.result import Result
from tests.system.servers import Server, influxd, victoria_metrics

SECONDS = 1500
PEER_SECONDS = 60
ROUNDS = 3
WAVES, RATE, CHANNELS = 8, 250, 100
A_SECOND = WAVES * RATE + CHANNELS
T0 = 1_767_225_600 * NS
BATCH_POINTS: int = InfluxV1Config.model_fields["batch_points"].default
PEER_BATCH = 5000  # what InfluxData's documentation recommends


def measure() -> list[Result]:
    """Runs take turns, because the machine may be shared; the medians count."""
    return asyncio.run(_measure())


async def _measure() -> list[Result]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        await _fill(directory / "long", SECONDS)
        await _fill(directory / "short", PEER_SECONDS)
        async with influxd(directory / "influxd") as server:
            ceiling, ours = await _beside_the_ceiling(server, directory / "long")
        async with victoria_metrics(directory / "vm") as server:
            theirs, ours_there = await _beside_the_client(server, directory / "short")
    return [
        Result("drain into InfluxDB 1.6", ours, "values/s", "0.8 of the ceiling", "ready-made lines", ceiling),
        Result("drain into VictoriaMetrics", ours_there, "values/s", "5 x", "influxdb-client WriteApi", theirs),
    ]


def _second(at: int, noise: np.random.Generator) -> list[Observation]:
    phase = np.arange(at * RATE, (at + 1) * RATE) / RATE
    waves: list[Observation] = []
    for channel in range(WAVES):
        pressure = 800 + 200 * np.sin(2 * np.pi * 1.6 * phase + channel) + noise.normal(0, 3, RATE)
        raw = np.round(pressure).astype("<i4").tobytes()
        waves.append(
            Waveform(device="mon", channel=f"wf_{channel}", time_ns=T0 + at * NS, period_ns=NS // RATE, raw=raw,
                     scale=0.1)
        )  # fmt: skip
    values = {f"c{number}": 70.0 + (at * number) % 13 for number in range(CHANNELS)}
    return [*waves, Numerics(device="mon", time_ns=T0 + at * NS, values=values)]


async def _fill(directory: Path, seconds: int) -> None:
    noise = np.random.default_rng(1)
    async with Journal(directory, commit_interval_s=0.0) as journal:
        for at in range(seconds):
            await journal.append(_second(at, noise))


async def _drain(journal: Journal, sink: Sink[Any], name: str) -> float:
    """Seconds that the product takes for all of it."""
    forwarder = Forwarder(name, sink, journal, SystemClock(), rng=Random(1), batch_points=BATCH_POINTS)
    start = time.perf_counter()
    running = asyncio.create_task(forwarder.run())
    while True:
        done, _ = await asyncio.wait([running], timeout=0.005)
        if done or journal.progress(name) == Progress(journal.last_seq):
            break
    took = time.perf_counter() - start
    running.cancel()
    await asyncio.wait([running])
    return took


async def _beside_the_ceiling(server: Server, directory: Path) -> tuple[float, float]:
    """Values a second: the server's own, given the very bodies one after the other, and ours."""
    sink = InfluxV1Sink(InfluxV1Server(url=server.url, database="bench"), site="here", bed="b1")
    pairs: list[tuple[float, float]] = []
    async with Journal(directory) as journal:
        bodies = await _bodies(journal, sink)
        for number in range(ROUNDS):
            await _create(server)
            posting = await _post(bodies, sink)
            _expect(SECONDS * A_SECOND, await _in_influxd(server))
            await _create(server)
            draining = await _drain(journal, sink, f"run-{number}")
            _expect(SECONDS * A_SECOND, await _in_influxd(server))
            pairs.append((posting, draining))
    return _rates(SECONDS, pairs)


async def _beside_the_client(server: Server, directory: Path) -> tuple[float, float]:
    """Values a second: influxdb-client, which knows no API of InfluxDB 1.6, and ours, on the same other server."""
    pairs: list[tuple[float, float]] = []
    async with Journal(directory) as journal:
        batch = await journal.read(0, SECONDS * A_SECOND)
        for number in range(ROUNDS):
            writing = await asyncio.to_thread(_write, server.url, batch.observations, f"theirs-{number}")
            _expect(PEER_SECONDS * A_SECOND, await _in_victoria_metrics(server, f"theirs-{number}"))
            sink = InfluxV2Sink(InfluxV2Server(url=server.url, bucket="bench"), site="here", bed=f"ours-{number}")
            draining = await _drain(journal, sink, f"run-{number}")
            _expect(PEER_SECONDS * A_SECOND, await _in_victoria_metrics(server, f"ours-{number}"))
            pairs.append((writing, draining))
    return _rates(PEER_SECONDS, pairs)


async def _bodies(journal: Journal, sink: InfluxV1Sink) -> list[bytes]:
    bodies, at = list[bytes](), 0
    while at < journal.last_seq:
        batch = await journal.read(at, BATCH_POINTS)
        bodies.append(sink.prepare(batch.observations))
        at = batch.last_seq
    return bodies


async def _post(bodies: list[bytes], sink: InfluxV1Sink) -> float:
    async with sink:
        start = time.perf_counter()
        for body in bodies:
            await sink.deliver(body)
        return time.perf_counter() - start


def _write(url: str, observations: Sequence[Observation], bed: str) -> float:
    start = time.perf_counter()
    options = WriteOptions(batch_size=PEER_BATCH)
    with InfluxDBClient(url, token="", org="-") as client, client.write_api(options) as writer:
        for point in _points(observations, bed):
            writer.write("bench", record=point)
    return time.perf_counter() - start


def _points(observations: Sequence[Observation], bed: str) -> Iterator[Point]:
    for one in observations:
        tags = {"bed": bed, "device": one.device, "quality": "good", "site": "here"}
        if isinstance(one, Waveform):
            for number, value in enumerate(one.samples.tolist()):
                yield _point("waves", tags, {one.channel: value}, one.time_ns + number * one.period_ns)
        elif isinstance(one, Numerics):
            yield _point("numerics", tags, one.values, one.time_ns)


def _point(name: str, tags: Mapping[str, str], fields: Mapping[str, float], time_ns: int) -> Point:
    point = Point(name)  # type: ignore[no-untyped-call]  # the library has no annotations there
    for tag, text in tags.items():
        point.tag(tag, text)  # type: ignore[no-untyped-call]  # nor here
    for field, value in fields.items():
        point.field(field, value)  # type: ignore[no-untyped-call]  # nor here
    point.time(time_ns)  # type: ignore[no-untyped-call]  # nor here
    return point


async def _create(server: Server) -> None:
    for statement in ("DROP DATABASE bench", "CREATE DATABASE bench"):
        await server.get("/query", {"q": statement}, method="POST")


async def _in_influxd(server: Server) -> int:
    found = 0
    for statement in ("SELECT count(*) FROM waves", "SELECT count(*) FROM numerics"):
        answer = json.loads(await server.get("/query", {"db": "bench", "q": statement}))
        found += sum(answer["results"][0]["series"][0]["values"][0][1:])
    return found


async def _in_victoria_metrics(server: Server, bed: str) -> int:
    await server.get("/internal/force_flush")
    query = f'sum(count_over_time({{bed="{bed}"}}[{PEER_SECONDS + 2}s]))'
    until = str(T0 // NS + PEER_SECONDS)
    answer = json.loads(await server.get("/api/v1/query", {"query": query, "time": until, "nocache": "1"}))
    return int(answer["data"]["result"][0]["value"][1])


def _expect(sent: int, found: int) -> None:
    if found != sent:
        raise RuntimeError(f"{sent} values were sent, and {found} are there")


def _rates(seconds: int, pairs: list[tuple[float, float]]) -> tuple[float, float]:
    theirs, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
    return seconds * A_SECOND / theirs, seconds * A_SECOND / ours
