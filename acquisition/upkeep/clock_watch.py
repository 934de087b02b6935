"""Watches the system's clock: tells when it was set, and when synchronisation was lost or found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from acquisition.clock import NS, Clock, KernelClock, Step, SystemClock
from acquisition.health import ClockHealth
from acquisition.model import EventKind

logger = logging.getLogger(__name__)

KERNEL_EVERY_NS = 10 * NS


class Teller(Protocol):
    """Stores an event of the daemon itself."""

    def __call__(self, time_ns: int, kind: EventKind, text: str, detail: Mapping[str, object]) -> None:
        """The event's time, kind, text and detail."""
        ...


class ClockWatch:
    """To be asked about once a second.

    Args:
        clock: The daemon's; of clocks that are not the system's nothing is told.
        tell: Stores an event.
        read_kernel: The state of the kernel's clock, None where it cannot be known.
    """

    def __init__(
        self, clock: Clock, tell: Teller, *, read_kernel: Callable[[], KernelClock | None] = KernelClock.read
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._read_kernel = read_kernel
        self._steps = 0
        self._kernel: KernelClock | None = None
        self._unsynchronised_since_ns: int | None = None
        self._due_ns = 0

    def look(self) -> str | None:
        """What to tell the stampers: that time stepped and readings follow it; None mostly."""
        self._look_at_kernel()
        step = self._clock.discipline() if isinstance(self._clock, SystemClock) else None
        if step is None:
            return None
        self._steps += 1
        text = _text(step)
        logger.warning("%s", text)
        detail = {"by_ns": step.by_ns, "followed": step.followed}
        self._tell(step.instant.utc_ns, EventKind.CLOCK, text, detail)
        return text if step.followed else None

    def _look_at_kernel(self) -> None:
        now = self._clock.now()
        if now.mono_ns < self._due_ns or not isinstance(self._clock, SystemClock):
            return
        self._due_ns = now.mono_ns + KERNEL_EVERY_NS
        before, self._kernel = self._kernel, self._read_kernel()
        if self._kernel is None:
            return
        synchronised = self._kernel.synchronised
        if synchronised:
            self._unsynchronised_since_ns = None
        elif self._unsynchronised_since_ns is None:
            self._unsynchronised_since_ns = now.utc_ns
        if before is None or before.synchronised != synchronised:
            error_ms = self._kernel.estimated_error_ns / 1e6
            text = "the system clock is " + (
                f"synchronised, estimated error {error_ms:.1f} ms" if synchronised else "not synchronised"
            )
            logger.info("%s", text)
            detail = {
                "synchronised": synchronised,
                "estimated_error_ns": self._kernel.estimated_error_ns,
                "max_error_ns": self._kernel.max_error_ns,
            }
            self._tell(now.utc_ns, EventKind.CLOCK, text, detail)

    def health(self) -> ClockHealth:
        """The clock's part of the status."""
        kernel = self._kernel
        return ClockHealth(
            ahead_ns=self._clock.ahead_ns if isinstance(self._clock, SystemClock) else 0,
            steps=self._steps,
            synchronised=kernel.synchronised if kernel else None,
            unsynchronised_since_ns=self._unsynchronised_since_ns,
            estimated_error_ns=kernel.estimated_error_ns if kernel else None,
            max_error_ns=kernel.max_error_ns if kernel else None,
        )


def _text(step: Step) -> str:
    if step.followed:
        outcome = "readings follow it"
    elif step.by_ns < 0:
        outcome = "readings keep their time line until it has caught up"
    else:
        outcome = "readings stay on the time line they were kept on"
    return f"the system clock was set by {step.by_ns / NS:+.3f} s; {outcome}"
