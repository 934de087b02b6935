from __future__ import annotations

import pytest

from acquisition.clock import NS
from acquisition.upkeep.growth import MOST_HOURS, Growth, hours


def grown(*sizes: tuple[float, int]) -> float | None:
    growth = Growth()
    for seconds, size in sizes:
        growth.saw(size, int(seconds * NS))
    return growth.bytes_per_second(int(sizes[-1][0] * NS))


def test_the_first_minute_tells_nothing() -> None:
    assert Growth().bytes_per_second(0) is None
    assert grown((0, 0), (59, 5900)) is None
    assert grown((0, 0), (60, 6000)) == 100.0


def test_a_journal_that_is_not_empty_at_the_start_has_not_grown_by_what_it_had() -> None:
    assert grown((0, 10**9), (100, 10**9 + 1000)) == 10.0


def test_only_the_last_hour_counts() -> None:
    growth = Growth()
    for second in range(3 * 3600):
        growth.saw(1000 * min(second, 3600) + 7 * max(0, second - 3600), second * NS)
    assert growth.bytes_per_second((3 * 3600 - 1) * NS) == pytest.approx(7.0)
    assert len(growth._seen) <= 362


def test_what_is_deleted_is_no_negative_growth() -> None:
    assert grown((0, 1000), (30, 2000), (60, 0), (100, 1000)) == 20.0


def test_room_lasts_as_long_as_it_does() -> None:
    assert hours(3600_000, 100.0) == 10.0
    assert hours(10, None) is None
    assert hours(10, 0.0) == MOST_HOURS
    assert hours(10**18, 1.0) == MOST_HOURS


@pytest.mark.parametrize("rate", [None, 0.0, 5.0])
def test_no_room_lasts_no_time(rate: float | None) -> None:
    assert hours(0, rate) == 0.0
