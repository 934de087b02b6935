"""The device's own clock against the host's: offset, drift, steps; the figures are those of CLINICAL.md section 7.2."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from acquisition.device_clock import NS, DeviceClock, Step, Track

T0 = 1_767_225_600 * NS
HOUR = 3600


def stamps(
    seconds: int,
    *,
    ahead_s: float = -147.0,
    ppm: float = 0.0,
    resolution: int = 1_000_000,
    every: int = 1,
    since: int = 0,
) -> Iterator[tuple[int, int]]:
    """Device and host times: 80 ms of exponential delay, and one in a hundred up to 8 s late."""
    chance = Random(7)
    received = 0
    for second in range(since, since + seconds, every):
        true = T0 + second * NS + chance.randrange(NS // 2)
        device = true + round(ahead_s * NS + ppm * second * 1000)
        delay = chance.uniform(0, 8) if chance.random() < 0.01 else chance.expovariate(1 / 0.08)
        received = max(received, true + round(delay * NS))
        yield device // resolution * resolution, received


def tracked(clock: DeviceClock, given: Iterator[tuple[int, int]]) -> tuple[list[Track], list[Step]]:
    found = [each for device_ns, host_ns in given for each in clock.observe(device_ns, host_ns)]
    return [each for each in found if isinstance(each, Track)], [each for each in found if isinstance(each, Step)]


@pytest.mark.parametrize("ppm", [25.0, -80.0])
def test_offset_and_drift_are_found_beneath_the_delay_of_the_wire(ppm: float) -> None:
    tracks, steps = tracked(DeviceClock(), stamps(6 * HOUR, ppm=ppm))
    assert not steps
    last = tracks[-1]
    assert last.drift_ppm == pytest.approx(ppm, abs=1.0)
    true_ns = -147 * NS + ppm * 1000 * (last.time_ns - T0) / NS
    assert last.ahead_ns == pytest.approx(true_ns, abs=0.05 * NS)
    assert last.uncertainty_ns == 500_000


def test_stamps_of_whole_seconds_are_known_to_half_a_second() -> None:
    tracks, steps = tracked(DeviceClock(), stamps(6 * HOUR, ppm=25.0, resolution=NS))
    assert not steps
    assert tracks[-1].uncertainty_ns == NS // 2
    assert tracks[-1].drift_ppm == pytest.approx(25.0, abs=23.0)
    true_ns = -147 * NS + 25_000 * (tracks[-1].time_ns - T0) / NS
    assert abs(tracks[-1].ahead_ns - true_ns) <= NS // 2


def test_the_first_estimate_comes_after_a_minute_and_one_every_ten_minutes_then() -> None:
    tracks, _ = tracked(DeviceClock(), stamps(HOUR))
    assert (tracks[0].time_ns - T0) / NS == pytest.approx(60, abs=10)
    assert len(tracks) == 6
    assert [each.drift_ppm is None for each in tracks[:5]] == [True, True, True, False, False]


@pytest.mark.parametrize("by_s", [-3600, 3600, 60, -8])
@pytest.mark.parametrize("every", [1, 60])
def test_a_device_whose_clock_is_set_is_noticed_once_with_its_place_and_size(by_s: int, every: int) -> None:
    clock = DeviceClock()
    tracked(clock, stamps(2 * HOUR, every=every))
    tracks, steps = tracked(clock, stamps(2 * HOUR, since=2 * HOUR, ahead_s=-147 + by_s, every=every))
    (step,) = steps
    assert step.by_ns == pytest.approx(by_s * NS, abs=NS)
    assert abs(step.time_ns - T0 - 2 * HOUR * NS) <= max(60, every) * NS
    assert step.like_summer_time is (abs(by_s) == 3600)
    assert tracks[-1].ahead_ns == pytest.approx((-147 + by_s) * NS, abs=NS)


def test_stamps_that_are_late_in_a_burst_are_no_step() -> None:
    clock = DeviceClock()
    tracked(clock, stamps(HOUR))
    late = T0 + HOUR * NS
    found = [clock.observe(late + second * NS - 147 * NS, late + 20 * NS) for second in range(20)]
    assert not any(found)
    tracks, steps = tracked(clock, stamps(HOUR, since=HOUR + 20))
    assert tracks
    assert not steps


def test_what_was_seen_before_the_host_was_set_is_forgotten() -> None:
    clock = DeviceClock()
    tracked(clock, stamps(HOUR))
    clock.forget()
    assert clock.latest is None
    _, steps = tracked(clock, ((device, host + HOUR * NS) for device, host in stamps(HOUR, since=HOUR)))
    assert not steps


def test_a_sender_of_one_stamp_a_minute_is_tracked_too() -> None:
    tracks, _ = tracked(DeviceClock(), stamps(6 * HOUR, every=60, resolution=60 * NS))
    assert tracks[-1].uncertainty_ns == 30 * NS
    assert abs(tracks[-1].ahead_ns + 147 * NS) <= 60 * NS


@pytest.mark.slow
def test_memory_does_not_grow_with_the_days() -> None:
    clock = DeviceClock()
    for device_ns, host_ns in stamps(3 * 86_400, every=2):
        clock.observe(device_ns, host_ns)
    assert len(clock._seconds) <= 601
    assert len(clock._windows) <= 144
