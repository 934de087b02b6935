from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from acquisition.errors import SinkRefusedError, SinkUnavailableError
from acquisition.model import Event, EventKind, Numerics, Observation, Waveform, json_line
from acquisition.sinks.mqtt import IN_FLIGHT, MqttSink
from tests.acquisition.certificates import server_context
from tests.acquisition.command import runner
from tests.system.beds import device, write_config

CONNECT, CONNACK, PUBLISH, PUBACK, DISCONNECT = 0x10, 0x20, 0x30, 0x40, 0xE0


@dataclass
class Broker:
    """As much of MQTT 3.1.1 as a publisher meets; it can refuse, and withhold acknowledgements."""

    connack: int = 0
    withhold: int = 0
    held: list[int] = field(default_factory=list)
    most_held: int = 0
    published: list[tuple[str, bytes, bool]] = field(default_factory=list)
    connects: list[bytes] = field(default_factory=list)
    goodbyes: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, body = await self._packet(reader)
                if kind & 0xF0 == CONNECT:
                    self.connects.append(body)
                    writer.write(bytes([CONNACK, 2, 0, self.connack]))
                elif kind & 0xF0 == PUBLISH:
                    assert kind & 0x06 == 0x02, "quality of service is 1"
                    length = int.from_bytes(body[:2], "big")
                    topic, mid = body[2 : 2 + length].decode(), int.from_bytes(body[2 + length : 4 + length], "big")
                    self.published.append((topic, body[4 + length :], bool(kind & 1)))
                    self.held.append(mid)
                    self.most_held = max(self.most_held, len(self.held))
                    if len(self.held) > self.withhold:
                        for held in self.held:
                            writer.write(bytes([PUBACK, 2]) + held.to_bytes(2, "big"))
                        self.held.clear()
                elif kind & 0xF0 == DISCONNECT:
                    self.goodbyes += 1
                    break
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    @staticmethod
    async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
        (kind,) = await reader.readexactly(1)
        length, shift = 0, 0
        while True:
            (byte,) = await reader.readexactly(1)
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return kind, await reader.readexactly(length)


@asynccontextmanager
async def broker(connack: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Broker]:
    served = Broker(connack)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        await asyncio.sleep(0.01)


def sink(port: int, *, site: str = "here", bed: str = "bed-1", prefix: str = "ecmo") -> MqttSink:
    return MqttSink(host="127.0.0.1", port=port, site=site, bed=bed, prefix=prefix, timeout_s=0.3)


def heart_rates(count: int) -> list[Observation]:
    return [Numerics(device="mon", time_ns=time, values={"hr": 80.0}) for time in range(count)]


async def test_every_kind_of_observation_has_its_topic_and_its_json_line() -> None:
    batch: list[Observation] = [
        Numerics(device="mon", time_ns=1, values={"hr": 80.0}),
        Waveform(device="mon", channel="wf_abp", time_ns=1, period_ns=8, raw=b"\1\0\0\0"),
        Event(device="pump", time_ns=1, event=EventKind.GAP, text="no bytes"),
    ]
    async with broker() as served, sink(served.port) as mqtt:
        await mqtt.deliver(mqtt.prepare(batch))
        numerics, wave, event = (json_line(one).encode() for one in batch)
        assert served.published[1:] == [
            ("ecmo/here/bed-1/mon/numerics", numerics, False),
            ("ecmo/here/bed-1/mon/waveform/wf_abp", wave, False),
            ("ecmo/here/bed-1/pump/event", event, False),
        ]


async def test_the_bed_is_announced_online_and_retained_and_offline_when_it_leaves() -> None:
    async with broker() as served:
        async with sink(served.port, prefix="icu/ecmo") as mqtt:
            await mqtt.deliver(mqtt.prepare(heart_rates(1)))
            assert served.published[0] == ("icu/ecmo/here/bed-1/status", b"online", True)
        assert served.published[-1] == ("icu/ecmo/here/bed-1/status", b"offline", True)
        await asyncio.sleep(0.01)
        assert served.goodbyes == 1
        assert b"icu/ecmo/here/bed-1/status\x00\x07offline" in served.connects[0], "the last will says so otherwise"


async def test_who_visits_beside_the_daemon_neither_ends_its_connection_nor_speaks_for_the_bed() -> None:
    async with broker() as served, sink(served.port) as daemons:
        await daemons.deliver(daemons.prepare(heart_rates(1)))
        async with MqttSink(host="127.0.0.1", port=served.port, site="here", bed="bed-1", visits=True) as visitor:
            await visitor.deliver(visitor.prepare(heart_rates(1)))
        await asyncio.sleep(0.01)
        assert [topic.rpartition("/")[2] for topic, _, _ in served.published] == ["status", "numerics", "numerics"]
        assert served.goodbyes == 1
        daemon, guest = (packet.partition(b"ecmo-daq-ecmo/here/bed-1") for packet in served.connects)
        assert daemon[2].startswith(b"\x00")
        assert guest[2].startswith(b"-")
        assert b"offline" not in guest[2]


