from __future__ import annotations

import random
from itertools import pairwise

import pytest
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


@pytest.mark.parametrize("ppm", [100, -100])
def test_drift_is_followed_slowly_and_within_tolerance(ppm: int) -> None:
    clock = SampleClock(PERIOD)
    starts: list[int] = []
    for n in range(20_000):
        arrival = T0 + n * NS + n * NS * ppm // 1_000_000
        placed = clock.place(125, arrival)
        assert placed is not None
        starts.append(placed)
        assert abs(arrival - NS - placed) < TOLERANCE_NS + 20_000_000
    moved = [b - a - NS for a, b in pairwise(starts)]
    assert max(map(abs, moved)) <= NS * SLEW_PPM // 1_000_000
    assert all(move * ppm >= 0 for move in moved)


@pytest.mark.parametrize("by_s", [2, 3600])
@pytest.mark.parametrize("stamped", [True, False])
def test_after_the_hosts_time_line_was_set_the_stream_takes_its_place_by_arrival(by_s: int, stamped: bool) -> None:
    clock = SampleClock(PERIOD)
    clock.place(125, T0, 0 if stamped else None)
    clock.forget()
    for n in (1, 2):
        assert clock.place(125, T0 + (by_s + n) * NS, n * NS if stamped else None) == T0 + (by_s + n - 1) * NS


@given(
    st.lists(
        st.tuples(st.integers(1, 500), st.integers(-5 * NS, 100 * NS), st.none() | st.integers(-100 * NS, 100 * NS)),
        max_size=100,
    )
)
def test_samples_never_overlap_whatever_comes(blocks: list[tuple[int, int, int | None]]) -> None:
    clock, end, arrival = SampleClock(PERIOD), None, T0
    for count, delay, device in blocks:
        arrival += delay
        placed = clock.place(count, arrival, device)
        if placed is None:
            continue
        assert end is None or placed >= end - PERIOD // 2
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


def placed_of(clock: SampleClock, count: int, stamps: list[int]) -> list[int | None]:
    """Where blocks go that follow each other without a gap and arrive in time, stamped as said."""
    return [clock.place(count, T0 + n * count * PERIOD, stamp) for n, stamp in enumerate(stamps)]


def evenly(placed: list[int | None], length: int) -> bool:
    return placed == [T0 - length + n * length for n in range(len(placed))]


@pytest.mark.parametrize("wander_ms", [10, 70])
def test_stamps_that_wander_do_not_carry_the_samples_away(wander_ms: int) -> None:
    clock, rng = SampleClock(PERIOD), random.Random(2)
    first = clock.place(125, T0, 7_000_000)
    assert first is not None
    for n in range(1, 600):
        stamp = n * NS + (7 + rng.randrange(-wander_ms, wander_ms)) * 1_000_000
        assert clock.place(125, T0 + n * NS + rng.randrange(150_000_000), stamp) == first + n * NS


@pytest.mark.parametrize("count", [25, 50, 125])
def test_several_blocks_within_the_resolution_of_their_stamps_are_all_kept(count: int) -> None:
    rng, length = random.Random(3), count * PERIOD
    stamps = [(n * length + rng.randrange(-5_000_000, 5_000_000)) // NS * NS for n in range(600)]
    assert evenly(placed_of(SampleClock(PERIOD), count, stamps), length)


def test_a_lost_block_shows_although_the_stamps_are_coarse() -> None:
    clock, came = SampleClock(PERIOD), [n for n in range(40) if n != 20]
    assert [clock.place(125, T0 + n * NS, n * NS) for n in came] == [T0 - NS + n * NS for n in came]


@pytest.mark.parametrize("by_s", [-40, -10, -3, -2, -1.5, -1, -0.7, 0.7, 1, 1.5, 10, 40])
def test_a_device_clock_set_by_seconds_moves_no_samples_and_costs_one_block_at_most(by_s: float) -> None:
    stamps = [n * NS + 370_000_000 + (round(by_s * NS) if n >= 20 else 0) for n in range(60)]
    placed = placed_of(SampleClock(PERIOD), 125, stamps)
    assert [n for n, start in enumerate(placed) if start != T0 + (n - 1) * NS] == ([20] if by_s < -1 else [])
    assert placed[20] is None or by_s >= -1


def test_blocks_that_are_sent_again_in_a_burst_are_not_taken_for_a_clock_that_was_set_back() -> None:
    clock = SampleClock(PERIOD)
    for n in range(20):
        clock.place(125, T0 + n * NS, n * NS + 370_000_000)
    again = [clock.place(125, T0 + 19 * NS + n, n * NS + 370_000_000) for n in range(10, 20)]
    assert again == [None] * 10
    assert clock.place(125, T0 + 20 * NS, 20 * NS + 370_000_000) == T0 + 19 * NS


@pytest.mark.parametrize("lost", [{100}, {100, 101}, {100, 115}, {*range(100, 107)}])
def test_blocks_that_were_lost_without_a_word_leave_a_hole_within_seconds(lost: set[int]) -> None:
    clock, rng, length = SampleClock(PERIOD), random.Random(4), 25 * PERIOD
    late: list[int] = []
    for n in (n for n in range(300) if n not in lost):
        placed = clock.place(25, T0 + n * length + rng.randrange(40_000_000))
        assert placed is not None
        late.append(T0 + (n - 1) * length - placed)
    settled = [abs(each) < 60_000_000 for each in late]
    assert all(settled[:100])
    assert all(settled[140:]), late


@pytest.mark.parametrize("stall_s", [0.5, 1, 2, 2.9])
def test_a_stall_after_which_everything_comes_at_once_moves_nothing(stall_s: float) -> None:
    clock, length = SampleClock(PERIOD), 25 * PERIOD
    for n in range(300):
        due = T0 + n * length
        stalled = T0 + 100 * length <= due < T0 + 100 * length + round(stall_s * NS)
        arrival = T0 + 100 * length + round(stall_s * NS) if stalled else due
        assert clock.place(25, arrival) == T0 + (n - 1) * length


def test_blocks_of_many_samples_are_moved_by_half_a_period_at_most() -> None:
    clock, count, period_ns = SampleClock(2_000_000), 10_000, 2_000_000
    end = None
    for n in range(300):
        placed = clock.place(count, T0 + round(n * count * period_ns * (1 - 150e-6)))
        assert placed is not None
        assert end is None or placed >= end - period_ns // 2
        end = placed + count * period_ns
