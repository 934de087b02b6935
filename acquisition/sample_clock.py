"""Gives waveform blocks their times: evenly spaced, fitted to arrivals, never overlapping (DESIGN.md section 6)."""

from __future__ import annotations

from collections import deque

NS = 1_000_000_000
TOLERANCE_NS = 250_000_000
"""The grid is left alone while the earliest arrivals agree with it this well."""
SLEW_PPM = 200
LOST_NS = 3 * NS
"""Without a device time, a block later than this means that blocks were lost."""
WINDOW = 64
DEVICE_STEP_NS = 60 * NS


class SampleClock:
    """The time line of one waveform stream.

    A block starts where the last one ended, to the nanosecond, as long as the device says or the arrivals suggest
    that nothing is missing between them: late packets do not wobble the samples. Where the device's own time of the
    first sample shows that blocks are missing, the grid jumps by whole periods. Drift of the device's crystal against
    the host is followed by moving the grid at block boundaries by at most 200 ppm, judged by the least delayed of the
    recent arrivals (delay has one sign), and only while they disagree by more than 250 ms.

    Args:
        period_ns: Nanoseconds from sample to sample.
    """

    def __init__(self, period_ns: int) -> None:
        self.period_ns = period_ns
        self.restarts = 0
        self._next: int | None = None
        self._device_next: int | None = None
        self._lateness: deque[int] = deque(maxlen=WINDOW)

    def place(
        self, count: int, arrival_ns: int, device_start_ns: int | None = None, *, after_gap: bool = False
    ) -> int | None:
        """Host time of the first of `count` samples that arrived at `arrival_ns`; None for a block already had.

        Args:
            count: Samples in the block.
            arrival_ns: Host UTC at which the block was complete here.
            device_start_ns: The device's own time of the first sample, on any scale that runs at its pace.
            after_gap: Samples were lost before the block; where there is no device time, the arrival says how many.
        """
        length = count * self.period_ns
        by_arrival = arrival_ns - length
        if self._next is None:
            return self._restart(by_arrival, length, device_start_ns)
        missing = 0
        if device_start_ns is not None and self._device_next is not None:
            missing = device_start_ns - self._device_next
            if abs(missing) > DEVICE_STEP_NS:
                return self._restart(by_arrival, length, device_start_ns)
            if missing <= -length // 2:
                return None
        elif by_arrival - self._next > LOST_NS:
            return self._restart(by_arrival, length, device_start_ns)
        elif after_gap:
            missing = by_arrival - self._next - min(self._lateness, default=0)
        start = self._next + max(0, round(missing / self.period_ns)) * self.period_ns
        start += self._slew(by_arrival - start, length)
        return self._advance(start, length, device_start_ns)

    def forget(self) -> None:
        """The host's time line was set: the next block takes its place by its arrival."""
        self._lateness.clear()
        self._device_next = None

    def _slew(self, lateness: int, length: int) -> int:
        self._lateness.append(lateness)
        if len(self._lateness) < WINDOW:
            return 0
        least = min(self._lateness)
        if abs(least) <= TOLERANCE_NS:
            return 0
        limit = length * SLEW_PPM // 1_000_000
        move = max(-limit, min(limit, least))
        for index in range(len(self._lateness)):
            self._lateness[index] -= move
        return move

    def _restart(self, start: int, length: int, device_start_ns: int | None) -> int:
        self.restarts += self._next is not None
        self._lateness.clear()
        return self._advance(max(start, self._next or start), length, device_start_ns)

    def _advance(self, start: int, length: int, device_start_ns: int | None) -> int:
        self._next = start + length
        self._device_next = None if device_start_ns is None else device_start_ns + length
        return start
