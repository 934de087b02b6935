from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acquisition import clock as clock_module
from acquisition.clock import (
    NS,
    SLEW_PPM,
    STEP_NS,
    Instant,
    ManualClock,
    ScaledClock,
    Step,
    SystemClock,
    from_rfc3339,
    rfc3339,
)

HOUR = 3600 * NS
START = 1_772_000_000 * NS


class Host:
    """The clocks of a machine: one that runs, and one that can be set."""

    def __init__(self, utc: int = START) -> None:
        self.mono = 77 * NS
        self.utc = utc

    def monotonic_ns(self) -> int:
        return self.mono

    def time_ns(self) -> int:
        return self.utc

    def run(self, ns: int, ppm: int = 0) -> None:
        self.mono += ns
        self.utc += ns + ns * ppm // 1_000_000


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(clock_module, "time", host)
    return host


def live(host: Host, clock: SystemClock, seconds: int, ppm: int = 0) -> list[Step]:
    steps = []
    for _ in range(seconds):
        host.run(NS, ppm)
        steps.append(clock.discipline())
    return [step for step in steps if step]


def test_it_starts_with_the_systems_time_and_keeps_it(host: Host) -> None:
    clock = SystemClock()
    assert live(host, clock, 100) == []
    assert clock.now() == Instant(START + 100 * NS, host.mono)
    assert clock.ahead_ns == 0


def test_a_step_forward_is_followed_at_once_and_told(host: Host) -> None:
    clock = SystemClock()
    host.utc += HOUR
    assert clock.discipline() == Step(Instant(START + HOUR, host.mono), HOUR, followed=True)
    assert clock.now().utc_ns == host.utc
    assert live(host, clock, 3) == []


def test_a_step_back_is_held_and_told_once(host: Host) -> None:
    clock = SystemClock()
    host.utc -= HOUR
    assert clock.discipline() == Step(Instant(START, host.mono), -HOUR, followed=False)
    assert clock.now().utc_ns == START
    assert clock.ahead_ns == HOUR
    assert live(host, clock, 10) == []
    assert START + 9 * NS < clock.now().utc_ns < START + 10 * NS


def test_the_hour_that_is_held_is_slewed_away_at_most_500_ppm(host: Host) -> None:
    clock = SystemClock()
    host.utc -= HOUR
    clock.discipline()
    live(host, clock, 1)
    ahead = clock.ahead_ns
    live(host, clock, 1000)
    assert ahead - clock.ahead_ns == 1000 * NS * SLEW_PPM // 1_000_000


def test_slewing_ends_where_the_system_is(host: Host) -> None:
    clock = SystemClock()
    host.utc -= NS
    clock.discipline()
    assert live(host, clock, 2100) == []
    assert clock.ahead_ns == 0


def test_slewing_back_never_lets_a_reading_be_met_again(host: Host) -> None:
    clock = SystemClock()
    host.utc -= HOUR
    clock.discipline()
    live(host, clock, 1)
    seen = []
    for _ in range(100):
        seen.append(clock.now().utc_ns)
        host.run(20_000_000)
        seen.append(clock.now().utc_ns)
        clock.discipline()
        host.run(1)
    assert all(later >= earlier for earlier, later in pairwise(seen))


def test_a_daemon_that_was_stopped_for_an_hour_does_not_slew_it_in_one_go(host: Host) -> None:
    clock = SystemClock()
    host.utc -= HOUR
    clock.discipline()
    host.run(HOUR)
    before = clock.now().utc_ns
    clock.discipline()
    assert clock.now().utc_ns == before


@pytest.mark.parametrize("ppm", [-400, -30, 30, 400])
def test_what_ntp_slews_is_followed_without_an_event(host: Host, ppm: int) -> None:
    clock = SystemClock()
    assert live(host, clock, 3000, ppm) == []
    assert abs(clock.ahead_ns) <= NS * 400 // 1_000_000


