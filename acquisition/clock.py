"""The only reader of clocks: UTC to stamp, monotonic to wait.

UTC is the monotonic clock plus an anchor. The anchor moves only by slewing, or by a recorded step, so a step of the
system clock never makes a series run backwards or overwrite itself (DESIGN.md section 6, promise 12).
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

NS = 1_000_000_000
_FRACTION = re.compile(r"[.,](\d+)")
STEP_NS = 500_000_000
"""A difference this large between system time and ours is a step, not drift."""
SLEW_PPM = 500
"""How fast the anchor may follow drift; the kernel's own limit (adjtimex)."""


class Instant(NamedTuple):
    """One reading of the clock, both scales at once."""

    utc_ns: int
    mono_ns: int


class Clock(Protocol):
    """Where a session gets its time from."""

    def now(self) -> Instant:
        """The present instant; neither scale ever runs backwards."""
        ...

    def seconds_until(self, mono_ns: int) -> float:
        """Seconds to wait until the monotonic scale reads `mono_ns`; 0.0 if it already does."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """The system clock was set: how far, and whether our time followed."""

    instant: Instant
    by_ns: int
    followed: bool


class SystemClock:
    """The host's clocks.

    A forward step is followed at once. A backward step is held: readings keep the time line they are on, so that no
    stored reading is met again, and the difference is reported until slewing has removed it. A step forward while one
    back is held is followed only as far as it leads beyond our time line.

    Args:
        not_before_ns: UTC below which time must not start, because the journal already has readings up to there.
    """

    def __init__(self, *, not_before_ns: int = 0) -> None:
        mono = time.monotonic_ns()
        self._anchor = max(time.time_ns(), not_before_ns) - mono
        self._checked = mono
        self._due = 0
        self._holding = False

    def now(self) -> Instant:
        """The present instant."""
        mono = time.monotonic_ns()
        return Instant(mono + self._anchor + self._slewed(mono), mono)

    def seconds_until(self, mono_ns: int) -> float:
        """Seconds to wait until the monotonic scale reads `mono_ns`."""
        return max(0, mono_ns - time.monotonic_ns()) / NS

    @property
    def ahead_ns(self) -> int:
        """How far our UTC is ahead of the system's."""
        return self.now().utc_ns - time.time_ns()

    def discipline(self) -> Step | None:
        """Compares with the system clock, slews towards it, and returns the step if the system clock was set.

        To be called about once a second.
        """
        mono = time.monotonic_ns()
        slewed = self._slewed(mono)
        self._anchor += slewed
        self._checked = mono
        error = time.time_ns() - (mono + self._anchor)
        moved = error - (self._due - slewed if self._holding else 0)
        followed = error >= STEP_NS
        if followed:
            self._anchor += error
        self._due = 0 if followed else error
        stepped = abs(moved) >= STEP_NS
        self._holding = error < 0 and (stepped or self._holding)
        return Step(Instant(mono + self._anchor, mono), moved, followed) if stepped else None

    def _slewed(self, mono: int) -> int:
        """What slewing has moved since the last comparison; spread over the time since, so that UTC never jumps."""
        limit = (mono - self._checked) * SLEW_PPM // 1_000_000
        return max(-limit, min(limit, self._due))


class ScaledClock:
    """Runs `speed` times as fast as another clock from now on; for tests and simulators, never for a bed.

    Args:
        speed: Nanoseconds that pass here for each one there.
        clock: The clock to scale.
    """

    def __init__(self, speed: float, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._speed = speed
        self._start = self._clock.now()

    def now(self) -> Instant:
        """The present instant on the fast scale."""
        elapsed = int((self._clock.now().mono_ns - self._start.mono_ns) * self._speed)
        return Instant(self._start.utc_ns + elapsed, self._start.mono_ns + elapsed)

    def seconds_until(self, mono_ns: int) -> float:
        """Real seconds to wait until the fast scale reads `mono_ns`."""
        return max(0, mono_ns - self.now().mono_ns) / NS / self._speed


class ManualClock:
    """Time that stands until it is moved: traces and tests.

    Args:
        utc_ns: Where UTC starts.
        mono_ns: Where the monotonic scale starts.
    """

    def __init__(self, utc_ns: int = 0, mono_ns: int = 0) -> None:
        self._utc = utc_ns
        self._mono = mono_ns

    def now(self) -> Instant:
        """The instant it was last moved to."""
        return Instant(self._utc, self._mono)

    def seconds_until(self, mono_ns: int) -> float:
        """Seconds from here to `mono_ns` on this scale."""
        return max(0, mono_ns - self._mono) / NS

    def advance_to(self, mono_ns: int) -> None:
        """Moves both scales forward; does nothing if `mono_ns` has passed."""
        ahead = max(0, mono_ns - self._mono)
        self._mono += ahead
        self._utc += ahead


def rfc3339(utc_ns: int, digits: int = 3) -> str:
    """UTC nanoseconds as RFC 3339 with `digits` decimals of a second (cut, not rounded) and `Z`."""
    whole = datetime.fromtimestamp(utc_ns // NS, UTC)
    fraction = f".{utc_ns % NS:09d}"[: digits + 1] if digits else ""
    return f"{whole:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def from_rfc3339(text: str) -> int:
    """UTC nanoseconds of an RFC 3339 time.

    Raises:
        ValueError: not such a time, or one without an offset.
    """
    match = _FRACTION.search(text)
    fraction = int(match[1].ljust(9, "0")[:9]) if match else 0
    moment = datetime.fromisoformat(_FRACTION.sub("", text))
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no UTC offset")
    return int(moment.timestamp()) * NS + fraction
