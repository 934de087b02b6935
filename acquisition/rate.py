"""How many points a second pass by, over the last minute."""

from __future__ import annotations

from collections import deque

from acquisition.clock import NS

WINDOW_S = 60


class Rate:
    """Counts by the second; the seconds of the last minute are kept.

    Args:
        start_ns: Monotonic time of the beginning; before it there was nothing to count.
    """

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._seconds: deque[tuple[int, int]] = deque(maxlen=WINDOW_S + 1)

    def add(self, count: int, now_ns: int) -> None:
        """Counts `count` more."""
        second = now_ns // NS
        if self._seconds and self._seconds[-1][0] == second:
            count += self._seconds.pop()[1]
        self._seconds.append((second, count))

    def per_second(self, now_ns: int) -> float:
        """The mean over the last minute, or since the beginning if that is later."""
        since = now_ns // NS - WINDOW_S
        counted = sum(count for second, count in self._seconds if second > since)
        return counted / min(WINDOW_S, max(1.0, (now_ns - self._start_ns) / NS))
