from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

import pytest

from acquisition.clock import NS, ManualClock
from acquisition.errors import SinkUnavailableError
from acquisition.forwarder import Forwarder
from acquisition.health import ClockHealth, DeviceHealth, Health, JournalHealth
from acquisition.journal.journal import Journal
from acquisition.model import Numerics, Quality
from acquisition.session import LinkState, Session, SessionStatus
from acquisition.supervisor import LAST_RESTART_S
from acquisition.upkeep.heartbeat import FORWARDER_S, JOURNAL_S, READY_S, SESSION_S, Heartbeat
from tests.system.beds import until

HEALTH = Health(
    version="1",
    site="s",
    bed="b",
    pid=1,
    started_ns=0,
    time_ns=0,
    devices=(DeviceHealth(id="pump", driver="modbus", link="x", state="open"),),
    sinks=(),
    journal=JournalHealth(directory="j", size_bytes=0, free_bytes=0),
    clock=ClockHealth(ahead_ns=0, steps=0),
)


class Sink:
    """Never answers, or is never there, or has a defect."""

    def __init__(self, *, hangs: bool = False, defect: bool = False) -> None:
        self._hangs = hangs
        self._defect = defect

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def prepare(self, observations: Any) -> Any:
        return observations

    async def deliver(self, prepared: Any) -> None:
        if self._hangs:
            await asyncio.Event().wait()
        if self._defect:
            raise ZeroDivisionError
        raise SinkUnavailableError("no route")


class Waiting(Session):
    """A session whose link and deadline are given."""

    def __init__(self, state: LinkState, deadline: int | None) -> None:
        self.device = "pump"
        self.status = SessionStatus(state=state)
        self.driver = type("Driver", (), {"deadline": deadline})()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Journal(tmp_path, commit_interval_s=0.01) as opened:
        yield opened


@pytest.fixture
async def disk(journal: Journal) -> AsyncIterator[threading.Event]:
    """What a writer waits for that hangs; set at the latest before the journal is closed, so that a failure ends."""
    answers = threading.Event()
    yield answers
    answers.set()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def said(systemd: socket.socket) -> list[str]:
    return systemd.recv(4096).decode().splitlines()


@pytest.mark.slow
async def test_a_writer_that_comes_round_feeds_the_watchdog(journal: Journal, systemd: socket.socket) -> None:
    clock = ManualClock()
    heartbeat = Heartbeat([], {}, journal, clock)
    for second in range(100):
        clock.advance_to(second * NS)
        assert heartbeat.beat(HEALTH) == []
        assert said(systemd)[-1] == "WATCHDOG=1"
        await journal.sign_of_life()


async def test_a_writer_that_hangs_starves_the_watchdog_and_is_named(
    journal: Journal, disk: threading.Event, systemd: socket.socket
) -> None:
    clock = ManualClock()
    heartbeat = Heartbeat([], {}, journal, clock)
    hanging = journal._writer.between_groups(disk.wait)
    heartbeat.beat(HEALTH)
    assert said(systemd)[-1] == "WATCHDOG=1"
    clock.advance_to(int(JOURNAL_S + 1) * NS)
    assert heartbeat.beat(HEALTH) == ["the journal's writer has made no progress for 31 s"]
    (status,) = said(systemd)
    assert status == (
        "STATUS=1 of 1 devices connected; 1 needs a person: the journal's writer has made no progress for 31 s"
    )
    disk.set()
    await hanging
    await journal.sign_of_life()
    assert heartbeat.beat(HEALTH) == []