def test_repeated_small_corrections_give_no_event(host: Host) -> None:
    clock = SystemClock()
    for number in range(50):
        host.utc += (-1) ** number * (STEP_NS - 1_000_000)
        assert live(host, clock, 1) == []


def test_small_corrections_that_add_up_to_a_step_are_one(host: Host) -> None:
    clock = SystemClock()
    host.utc -= 300_000_000
    assert live(host, clock, 1) == []
    host.utc -= 300_000_000
    (step,) = live(host, clock, 1)
    assert not step.followed
    assert step.by_ns == pytest.approx(-600_000_000, abs=1_000_000)


def test_a_start_in_1970_and_then_the_right_time_is_one_step_forward(host: Host) -> None:
    host.utc = 5 * NS
    clock = SystemClock()
    assert live(host, clock, 30) == []
    host.utc = START
    (step,) = live(host, clock, 60)
    assert step.followed
    assert step.by_ns == START - 35 * NS
    assert clock.ahead_ns == 0


def test_time_does_not_start_before_what_the_journal_has(host: Host) -> None:
    clock = SystemClock(not_before_ns=START + HOUR)
    assert clock.now().utc_ns == START + HOUR
    (step,) = live(host, clock, 60)
    assert (step.by_ns, step.followed) == (-HOUR, False)
    assert clock.now().utc_ns > START + HOUR + 59 * NS


def test_a_journal_of_the_past_does_not_hold_time_back(host: Host) -> None:
    assert SystemClock(not_before_ns=START - HOUR).now().utc_ns == START


def test_a_bed_without_a_clock_battery_goes_on_after_its_journal_until_ntp_comes(host: Host) -> None:
    host.utc = 5 * NS
    clock = SystemClock(not_before_ns=START)
    (lost,) = live(host, clock, 30)
    assert (lost.by_ns, lost.followed) == (5 * NS - START, False)
    host.utc = START + 600 * NS
    (found,) = live(host, clock, 30)
    assert found.followed
    assert clock.ahead_ns == 0


def test_two_steps_back_are_two_events_and_both_are_held(host: Host) -> None:
    clock = SystemClock()
    steps = []
    for _ in range(2):
        host.utc -= HOUR
        steps += live(host, clock, 10)
    assert [step.followed for step in steps] == [False, False]
    assert [step.by_ns for step in steps] == [-HOUR, -HOUR]
    assert 2 * HOUR - NS < clock.ahead_ns <= 2 * HOUR
    assert clock.now().utc_ns > START + 19 * NS


def test_an_hour_back_and_forth_again_moves_no_reading(host: Host) -> None:
    clock = SystemClock()
    host.utc -= HOUR
    live(host, clock, 60)
    host.utc += HOUR
    (step,) = live(host, clock, 60)
    assert step.by_ns == HOUR
    assert not step.followed
    assert abs(clock.now().utc_ns - (START + 120 * NS)) < 60 * NS * SLEW_PPM // 1_000_000 + 1
    assert live(host, clock, 3000) == []
    assert clock.ahead_ns == 0


@pytest.mark.parametrize("rest", [-300_000_000, 300_000_000])
def test_a_correction_that_leaves_less_than_a_step_is_slewed_and_not_jumped(host: Host, rest: int) -> None:
    clock = SystemClock()
    host.utc -= HOUR
    live(host, clock, 1)
    host.utc += HOUR + rest
    before = clock.now().utc_ns
    step = clock.discipline()
    assert step is not None
    assert not step.followed
    assert clock.now().utc_ns == before
    assert live(host, clock, 1000) == []
    assert clock.ahead_ns == 0


