"""A device that speaks by itself, never asked: what it says now, once in a period, until the link goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from acquisition.clock import Clock


async def print_for_ever(line: Callable[[], bytes], period_ns: int, writer: asyncio.StreamWriter, clock: Clock) -> None:
    """Writes a line a period; what a slow link made late is left out, not caught up with.

    Args:
        line: Makes what is said now.
        period_ns: From one to the next.
        writer: To the other end.
        clock: Paces them.

    Raises:
        ConnectionError: the link has gone.
    """
    due = clock.now().mono_ns
    while True:
        writer.write(line())
        await writer.drain()
        due = max(due + period_ns, clock.now().mono_ns)
        await asyncio.sleep(clock.seconds_until(due))
