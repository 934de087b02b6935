"""How fast the journal grows on the disk, over the last hour, and how long a given space lasts at that."""

from __future__ import annotations

from collections import deque

from acquisition.clock import NS

WINDOW_S = 3600
FIRST_S = 60
"""What was seen for less time says nothing."""
EVERY_S = 10
MOST_HOURS = 8760.0
"""A year; nobody needs to know more."""


class Growth:
    """Adds up what a size gains; what it loses when something is deleted does not count."""

    def __init__(self) -> None:
        self._gained = 0
        self._size: int | None = None
        self._seen: deque[tuple[int, int]] = deque()

    def saw(self, size: int, mono_ns: int) -> None:
        """The size, as of now.

        Args:
            size: Bytes.
            mono_ns: Monotonic time.
        """
        self._gained += 0 if self._size is None else max(0, size - self._size)
        self._size = size
        if self._seen and mono_ns - self._seen[-1][0] < EVERY_S * NS:
            return
        self._seen.append((mono_ns, self._gained))
        while mono_ns - self._seen[0][0] > WINDOW_S * NS:
            self._seen.popleft()

    def bytes_per_second(self, mono_ns: int) -> float | None:
        """The mean over the last hour, or since the beginning; None in the first minute."""
        if not self._seen or mono_ns - self._seen[0][0] < FIRST_S * NS:
            return None
        since, before = self._seen[0]
        return (self._gained - before) / ((mono_ns - since) / NS)


def hours(room: int, bytes_per_second: float | None) -> float | None:
    """How long `room` bytes last, `MOST_HOURS` at most; None while nobody knows."""
    if room <= 0:
        return 0.0
    if bytes_per_second is None:
        return None
    return min(MOST_HOURS, room / bytes_per_second / 3600) if bytes_per_second > 0 else MOST_HOURS
