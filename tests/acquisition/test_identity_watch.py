from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from acquisition.clock import Clock, Instant, SystemClock
from acquisition.errors import JournalError
from acquisition.model import Event, EventKind
from acquisition.upkeep.identity_watch import IdentityWatch


@dataclass
class Bench:
    """A session's driver and stamper in one, and the journal that it stores in."""

    device: str = "mon"
    identity: dict[str, str] = field(default_factory=dict)
    stored: list[Event] = field(default_factory=list)
    refuses: bool = False

    @property
    def driver(self) -> Bench:
        return self

    @property
    def stamper(self) -> Bench:
        return self

    def event(self, kind: EventKind, text: str, detail: Mapping[str, object], instant: Instant) -> Event:
        return Event(device=self.device, time_ns=instant.utc_ns, event=kind, text=text, detail=dict(detail))

    def append(self, events: Sequence[Event]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.refuses:
            future.set_exception(JournalError("full"))
        else:
            self.stored += events
            future.set_result(None)
        return future


def watch(bench: Bench) -> IdentityWatch:
    clock: Clock = SystemClock()
    return IdentityWatch([bench], clock, bench.append)


async def test_a_device_that_says_nothing_of_itself_is_not_told_of() -> None:
    bench = Bench(identity={"make": ""})
    watch(bench).look()
    assert bench.stored == []


async def test_an_identity_is_stored_once_and_again_when_it_changes() -> None:
    bench = Bench(identity={"make": "Philips", "model": "MX800"})
    watching = watch(bench)
    watching.look()
    watching.look()
    bench.identity["serial"] = "DE123"
    watching.look()
    assert [event.detail["identity"] for event in bench.stored] == [
        {"make": "Philips", "model": "MX800"},
        {"make": "Philips", "model": "MX800", "serial": "DE123"},
    ]
    assert bench.stored[1].text == "the device says it is Philips MX800, serial DE123"
    assert {event.event for event in bench.stored} == {EventKind.IDENTITY}


async def test_what_the_disk_refused_is_told_again() -> None:
    bench = Bench(identity={"make": "Philips"}, refuses=True)
    watching = watch(bench)
    watching.look()
    await asyncio.sleep(0)
    bench.refuses = False
    watching.look()
    assert len(bench.stored) == 1
