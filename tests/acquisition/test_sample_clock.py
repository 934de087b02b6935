from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from acquisition.sample_clock import SLEW_PPM, TOLERANCE_NS, SampleClock

NS = 1_000_000_000
PERIOD = 8_000_000
T0 = 1_700_000_000 * NS


def test_late_packets_do_not_wobble_the_samples() -> None:
    clock, rng = SampleClock(PERIOD), random.Random(1)
    starts = [clock.place(125, T0 + n * NS + rng.randrange(200_000_000)) for n in range(600)]
    placed = [start for start in starts if start is not None]
    assert len(placed) == 600
    assert {b - a for a, b in pairwise(placed)} == {NS}


def test_blocks_the_device_says_are_missing_leave_a_hole_of_whole_periods() -> None:
    clock = SampleClock(PERIOD)
    first = clock.place(125, T0, 0)
    assert first is not None
    assert clock.place(125, T0 + 4 * NS, 3 * NS) == first + 3 * NS


def test_a_block_that_comes_again_is_not_placed_again() -> None:
    clock = SampleClock(PERIOD)
    first = clock.place(125, T0, 0)
    assert first is not None
    assert clock.place(125, T0 + 1, 0) is None
    assert clock.place(125, T0 + NS, NS) == first + NS


def test_without_a_device_time_a_long_delay_means_lost_blocks() -> None:
    clock = SampleClock(PERIOD)
    clock.place(125, T0)
    assert clock.place(125, T0 + 10 * NS) == T0 + 9 * NS
    assert clock.restarts == 1


def test_a_device_clock_set_by_an_hour_restarts_by_arrival_and_never_overlaps() -> None:
    clock = SampleClock(PERIOD)
    first = clock.place(125, T0, 0)
    assert first is not None
    placed = clock.place(125, T0 + NS, -3600 * NS)
    assert placed is not None
    assert placed >= first + NS


def test_drift_is_followed_slowly_and_within_tolerance() -> None:
    clock = SampleClock(PERIOD)
    ppm = 100
    starts: list[int] = []
    for n in range(20_000):
        arrival = T0 + n * NS + n * NS * ppm // 1_000_000
        placed = clock.place(125, arrival)
        assert placed is not None
        starts.append(placed)
        assert abs(arrival - NS - placed) < TOLERANCE_NS + 20_000_000
    steps = {b - a for a, b in pairwise(starts)}
    assert min(steps) >= NS
    assert max(steps) <= NS + NS * SLEW_PPM // 1_000_000


def test_after_the_hosts_time_line_was_set_the_stream_takes_its_place_by_arrival() -> None:
    clock = SampleClock(PERIOD)
    clock.place(125, T0, 0)
    clock.forget()
    assert clock.place(125, T0 + 3600 * NS, NS) == T0 + 3599 * NS


@given(
    st.lists(
        st.tuples(st.integers(1, 500), st.integers(-5 * NS, 100 * NS), st.none() | st.integers(-100 * NS, 100 * NS)),
        max_size=60,
    )
)
def test_blocks_never_overlap_whatever_comes(blocks: list[tuple[int, int, int | None]]) -> None:
    clock, end, arrival = SampleClock(PERIOD), None, T0
    for count, delay, device in blocks:
        arrival += delay
        placed = clock.place(count, arrival, device)
        if placed is None:
            continue
        assert end is None or placed >= end
        end = placed + count * PERIOD


def test_after_a_gap_of_unknown_length_the_arrival_says_how_many_samples_are_missing() -> None:
    clock = SampleClock(PERIOD)
    first = clock.place(125, T0)
    assert first is not None
    assert clock.place(125, T0 + NS) == first + NS
    assert clock.place(125, T0 + 3 * NS, after_gap=True) == first + 3 * NS
    assert clock.place(125, T0 + 4 * NS, after_gap=True) == first + 4 * NS


def test_a_gap_is_not_made_shorter_by_blocks_that_came_sooner_than_the_first() -> None:
    clock = SampleClock(PERIOD)
    first = clock.place(125, T0 + 200_000_000)
    assert first is not None
    clock.place(125, T0 + NS)
    assert clock.place(125, T0 + 3 * NS, after_gap=True) == first + 3 * NS
