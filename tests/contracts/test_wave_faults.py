"""Samples stand where they were taken, whatever befalls the wire: a wave that counts itself shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.catalogue import Catalogue
from acquisition.clock import NS
from acquisition.model import Observation, Waveform
from acquisition.registry import build_driver
from acquisition.replay import Handing
from acquisition.session import Session
from acquisition.stamping import Stamper
from simulators.dri import DriMonitor
from simulators.faults import FaultKind, FaultyTransport, Injected, Schedule
from simulators.hl7_monitor import Hl7Monitor
from simulators.links import Device
from simulators.memory_link import MemoryLink
from simulators.virtual_time import LoopClock, run

FAULTY_S, LIVED_S = 60, 80
MOST_NS, SETTLED_NS = 600_000_000, 60_000_000
"""While faults go on, two blocks that were lost may not be missed yet; ten seconds after the last nothing is off."""


class Counting:
    """A pressure that is the number of its sample."""

    rate_hz, resolution = 125.0, 0.01

    def __init__(self) -> None:
        self._taken = 0

    def take(self, n: int) -> NDArray[np.int32]:
        self._taken += n
        return np.arange(self._taken - n, self._taken, dtype=np.int32)


def hl7() -> Device:
    return Hl7Monitor(lambda: {"hr": 70.0}, {"wf_abp": Counting()}, clock=LoopClock())


def dri() -> Device:
    return DriMonitor(lambda: {"hr": 70.0}, LoopClock(), {"wf_abp": Counting()})


async def observed(make: Callable[[], Device], options: Mapping[str, Any], kind: FaultKind) -> list[Observation]:
    name, found, injected = make.__name__, list[Observation](), list[Injected]()
    schedule = Schedule(1, [kind], every_s=6.0, until_s=FAULTY_S)
    link = FaultyTransport(MemoryLink(make()), schedule, LoopClock(), injected.append)
    driver = build_driver(name, None, options, Catalogue.shipped(), ())
    keeper = Handing(found.append, acknowledges=True)
    session = asyncio.create_task(
        Session(name, driver, link, LoopClock(), keeper, Stamper(name, Catalogue.shipped())).run()
    )
    await asyncio.sleep(LIVED_S)
    session.cancel()
    await asyncio.wait([session])
    assert len(injected) >= 5
    return found


@pytest.mark.parametrize(
    "kind", [FaultKind.DROP, FaultKind.CUT, FaultKind.DELAY, FaultKind.STALL, FaultKind.HALF, FaultKind.NOISE]
)
@pytest.mark.parametrize(("make", "options"), [(hl7, {}), (dri, {"waves": ["invp1"]})])
def test_samples_stand_where_they_were_taken(
    make: Callable[[], Device], options: Mapping[str, Any], kind: FaultKind
) -> None:
    blocks = [each for each in run(observed(make, options, kind)) if isinstance(each, Waveform)]
    taken_ns = [round(block.samples[0] / Counting.resolution / Counting.rate_hz * NS) for block in blocks]
    first = blocks[0].time_ns - taken_ns[0]
    off = [abs(block.time_ns - taken - first) for block, taken in zip(blocks, taken_ns, strict=True)]
    assert max(off) <= MOST_NS
    assert max(off[-20:]) <= SETTLED_NS
