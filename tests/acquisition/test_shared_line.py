"""Several Modbus units on one RS-485 line: each is polled in its turn, and one that is silent harms nobody."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from acquisition.catalogue import Catalogue
from acquisition.errors import TransportError
from acquisition.model import Event, Numerics, Observation
from acquisition.recording import TraceRecorder
from acquisition.replay import replay
from acquisition.session import Session
from acquisition.stamping import Stamper
from acquisition.transports.memory import memory_pair
from acquisition.transports.shared import SharedLine
from simulators.modbus_server import Fault, ModbusServer
from simulators.virtual_time import LoopClock, run
from tests.drivers.modbus_bench import build

UNITS = (1, 2, 3)


def registers(unit: int, _: range) -> dict[int, int]:
    return dict.fromkeys(range(4), unit)


class Rail:
    """Three units, each of which says its own address in its only register; every request on the line is noted."""

    def __init__(self) -> None:
        self.near, self.far = memory_pair("rail")
        self.line = SharedLine(self.near)
        self.units = {unit: ModbusServer(partial(registers, unit), 0, unit=unit) for unit in UNITS}
        self.readings: Counter[tuple[int, float]] = Counter()
        self.kept: dict[int, list[Observation]] = {unit: [] for unit in UNITS}
        self.kept_one = asyncio.Event()
        self.sessions: dict[int, Session] = {}

    def session(self, unit: int, recorder: TraceRecorder | None = None) -> Session:
        register = {"function": 4, "address": 0, "type": "u16", "channel": "ecmo_rpm", "unit": "/min"}
        driver = build(register, every_s=0.05, options={"unit": unit, "timeout_s": 0.1})
        driver.shares_line = True
        member = self.line.member()
        stamper = Stamper(f"u{unit}", Catalogue.shipped())
        session = Session(
            f"u{unit}", driver, member, LoopClock(), _Keeper(self, unit), stamper, floor=member, recorder=recorder
        )
        self.sessions[unit] = session
        return session

    async def answer(self) -> None:
        """The line: every unit hears every byte, and a request during an unanswered one is an overlap."""
        readers = {unit: asyncio.StreamReader() for unit in UNITS}
        tasks = [
            asyncio.create_task(server.converse(readers[unit], _Writer(self)))  # type: ignore[arg-type]  # what it uses
            for unit, server in self.units.items()
        ]
        try:
            with contextlib.suppress(TransportError):
                while True:
                    data = await self.far.receive(None)
                    for reader in readers.values():
                        reader.feed_data(data)
        finally:
            for task in tasks:
                task.cancel()


class _Writer:
    def __init__(self, rail: Rail) -> None:
        self._rail = rail
        self._data = b""

    def write(self, data: bytes) -> None:
        self._data += data

    async def drain(self) -> None:
        data, self._data = self._data, b""
        if data:
            await self._rail.far.send(data)


class _Keeper:
    def __init__(self, rail: Rail, unit: int) -> None:
        self._rail = rail
        self._unit = unit

    def append(self, observations: Sequence[Observation], keys: Sequence[tuple[str, str]] = ()) -> asyncio.Future[None]:
        for each in observations:
            self._rail.kept[self._unit].append(each)
            if isinstance(each, Numerics):
                self._rail.readings[self._unit, each.values["ecmo_rpm"]] += 1
        self._rail.kept_one.set()
        self._rail.kept_one = asyncio.Event()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


def on_a_rail(test: Callable[[Rail], Awaitable[None]]) -> Callable[[], None]:
    """Runs a test beside three sessions that poll, on virtual time."""

    async def polled() -> None:
        rail = Rail()
        async with rail.far:
            answering = asyncio.create_task(rail.answer())
            tasks = [asyncio.create_task(rail.session(unit).run()) for unit in UNITS]
            try:
                await test(rail)
            finally:
                await ended(*tasks, answering)

    def run_polled() -> None:
        run(polled())

    run_polled.__name__, run_polled.__module__ = test.__name__, test.__module__
    return run_polled


async def ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def until(rail: Rail, unit: int, readings: int) -> None:
    async with asyncio.timeout(45):
        while rail.readings[unit, unit] < readings:
            await rail.kept_one.wait()


def none_is_of_another(rail: Rail) -> bool:
    return all(unit == value for unit, value in rail.readings)


def is_loss(observation: Observation) -> bool:
    return isinstance(observation, Event) and observation.text.startswith("link lost")


def moved(observation: Observation, first: Observation) -> Observation:
    """The observation with its time since the first."""
    return observation.model_copy(update={"time_ns": observation.time_ns - first.time_ns})


@on_a_rail
async def test_each_unit_is_polled_in_its_turn_and_its_values_are_its_own(rail: Rail) -> None:
    for unit in UNITS:
        await until(rail, unit, 10)
    assert none_is_of_another(rail)
    for unit in UNITS:
        counters = rail.sessions[unit].driver.counters
        assert not counters["timeout"]
        assert not counters["rejected_late"]


@on_a_rail
async def test_a_silent_unit_does_not_keep_the_others_from_being_read(rail: Rail) -> None:
    await until(rail, 1, 3)
    rail.units[2].muted = True
    before = Counter(rail.readings)
    await until(rail, 1, before[1, 1] + 10)
    await until(rail, 3, before[3, 3] + 10)
    assert rail.readings[2, 2] <= before[2, 2] + 1
    assert rail.sessions[2].driver.counters["timeout"] > 1
    assert not rail.sessions[1].driver.counters["timeout"]
    rail.units[2].muted = False
    await until(rail, 2, rail.readings[2, 2] + 3)
    assert none_is_of_another(rail)


@on_a_rail
async def test_a_late_reply_of_one_unit_is_never_a_reading_of_another(rail: Rail) -> None:
    await until(rail, 1, 3)
    for _ in range(5):
        rail.units[2].faults.append(Fault(delay_s=0.13))
        rail.units[2].faults.append(Fault(copies=2))
    await until(rail, 1, rail.readings[1, 1] + 15)
    await until(rail, 2, rail.readings[2, 2] + 3)
    assert none_is_of_another(rail)
    strays = sum(session.driver.counters["rejected_late"] for session in rail.sessions.values())
    assert strays


@on_a_rail
async def test_a_line_that_is_lost_is_lost_for_all_and_comes_back_for_all(rail: Rail) -> None:
    await until(rail, 1, 3)
    await rail.far.__aexit__(None, None, None)
    async with asyncio.timeout(30):
        while not all(any(is_loss(each) for each in kept) for kept in rail.kept.values()):
            await rail.kept_one.wait()
    before = Counter(rail.readings)
    async with rail.far:
        answering = asyncio.create_task(rail.answer())
        for unit in UNITS:
            await until(rail, unit, before[unit, unit] + 3)
        answering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answering
        assert none_is_of_another(rail)


def test_the_trace_of_one_unit_on_a_shared_line_replays_to_the_same_observations(tmp_path: Path) -> None:
    run(recorded_and_replayed(tmp_path))


async def recorded_and_replayed(tmp_path: Path) -> None:
    rail = Rail()
    recorder = TraceRecorder(
        tmp_path / "u1.trace", link="serial:///dev/rail", driver="modbus", clock=LoopClock(), shared=True
    )
    async with rail.far:
        answering = asyncio.create_task(rail.answer())
        sessions = [rail.session(1, recorder), rail.session(2), rail.session(3)]
        tasks = [asyncio.create_task(session.run()) for session in sessions]
        rail.units[2].faults.extend([Fault(delay_s=0.09)] * 4)
        rail.units[1].faults.extend([Fault(), Fault(delay_s=0.08), Fault(copies=0)])
        await until(rail, 1, 12)
        await ended(*tasks, answering)
    recorder.close()
    again: list[Observation] = []
    register = {"function": 4, "address": 0, "type": "u16", "channel": "ecmo_rpm", "unit": "/min"}
    driver = build(register, every_s=0.05, options={"unit": 1, "timeout_s": 0.1})
    await replay(tmp_path / "u1.trace", driver, again.append, device="u1")
    assert not any(isinstance(each, Event) for each in again)
    assert [moved(each, again[0]) for each in again] == [moved(each, rail.kept[1][0]) for each in rail.kept[1]]
    assert driver.counters["timeout"] == sessions[0].driver.counters["timeout"]
