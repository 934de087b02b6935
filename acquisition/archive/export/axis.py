"""What the times of one subject are counted from: hours since an event, or UTC, shifted or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from acquisition.archive.chunk import Window
from acquisition.archive.scope import Scope
from acquisition.clock import NS, rfc3339

HOUR_NS = 3600 * NS
DAY_NS = 24 * HOUR_NS


@dataclass(frozen=True, slots=True)
class Axis:
    """A time line.

    Attributes:
        zero_ns: UTC nanoseconds that are subtracted from every time.
        since: What happened then, in words; None: times are UTC, less whole days.
    """

    zero_ns: int
    since: str | None

    @property
    def relative(self) -> bool:
        """Whether times are hours since something."""
        return self.since is not None

    def hours(self, time_ns: int) -> float:
        """Hours since zero."""
        return (time_ns - self.zero_ns) / HOUR_NS

    def told(self, time_ns: int | None) -> str:
        """A time as it stands in a table of text: hours, or RFC 3339; empty for none."""
        if time_ns is None:
            return ""
        return f"{self.hours(time_ns):.6f}" if self.relative else rfc3339(time_ns - self.zero_ns)

    def day(self, time_ns: int) -> str:
        """Name of the day: its number since zero, or its date."""
        number = (time_ns - self.zero_ns) // DAY_NS
        return str(number) if self.relative else rfc3339(number * DAY_NS)[:10]

    def days(self, window: Window) -> Iterator[Window]:
        """The window cut where days begin."""
        begin = window.from_ns
        while begin < window.to_ns:
            end = min(begin + DAY_NS - (begin - self.zero_ns) % DAY_NS, window.to_ns)
            yield Window(window.bed, begin, end, window.devices)
            begin = end


def axis_of(scope: Scope, first_ns: int, *, utc: bool, shift_days: int) -> Axis:
    """Hours since randomisation, else since ECMO start, else since the first day of data; or UTC.

    Args:
        scope: Whose time line.
        first_ns: Where the data begins.
        utc: Whether UTC is asked for.
        shift_days: Whole days that UTC is moved back by.
    """
    if utc:
        return Axis(shift_days * DAY_NS, None)
    stay = scope.stay
    if stay is not None and stay.randomised_ns is not None:
        return Axis(stay.randomised_ns, "randomisation")
    if stay is not None and stay.runs:
        return Axis(stay.runs[0].from_ns, "ECMO start")
    return Axis(first_ns, "first reading")
