from __future__ import annotations

from collections import Counter

import pytest

from acquisition.clock import NS, ManualClock
from simulators.bed import time_of
from simulators.bed_devices import KINDS
from simulators.faults import FaultKind
from simulators.scenario import DeviceTime, load_scenario
from simulators.wrong_clock import Settable, WrongClock

HOUR_NS = 3600 * NS


def test_a_clock_that_is_behind_and_gains_is_as_wrong_as_that_makes_after_each_hour() -> None:
    right = ManualClock(0)
    wrong = WrongClock(right, DeviceTime(ahead_s=-147.0, drift_ppm=25.0))
    for hours in range(5):
        now, shown = right.now(), wrong.now()
        assert (shown.utc_ns - now.utc_ns) / NS == pytest.approx(-147.0 + hours * 0.09)
        assert shown.mono_ns == now.mono_ns
        right.advance_to(now.mono_ns + HOUR_NS)
    wrong.set_s = 3600.0
    assert (wrong.now().utc_ns - right.now().utc_ns) / NS == pytest.approx(3600.0 - 147.0 + 0.45)


def test_a_clock_that_somebody_sets_jumps_by_an_hour_and_no_other_fault_is_its() -> None:
    device, right = Settable(), ManualClock(0)
    device._clock = right
    assert [kind for kind in FaultKind if device.provoke(kind)] == [FaultKind.CLOCK_JUMP]
    assert device._clock.now().utc_ns - right.now().utc_ns == HOUR_NS


def test_every_device_of_a_bed_has_a_clock_of_its_own_and_the_seed_says_how_wrong() -> None:
    read = load_scenario("stable")
    times = [{name: time_of(read, name) for name in KINDS} for _ in range(2)]
    assert times[0] == times[1]
    assert max(Counter(times[0].values()).values()) == 1
    assert all(-150 <= each.ahead_s <= 30 and -30 <= each.drift_ppm <= 30 for each in times[0].values())
