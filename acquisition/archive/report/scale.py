"""Where things are drawn: the common time line, round numbers beside an axis, flags that cover no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from acquisition.archive.export.axis import HOUR_NS, Axis
from acquisition.clock import NS, rfc3339

WIDTH = 1000.0
"""Of every picture over time, in its own coordinates."""
MOST_BUCKETS = 900
_BUCKETS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
"""Each divides a day, so that no bucket crosses from one day to the next."""
_STEPS_H = (1 / 12, 1 / 6, 0.25, 0.5, 1.0, 2.0, 3.0, 6.0, 12.0, 24.0, 48.0, 96.0, 168.0, 336.0, 672.0)


def bucket_ns(length_ns: int) -> int:
    """Length of a bucket such that a run of this length is drawn by a few hundred of them."""
    fitting = (each for each in _BUCKETS_S if length_ns / (each * NS) <= MOST_BUCKETS)
    return next(fitting, _BUCKETS_S[-1]) * NS


def length_told(length_ns: int | float) -> str:
    """A length of time in the words of people: 3 d 4 h, 5 h 20 min, 2 min 5 s, 12 s, 0.25 s."""
    if length_ns < 0:
        return f"−{length_told(-length_ns)}"
    seconds = length_ns / NS
    if seconds < 10:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    parts = (("d", whole // 86_400), ("h", whole // 3600 % 24), ("min", whole // 60 % 60), ("s", whole % 60))
    first = next(at for at, (_, number) in enumerate(parts) if number)
    return " ".join(f"{number} {unit}" for unit, number in parts[first : first + 2] if number)


@dataclass(frozen=True, slots=True)
class TimeLine:
    """The common axis of all pictures.

    Attributes:
        axis: What times are counted from.
        from_ns: UTC nanoseconds of its left end.
        to_ns: Of its right end.
    """

    axis: Axis
    from_ns: int
    to_ns: int

    def percent(self, time_ns: int | float) -> float:
        """Place in percent of the width."""
        return (time_ns - self.from_ns) / (self.to_ns - self.from_ns) * 100

    def x(self, time_ns: int | float) -> float:
        """Place in the coordinates of a picture."""
        return self.percent(time_ns) * WIDTH / 100

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Places in percent and their labels, at most eleven: hours since zero, or dates and times of day."""
        first, last = self.axis.hours(self.from_ns), self.axis.hours(self.to_ns)
        step = next((each for each in _STEPS_H if (last - first) / each <= 10), _STEPS_H[-1])
        for number in range(ceil(first / step - 1e-9), floor(last / step + 1e-9) + 1):
            hour = number * step
            yield (hour - first) / (last - first) * 100, self._label(hour)

    def told(self, time_ns: int) -> str:
        """A time as people read it: `+26.50 h`, or a date and a time of day in UTC."""
        if self.axis.relative:
            return signed(self.axis.hours(time_ns)) + "\N{NO-BREAK SPACE}h"
        return rfc3339(time_ns - self.axis.zero_ns, 0)[:16].replace("T", "\N{NO-BREAK SPACE}")

    def _label(self, hour: float) -> str:
        if self.axis.relative:
            return f"{hour:g}".replace("-", "−")
        text = rfc3339(round(hour * HOUR_NS), 0)
        return text[5:10] if hour % 24 == 0 else text[11:16]


def signed(number: float) -> str:
    """A number of hours with its sign, as precise as a minute."""
    return f"{number:+.2f}".replace("-", "−")


@dataclass(frozen=True, slots=True)
class Range:
    """What a vertical axis shows, from below to above."""

    low: float
    high: float

    def percent(self, value: float) -> float:
        """Place in percent of the height, from above."""
        return (self.high - value) / (self.high - self.low) * 100

    def ticks(self, most: int = 4) -> list[float]:
        """Round numbers within it: about as many as asked for, and never fewer than two."""
        for finer in range(most, most + 6):
            step = _round_step((self.high - self.low) / finer)
            first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
            if last > first:
                break
        return [round(number * step, 10) + 0.0 for number in range(first, last + 1)]


def range_of(low: float, high: float) -> Range:
    """A range around these values with a little air, never empty."""
    if high - low < 1e-9:
        air = abs(high) * 0.05 or 1.0
        return Range(low - air, high + air)
    air = (high - low) * 0.06
    return Range(low - air, high + air)


def _round_step(least: float) -> float:
    power = 10.0 ** floor(log10(least))
    return next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= least * (1 - 1e-9))


def lanes(places: Sequence[float], width: float) -> list[int]:
    """For each flag the lowest lane in which none before it is nearer than its width; places rise."""
    ends: list[float] = []
    found = []
    for place in places:
        free = next((number for number, end in enumerate(ends) if place >= end), len(ends))
        ends[free : free + 1] = [place + width]
        found.append(free)
    return found
