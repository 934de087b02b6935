"""How far a device's own clock is from the host's, how fast it drifts, and when it was set (CLINICAL.md section 7)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import linear_regression, median_low

NS = 1_000_000_000
WINDOW_NS = 600 * NS
"""One estimate for each such window."""
MINUTE_NS = 60 * NS
STEP_NS = 5 * NS
"""A median of a minute that moves by more is a clock that was set, not one that drifts."""
SUMMER_TIME_NS = 3600 * NS
WINDOWS = 144
"""Drift is fitted to the last day at most."""
_FEWEST = 5
"""Stamps that an estimate needs; some senders give one a minute."""
_FEWEST_WINDOWS = 3
_LEAST_DELAYED = 0.02
_RESOLUTIONS = (60 * NS, NS, NS // 10, NS // 100, NS // 1000)


@dataclass(frozen=True, slots=True)
class Track:
    """One estimate.

    Attributes:
        time_ns: End of the window that it was made from, host UTC.
        ahead_ns: Device time minus host time; negative if the device's clock is behind.
        drift_ppm: How fast `ahead_ns` grows, in microseconds a second; None until there are three windows.
        uncertainty_ns: Half of the resolution of the device's stamps; the delay on the wire comes on top.
    """

    time_ns: int
    ahead_ns: int
    drift_ppm: float | None
    uncertainty_ns: int


@dataclass(frozen=True, slots=True)
class Step:
    """The device's clock was set.

    Attributes:
        time_ns: Host UTC of the first stamp after it.
        by_ns: By how much; positive is forward.
    """

    time_ns: int
    by_ns: int

    @property
    def like_summer_time(self) -> bool:
        """Whether it was by an hour, as in spring and autumn."""
        return abs(abs(self.by_ns) - SUMMER_TIME_NS) <= STEP_NS


class DeviceClock:
    """Compares the stamps of one device with the instants at which they were received.

    Delay has one sign, so that the least delayed of a window say where the device's clock stands: the second
    percentile, because the very least may be a stamp that was made late. An average would be biased by buffering.
    Memory is bounded: of each second only the least delayed stamp is kept.
    """

    def __init__(self) -> None:
        self.latest: Track | None = None
        self._resolution = _RESOLUTIONS[0]
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()
        self._newest: deque[tuple[int, int]] = deque()
        self._windows: deque[tuple[int, int]] = deque(maxlen=WINDOWS)
        self._level: int | None = None

    def forget(self) -> None:
        """The host's own time line was set: what was seen before says nothing about the device any more."""
        self.latest = None
        self._begin_epoch()

    def observe(self, device_ns: int, host_ns: int) -> list[Track | Step]:
        """Takes in a stamp.

        Args:
            device_ns: The device's own time, UTC nanoseconds.
            host_ns: When it was received; never before the one before.

        Returns:
            What this shows: the device's clock was set, or a window is complete.
        """
        self._resolution = next((each for each in self._finer if device_ns % each == 0), _RESOLUTIONS[-1])
        delay = host_ns - device_ns
        if self._seconds and host_ns // NS == self._seconds[-1][0] // NS:
            at, least = self._seconds[-1]
            self._seconds[-1] = self._newest[-1] = (at, min(least, delay))
            return []
        found: list[Track | Step] = []
        if self._seconds and host_ns - self._seconds[0][0] >= self._due_ns:
            found += self._close(host_ns)
        self._seconds.append((host_ns, delay))
        self._newest.append((host_ns, delay))
        while len(self._newest) > _FEWEST and host_ns - self._newest[0][0] >= MINUTE_NS:
            self._newest.popleft()
        return found + self._step()

    @property
    def _finer(self) -> tuple[int, ...]:
        return _RESOLUTIONS[_RESOLUTIONS.index(self._resolution) :]

    @property
    def _due_ns(self) -> int:
        """The first estimate comes after a minute, so that a person who has just plugged in can see it."""
        return MINUTE_NS if self._level is None else WINDOW_NS

    def _close(self, now_ns: int) -> list[Track]:
        delays = sorted(delay for _, delay in self._seconds)
        if len(delays) < _FEWEST:
            while self._seconds and now_ns - self._seconds[0][0] >= WINDOW_NS:
                self._seconds.popleft()
            return []
        ahead = -delays[int(_LEAST_DELAYED * len(delays))]
        if self._level is not None:  # the first window is short, and would weigh as much as the others
            self._windows.append(((self._seconds[0][0] + self._seconds[-1][0]) // 2, ahead))
        self._level = median_low(delays)
        self._seconds.clear()
        self.latest = Track(now_ns, ahead, self._drift(), self._resolution // 2)
        return [self.latest]

    def _drift(self) -> float | None:
        if len(self._windows) < _FEWEST_WINDOWS:
            return None
        since, ahead = self._windows[0]
        times = [(at - since) / NS for at, _ in self._windows]
        return linear_regression(times, [(each - ahead) / 1000 for _, each in self._windows]).slope

    def _step(self) -> list[Step]:
        """The clock was set, once the median of a minute says so."""
        last = self._newest
        settled = len(last) >= _FEWEST and last[-1][0] - last[0][0] >= MINUTE_NS // 2
        if self._level is None or not settled:
            return []
        level, middle = self._level, median_low(delay for _, delay in last)
        by = level - middle
        if abs(by) <= max(STEP_NS, self._resolution):
            return []
        after = [each for each in last if abs(each[1] - middle) < abs(each[1] - level)]
        self.latest = None
        self._begin_epoch()
        self._seconds.extend(after)
        self._newest.extend(after)
        return [Step(after[0][0], by)]