def test_half_of_the_way_forward_again_is_told_and_the_rest_stays_held(host: Host) -> None:
    clock = SystemClock()
    host.utc -= HOUR
    live(host, clock, 10)
    host.utc += HOUR // 2
    (step,) = live(host, clock, 10)
    assert (step.by_ns, step.followed) == (HOUR // 2, False)
    assert HOUR // 2 - NS < clock.ahead_ns <= HOUR // 2


def test_further_forward_than_back_is_followed_only_beyond_our_time_line(host: Host) -> None:
    clock = SystemClock()
    host.utc -= HOUR
    live(host, clock, 10)
    host.utc += 2 * HOUR
    (step,) = live(host, clock, 1)
    assert (step.by_ns, step.followed) == (2 * HOUR, True)
    assert step.instant.utc_ns == host.utc
    assert START + HOUR < clock.now().utc_ns < START + HOUR + 20 * NS


@given(
    st.lists(
        st.tuples(st.integers(1, 100 * NS), st.integers(-2 * HOUR, 2 * HOUR) | st.integers(-NS, NS), st.booleans()),
        max_size=30,
    )
)
def test_whatever_is_done_to_the_system_clock_time_never_runs_backwards(days: list[tuple[int, int, bool]]) -> None:
    host = Host(START)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock_module, "time", host)
        clock = SystemClock()
        last = clock.now()
        for passed, set_by, looked in days:
            host.run(passed)
            host.utc += set_by
            if looked:
                step = clock.discipline()
                assert host.utc - clock.now().utc_ns < STEP_NS, "a step forward was not followed"
                assert step is None or abs(step.by_ns) >= STEP_NS
            now = clock.now()
            assert now.utc_ns >= last.utc_ns
            assert now.mono_ns >= last.mono_ns
            last = now


def test_it_tells_how_long_to_wait_and_not_less_than_nothing(host: Host) -> None:
    clock = SystemClock()
    assert clock.seconds_until(host.mono + 2_500_000_000) == 2.5
    assert clock.seconds_until(host.mono - NS) == 0.0


def test_a_scaled_clock_runs_as_many_times_as_fast_and_waits_as_many_times_shorter() -> None:
    inner = ManualClock(START, 5 * NS)
    clock = ScaledClock(60.0, inner)
    assert clock.now() == Instant(START, 5 * NS)
    inner.advance_to(6 * NS)
    assert clock.now() == Instant(START + 60 * NS, 65 * NS)
    assert clock.seconds_until(95 * NS) == 0.5
    assert clock.seconds_until(0) == 0.0


def test_a_manual_clock_stands_until_it_is_moved_and_never_goes_back() -> None:
    clock = ManualClock(START, 10)
    assert clock.now() == clock.now() == Instant(START, 10)
    clock.advance_to(NS + 10)
    clock.advance_to(20)
    assert clock.now() == Instant(START + NS, NS + 10)
    assert clock.seconds_until(3 * NS + 10) == 2.0
    assert clock.seconds_until(0) == 0.0


@given(st.integers(0, 2**63 - 1))
def test_a_time_is_the_same_after_rfc_3339_and_back(utc_ns: int) -> None:
    assert from_rfc3339(rfc3339(utc_ns, 9)) == utc_ns


@pytest.mark.parametrize(
    ("digits", "text"),
    [
        (0, "2026-02-25T06:13:20Z"),
        (3, "2026-02-25T06:13:20.987Z"),
        (9, "2026-02-25T06:13:20.987654321Z"),
    ],
)
def test_decimals_are_cut_and_not_rounded(digits: int, text: str) -> None:
    assert rfc3339(START + 987_654_321, digits) == text


@pytest.mark.parametrize(
    ("text", "utc_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T19:00:00.25-05:00", 250_000_000),
        ("1970-01-01 00:00:01,5Z", 1_500_000_000),
        ("1970-01-01T00:00:00.0000000019Z", 1),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
    ],
)
def test_times_with_an_offset_are_understood(text: str, utc_ns: int) -> None:
    assert from_rfc3339(text) == utc_ns


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00", "2026-01-01T00:00:00.5", "2026-01-01"])
def test_a_naive_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="has no UTC offset"):
        from_rfc3339(text)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "25:00:00Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        from_rfc3339(text)
