"""The clock in a device: as wrong as clocks at real beds are, and set by somebody while nobody looks."""

from __future__ import annotations

from acquisition.clock import NS, Clock, Instant
from simulators.faults import FaultKind
from simulators.scenario import DeviceTime

SUMMER_TIME = DeviceTime(ahead_s=3600.0)


class WrongClock:
    """A device's own idea of the time.

    Args:
        clock: The right time.
        wrong: How far it is from that.

    Attributes:
        set_s: By how much somebody has set it forward.
    """

    def __init__(self, clock: Clock, wrong: DeviceTime) -> None:
        self.set_s = 0.0
        self._clock = clock
        self._wrong = wrong
        self._start = clock.now()

    def now(self) -> Instant:
        """The present instant; only UTC is wrong."""
        right = self._clock.now()
        drifted = (right.mono_ns - self._start.mono_ns) * self._wrong.drift_ppm / 1e6
        return Instant(right.utc_ns + round((self._wrong.ahead_s + self.set_s) * NS + drifted), right.mono_ns)

    def seconds_until(self, mono_ns: int) -> float:
        """Seconds to wait."""
        return self._clock.seconds_until(mono_ns)


class Settable:
    """A device that says what time it is, and can be told another."""

    _clock: Clock

    def provoke(self, kind: FaultKind) -> bool:
        """Somebody sets its clock an hour forward; whether it can misbehave in that way."""
        if kind is not FaultKind.CLOCK_JUMP:
            return False
        self._clock = WrongClock(self._clock, SUMMER_TIME)
        return True
