"""A system clock that is set while the bed records: nothing lost, reordered or overwritten, and told (promise 12)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition import clock as clock_module
from acquisition.clock import NS
from acquisition.health import Health
from acquisition.journal.reader import JournalReader
from acquisition.model import Event, EventKind, Numerics, Waveform
from simulators.hl7_monitor import Hl7Monitor
from simulators.links import attached
from simulators.sim_pump_console import SimPumpConsole
from tests.system.beds import daemon, device, until, write_config
from tests.system.servers import free_port

pytestmark = pytest.mark.system

HOUR = 3600 * NS
RIGHT = 1_772_000_000 * NS


class Host:
    """A machine whose system clock the test sets; what is monotonic runs as it really does."""

    def __init__(self) -> None:
        self._ahead = 0
        self.set_to(RIGHT)

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def time_ns(self) -> int:
        return time.monotonic_ns() + self._ahead

    def set_to(self, utc_ns: int) -> None:
        self._ahead = utc_ns - time.monotonic_ns()

    def step(self, ns: int) -> None:
        self._ahead += ns


class Rising:
    """A pressure whose every sample is one count above the sample before."""

    rate_hz = 100.0
    resolution = 0.1

    def __init__(self) -> None:
        self.made = 0

    def take(self, n: int) -> NDArray[np.int32]:
        self.made += n
        return np.arange(self.made - n, self.made, dtype=np.int32)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(clock_module, "time", host)
    return host


class Bed:
    """A pump that is polled and a monitor that sends; both count what they said."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.directory = directory
        self.pump = SimPumpConsole(lambda: {"ecmo_flow": 3.5, "ecmo_rpm": 3000.0})
        self.wave = Rising()
        self.monitor = Hl7Monitor(lambda: {"hr": 90.0}, {"wf_abp": self.wave}, every_s=0.25, counter=True)
        self.config = write_config(
            directory,
            device(
                "pump",
                "modbus",
                f"serial://{directory}/pump",
                'profile = "sim_pump_console"',
                "[device.options]",
                "every_s = 0.1",
            ),
            device(
                "mon",
                "hl7",
                f"tcp-listen://127.0.0.1:{self.port}",
                "[device.options.channels]",
                '"1^99ECMODAQSIM" = "sim_counter"',
            ),
        )

    async def says_more(self, readings: int = 12) -> None:
        """Returns when the pump was read so many times more, and the heartbeat had looked at the clock."""
        wanted = self.pump.counter + readings
        acknowledged = self.monitor.acknowledged
        await until(lambda: self.pump.counter >= wanted and self.monitor.acknowledged > acknowledged)

    async def end(self) -> None:
        """Falls silent and lets the last answers arrive."""
        self.pump.muted = True
        self.monitor.stop()
        await until(lambda: self.monitor.waiting == 0)
        await asyncio.sleep(0.5)

    def health(self) -> Health:
        return Health.read(self.directory / "journal" / "status.json")

    def kept(self, name: str) -> list[Numerics]:
        observations = JournalReader(self.directory / "journal").query(devices={name}, kinds={"numerics"})
        return [each for each in observations if isinstance(each, Numerics)]

    def steps(self) -> list[Event]:
        events = JournalReader(self.directory / "journal").query(devices={"daemon"}, kinds={"event"})
        return [each for each in events if isinstance(each, Event) and each.event is EventKind.CLOCK]

    def check(self) -> None:
        """Every reading is there once, in the order in which it was made, and no two have one time."""
        for name, said in (("pump", self.pump.counter), ("mon", self.monitor.counted)):
            kept = self.kept(name)
            assert [each.values["sim_counter"] for each in kept] == list(range(1, said + 1)), name
            assert all(earlier.time_ns < later.time_ns for earlier, later in pairwise(kept))
        blocks = [
            each
            for each in JournalReader(self.directory / "journal").query(devices={"mon"}, kinds={"waveform"})
            if isinstance(each, Waveform)
        ]
        assert np.concatenate([block.counts for block in blocks]).tolist() == list(range(self.wave.made))
        assert all(earlier.end_ns <= later.time_ns for earlier, later in pairwise(blocks))


@contextlib.asynccontextmanager
async def recording(bed: Bed) -> AsyncIterator[None]:
    async with daemon(bed.config):
        await bed.says_more()
        yield


@contextlib.asynccontextmanager
async def alive(bed: Bed) -> AsyncIterator[None]:
    """The devices of the bed for the length of the block, with or without a daemon that listens."""
    async with (
        attached(f"pty://{bed.directory}/pump", bed.pump),
        attached(f"tcp://127.0.0.1:{bed.port}", bed.monitor),
    ):
        yield


async def test_steps_of_an_hour_and_slews_lose_no_reading_and_are_recorded(tmp_path: Path, host: Host) -> None:
    bed = Bed(tmp_path)
    async with alive(bed), recording(bed):
        host.step(HOUR)
        await bed.says_more()
        assert bed.health().clock.steps == 1
        assert bed.kept("pump")[-1].time_ns > RIGHT + HOUR
        host.step(-HOUR)
        await bed.says_more()
        held = bed.health()
        assert held.clock.steps == 2
        assert HOUR - NS < held.clock.ahead_ns <= HOUR + NS
        assert any(problem.startswith("clock:") for problem in held.problems())
        for _ in range(3):
            host.step(-HOUR)
            await bed.says_more()
            host.step(HOUR)
            await bed.says_more()
        for slew in (0.3, -0.3, 0.2, -0.4, 0.3):
            host.step(round(slew * NS))
            await bed.says_more(8)
        assert bed.health().clock.steps == 8
        await bed.end()
    bed.check()
    told = [(each.detail["followed"], round(each.detail["by_ns"] / HOUR)) for each in bed.steps()]
    assert told == [(True, 1), (False, -1), *[(False, -1), (False, 1)] * 3]


@pytest.mark.parametrize("boot", [5 * NS, RIGHT - 365 * 24 * HOUR])
async def test_a_start_with_the_wrong_year_and_then_the_right_time_loses_no_reading(
    tmp_path: Path, host: Host, boot: int
) -> None:
    bed = Bed(tmp_path)
    host.set_to(boot)
    async with alive(bed), recording(bed):
        host.set_to(RIGHT)
        await bed.says_more()
        assert bed.health().clock.steps == 1
        assert abs(bed.health().time_ns - RIGHT) < 60 * NS
        await bed.end()
    bed.check()
    (step,) = bed.steps()
    assert step.detail["followed"]
    assert bed.kept("pump")[0].time_ns < boot + HOUR
    assert bed.kept("pump")[-1].time_ns >= RIGHT


async def test_a_restart_with_the_wrong_year_goes_on_after_what_the_journal_has(tmp_path: Path, host: Host) -> None:
    bed = Bed(tmp_path)
    async with alive(bed):
        async with recording(bed):
            bed.pump.muted = True  # or an answer might be on its way when the daemon ends
            await asyncio.sleep(0.5)
        before = bed.kept("pump")[-1].time_ns
        host.set_to(RIGHT - 365 * 24 * HOUR)
        bed.pump.muted = False
        async with recording(bed):
            assert bed.kept("pump")[-1].time_ns > before
            assert any(problem.startswith("clock:") for problem in bed.health().problems())
            host.set_to(RIGHT + HOUR)
            await bed.says_more()
            assert not any(problem.startswith("clock:") for problem in bed.health().problems())
            await bed.end()
    bed.check()
    assert [each.detail["followed"] for each in bed.steps()] == [False, True]
