from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from acquisition.catalogue import Catalogue
from acquisition.clock import Instant, SystemClock
from acquisition.driver import Driver, DriverOptions
from acquisition.errors import JournalError, TransportError, WireError
from acquisition.model import Event, EventKind, Numerics, Observation
from acquisition.session import UNSYNCED_TURNS, LinkState, Session
from acquisition.stamping import Stamper
from acquisition.transports.memory import MemoryTransport, memory_pair

POLL = b"?"


class LineDriver(Driver):
    """Asks every 10 ms; `=70 key` is a mean pressure whose sender waits for `ok key`; `!` makes no sense."""

    def on_start(self, now: int) -> None:
        self.call_me_at(now)

    def on_timer(self, now: int) -> None:
        self.send(POLL)
        self.call_me_at(now + 10_000_000)

    def on_data(self, now: int) -> None:
        while b"\n" in self.buffer:
            line, _, rest = bytes(self.buffer).partition(b"\n")
            self.buffer[:] = rest
            if line.startswith(b"!"):
                raise WireError("nonsense")
            value, _, key = line[1:].partition(b" ")
            if not key or self.acknowledge(key.decode(), b"ok " + key):
                self.measured({"abp_mean": float(value)})

    def on_stop(self, now: int) -> None:
        self.send(b"bye")

    def may_send(self, frame: bytes) -> bool:
        return frame in (POLL, b"bye") or frame.startswith(b"ok ")


class Disk:
    """A keeper whose commits happen when the test says so."""

    def __init__(self) -> None:
        self.kept: list[Observation] = []
        self.keys: list[tuple[str, str]] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.held = False

    def append(self, observations: Sequence[Observation], keys: Sequence[tuple[str, str]] = ()) -> asyncio.Future[None]:
        self.kept += observations
        self.keys += keys
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        if not self.held:
            self.sync()
        return future

    def sync(self, error: Exception | None = None) -> None:
        for future in self.waiting:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
        self.waiting.clear()

    def means(self) -> list[float]:
        return [o.values["abp_mean"] for o in self.kept if isinstance(o, Numerics)]

    def events(self, kind: EventKind) -> list[Event]:
        return [o for o in self.kept if isinstance(o, Event) and o.event is kind]


class Bench:
    def __init__(self) -> None:
        self.far, near = memory_pair()
        self.disk = Disk()
        self.driver = LineDriver(DriverOptions(), Catalogue.shipped())
        stamper = Stamper("mon", Catalogue.shipped())
        self.session = Session("mon", self.driver, near, SystemClock(), self.disk, stamper)

    async def say(self, text: str) -> None:
        await self.far.send(text.encode())
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def heard(self) -> bytes:
        """What the session sent so far, polls left out."""
        said = b""
        with contextlib.suppress(TransportError):
            while data := await self.far.receive(0.001):
                said += data
        return said.replace(POLL, b"")


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    async with bench.far:
        task = asyncio.create_task(bench.session.run())
        await bench.settle()
        yield bench
        bench.disk.held = False
        bench.disk.sync()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_line_becomes_an_observation_in_the_keeper(bench: Bench) -> None:
    await bench.say("=70\n")
    assert bench.disk.means() == [70.0]
    assert bench.session.status.state is LinkState.OPEN
    assert bench.session.status.values == {"abp_mean": 1}


async def test_an_acknowledgement_leaves_only_when_the_keeper_has_the_message(bench: Bench) -> None:
    bench.disk.held = True
    await bench.say("=70 a\n")
    assert await bench.heard() == b""
    assert bench.disk.keys == [("mon", "a")]
    bench.disk.sync()
    await bench.settle()
    assert await bench.heard() == b"ok a"


async def test_a_message_sent_again_while_the_disk_is_busy_is_stored_once_and_acknowledged(bench: Bench) -> None:
    bench.disk.held = True
    await bench.say("=70 a\n")
    await bench.say("=70 a\n")
    bench.disk.sync()
    await bench.settle()
    assert bench.disk.means() == [70.0]
    assert (await bench.heard()).startswith(b"ok a")


async def test_when_the_disk_refuses_there_is_no_acknowledgement_and_the_repetition_counts(bench: Bench) -> None:
    bench.disk.held = True
    await bench.say("=70 a\n")
    bench.disk.sync(JournalError("disk full"))
    await bench.settle()
    assert await bench.heard() == b""
    bench.disk.held = False
    await bench.say("=70 a\n")
    assert bench.disk.means() == [70.0, 70.0]
    assert await bench.heard() == b"ok a"


