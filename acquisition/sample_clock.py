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
WANDER_NS = 100_000_000
"""So far may a device's stamp stand from its count of samples without a block being missing."""
SETTLED = 8
"""Arrivals after which it is known how late is usual."""
PERSISTS_NS = 4 * NS
"""Lateness of whole blocks that lasts so long is none: blocks were lost."""
_GRAINS = (NS, NS // 10, NS // 100, 1)
_FOLLOW = 16


class SampleClock:
    """The time line of one waveform stream.

    A block starts where the last one ended, to the nanosecond, as long as the device says or the arrivals suggest
    that nothing is missing between them: late packets do not wobble the samples. Where the device's own time of the
    first sample shows that blocks are missing, the grid jumps by whole periods. Such a stamp is compared with the
    device's count of samples, so that what one wanders is not added to what the next one does; where the stamps are
    too coarse to tell, or the arrivals contradict them because the device's clock was set, the arrivals decide. So
    they do where there are no stamps: blocks that are late by whole blocks for some seconds have lost others.
    Drift of the device's crystal against the host is followed by moving the grid at block boundaries by at most 200
    ppm and half a period, judged by the least delayed of the recent arrivals (delay has one sign), and only while they
    disagree by more than 250 ms.

    Args:
        period_ns: Nanoseconds from sample to sample.
    """

    def __init__(self, period_ns: int) -> None:
        self.period_ns = period_ns
        self.restarts = 0
        self._next: int | None = None
        self._device_next: int | None = None
        self._grain = _GRAINS[0]
        self._repeated_at: int | None = None
        self._forgotten = False
        self._lateness: deque[tuple[int, int]] = deque(maxlen=WINDOW)

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
        if self._next is None or self._forgotten:
            return self._restart(by_arrival, length, device_start_ns)
        late = by_arrival - self._next - min((each for _, each in self._lateness), default=0)
        missing, device_next = 0, device_start_ns
        if device_start_ns is not None and self._device_next is not None:
            self._grain = next(each for each in _GRAINS if each <= self._grain and device_start_ns % each == 0)
            said = device_start_ns - self._device_next
            near = abs(said) <= max(WANDER_NS, self._grain)
            repeated = self._is_repetition(said, late, length)
            set_back = self._was_set_back(arrival_ns, length, repeated=repeated, near=near)
            if abs(said) > DEVICE_STEP_NS or set_back:
                return self._restart(by_arrival, length, device_start_ns)
            if repeated:
                self._repeated_at = arrival_ns
                return None
            if self._is_hole(said, late, length):
                missing = said
            elif near:
                device_next = self._device_next + said // _FOLLOW
        elif by_arrival - self._next > LOST_NS:
            return self._restart(by_arrival, length, device_start_ns)
        elif after_gap:
            missing = late
        else:
            missing = self._lost(arrival_ns, by_arrival - self._next, length)
        start = self._next + max(0, round(missing / self.period_ns)) * self.period_ns
        start += self._slew(arrival_ns, by_arrival - start, length)
        return self._advance(start, length, device_next)

    def forget(self) -> None:
        """The host's time line was set: the next block takes its place by its arrival."""
        self._forgotten = True

    def _is_repetition(self, said: int, late: int, length: int) -> bool:
        """Whether a block that is stamped `said` after the last one's end was had before."""
        doubtful = -said <= max(self._grain, length + WANDER_NS)
        return said <= min(WANDER_NS, length // 2) - length and (late <= -length // 2 or not doubtful)

    def _was_set_back(self, arrival_ns: int, length: int, *, repeated: bool, near: bool) -> bool:
        """Whether the block before was no repetition: others come at the stream's pace, or it goes on elsewhere."""
        if self._repeated_at is None:
            return False
        return arrival_ns - self._repeated_at >= length // 2 if repeated else not near

    def _is_hole(self, said: int, late: int, length: int) -> bool:
        """Whether blocks are missing: the stamps say so, and the arrivals do not show that nothing is."""
        doubtful = said <= self._grain or len(self._lateness) >= SETTLED
        return said > min(WANDER_NS, length // 2) and (late >= said // 2 or not doubtful)

    def _lost(self, arrival_ns: int, lateness: int, length: int) -> int:
        """Whole blocks that were lost some seconds ago: since then not one was as early as those before."""
        since = arrival_ns - PERSISTS_NS
        before = [late for at, late in self._lateness if at <= since]
        after = [(at, late) for at, late in self._lateness if at > since]
        if not before or len(after) < 2:
            return 0
        late = min(lateness, *(late for _, late in after)) - min(before)
        if 4 * late < 3 * length:
            return 0
        lost = max(1, round(late / length)) * length
        self._lateness = deque(((at, late - lost) for at, late in after), WINDOW)
        return lost

    def _slew(self, arrival_ns: int, lateness: int, length: int) -> int:
        self._lateness.append((arrival_ns, lateness))
        if len(self._lateness) < WINDOW:
            return 0
        least = min(late for _, late in self._lateness)
        if abs(least) <= TOLERANCE_NS:
            return 0
        limit = min(length * SLEW_PPM // 1_000_000, self.period_ns // 2)
        move = max(-limit, min(limit, least))
        self._lateness = deque(((at, late - move) for at, late in self._lateness), WINDOW)
        return move

    def _restart(self, start: int, length: int, device_start_ns: int | None) -> int:
        self.restarts += self._next is not None
        self._lateness.clear()
        self._forgotten = False
        return self._advance(max(start, self._next or start), length, device_start_ns)

    def _advance(self, start: int, length: int, device_start_ns: int | None) -> int:
        self._next, self._repeated_at = start + length, None
        self._device_next = None if device_start_ns is None else device_start_ns + length
        return start
