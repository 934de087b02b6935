"""The only reader of clocks: UTC to stamp, monotonic to wait.

UTC is the monotonic clock plus an anchor. The anchor moves only by slewing, or by a recorded step, so a step of the
system clock never makes a series run backwards or overwrite itself (DESIGN.md section 6, promise 12).
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol

NS = 1_000_000_000
_FRACTION = re.compile(r"[.,](\d+)")
STEP_NS = 500_000_000
"""A difference this large between system time and ours is a step, not drift."""
SLEW_PPM = 500
"""How fast the anchor may follow drift; the kernel's own limit (adjtimex)."""
KERNEL_CLOCK_FILE = Path("/run/ecmo-daq-clock/state.json")
KERNEL_CLOCK_STALE_NS = 300 * NS
_TIME_ERROR = 5  # adjtimex(2)


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


@dataclass(frozen=True, slots=True)
class KernelClock:
    """What the kernel says of its own clock (adjtimex(2)), as NTP or PTP told it.

    Attributes:
        synchronised: Whether somebody steers it and has not given up.
        estimated_error_ns: How far off it probably is.
        max_error_ns: How far off it is at most; grows while nobody steers it.
        read_ns: When this was read, on the boot-time scale; it reaches a sandboxed service through a file.
    """

    synchronised: bool
    estimated_error_ns: int
    max_error_ns: int
    read_ns: int

    @classmethod
    def read(cls) -> KernelClock | None:
        """The present state; None where it cannot be known.

        A service that may not ask the kernel (ProtectClock=) gets what `python -m acquisition.clock FILE` left for it.
        """
        buffer = (ctypes.c_long * 32)()  # struct timex is 208 bytes where long has 8; modes 0: nothing is set
        state = ctypes.CDLL(None).adjtimex(buffer)
        if state < 0:
            return cls._left_in(KERNEL_CLOCK_FILE)
        esterror_us, maxerror_us = buffer[4], buffer[3]  # after modes, offset and freq
        return cls(state != _TIME_ERROR, esterror_us * 1000, maxerror_us * 1000, _boot_ns())

    @classmethod
    def _left_in(cls, path: Path) -> KernelClock | None:
        try:
            left = cls(**json.loads(path.read_text(encoding="ascii")))
        except (OSError, ValueError, TypeError):
            return None
        return left if _boot_ns() - left.read_ns < KERNEL_CLOCK_STALE_NS else None


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


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
        start: Where both ran together, to share the fast scale with another process; now, if it is not given.
    """

    def __init__(self, speed: float, clock: Clock | None = None, *, start: Instant | None = None) -> None:
        self._clock = clock or SystemClock()
        self._speed = speed
        self._start = start or self._clock.now()

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


def _leave_kernel_clock(path: Path) -> None:
    state = KernelClock.read()
    if state is not None:
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(state)), encoding="ascii")
        os.replace(fresh, path)


if __name__ == "__main__":
    _leave_kernel_clock(Path(sys.argv[1]))
