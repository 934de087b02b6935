"""Tells systemd how the service is doing (sd_notify(3)), and how patient it is; silent when nobody listens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

MORE_S = 60
EVERY_S = 20
_T = TypeVar("_T")


def notify(*lines: str) -> None:
    """Sends assignments such as `READY=1` to the socket that systemd named, if it named one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    # A listener that has gone must not end the acquisition.
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        contextlib.suppress(OSError),
    ):
        channel.connect(address)
        channel.sendall("\n".join(lines).encode())


def watchdog_s() -> float | None:
    """How long systemd waits for a sign of life (sd_watchdog_enabled(3)), seconds; None if it does not."""
    told = os.environ.get("WATCHDOG_USEC", "")
    return int(told) / 1e6 if told.isdecimal() and int(told) else None


@contextlib.asynccontextmanager
async def patiently(
    what: str, opening: AbstractAsyncContextManager[_T], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[_T]:
    """Enters what may take long before the service is ready; systemd waits as long as the event loop turns.

    A start that takes longer than systemd waits for (sd_notify(3)) would be ended and begun anew, for ever.

    Args:
        what: Is under way, for `systemctl status`.
        opening: Entered, and left in the end.
        sleep: Waits that many seconds.
    """

    async def ask_for_more() -> None:
        waited_s = 0
        while True:
            notify(f"STATUS={what}, for {waited_s} s; nothing is recorded yet", f"EXTEND_TIMEOUT_USEC={MORE_S}000000")
            await sleep(EVERY_S)
            waited_s += EVERY_S

    async with contextlib.AsyncExitStack() as entered:
        asking = asyncio.create_task(ask_for_more(), name="patience of systemd")
        try:
            opened = await entered.enter_async_context(opening)
        finally:
            asking.cancel()
        yield opened
