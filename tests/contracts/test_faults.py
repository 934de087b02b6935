from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from itertools import pairwise, starmap
from math import ceil, floor
from types import ModuleType
from typing import Any

import pytest

from acquisition.catalogue import Catalogue
from acquisition.clock import NS
from acquisition.driver import Driver
from acquisition.model import Event, EventKind, GapCause, Numerics, Observation
from acquisition.replay import Handing
from acquisition.session import Session
from acquisition.stamping import GAP_NS, Stamper
from simulators.faults import MOST_DELAY_S, OF_THE_DEVICE, FaultKind, FaultyTransport, Injected, Schedule
from simulators.memory_link import MemoryLink
from simulators.virtual_time import STARTED_NS, LoopClock, run
from tests.contracts.coded_devices import SIMULATORS, WITHOUT_CHECK_CODE, code, present, spoken_by, virtual
from tests.sparing import most_slow

__all__ = ["virtual"]

LIVED_S = 80
FAULTY_S = 50.0
EVERY_S = 6.0
SEEDS = 3
SPARSE_S = 18.0
"""So far apart that most of the time no fault excuses a missing reading."""
MOST_LAG_S = 12.0
COSTS_S: Mapping[FaultKind, float] = {
    FaultKind.DROP: 1.0,
    FaultKind.CUT: 1.0,
    FaultKind.FLIP: 1.0,
    FaultKind.DELAY: MOST_DELAY_S,
    FaultKind.REORDER: 1.0,
    FaultKind.NOISE: 1.0,
    FaultKind.STALL: MOST_DELAY_S,
    FaultKind.HALF: 1.0,
    FaultKind.DISCONNECT: 2.0,
    FaultKind.LATE: 2.0,
    FaultKind.REBOOT: 2.0,
    FaultKind.WRONG_UNIT: 1.0,
}
"""How long readings may be missing after one fault, besides the time to the next one; a kind not here costs none."""
PATIENT_S = {"hl7_monitor": 10.0, "medibus": 10.0}
"""Who waits so long for an acknowledgement or an answer that was lost."""
ALTERED_S = 1.0
UNITS = {"alicat_mfc", "leviflow", "puralev", "sim_pump_console"}
BEFALLS: Mapping[FaultKind, set[str]] = {
    FaultKind.LATE: UNITS,
    FaultKind.WRONG_UNIT: UNITS,
    FaultKind.ROLL_OVER: {"sim_pump_console"},
    FaultKind.CLOCK_JUMP: {"cdi500", "dri", "hl7_monitor", "intellivue", "masimo_ascii1", "medibus"},
}
"""Which devices have an address, a counter, a clock; what is late on another's wire is a delay. All can restart."""
LOSES_WORDS = (FaultKind.DROP, FaultKind.CUT, FaultKind.FLIP, FaultKind.REORDER, FaultKind.NOISE)


@dataclass
class Story:
    """What was stored while things went wrong, and what went wrong."""

    driver: Driver
    observed: list[Observation] = field(default_factory=list)
    injected: list[Injected] = field(default_factory=list)

    @property
    def numerics(self) -> list[Numerics]:
        return [each for each in self.observed if isinstance(each, Numerics) and self.said(each)]

    @property
    def gaps(self) -> list[Event]:
        return [
            each
            for each in self.observed
            if isinstance(each, Event) and each.event is EventKind.GAP and "channel" not in each.detail
        ]

    @staticmethod
    def said(numerics: Numerics) -> dict[str, float]:
        """Channels that carry the code."""
        kept = {"sim_counter", "pp_num"}
        return {channel: value for channel, value in numerics.values.items() if channel not in kept}


async def live(
    module: ModuleType, driver: Driver, kinds: tuple[FaultKind, ...], seed: int, every_s: float = EVERY_S
) -> Story:
    story, clock = Story(driver), LoopClock()
    link = MemoryLink(module.create(present))

    def provoke(kind: FaultKind) -> bool:
        if kind is FaultKind.REBOOT:
            link.device = module.create(present)
            link.hang_up("the device restarted")
            return True
        able: Callable[[FaultKind], bool] | None = getattr(link.device, "provoke", None)
        return able is not None and able(kind)

    schedule = Schedule(seed, kinds, every_s=every_s, until_s=FAULTY_S if kinds else 0.0)
    faulty = FaultyTransport(link, schedule, clock, story.injected.append, provoke)
    stamper = Stamper("device", Catalogue.shipped())
    keeper = Handing(story.observed.append, acknowledges=True)
    running = asyncio.create_task(Session("device", driver, faulty, clock, keeper, stamper).run())
    await asyncio.sleep(LIVED_S)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return story


