from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import numpy as np
import pytest

from acquisition.clock import SystemClock
from acquisition.errors import SinkRefusedError, SinkRejectedError
from acquisition.forwarder import Forwarder, ForwarderState
from acquisition.interfaces import Sink
from acquisition.journal.journal import Journal
from acquisition.model import MISSING_COUNT, Event, EventKind, Numerics, Observation, Quality, State, Waveform
from acquisition.sinks.influxdb import InfluxV1Sink, InfluxV2Sink
from acquisition.sinks.influxdb_servers import InfluxV1Server, InfluxV2Server
from acquisition.sinks.mqtt import MqttSink
from tests.system.servers import Server, influxd, mosquitto, victoria_metrics

pytestmark = pytest.mark.system

NOON = 1_767_268_800_123_456_789
SECOND = 1_000_000_000

HEART = Numerics(
    device="mon",
    time_ns=NOON,
    values={"hr": 80.0, "abp_mean": 78.30000000000001, "spo2": 1e-7},
    states={"cvp": State.NOT_CONNECTED},
    quality={"hr": Quality.GOOD, "abp_mean": Quality.GOOD, "spo2": Quality.SUSPECT},
)
PRESSURE = Waveform(
    device="mon",
    channel="wf_abp",
    time_ns=NOON,
    period_ns=8_000_000,
    raw=np.array([1200, MISSING_COUNT, -7, 3], dtype="<i4").tobytes(),
    scale=0.1,
)
ALARM = Event(
    device="mon", time_ns=NOON, event=EventKind.ALARM, text='ABP "low", µ=\\', detail={"limit": 60.5, "units": "mm[Hg]"}
)


def v1(server: Server) -> InfluxV1Sink:
    return InfluxV1Sink(
        InfluxV1Server(url=server.url, database="ecmo"), site="St. Mary, A=B", bed="bed 1", timeout_s=2.0
    )


async def rows(server: Server, query: str) -> list[list[Any]]:
    """What InfluxDB 1.x answers, times in nanoseconds, all series of the answer one after the other."""
    answer = json.loads(await server.get("/query", {"db": "ecmo", "epoch": "ns", "q": query}))
    return [row for series in answer["results"][0].get("series", []) for row in series["values"]]


async def until(holds: Callable[[], bool | Awaitable[bool]], patience_s: float = 90.0) -> None:
    for _ in range(int(patience_s / 0.05)):
        held = holds()
        if held if isinstance(held, bool) else await held:
            return
        await asyncio.sleep(0.05)
    pytest.fail("it never came to hold")


@asynccontextmanager
async def forwarding(sink: Sink[Any], journal: Journal, batch_points: int = 5000) -> AsyncIterator[Forwarder]:
    forwarder = Forwarder(
        "central",
        sink,
        journal,
        SystemClock(),
        rng=random.Random(1),
        batch_points=batch_points,
        max_backoff_s=0.2,
    )
    task = asyncio.create_task(forwarder.run())
    try:
        yield forwarder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_values_and_nanoseconds_arrive_exactly_in_influxdb_1(tmp_path: Path) -> None:
    async with influxd(tmp_path, "ecmo") as server:
        async with v1(server) as sink:
            await sink.deliver(sink.prepare([HEART, PRESSURE, ALARM]))
        assert await rows(server, "SELECT hr, abp_mean FROM numerics WHERE quality = 'good'") == [
            [NOON, 80.0, 78.30000000000001]
        ]
        assert await rows(server, "SELECT spo2 FROM numerics WHERE quality = 'suspect'") == [[NOON, 1e-7]]
        assert await rows(server, "SELECT cvp_state FROM numerics WHERE quality = 'bad'") == [[NOON, "not_connected"]]
        samples = [[NOON, 120.0], [NOON + 16_000_000, -0.7], [NOON + 24_000_000, 0.3]]
        assert await rows(server, "SELECT wf_abp FROM waves WHERE quality = 'good'") == samples
        here = "SELECT wf_abp FROM waves WHERE site = 'St. Mary, A=B' AND bed = 'bed 1' AND device = 'mon'"
        assert await rows(server, here) == samples
        ((time, text, detail),) = await rows(server, "SELECT text, detail FROM events WHERE kind = 'alarm'")
        assert (time, text, json.loads(detail)) == (NOON, ALARM.text, ALARM.detail)