async def test_the_doctor_only_visits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with broker() as served:
        table = f'\n[[sink]]\nid = "broker"\ntype = "mqtt"\nhost = "127.0.0.1"\nport = {served.port}\n'
        config = write_config(tmp_path, device("pump", "hl7", "tcp://127.0.0.1:9"), table)
        _, out, _ = await asyncio.to_thread(runner(monkeypatch, capsys), "doctor", "--config", config)
        assert "sink broker: takes what it is sent" in out
        assert [topic for topic, _, _ in served.published] == ["ecmo/site-1/bed-1/daemon/event"]


async def test_one_connection_carries_many_batches() -> None:
    async with broker() as served, sink(served.port) as mqtt:
        for _ in range(5):
            await mqtt.deliver(mqtt.prepare(heart_rates(3)))
        assert len(served.connects) == 1
        assert len(served.published) == 16


async def test_names_cannot_climb_out_of_their_level_of_the_topic() -> None:
    async with broker() as served, sink(served.port, site="a/b", bed="#") as mqtt:
        await mqtt.deliver(mqtt.prepare([Numerics(device="+/x", time_ns=1, values={"hr": 1.0})]))
        assert served.published[-1][0] == "ecmo/a_b/_/__x/numerics"


async def test_no_more_than_a_bounded_number_waits_for_its_acknowledgement(caplog: pytest.LogCaptureFixture) -> None:
    # The broker answers only when the window is full.
    async with broker() as served, sink(served.port) as mqtt:
        await mqtt.deliver(mqtt.prepare(heart_rates(1)))
        served.withhold = IN_FLIGHT - 1
        batch = heart_rates(20 * IN_FLIGHT)
        await mqtt.deliver(mqtt.prepare(batch))
        assert served.most_held == IN_FLIGHT
        assert [record.getMessage() for record in caplog.records if record.name == "mqtt"] == []
        assert [payload for _, payload, _ in served.published[2:]] == [json_line(one).encode() for one in batch]
        served.withhold = 0


async def test_an_acknowledgement_that_does_not_come_fails_the_batch_and_the_next_connects_anew() -> None:
    async with broker() as served, sink(served.port) as mqtt:
        await mqtt.deliver(mqtt.prepare(heart_rates(1)))
        served.withhold = 1000
        with pytest.raises(SinkUnavailableError, match="timed out"):
            await mqtt.deliver(mqtt.prepare(heart_rates(30)))
        served.withhold = 0
        await mqtt.deliver(mqtt.prepare(heart_rates(30)))
        assert len(served.connects) == 2
        await asyncio.sleep(0.01)
        assert served.goodbyes == 1


# MQTT 3.1.1 section 3.2.2.3: what a broker may answer instead of accepting the connection.
@pytest.mark.parametrize("code", [2, 4, 5])
async def test_a_broker_that_will_not_have_us_is_a_persons_business(code: int) -> None:
    async with broker(connack=code) as served, sink(served.port) as mqtt:
        with pytest.raises(SinkRefusedError, match="check username and password"):
            await mqtt.deliver(mqtt.prepare(heart_rates(1)))


async def test_a_broker_that_has_no_service_just_now_is_only_unavailable() -> None:
    async with broker(connack=3) as served, sink(served.port) as mqtt:
        with pytest.raises(SinkUnavailableError) as caught:
            await mqtt.deliver(mqtt.prepare(heart_rates(1)))
        assert type(caught.value) is SinkUnavailableError


async def test_leaving_does_not_wait_long_for_a_broker_that_has_gone() -> None:
    async with broker() as served:
        mqtt = sink(served.port)
        async with mqtt:
            await mqtt.deliver(mqtt.prepare(heart_rates(1)))
            served.withhold = 1000
            leaving = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - leaving < 1


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
async def test_a_certificate_nobody_vouches_for_is_refused_unless_its_authority_is_given(tmp_path: Path) -> None:
    certificate, context = await server_context(tmp_path)

    def speaking_tls(port: int, *, verify: bool = True, ca_file: Path | None = None) -> MqttSink:
        return MqttSink(
            host="127.0.0.1", port=port, site="here", bed="bed-1", tls=True, verify_tls=verify, ca_file=ca_file
        )

    async with broker(tls=context) as served:
        async with speaking_tls(served.port) as distrusting:
            with pytest.raises(SinkRefusedError, match=r"not trusted.*ca_file"):
                await distrusting.deliver(distrusting.prepare(heart_rates(1)))
        for mqtt in (speaking_tls(served.port, ca_file=certificate), speaking_tls(served.port, verify=False)):
            async with mqtt:
                await mqtt.deliver(mqtt.prepare(heart_rates(1)))
        assert len(served.connects) == 2
