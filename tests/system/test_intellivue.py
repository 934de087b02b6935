from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from acquisition.catalogue import Catalogue
from acquisition.clock import NS, ScaledClock
from acquisition.model import Event, EventKind, Numerics, Observation, Quality, Waveform
from acquisition.recording import TraceRecorder
from acquisition.replay import replay
from acquisition.session import Session
from acquisition.stamping import Stamper
from acquisition.transports.url import open_link
from drivers.intellivue import IntelliVueDriver
from simulators.intellivue import IntelliVue
from simulators.links import attached
from tests.drivers.intellivue_bench import ROUND, SHOWN, Ramp
from tests.system.servers import free_port

pytestmark = pytest.mark.system

SPEED = 8.0


class Memory:
    """A journal that keeps everything and forgets nothing until the test is over."""

    def __init__(self) -> None:
        self.kept: list[Observation] = []
        self.news = asyncio.Event()

    def append(self, observations: Sequence[Observation], keys: Sequence[tuple[str, str]] = ()) -> asyncio.Future[None]:
        self.kept += observations
        self.news.set()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    @property
    def numerics(self) -> list[Numerics]:
        return [each for each in self.kept if isinstance(each, Numerics)]

    @property
    def waves(self) -> list[Waveform]:
        return [each for each in self.kept if isinstance(each, Waveform)]

    def events(self, kind: EventKind) -> list[Event]:
        return [each for each in self.kept if isinstance(each, Event) and each.event is kind]

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(90):
            while not done():
                self.news.clear()
                await self.news.wait()


@contextlib.asynccontextmanager
async def acquired(
    wire: str, monitor: IntelliVue, clock: ScaledClock, trace: Path | None = None
) -> AsyncIterator[Memory]:
    """Monitor, wire, session and driver; the session has said goodbye when the block is left."""
    mode = "mib" if wire.startswith("pty") else "lan"
    driver = IntelliVueDriver.build({"mode": mode}, Catalogue.shipped())
    async with attached(wire, monitor) as link:
        link = link.replace("0.0.0.0", "127.0.0.1")
        memory, stamper = Memory(), Stamper("mon", Catalogue.shipped())
        cut = driver.trace_cut()
        recorder = TraceRecorder(trace, link=link, driver="intellivue", clock=clock, cut=cut) if trace else None
        transport = open_link(link, defaults=driver.link_defaults)
        session = Session("mon", driver, transport, clock, memory, stamper, recorder=recorder)
        task = asyncio.create_task(session.run())
        try:
            yield memory
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            if recorder:
                recorder.close()
            await asyncio.sleep(0.1)  # the release is on its way


def monitor_of(clock: ScaledClock) -> IntelliVue:
    return IntelliVue(lambda: SHOWN, {"wf_abp": Ramp()}, clock=clock)


@pytest.fixture(params=["udp", "pty"])
def wire(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "pty":
        return f"pty://{tmp_path}/mib"
    return f"udp://127.0.0.1:0?announce=127.0.0.1:{free_port()}"


async def test_what_the_monitor_shows_reaches_the_journal(wire: str, tmp_path: Path) -> None:
    clock = ScaledClock(SPEED)
    monitor = monitor_of(clock)
    trace = tmp_path / "mon.trace"
    async with acquired(wire, monitor, clock, trace) as memory:
        await memory.until(lambda: len(memory.numerics) >= 12)
    assert all(each.values == pytest.approx({**SHOWN, "pp_num": 36.4}) for each in memory.numerics)
    assert {quality for each in memory.numerics for quality in each.quality.values()} == {Quality.GOOD, Quality.SUSPECT}
    drawn = np.concatenate([each.samples for each in memory.waves])
    assert (np.round(np.diff(drawn) * 16) % ROUND == 1).all()
    assert {later.time_ns - earlier.end_ns for earlier, later in zip(memory.waves, memory.waves[1:], strict=False)} == {
        0
    }
    assert memory.events(EventKind.GAP) == []
    assert monitor._client is None
    assert monitor.forbidden == 0
    replayed: list[Observation] = []
    await replay(trace, IntelliVueDriver.build({"mode": "mib" if "pty" in wire else "lan"}, Catalogue.shipped()),
                 replayed.append, device="mon")  # fmt: skip
    values = [each.values for each in replayed if isinstance(each, Numerics)]
    assert values == [each.values for each in memory.numerics]
    assert [each.raw for each in replayed if isinstance(each, Waveform)] == [each.raw for each in memory.waves]


async def test_a_monitor_that_starts_again_is_read_again_and_leaves_a_gap(wire: str) -> None:
    clock = ScaledClock(SPEED)
    monitor = monitor_of(clock)
    async with acquired(wire, monitor, clock) as memory:
        await memory.until(lambda: len(memory.numerics) >= 3)
        monitor.wrong.refuse = 1
        monitor.reboot()
        await memory.until(lambda: monitor.associations == 2 and len(memory.numerics) >= 8)
    (gap,) = [event for event in memory.events(EventKind.GAP) if "channel" not in event.detail]
    assert gap.detail["cause"] == "cable_or_no_bytes"
    (of_wave,) = [event for event in memory.events(EventKind.GAP) if event.detail.get("channel") == "wf_abp"]
    assert of_wave.detail["to_ns"] - of_wave.detail["from_ns"] > 5 * NS
    times = [each.time_ns for each in memory.waves]
    assert times == sorted(times)


async def test_answers_lost_on_the_way_are_gaps_of_the_wave(wire: str) -> None:
    clock = ScaledClock(SPEED)
    monitor = monitor_of(clock)
    async with acquired(wire, monitor, clock) as memory:
        await memory.until(lambda: len(memory.waves) >= 8)
        monitor.wrong.lose = 4
        await memory.until(lambda: monitor.wrong.lose == 0 and len(memory.numerics) >= 8)
    gaps = [event for event in memory.events(EventKind.GAP) if event.detail.get("channel") == "wf_abp"]
    assert gaps
    lost = sum(event.detail["to_ns"] - event.detail["from_ns"] for event in gaps)
    drawn = sum(len(each.raw) // 4 for each in memory.waves)
    assert lost % 256_000_000 == 0
    assert memory.waves[-1].end_ns - memory.waves[0].time_ns == drawn * 8_000_000 + lost


async def test_a_daemon_that_comes_back_finds_the_monitor_free(wire: str) -> None:
    clock = ScaledClock(SPEED)
    monitor = monitor_of(clock)
    async with acquired(wire, monitor, clock) as memory:
        await memory.until(lambda: len(memory.numerics) >= 2)
    async with acquired(wire, monitor, clock) as memory:
        await memory.until(lambda: len(memory.numerics) >= 2)
        assert not [event for event in memory.events(EventKind.LINK) if "refuses" in event.text]