async def test_a_database_that_does_not_exist_is_a_persons_business(tmp_path: Path) -> None:
    async with influxd(tmp_path) as server, v1(server) as sink:
        with pytest.raises(SinkRefusedError, match=r'database not found: "ecmo".*database exists'):
            await sink.deliver(sink.prepare([HEART]))


async def test_victoriametrics_keeps_milliseconds_and_fifteen_digits_and_makes_zeros_of_strings(tmp_path: Path) -> None:
    async with victoria_metrics(tmp_path) as server:
        async with InfluxV2Sink(InfluxV2Server(url=server.url, bucket="ecmo"), site="here", bed="bed-1") as sink:
            await sink.deliver(sink.prepare([HEART, PRESSURE, ALARM]))
        await server.get("/internal/force_flush")
        exported = await server.get("/api/v1/export", {"match[]": '{bed="bed-1"}'})
    series = {}
    for line in exported.splitlines():
        one = json.loads(line)
        labels = one["metric"]
        assert (labels["site"], labels["device"]) == ("here", "mon")
        series[labels["__name__"], labels.get("quality", labels.get("kind"))] = list(
            zip(one["timestamps"], one["values"], strict=True)
        )
    noon_ms = NOON // 1_000_000
    assert series == {
        ("numerics_hr", "good"): [(noon_ms, 80)],
        ("numerics_abp_mean", "good"): [(noon_ms, 78.3)],
        ("numerics_spo2", "suspect"): [(noon_ms, 1e-7)],
        ("numerics_cvp_state", "bad"): [(noon_ms, 0)],
        ("waves_wf_abp", "good"): [(noon_ms, 120), (noon_ms + 16, -0.7), (noon_ms + 24, 0.3)],
        ("events_text", "alarm"): [(noon_ms, 0)],
        ("events_detail", "alarm"): [(noon_ms, 0)],
    }


async def test_an_outage_in_the_middle_loses_nothing_and_nothing_is_there_twice(tmp_path: Path) -> None:
    async with (
        influxd(tmp_path / "influx", "ecmo") as server,
        Journal(tmp_path / "journal", commit_interval_s=0.02) as journal,
        forwarding(v1(server), journal, batch_points=300) as forwarder,
    ):
        for second in range(20):
            time = NOON + second * SECOND
            raw = np.arange(second * 125, second * 125 + 125, dtype="<i4").tobytes()
            await journal.append(
                [
                    Numerics(device="mon", time_ns=time, values={"hr": 80.0 + second}),
                    Waveform(device="mon", channel="wf_abp", time_ns=time, period_ns=8_000_000, raw=raw),
                ]
            )
            if second == 5:
                await until(lambda: forwarder.status.delivered > 0)
                await server.kill()
            if second == 12:
                await until(lambda: forwarder.status.state is ForwarderState.WAITING)
                assert forwarder.status.last_error
                await server.start()
        await until(lambda: forwarder.status.cursor == journal.last_seq)
        assert journal.quarantined() == []
        assert await rows(server, "SELECT hr FROM numerics") == [[NOON + at * SECOND, 80.0 + at] for at in range(20)]
        assert await rows(server, "SELECT count(distinct(wf_abp)), count(wf_abp) FROM waves") == [[0, 2500, 2500]]
        assert await rows(server, "SELECT wf_abp FROM waves") == [[NOON + at * 8_000_000, at] for at in range(2500)]