async def test_a_writer_that_hangs_is_named_after_as_long_as_systemd_waits_for_the_watchdog(
    journal: Journal, disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    clock = ManualClock()
    heartbeat = Heartbeat([], {}, journal, clock)
    hanging = journal._writer.between_groups(disk.wait)
    heartbeat.beat(HEALTH)
    clock.advance_to(3 * NS)
    assert heartbeat.beat(HEALTH) == []
    clock.advance_to(4 * NS)
    assert heartbeat.beat(HEALTH) == ["the journal's writer has made no progress for 4 s"]
    disk.set()
    await hanging


@pytest.mark.parametrize(
    ("state", "deadline", "stuck"),
    [
        (LinkState.OPEN, NS, True),  # it should have been woken long ago
        (LinkState.OPEN, None, False),  # listens to a device that may be silent for ever
        (LinkState.OPEN, 10**15, False),
        (LinkState.LOST, NS, False),  # tries again by itself
    ],
)
async def test_a_session_is_stuck_only_when_it_should_have_spoken(
    state: LinkState, deadline: int | None, stuck: bool, journal: Journal
) -> None:
    clock = ManualClock()
    heartbeat = Heartbeat([Waiting(state, deadline)], {}, journal, clock)
    for second in (2, 4 + int(SESSION_S)):
        clock.advance_to(second * NS)
        found = heartbeat.beat(HEALTH)
        await journal.sign_of_life()
        await asyncio.sleep(0)
    assert [each.split(" has ")[0] for each in found if "pump" in each] == ["device pump"] * stuck


@pytest.mark.parametrize(("hangs", "stuck"), [(True, True), (False, False)])
async def test_a_delivery_that_never_ends_is_stuck_and_a_dead_sink_is_not(
    hangs: bool, stuck: bool, journal: Journal
) -> None:
    await journal.append([Numerics(device="pump", time_ns=1, values={"hr": 1.0}, quality={"hr": Quality.GOOD})])
    clock = ManualClock()

    async def pause(_seconds: float) -> None:
        await asyncio.sleep(0.01)

    forwarder = Forwarder("central", Sink(hangs=hangs), journal, clock, rng=Random(1), sleep=pause)
    running = asyncio.create_task(forwarder.run())
    await until(lambda: forwarder.status.state.value == "delivering" if hangs else forwarder.status.attempts > 0)
    heartbeat = Heartbeat([], {forwarder: 10.0}, journal, clock)
    heartbeat.beat(HEALTH)
    await journal.sign_of_life()
    clock.advance_to(int(FORWARDER_S + 21) * NS)
    before = forwarder.status.attempts
    await until(lambda: hangs or forwarder.status.attempts > before)
    assert any("central" in each for each in heartbeat.beat(HEALTH)) == stuck
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_forwarder_that_fails_and_starts_again_does_not_take_acquisition_with_it(journal: Journal) -> None:
    await journal.append([Numerics(device="pump", time_ns=1, values={"hr": 1.0}, quality={"hr": Quality.GOOD})])
    clock = ManualClock()
    forwarder = Forwarder("central", Sink(defect=True), journal, clock, rng=Random(1))
    heartbeat = Heartbeat([], {forwarder: 10.0}, journal, clock)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            await forwarder.run()
        await journal.sign_of_life()
        await asyncio.sleep(0)
        assert heartbeat.beat(HEALTH) == []
        clock.advance_to(clock.now().mono_ns + int(LAST_RESTART_S) * NS)


async def test_it_is_ready_when_every_link_was_tried_or_after_a_while(journal: Journal, systemd: socket.socket) -> None:
    clock = ManualClock()
    session = Waiting(LinkState.OPENING, None)
    heartbeat = Heartbeat([session], {}, journal, clock)
    heartbeat.beat(HEALTH)
    assert "READY=1" not in said(systemd)
    session.status.state = LinkState.LOST
    heartbeat.beat(HEALTH)
    assert "READY=1" in said(systemd)
    heartbeat.beat(HEALTH)
    assert "READY=1" not in said(systemd)
    late = Heartbeat([Waiting(LinkState.OPENING, None)], {}, journal, clock)
    clock.advance_to(clock.now().mono_ns + int(READY_S + 1) * NS)
    late.beat(HEALTH)
    assert "READY=1" in said(systemd)
