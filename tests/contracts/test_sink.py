from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import numpy as np
import pytest

from acquisition.errors import SinkRefusedError, SinkUnavailableError
from acquisition.interfaces import Sink
from acquisition.model import Event, EventKind, Numerics, Observation, Quality, State, Waveform, json_line
from acquisition.sinks.influxdb import InfluxV1Sink, InfluxV2Sink
from acquisition.sinks.influxdb_servers import InfluxV1Server, InfluxV2Server
from acquisition.sinks.line_protocol import render
from acquisition.sinks.mqtt import MqttSink
from tests.acquisition.scripted_influx import Answer, ScriptedInflux, scripted_influx
from tests.acquisition.strict_line_protocol import parse
from tests.contracts.cables import Relay, listener
from tests.system.servers import free_port, mosquitto

PASS = "-".join(["open", "sesame"])
WRONG = "-".join(["not", "a", "token"])


class Destination(ABC):
    """A sink's server, as the contract needs it."""

    @abstractmethod
    def sink(self, port: int, *, secret: str = PASS, timeout_s: float = 5.0) -> Sink[Any]:
        """A sink that delivers to that port."""

    @abstractmethod
    def running(
        self, directory: Path
    ) -> contextlib.AbstractAsyncContextManager[tuple[int, Callable[[], Counter[Hashable]]]]:
        """A server that takes everything from whoever has PASS: its port, and what it has got."""

    @abstractmethod
    def refusing(self, directory: Path) -> contextlib.AbstractAsyncContextManager[int]:
        """A server that takes nothing from whoever has WRONG."""

    @abstractmethod
    def items(self, observations: Sequence[Observation]) -> set[Hashable]:
        """What the server should have got, in the form that `running` gives it."""


class Influx(Destination):
    def __init__(self, version: int) -> None:
        self._version = version

    def sink(self, port: int, *, secret: str = PASS, timeout_s: float = 5.0) -> Sink[Any]:
        url = f"http://127.0.0.1:{port}"
        if self._version == 1:
            return InfluxV1Sink(
                InfluxV1Server(url=url, database="d", username="u", password=secret),
                site="here",
                bed="b1",
                timeout_s=timeout_s,
            )
        return InfluxV2Sink(
            InfluxV2Server(url=url, bucket="d", token=secret), site="here", bed="b1", timeout_s=timeout_s
        )

    @asynccontextmanager
    async def running(self, directory: Path) -> AsyncIterator[tuple[int, Callable[[], Counter[Hashable]]]]:
        async with scripted_influx() as server:
            yield server.port, lambda: self._got(server)

    @staticmethod
    def _got(server: ScriptedInflux) -> Counter[Hashable]:
        return Counter(point for request in server.requests for point in request.points)

    @asynccontextmanager
    async def refusing(self, directory: Path) -> AsyncIterator[int]:
        async with scripted_influx(Answer(401, '{"error":"authorization failed"}')) as server:
            yield server.port

    def items(self, observations: Sequence[Observation]) -> set[Hashable]:
        return set(parse(render(observations, site="here", bed="b1")))


class Mqtt(Destination):
    def sink(self, port: int, *, secret: str = PASS, timeout_s: float = 5.0) -> Sink[Any]:
        return MqttSink(
            host="127.0.0.1", port=port, username="u", password=secret, site="here", bed="b1", timeout_s=timeout_s
        )

    @asynccontextmanager
    async def running(self, directory: Path) -> AsyncIterator[tuple[int, Callable[[], Counter[Hashable]]]]:
        got: Counter[Hashable] = Counter()

        async def listen(client: aiomqtt.Client) -> None:
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                if not message.topic.matches("+/+/+/status"):
                    got[message.payload.decode()] += 1

        async with (
            mosquitto(directory, users={"u": PASS}) as server,
            aiomqtt.Client("127.0.0.1", server.port, username="u", password=PASS) as client,
        ):
            await client.subscribe("ecmo/here/b1/#", qos=1)
            listening = asyncio.create_task(listen(client))
            try:
                yield server.port, lambda: got
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    @asynccontextmanager
    async def refusing(self, directory: Path) -> AsyncIterator[int]:
        async with mosquitto(directory, users={"u": PASS}) as server:
            yield server.port

    def items(self, observations: Sequence[Observation]) -> set[Hashable]:
        return {json_line(observation) for observation in observations}


INFLUX_1, INFLUX_2, MQTT = Influx(1), Influx(2), Mqtt()
every_sink = pytest.mark.parametrize("destination", [INFLUX_1, INFLUX_2, MQTT], ids=["v1", "v2", "mqtt"])
every_sink_and_its_server = pytest.mark.parametrize(
    "destination", [INFLUX_1, INFLUX_2, pytest.param(MQTT, marks=pytest.mark.system)], ids=["v1", "v2", "mqtt"]
)


def batch(size: int = 10) -> list[Observation]:
    return list(_observations(size))