async def test_readings_that_the_disk_refused_and_nobody_will_send_again_are_counted_as_lost(bench: Bench) -> None:
    bench.disk.held = True
    await bench.say("=70\n=71\n")
    bench.disk.sync(JournalError("disk full"))
    await bench.settle()
    assert bench.session.status.lost == 2


async def test_while_too_much_waits_for_the_disk_nothing_more_is_read_and_the_sender_waits(bench: Bench) -> None:
    bench.disk.held = True
    for number in range(UNSYNCED_TURNS + 50):
        await bench.say(f"={number}\n")
    assert bench.disk.means() == list(range(UNSYNCED_TURNS))
    bench.disk.held = False
    bench.disk.sync()
    for _ in range(50):
        await bench.settle()
    assert bench.disk.means() == list(range(UNSYNCED_TURNS + 50)), "and none of it is lost"


async def test_nonsense_starts_the_conversation_again_and_the_link_stays_open(bench: Bench) -> None:
    await bench.say("!\n")
    await bench.say("=71\n")
    assert bench.disk.means() == [71.0]
    assert bench.session.status.opened == 1


async def test_a_lost_link_is_an_event_and_is_opened_again(bench: Bench) -> None:
    await bench.say("=70\n")
    bench.far.drop()
    await bench.settle()
    assert bench.session.status.state is LinkState.LOST
    await bench.far.__aexit__(None, None, None)
    async with bench.far:
        async with asyncio.timeout(30):
            while await bench.far.receive(None) != POLL:  # the first poll on the new link
                pass
        await bench.say("=72\n")
        assert bench.disk.means() == [70.0, 72.0]
        lost, again = bench.disk.events(EventKind.LINK)
        assert lost.text.startswith("link lost")
        assert again.text.startswith("link open again")


async def test_a_device_that_never_stops_talking_does_not_starve_its_own_polls(bench: Bench) -> None:
    for _ in range(300):
        await bench.far.send(b"=70\n" * 20)
        await asyncio.sleep(0.0001)
    polls = 0
    while data := await bench.far.receive(0.001):
        polls += data.count(POLL)
    assert polls >= 2


async def test_a_link_that_cannot_be_opened_is_told_once_and_tried_again() -> None:
    class Absent(MemoryTransport):
        async def __aenter__(self) -> Absent:
            raise TransportError("no such port")

    far, near = memory_pair()
    near.__class__ = Absent
    disk = Disk()
    driver = LineDriver(DriverOptions(), Catalogue.shipped())
    session = Session("mon", driver, near, SystemClock(), disk, Stamper("mon", Catalogue.shipped()))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.7):
            await session.run()
    assert session.status.error == "no such port"
    assert [event.text for event in disk.events(EventKind.LINK)] == ["link cannot be opened: no such port"]
    assert far.peer


async def test_a_cancelled_session_says_farewell_and_waits_until_all_is_safe() -> None:
    bench = Bench()
    async with bench.far:
        task = asyncio.create_task(bench.session.run())
        await bench.settle()
        bench.disk.held = True
        await bench.say("=70\n")
        task.cancel()
        await bench.settle()
        assert not task.done()
        assert await bench.heard() == b"bye"
        bench.disk.sync()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_recorder_sees_every_piece_and_every_turn_in_which_the_driver_acted() -> None:
    pieces: list[tuple[str, bytes, int]] = []

    class Tape:
        def received(self, data: bytes, instant: Instant) -> None:
            pieces.append(("<", data, instant.mono_ns))

        def sent(self, data: bytes, instant: Instant) -> None:
            pieces.append((">", data, instant.mono_ns))

        def lost(self, why: str, instant: Instant) -> None:
            pieces.append((">", b"lost", instant.mono_ns))

        def reopened(self, peer: str, instant: Instant) -> None:
            pieces.append((">", b"open", instant.mono_ns))

    far, near = memory_pair()
    driver = LineDriver(DriverOptions(), Catalogue.shipped())
    stamper = Stamper("mon", Catalogue.shipped())
    session = Session("mon", driver, near, SystemClock(), Disk(), stamper, recorder=Tape())
    async with far:
        task = asyncio.create_task(session.run())
        await asyncio.sleep(0.03)
        await far.send(b"=70\n")
        await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert ("<", b"=70\n") in [(direction, data) for direction, data, _ in pieces]
    assert sum(data == POLL for _, data, _ in pieces) >= 2
    assert pieces[-1][:2] == (">", b"bye")
    assert [t for _, _, t in pieces] == sorted(t for _, _, t in pieces)
