"""Tells systemd how the service is doing (sd_notify(3)), and how patient it is; silent when nobody listens."""

from __future__ import annotations

import contextlib
import os
import socket


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
