from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acquisition.rate import Rate

NS = 1_000_000_000


def test_a_steady_flow_is_its_rate_and_an_ended_one_is_forgotten_after_a_minute() -> None:
    rate = Rate(start_ns=0)
    for tenth in range(1200):
        rate.add(50, tenth * NS // 10)
    assert rate.per_second(120 * NS - 1) == 500
    assert rate.per_second(150 * NS) == pytest.approx(250, rel=0.05)
    assert rate.per_second(180 * NS) == 0


def test_before_the_first_minute_is_over_it_is_the_mean_since_the_beginning() -> None:
    rate = Rate(start_ns=5 * NS)
    rate.add(300, 5 * NS + 1)
    assert rate.per_second(5 * NS + 2) == 300
    assert rate.per_second(8 * NS) == 100


@given(st.lists(st.tuples(st.integers(0, 200 * NS), st.integers(0, 10_000))))
def test_it_is_never_more_than_what_was_counted(counted: list[tuple[int, int]]) -> None:
    rate = Rate(start_ns=0)
    for now, count in sorted(counted):
        rate.add(count, now)
        assert 0 <= rate.per_second(now) <= sum(each for _, each in counted)
