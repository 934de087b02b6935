"""An event loop whose clock leaps over every wait, so that an hour of conversation takes as long as its computing."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from acquisition.clock import NS, Instant

T = TypeVar("T")
STARTED_NS = 1_767_225_600 * NS
"""2026-01-01T00:00:00Z: every virtual run begins there, so that equal runs give equal times."""


class _Leaping(selectors.DefaultSelector):
    """Waits for nothing that is only a matter of time.

    Attributes:
        now: Seconds since the loop was made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; if nothing is, the time of the next timer has come."""
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout is not None:
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """For conversations in memory; what waits for a real wire or a thread must not be run on it."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._leaping.now


class LoopClock:
    """The running loop's time as the clock of a session or a simulator."""

    def now(self) -> Instant:
        """The present instant."""
        mono = round(asyncio.get_running_loop().time() * NS)
        return Instant(STARTED_NS + mono, mono)

    def seconds_until(self, mono_ns: int) -> float:
        """Seconds to wait until the monotonic scale reads `mono_ns`."""
        return max(0, mono_ns - self.now().mono_ns) / NS


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` to its end on a virtual loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
