"""A simulated pump console recorded in virtual time, with a link that breaks."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from acquisition.catalogue import Catalogue
from acquisition.model import Observation
from acquisition.recording import TraceRecorder
from acquisition.registry import build_driver
from acquisition.replay import Handing
from acquisition.session import Session
from acquisition.stamping import Stamper
from simulators.memory_link import MemoryLink
from simulators.sim_pump_console import SimPumpConsole
from simulators.virtual_time import LoopClock

PROFILE = "sim_pump_console"


class Bed:
    """A simulated pump and a session that records it; `observed` is what a journal would have."""

    def __init__(self, trace: Path) -> None:
        self.pump = SimPumpConsole(lambda: {"ecmo_flow": 3.5, "ecmo_rpm": 3000.0})
        self.link = MemoryLink(self.pump)
        self.observed: list[Observation] = []
        self.clock = LoopClock()
        self.recorder = TraceRecorder(trace, link="serial:///dev/ttyS0", driver="modbus", clock=self.clock)
        driver = build_driver("modbus", PROFILE, {}, Catalogue.shipped(), ())
        self.session = Session(
            "pump", driver, self.link, self.clock, Handing(self.observed.append, acknowledges=True),
            Stamper("pump", Catalogue.shipped()), recorder=self.recorder,
        )  # fmt: skip

    async def live(self, *, silent_s: float, breaks: int = 1) -> None:
        """Ten good seconds, then each time a broken link, silence, and ten good seconds again."""
        running = asyncio.create_task(self.session.run())
        await asyncio.sleep(10)
        for number in range(breaks):
            self.pump.muted = True
            self.link.hang_up(f"cable {number} pulled")
            await asyncio.sleep(silent_s)
            self.pump.muted = False
            await asyncio.sleep(10)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        self.recorder.close()


async def recorded(trace: Path, *, silent_s: float, breaks: int = 1) -> list[Observation]:
    """What a live session made of it, while `trace` was written."""
    bed = Bed(trace)
    await bed.live(silent_s=silent_s, breaks=breaks)
    return bed.observed