async def test_a_type_conflict_is_quarantined_with_the_servers_reason_and_its_neighbours_are_stored(
    tmp_path: Path,
) -> None:
    async with influxd(tmp_path / "influx", "ecmo") as server, Journal(tmp_path / "journal") as journal:
        async with v1(server) as sink:
            # Somebody has made a string of the field. InfluxDB 1.x fixes types per shard, so within the same week.
            await sink.deliver(
                sink.prepare([Numerics(device="mon", time_ns=NOON - 1, values={}, states={"cvp": State.OFF})])
            )
            with pytest.raises(SinkRejectedError, match="field type conflict"):
                await sink.deliver(sink.prepare([Numerics(device="mon", time_ns=NOON - 2, values={"cvp_state": 1.0})]))
        async with forwarding(v1(server), journal) as forwarder:
            batch: list[Observation] = [
                Numerics(device="mon", time_ns=NOON + at, values={"hr": 80.0 + at}) for at in range(50)
            ]
            batch[20] = Numerics(device="mon", time_ns=NOON + 20, values={"hr": 100.0, "cvp_state": 1.0, "temp": 37.0})
            await journal.append(batch)
            await until(lambda: forwarder.status.cursor == journal.last_seq)
        (quarantined,) = journal.quarantined("central")
        assert json.loads(quarantined.line)["values"] == {"cvp_state": 1.0}
        assert "field type conflict" in quarantined.reason
        assert "cvp_state" in quarantined.reason
        assert await rows(server, "SELECT hr FROM numerics") == [
            [NOON + at, 100.0 if at == 20 else 80.0 + at] for at in range(50)
        ]
        assert await rows(server, "SELECT temp FROM numerics") == [[NOON + 20, 37.0]]


async def test_a_second_client_of_mosquitto_receives_every_message_and_the_birth(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as server:
        async with aiomqtt.Client("127.0.0.1", server.port) as client:
            await client.subscribe("#", qos=1)
            async with MqttSink(host="127.0.0.1", port=server.port, site="here", bed="bed-1") as sink:
                await sink.deliver(sink.prepare([HEART, PRESSURE, ALARM]))
            received = [await anext(client.messages) for _ in range(5)]
        topics = [message.topic.value.removeprefix("ecmo/here/bed-1/") for message in received]
        assert topics == ["status", "mon/numerics", "mon/waveform/wf_abp", "mon/event", "status"]
        birth, numerics, wave, event, goodbye = (str(message.payload, "utf-8") for message in received)
        assert (birth, goodbye) == ("online", "offline")
        assert Numerics.model_validate_json(numerics) == HEART
        assert json.loads(wave)["samples"] == [120.0, None, -0.7, 0.3]
        assert Event.model_validate_json(event) == ALARM
        async with aiomqtt.Client("127.0.0.1", server.port) as late:
            await late.subscribe("#", qos=1)
            retained = await anext(late.messages)
        assert (retained.topic.value, retained.payload) == ("ecmo/here/bed-1/status", b"offline")


PUBLISHER = """
import asyncio, sys
from acquisition.model import Numerics
from acquisition.sinks.mqtt import MqttSink

async def main():
    async with MqttSink(host="127.0.0.1", port=int(sys.argv[1]), site="here", bed="bed-1") as sink:
        await sink.deliver(sink.prepare([Numerics(device="mon", time_ns=1, values={"hr": 80.0})]))
        print("delivered", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_the_last_will_tells_of_a_daemon_that_was_killed(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as server, aiomqtt.Client("127.0.0.1", server.port) as client:
        await client.subscribe("ecmo/here/bed-1/status", qos=1)
        daemon = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PUBLISHER, str(server.port), stdout=asyncio.subprocess.PIPE
        )
        assert daemon.stdout is not None
        assert await daemon.stdout.readline() == b"delivered\n"
        assert (await anext(client.messages)).payload == b"online"
        daemon.kill()
        await daemon.wait()
        assert (await anext(client.messages)).payload == b"offline"


async def test_a_broker_that_restarts_gets_what_it_missed(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path / "broker") as server,
        Journal(tmp_path / "journal", commit_interval_s=0.02) as journal,
        forwarding(
            MqttSink(host="127.0.0.1", port=server.port, site="here", bed="bed-1", timeout_s=1.0), journal
        ) as forwarder,
    ):
        await journal.append([Numerics(device="mon", time_ns=1, values={"hr": 1.0})])
        await until(lambda: forwarder.status.cursor == journal.last_seq)
        await server.kill()
        await journal.append([Numerics(device="mon", time_ns=2, values={"hr": 2.0})])
        await until(lambda: forwarder.status.state is ForwarderState.WAITING)
        await server.start()
        await until(lambda: forwarder.status.cursor == journal.last_seq)
        assert forwarder.status.delivered == 2