def _observations(size: int) -> Iterator[Observation]:
    for at in range(size):
        yield Numerics(
            device="mon",
            time_ns=at,
            values={"hr": 80.0 + at},
            states={"cvp": State.NOT_CONNECTED},
            quality={"hr": Quality.GOOD},
        )
        raw = np.arange(at, at + 20, dtype="<i4").tobytes()
        yield Waveform(device="mon", channel="wf_abp", time_ns=at * 20_000, period_ns=1000, raw=raw, scale=0.1)
        yield Event(device="daemon", time_ns=at, event=EventKind.GAP, text=f"gap {at} µ", detail={"at": at})


@pytest.fixture(autouse=True)
def no_complaint_of_the_loop(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.name == "asyncio"] == []


async def settled(got: Callable[[], Counter[Hashable]], wanted: set[Hashable]) -> Counter[Hashable]:
    for _ in range(500):
        if set(got()) == wanted:
            break
        await asyncio.sleep(0.01)
    assert set(got()) == wanted
    return got()


@every_sink
async def test_entering_and_leaving_need_no_server(destination: Destination) -> None:
    sink = destination.sink(free_port())
    for _ in range(2):
        async with sink:
            pass


@every_sink_and_its_server
async def test_a_batch_is_delivered_whole(destination: Destination, tmp_path: Path) -> None:
    observations = batch(200)
    async with destination.running(tmp_path) as (port, got):
        async with destination.sink(port) as sink:
            await sink.deliver(sink.prepare(observations))
        assert set((await settled(got, destination.items(observations))).values()) == {1}


@every_sink_and_its_server
async def test_a_batch_is_prepared_in_any_thread_before_the_sink_is_entered_and_delivered_as_often_as_it_takes(
    destination: Destination, tmp_path: Path
) -> None:
    async with destination.running(tmp_path) as (port, got):
        sink = destination.sink(port)
        prepared = await asyncio.to_thread(sink.prepare, batch())
        assert prepared == sink.prepare(batch())
        async with sink:
            await sink.deliver(prepared)
            await sink.deliver(prepared)
        await settled(got, destination.items(batch()))


@every_sink_and_its_server
async def test_delivering_twice_gives_the_server_nothing_new(destination: Destination, tmp_path: Path) -> None:
    async with destination.running(tmp_path) as (port, got), destination.sink(port) as sink:
        await sink.deliver(sink.prepare(batch()))
        await sink.deliver(sink.prepare(batch()))
        await settled(got, destination.items(batch()))


@every_sink_and_its_server
async def test_a_sink_can_be_entered_again(destination: Destination, tmp_path: Path) -> None:
    async with destination.running(tmp_path) as (port, got):
        sink = destination.sink(port)
        for part in (batch()[:15], batch()[15:]):
            async with sink:
                await sink.deliver(sink.prepare(part))
        await settled(got, destination.items(batch()))


@every_sink
async def test_a_refused_port_is_unavailable(destination: Destination) -> None:
    async with destination.sink(free_port()) as sink:
        for _ in range(2):
            with pytest.raises(SinkUnavailableError) as caught:
                await sink.deliver(sink.prepare(batch()))
            assert type(caught.value) is SinkUnavailableError
            assert "127.0.0.1" in str(caught.value)


@every_sink
async def test_a_server_that_says_nothing_is_unavailable_within_the_time_limit(destination: Destination) -> None:
    async with listener(hang_up=False) as port, destination.sink(port, timeout_s=0.1) as sink:
        async with asyncio.timeout(3):
            with pytest.raises(SinkUnavailableError) as caught:
                await sink.deliver(sink.prepare(batch()))
        assert type(caught.value) is SinkUnavailableError


@every_sink
async def test_a_server_that_hangs_up_is_unavailable(destination: Destination) -> None:
    async with listener(hang_up=True) as port, destination.sink(port, timeout_s=0.3) as sink:
        with pytest.raises(SinkUnavailableError) as caught:
            await sink.deliver(sink.prepare(batch()))
        assert type(caught.value) is SinkUnavailableError


@every_sink_and_its_server
async def test_wrong_credentials_are_refused_and_never_repeated(destination: Destination, tmp_path: Path) -> None:
    async with destination.refusing(tmp_path) as port, destination.sink(port, secret=WRONG) as sink:
        with pytest.raises(SinkRefusedError) as caught:
            await sink.deliver(sink.prepare(batch()))
        assert WRONG not in str(caught.value)
        assert caught.value.hint


@every_sink
async def test_a_delivery_can_be_cancelled_and_leaves_nothing_behind(destination: Destination) -> None:
    async with listener(hang_up=False) as port, destination.sink(port) as sink:
        delivery = asyncio.create_task(sink.deliver(sink.prepare(batch())))
        await asyncio.sleep(0.05)
        delivery.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivery


@every_sink_and_its_server
async def test_after_an_outage_the_same_sink_delivers_again(destination: Destination, tmp_path: Path) -> None:
    async with destination.running(tmp_path) as (port, got):
        relay = Relay(port)
        async with relay.open() as entrance, destination.sink(entrance, timeout_s=1.0) as sink:
            await sink.deliver(sink.prepare(batch()[:15]))
            await relay.cut()
            with pytest.raises(SinkUnavailableError):
                await sink.deliver(sink.prepare(batch()[15:]))
            await relay.mend()
            await sink.deliver(sink.prepare(batch()[15:]))
            await settled(got, destination.items(batch()))
