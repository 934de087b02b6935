"""What counts as complete: readings that were due in the declared run, hour by hour and where the device stood."""

from __future__ import annotations

import numpy as np
import pytest

from acquisition.archive.chunk import Chunk, Window
from acquisition.archive.episodes.model import BedInterval, Run, Stay
from acquisition.archive.export.axis import Axis
from acquisition.archive.export.tally import Tally, declared_of
from acquisition.archive.scope import Scope
from tests.acquisition.archive_bed import HOUR, T0, S

MINUTE = 60 * S
AXIS = Axis(T0, "ECMO start")


def readings(begin: int, end: int, every: int = 10 * S, device: str = "pump", quality: int = 0) -> Chunk:
    times = np.arange(T0 + begin, T0 + end, every, dtype=np.int64)
    return Chunk(device, "ecmo_flow", times, np.ones(times.size), np.full(times.size, quality, np.uint8))


def tally(declared: list[Window], *chunks: tuple[str, Chunk]) -> Tally:
    made = Tally(AXIS, declared)
    for bed, chunk in chunks:
        made.add(chunk, bed, wave=False)
    return made


def fractions(made: Tally, device: str = "pump") -> dict[tuple[str, int], float | None]:
    return {
        (each.bucket, each.begin_ns // HOUR): each.fraction for each in made.completeness() if each.device == device
    }


def test_readings_before_the_run_make_up_for_none_in_it() -> None:
    """Cannulated at half past, and silent until the hour is over: what came before it is no part of the run."""
    declared = [Window("b1", T0 + 30 * MINUTE, T0 + 2 * HOUR)]
    made = tally(declared, ("b1", readings(0, 30 * MINUTE)), ("b1", readings(HOUR, 2 * HOUR)))
    assert fractions(made) == {("hour", 0): 0.0, ("hour", 1): 1.0, ("day", 0): pytest.approx(2 / 3)}
    first = next(made.completeness())
    assert (first.expected, first.received, first.valid, first.complete) == (180, 180, 180, 0)


def test_the_run_has_its_beginning_and_not_its_end() -> None:
    declared = [Window("b1", T0 + 10 * S, T0 + 30 * S)]
    made = tally(declared, ("b1", readings(0, MINUTE)))
    assert [(each.expected, each.received, each.complete) for each in made.completeness()] == [(2, 6, 2), (2, 6, 2)]


def test_twice_as_many_in_one_hour_make_up_for_none_in_another() -> None:
    declared = [Window("b1", T0, T0 + 4 * HOUR)]
    made = tally(declared, ("b1", readings(0, 2 * HOUR + S)), ("b1", readings(2 * HOUR + 5 * S, 3 * HOUR, 5 * S)))
    assert fractions(made)["day", 0] == 0.75


def test_what_is_bad_came_and_is_not_complete() -> None:
    declared = [Window("b1", T0, T0 + 2 * HOUR)]
    made = tally(declared, ("b1", readings(0, HOUR)), ("b1", readings(HOUR, 2 * HOUR, quality=2)))
    assert fractions(made) == {("hour", 0): 1.0, ("hour", 1): 0.0, ("day", 0): 0.5}


def test_nothing_is_expected_of_a_device_in_a_bed_where_another_gave_the_channel() -> None:
    declared = [Window("b1", T0, T0 + HOUR), Window("b2", T0 + HOUR, T0 + 2 * HOUR)]
    made = tally(declared, ("b1", readings(0, HOUR)), ("b2", readings(HOUR, 2 * HOUR, device="other")))
    assert fractions(made)["day", 0] == 1.0
    assert fractions(made, "other") == {("hour", 1): 1.0, ("day", 0): 1.0}
    assert list(made.gaps([])) == []


def test_a_device_that_fell_silent_with_the_transfer_is_missed() -> None:
    declared = [Window("b1", T0, T0 + HOUR), Window("b2", T0 + HOUR, T0 + 2 * HOUR)]
    made = tally(declared, ("b1", readings(0, HOUR)))
    assert fractions(made) == {("hour", 0): 1.0, ("hour", 1): 0.0, ("day", 0): 0.5}
    assert list(made.gaps([]))[-1][2:4] == (T0 + HOUR, T0 + 2 * HOUR)


def test_nothing_is_expected_of_a_device_while_it_was_not_at_the_bed_of_the_subject() -> None:
    declared = [Window("b1", T0, T0 + HOUR), Window("b1", T0 + HOUR, T0 + 2 * HOUR, ("monitor",))]
    made = tally(declared, ("b1", readings(0, HOUR)))
    assert fractions(made) == {("hour", 0): 1.0, ("day", 0): 1.0}
    assert list(made.gaps([])) == []


def test_nothing_is_expected_from_a_bed_whose_journal_was_not_read() -> None:
    beds = (
        BedInterval(from_ns=T0, to_ns=T0 + HOUR, bed="b1"),
        BedInterval(from_ns=T0 + HOUR, to_ns=T0 + 2 * HOUR, bed="b2", devices=("pump",)),
    )
    windows = tuple(Window(each.bed, each.from_ns, each.to_ns or 0, each.devices) for each in beds)
    scope = Scope("LEV-03-012", windows, Stay("LEV-03-012", beds, (Run(from_ns=T0 + MINUTE),)))
    assert declared_of(scope, windows, ["b2"]) == [Window("b1", T0 + MINUTE, T0 + HOUR)]
    assert declared_of(scope, windows, [])[1] == windows[1]


@pytest.mark.parametrize(
    ("wave", "every", "silence", "told"),
    [
        (False, S, 5 * S, False),
        (False, S, 5 * S + 1, True),
        (False, 10 * S, 30 * S, False),
        (False, 10 * S, 30 * S + 1, True),
        (True, S // 100, S, False),
        (True, S // 100, S + 1, True),
    ],
)
def test_a_gap_is_longer_than_three_periods_and_five_seconds_or_one_of_a_wave(
    wave: bool, every: int, silence: int, told: bool
) -> None:
    first = readings(0, MINUTE, every)
    again = int(first.time_ns[-1]) - T0 + silence
    made = Tally(AXIS, [Window("b1", T0, T0 + again + MINUTE)])
    for chunk in (first, readings(again, again + MINUTE, every)):
        made.add(chunk, "b1", wave=wave)
    gaps = [(begin, end) for _, _, begin, end, _ in made.gaps([])]
    assert gaps == ([(int(first.time_ns[-1]), T0 + again)] if told else [])
