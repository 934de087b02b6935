from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from itertools import pairwise

import pytest

from acquisition.catalogue import Catalogue
from acquisition.clock import NS
from acquisition.errors import TransportError
from acquisition.model import Numerics, Observation
from acquisition.registry import build_driver
from acquisition.replay import Handing
from acquisition.session import Session
from acquisition.stamping import Stamper
from simulators.faults import OF_THE_WIRE, FaultKind, FaultyDevice, FaultyTransport, Injected, Schedule
from simulators.links import Device
from simulators.memory_link import MemoryLink
from simulators.sim_pump_console import SimPumpConsole
from simulators.virtual_time import LoopClock, run

LINE = bytes(range(20))


class Talker:
    """Says the same once a second."""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(LINE)
            await asyncio.sleep(1)


async def heard(
    kind: FaultKind, seconds: int = 30, talker: Device | None = None
) -> tuple[list[tuple[float, bytes]], list[Injected]]:
    """What arrives of a talker under one kind of fault, with its times."""
    said, injected, clock = list[tuple[float, bytes]](), list[Injected](), LoopClock()
    link = FaultyTransport(MemoryLink(talker or Talker()), Schedule(3, [kind], every_s=5.0), clock, injected.append)
    loop = asyncio.get_running_loop()
    async with link:
        while loop.time() < seconds:
            if data := await link.receive(1.0):
                said.append((round(loop.time(), 3), data))
    return said, injected


def test_without_a_fault_everything_arrives_when_it_is_said() -> None:
    async def calm() -> list[bytes]:
        link = FaultyTransport(MemoryLink(Talker()), Schedule(3, []), LoopClock(), lambda _: None)
        async with link:
            return [await link.receive(None) for _ in range(5)]

    # No kind is drawn before the first fault is due, ten seconds on at the earliest.
    assert run(calm()) == [LINE] * 5


@pytest.mark.parametrize(
    ("kind", "fits"),
    [
        (FaultKind.CUT, lambda data: LINE.startswith(data) and len(data) < 20),
        (FaultKind.FLIP, lambda data: sum((a ^ b).bit_count() for a, b in zip(data, LINE, strict=True)) == 1),
        (FaultKind.HALF, lambda data: data in (LINE[:10], LINE[10:])),
        (FaultKind.NOISE, lambda data: 1 <= len(data) <= 64),
    ],
)
def test_a_fault_does_to_a_piece_what_its_name_says(kind: FaultKind, fits: Callable[[bytes], bool]) -> None:
    said, injected = run(heard(kind))
    odd = [data for _, data in said if data != LINE]
    befallen = [each for each in injected if each.direction == "<"]
    assert befallen
    assert len(odd) >= len(befallen) - 1
    assert all(fits(data) for data in odd)


def test_what_is_dropped_is_missing_and_what_is_repeated_is_there_twice() -> None:
    for kind, more in ((FaultKind.DROP, -1), (FaultKind.REPEAT, 1)):
        said, injected = run(heard(kind))
        befallen = sum(each.direction == "<" for each in injected)
        assert befallen > 2
        assert abs(len(said) - (30 + more * befallen)) <= 1


class Counter:
    """Says how many seconds have passed."""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for second in range(200):
            writer.write(bytes((second,)))
            await asyncio.sleep(1)


def test_what_is_put_out_of_order_comes_after_its_successor_and_nothing_is_lost() -> None:
    said, injected = run(heard(FaultKind.REORDER, 60, Counter()))
    order = [data[0] for _, data in said]
    swapped = [a for a, b in pairwise(order) if b < a]
    assert len(injected) - 1 <= len(swapped) <= len(injected)
    assert swapped
    assert sorted(order) == list(range(len(order)))


def test_while_a_device_stalls_nothing_comes_and_then_all_of_it() -> None:
    said, injected = run(heard(FaultKind.STALL, 60, Counter()))
    assert [data[0] for _, data in said] == list(range(len(said)))
    assert len(said) >= 56
    for stall in injected:
        begin_s, end_s = stall.mono_ns / NS, stall.mono_ns / NS + stall.detail["seconds"]
        assert not [at for at, _ in said if begin_s <= at < end_s - 0.001]


def test_a_delayed_piece_comes_later_and_in_order() -> None:
    said, injected = run(heard(FaultKind.DELAY))
    late = [at for at, _ in said if at % 1 > 0.001]
    assert len(late) >= len(injected) - 1
    assert [at for at, _ in said] == sorted(at for at, _ in said)
    assert len(said) >= 28


@pytest.mark.parametrize("kind", [kind for kind in OF_THE_WIRE if kind is not FaultKind.DISCONNECT])
def test_the_log_names_every_fault_with_its_time(kind: FaultKind) -> None:
    _, injected = run(heard(kind))
    assert injected
    lines = [json.loads(each.line()) for each in injected]
    assert {line["fault"] for line in lines} == {kind.value}
    assert [line["mono_ns"] for line in lines] == sorted(line["mono_ns"] for line in lines)


def test_a_cut_link_is_lost_for_the_reader() -> None:
    with pytest.raises(TransportError, match="on purpose"):
        run(heard(FaultKind.DISCONNECT))


def test_a_device_that_restarts_hangs_up_and_is_another_one() -> None:
    made: list[SimPumpConsole] = []

    def make() -> SimPumpConsole:
        made.append(SimPumpConsole(lambda: {"ecmo_flow": 3.5}))
        return made[-1]

    observed, injected = run(with_a_driver([FaultKind.REBOOT], make))
    assert {each.kind for each in injected} == {FaultKind.REBOOT}
    assert len(made) == 1 + len(injected)
    counted = [each.values["sim_counter"] for each in observed if isinstance(each, Numerics)]
    assert sum(after < before for before, after in pairwise(counted)) == len(injected) > 2


async def with_a_driver(
    kinds: list[FaultKind], make: Callable[[], Device] = lambda: SimPumpConsole(lambda: {"ecmo_flow": 3.5})
) -> tuple[list[Observation], list[Injected]]:
    observed, injected, clock = list[Observation](), list[Injected](), LoopClock()
    pump = FaultyDevice(make(), Schedule(1, kinds), clock, injected.append, make)
    driver = build_driver("modbus", "sim_pump_console", {}, Catalogue.shipped(), ())
    keeper = Handing(observed.append, acknowledges=True)
    session = Session("pump", driver, MemoryLink(pump), clock, keeper, Stamper("pump", Catalogue.shipped()))
    running = asyncio.create_task(session.run())
    await asyncio.sleep(60)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return observed, injected


def test_a_device_whose_wire_fails_is_attached_like_the_device_and_is_read_again_after_each_fault() -> None:
    observed, injected = run(with_a_driver(list(FaultKind)))
    numerics = [each for each in observed if isinstance(each, Numerics)]
    assert len(injected) >= 3
    assert len(numerics) > 60
    assert {each.values.get("ecmo_flow") for each in numerics} <= {3.5, None}
    assert numerics[-1].time_ns - numerics[0].time_ns > 50 * 10**9
