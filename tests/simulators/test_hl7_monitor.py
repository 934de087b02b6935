from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import hl7
import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.catalogue import Catalogue
from acquisition.clock import ManualClock, ScaledClock
from acquisition.driver import Emission, Reading, Samples, WallTime
from acquisition.model import State
from acquisition.wire.identity import Redactor
from drivers.hl7 import Hl7Driver
from simulators.hl7_monitor import FICTITIOUS_PID, NUMERICS, WAVES, Hl7Monitor
from simulators.links import attached

SPEED = 200.0
NS = 1_000_000_000


class Ramp:
    """Samples that count, so that a lost or repeated one shows."""

    def __init__(self, rate_hz: float = 125.0, resolution: float = 0.1) -> None:
        self.rate_hz, self.resolution = rate_hz, resolution
        self._next = 0

    def take(self, n: int) -> NDArray[np.int32]:
        self._next += n
        return np.arange(self._next - n, self._next, dtype=np.int32)


class Listener:
    """A daemon in small: the driver, and a journal that does as the test says."""

    def __init__(self) -> None:
        self.driver = Hl7Driver.build({"channels": {"1^99ECMODAQSIM": "sim_counter"}}, Catalogue.shipped())
        self.emissions: list[Emission] = []
        self.wire = bytearray()
        self.keeps = True
        self.hang_up_after: int | None = None
        self.links = 0
        self.heard = asyncio.Event()

    @property
    def readings(self) -> list[Reading]:
        return [emission for emission in self.emissions if isinstance(emission, Reading)]

    @property
    def blocks(self) -> list[Samples]:
        return [emission for emission in self.emissions if isinstance(emission, Samples)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.links += 1
        self.driver.start(0)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(4096):
                self.wire += data
                self.heard.set()
                self.driver.receive(data, 0)
                keys = self.driver.take_keys()
                (self.driver.stored if self.keeps else self.driver.failed)(keys)
                if keys and self.keeps:
                    self.emissions += self.driver.take_emissions()
                self.driver.take_emissions()
                if self.hang_up_after is not None and len(self.readings) >= self.hang_up_after:
                    self.hang_up_after = None
                    break  # stored, and the acknowledgement is lost with the link
                writer.write(b"".join(self.driver.take_frames()))
        writer.close()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(45):
            while not done():
                self.heard.clear()
                await self.heard.wait()


@contextlib.asynccontextmanager
async def listening(monitor: Hl7Monitor) -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    async with server, attached(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", monitor):
        yield listener


def scaled(speed: float = SPEED) -> ScaledClock:
    return ScaledClock(speed, None)


async def test_what_the_monitor_shows_is_what_the_driver_reads() -> None:
    shown: dict[str, float | str] = {
        "abp_sys": 112.4,
        "abp_dia": 76.0,
        "cvp": -1.0,
        "spo2": 97.0,
        "temp_core": 36.6,
        "hr": "unavailable",
        "x": 1,
    }
    async with listening(Hl7Monitor(lambda: shown, clock=scaled(), counter=True)) as listener:
        await listener.until(lambda: len(listener.readings) >= 3)
    reading = listener.readings[0]
    assert reading.values == {
        "abp_sys": 112.4, "abp_dia": 76.0, "cvp": -1.0, "spo2": 97.0, "temp_core": 36.6, "sim_counter": 1.0,
    }  # fmt: skip
    assert reading.states == {"hr": State.UNAVAILABLE}
    assert [one.values["sim_counter"] for one in listener.readings] == [1.0, 2.0, 3.0][: len(listener.readings)]
    assert listener.driver.identity == {"eui64": "02005EFFFE000001"}


def in_memory(monitor: Hl7Monitor) -> list[Emission]:
    driver = Hl7Driver.build({}, Catalogue.shipped())
    driver.start(0)
    driver.receive(b"".join(report.framed for report in monitor._waiting), 0)
    return driver.take_emissions()


def due(monitor: Hl7Monitor, clock: ManualClock, seconds: float) -> None:
    clock.advance_to(round(seconds * NS))
    monitor._make_due()


def test_every_channel_of_the_monitor_arrives_under_its_own_name() -> None:
    clock = ManualClock()
    waves = {channel: Ramp() for channel in WAVES}
    monitor = Hl7Monitor(lambda: dict.fromkeys(NUMERICS, 25.5), waves, clock=clock)
    due(monitor, clock, 1)
    emissions = in_memory(monitor)
    (reading,) = [one for one in emissions if isinstance(one, Reading)]
    assert dict(reading.values) == dict.fromkeys(NUMERICS, 25.5)
    assert reading.states == {}
    blocks = [one for one in emissions if isinstance(one, Samples)]
    assert [block.channel for block in blocks] == list(WAVES)
    assert not any(block.doubtful for block in blocks)


def test_waves_are_exact_and_without_a_seam_even_at_an_odd_rate() -> None:
    clock = ManualClock(utc_ns=1_767_254_400 * NS)
    monitor = Hl7Monitor(dict, {"wf_abp": Ramp(62.5, 0.25)}, clock=clock)
    due(monitor, clock, 4)
    blocks = [one for one in in_memory(monitor) if isinstance(one, Samples)]
    assert np.concatenate([block.counts for block in blocks]).tolist() == list(range(250))
    assert {(block.period_ns, block.scale) for block in blocks} == {(16_000_000, 0.25)}
    assert [block.start for block in blocks] == [WallTime(2026, 1, 1, 8, 0, second, 0, 0) for second in range(4)]


def test_the_monitors_clock_may_be_wrong_and_in_a_zone_of_its_own() -> None:
    clock = ManualClock(utc_ns=1_767_254_400 * NS)
    monitor = Hl7Monitor(lambda: {"hr": 70.0}, clock=clock, zone_minutes=-210, ahead_s=-90.25)
    due(monitor, clock, 1)
    (reading,) = in_memory(monitor)
    assert isinstance(reading, Reading)
    assert reading.device_time == WallTime(2026, 1, 1, 4, 28, 30, 750_000_000, -210)


def test_the_counter_counts_past_every_sentinel() -> None:
    clock = ManualClock()
    monitor = Hl7Monitor(dict, clock=clock, counter=True)
    driver = Hl7Driver.build({"channels": {"1": "sim_counter"}}, Catalogue.shipped())
    driver.start(0)
    for passed in (32_766, 8_388_606):
        monitor.counted = passed
        due(monitor, clock, clock.now().mono_ns / NS + 1)
        driver.receive(monitor._waiting.pop().framed, 0)
        (reading,) = driver.take_emissions()
        assert isinstance(reading, Reading)
        assert (reading.values, reading.states) == ({"sim_counter": passed + 1.0}, {})


def test_a_report_is_what_an_independent_parser_reads() -> None:
    clock = ManualClock()
    monitor = Hl7Monitor(lambda: {"hr": 70.0}, {"wf_abp": Ramp()}, clock=clock)
    due(monitor, clock, 1)
    wave, numerics = (hl7.parse(report.framed[1:-2].decode()) for report in monitor._waiting)
    assert str(wave["MSH"][0][9]) == "ORU^R01^ORU_R01"
    assert str(wave["OBX"][1][5]) == "^".join(map(str, range(125)))
    assert [str(numerics["OBX"][1][number]) for number in (2, 3, 5, 11)] == ["NM", NUMERICS["hr"][0], "70", "R"]


async def test_the_next_report_waits_for_the_acknowledgement_of_the_one_before() -> None:
    monitor = Hl7Monitor(lambda: {"hr": 70.0}, clock=scaled())
    async with listening(monitor) as listener:
        listener.keeps = False
        await listener.until(lambda: monitor.sent >= 3)
        assert monitor.acknowledged == 0
        assert listener.wire.count(b"\x1c\r") in (monitor.sent, monitor.sent - 1)
        first = bytes(listener.wire).split(b"\x1c\r")[0]
        assert bytes(listener.wire).count(first) >= 2
        listener.keeps = True
        await listener.until(lambda: monitor.acknowledged >= 3)


async def test_a_report_whose_acknowledgement_was_lost_is_sent_again_and_used_once() -> None:
    monitor = Hl7Monitor(lambda: {"hr": 70.0}, {"wf_abp": Ramp()}, clock=scaled(20), counter=True)
    async with listening(monitor) as listener:
        listener.hang_up_after = 3
        await listener.until(lambda: listener.links >= 2 and monitor.acknowledged >= 12)
    counted = [reading.values["sim_counter"] for reading in listener.readings]
    assert counted == list(range(1, len(counted) + 1))
    assert np.diff(np.concatenate([block.counts for block in listener.blocks])).max() == 1
    assert listener.driver.counters["duplicate"] == 1
    assert monitor.sent > monitor.acknowledged


def test_the_backlog_is_bounded_and_what_goes_is_counted() -> None:
    clock = ManualClock()
    monitor = Hl7Monitor(lambda: {"hr": 70.0}, clock=clock, most_waiting=10)
    due(monitor, clock, 1)
    first = monitor._waiting[0]
    due(monitor, clock, 1_000_000)
    assert monitor.waiting == 10
    assert monitor._waiting[0] == first
    assert monitor.waiting + monitor.dropped == 1_000_000


async def test_a_report_that_is_refused_is_not_sent_for_ever() -> None:
    monitor = Hl7Monitor(lambda: {"hr": 70.0}, clock=scaled())

    third = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                report = hl7.parse((await reader.readuntil(b"\x1c\r"))[1:-2].decode())
                writer.write(f"\x0bMSH|^~\\&|\rMSA|AR|{report['MSH.F10']}\r\x1c\r".encode())
                if monitor.refused >= 2:
                    third.set()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server, attached(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", monitor):
        await asyncio.wait_for(third.wait(), 45)
    assert monitor.acknowledged == 0
    assert monitor.sent <= monitor.refused + 1


@pytest.mark.parametrize("size", [1, 1000])
def test_the_identity_that_it_sends_is_cut_before_it_can_be_written(size: int) -> None:
    clock = ManualClock()
    monitor = Hl7Monitor(lambda: {"hr": 70.0}, clock=clock, identity=True)
    due(monitor, clock, 1)
    wire, redactor = monitor._waiting[0].framed, Redactor()
    assert FICTITIOUS_PID.encode() in wire
    kept = b"".join(redactor.feed(wire[at : at + size]) for at in range(0, len(wire), size))
    for secret in (b"SIM-4711", b"FICTITIOUS", b"PERSON", b"19010101"):
        assert secret not in kept
    assert b"|70|" in kept