def second_of(channel: str, value: float) -> int | None:
    """When the device said it; None for a number that it never said."""
    base, step = code(channel)
    second = round((value - base) / step)
    return second if abs(base + step * second - value) < 0.3 * step and 0 <= second <= LIVED_S else None


def cost_s(name: str, kind: FaultKind) -> float:
    return max(COSTS_S.get(kind, 0.0), PATIENT_S.get(name, 0.0) if kind in LOSES_WORDS else 0.0)


def excused(story: Story, name: str, usual: Habits) -> set[int]:
    """Seconds whose readings a fault may have cost.

    A reading comes within a pace of the second for which it is looked for, so that a fault befalls it up to a pace
    later; and the next one that can be had comes within a pace of the time that the fault lasts.
    """
    found: set[int] = set()
    for each in story.injected:
        if each.kind in COSTS_S:
            at_s = each.mono_ns / NS
            found.update(range(ceil(at_s - usual.pace), floor(at_s + cost_s(name, each.kind) + usual.pace) + 1))
    return found


@dataclass(frozen=True)
class Habits:
    """What a device does when all is well.

    Attributes:
        coded: Channels that carry the code; others are constant there, or do not go so far.
        pace: Seconds from one reading to the next, at most.
        first: The first second that is stored.
        lag: How much older than its time a value is, at most.
    """

    coded: frozenset[str]
    pace: int
    first: int
    lag: float


@cache
def habits(name: str) -> Habits:
    story = run(live(SIMULATORS[name], spoken_by(name)(), (), 1))
    wrong = {
        channel
        for each in story.numerics
        for channel, value in Story.said(each).items()
        if second_of(channel, value) is None
    }
    late = [
        ((each.time_ns - STARTED_NS) / NS, channel, second_of(channel, value))
        for each in story.numerics
        for channel, value in Story.said(each).items()
        if channel not in wrong
    ]
    wrong |= {
        channel for at_s, channel, second in late if second is not None and not -0.01 <= at_s - second <= MOST_LAG_S
    }
    kept = [(at_s, channel, second) for at_s, channel, second in late if channel not in wrong and second is not None]
    seconds = sorted({second for _, _, second in kept})
    pace = max((b - a for a, b in pairwise(seconds)), default=LIVED_S)
    return Habits(
        frozenset(channel for _, channel, _ in kept), pace, min(seconds, default=LIVED_S),
        max((at_s - second for at_s, _, second in kept), default=0.0),
    )  # fmt: skip


def altered(story: Story, at_s: float) -> bool:
    """Whether bytes of a reading of this time may have become others."""
    kinds = (FaultKind.FLIP, FaultKind.NOISE, FaultKind.CUT)
    return any(each.kind in kinds and at_s - ALTERED_S <= each.mono_ns / NS <= at_s for each in story.injected)


def misattributed(story: Story, usual: Habits, flips_pass: bool) -> list[str]:
    """Values that the device never said, or not then."""
    found = []
    for each in story.numerics:
        at_s = (each.time_ns - STARTED_NS) / NS
        told = each.device_time
        # Where the device gives a time, the value belongs there. A report that had to wait for its turn is made late,
        # with the time at which it was due. The clocks that jump do so by whole hours.
        when = at_s if told is None else datetime.fromisoformat(told).timestamp() % 3600 - STARTED_NS / NS % 3600
        for channel, value in Story.said(each).items():
            if channel not in usual.coded:
                continue
            second = second_of(channel, value)
            if flips_pass and altered(story, at_s):
                continue
            if second is None or second > at_s + 0.01 or when - second > usual.lag + (0.1 if told else 3.6):
                found.append(f"{at_s:.3f} s: {channel} {value} (said in second {second})")
    return found


def unaccounted(story: Story, name: str, usual: Habits) -> list[int]:
    """Seconds whose readings are neither stored nor missing for a cause."""
    stored = {
        second_of(channel, value)
        for each in story.numerics
        for channel, value in Story.said(each).items()
        if channel in usual.coded
    }
    due = range(usual.first, LIVED_S - 2 - usual.pace)
    missing = {second for second in due if stored.isdisjoint(range(second, second + usual.pace))}
    return sorted(missing - excused(story, name, usual))


def silent_gaps(story: Story) -> list[str]:
    """Silences that no event tells of with a cause."""
    limit = max(GAP_NS, 3 * (story.driver.period_ns or 0))
    causes = {(gap.detail["from_ns"], gap.detail["cause"]) for gap in story.gaps}
    times = [each.time_ns for each in story.numerics]
    return [
        f"{(b - a) / NS} s"
        for a, b in pairwise(times)
        if b - a > limit + NS and not any(a - NS <= begin <= b and cause in set(GapCause) for begin, cause in causes)
    ]


@pytest.mark.usefixtures("virtual")
@pytest.mark.parametrize("name", SIMULATORS)
def test_without_a_fault_every_second_of_the_device_is_stored_and_a_lost_one_would_be_noticed(name: str) -> None:
    story = run(live(SIMULATORS[name], spoken_by(name)(), (), 1))
    usual = habits(name)
    assert story.injected == []
    assert usual.coded
    assert usual.pace <= 10
    assert usual.first <= 15
    assert unaccounted(story, name, usual) == []
    assert misattributed(story, usual, flips_pass=False) == []
    assert story.gaps == []
    for lost in (17, 30, 53):
        seconds = set(range(lost, lost + usual.pace))
        left = [each for each in story.numerics if seconds.isdisjoint(starmap(second_of, Story.said(each).items()))]
        assert unaccounted(replace(story, observed=[*left]), name, usual) != []


@pytest.mark.system  # hundreds of stories take their time
@pytest.mark.usefixtures("virtual")
@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("name", SIMULATORS)
def test_under_every_fault_each_reading_is_stored_or_missing_for_a_cause(name: str, kind: FaultKind) -> None:
    usual = habits(name)
    stories = [run(live(SIMULATORS[name], spoken_by(name)(), (kind,), seed, SPARSE_S)) for seed in range(SEEDS)]
    stories = [story for story in stories if story.injected]
    assert bool(stories) == (name in BEFALLS.get(kind, SIMULATORS))
    for story in stories:
        assert len(excused(story, name, usual)) < LIVED_S / 1.2, "so much would excuse anything"
        assert misattributed(story, usual, flips_pass=name in WITHOUT_CHECK_CODE) == []
        assert unaccounted(story, name, usual) == []
        assert silent_gaps(story) == []
        assert second_of_last(story) >= LIVED_S - 3 - usual.pace, "it does not recover"


def second_of_last(story: Story) -> int:
    return max(each.time_ns for each in story.numerics) // NS - STARTED_NS // NS


@pytest.mark.usefixtures("virtual")
@pytest.mark.parametrize("name", SIMULATORS)
@pytest.mark.parametrize("seed", most_slow(range(3), 1))
def test_under_all_faults_together_nothing_is_lost_without_a_cause(name: str, seed: int) -> None:
    driver = spoken_by(name)()
    story = run(live(SIMULATORS[name], driver, tuple(FaultKind), seed))
    protected = name not in WITHOUT_CHECK_CODE
    assert len(story.injected) >= 3
    assert misattributed(story, habits(name), flips_pass=not protected) == []
    assert unaccounted(story, name, habits(name)) == []
    assert silent_gaps(story) == []


@pytest.mark.usefixtures("virtual")
def test_equal_seeds_give_equal_faults_and_equal_readings() -> None:
    name = next(iter(SIMULATORS))
    stories = [run(live(SIMULATORS[name], spoken_by(name)(), tuple(FaultKind), 5)) for _ in range(2)]
    assert [each.line() for each in stories[0].injected] == [each.line() for each in stories[1].injected]
    assert stories[0].observed == stories[1].observed


@pytest.mark.usefixtures("virtual")
def test_each_fault_of_a_device_befalls_every_device_that_can_have_it() -> None:
    for name, module in SIMULATORS.items():
        device = run(made(module))
        able = {kind for kind in OF_THE_DEVICE if hasattr(device, "provoke") and device.provoke(kind)}
        assert able == {kind for kind, names in BEFALLS.items() if name in names}, name


async def made(module: ModuleType) -> Any:
    return module.create(present)
