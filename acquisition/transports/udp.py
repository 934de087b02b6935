"""UDP links: one datagram a piece, answers to whoever sent last or to a configured peer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast

from acquisition.errors import TransportError
from acquisition.transports.mailbox import Mailbox
from acquisition.transports.tcp import address_text, cannot

MAX_WAITING = 1024
"""Datagrams kept for a session that falls behind; UDP has no way to slow its sender."""


class UdpTransport:
    """A bound UDP socket.

    Without a configured peer every sender is believed and the last one is answered; with one, datagrams from other
    hosts are left out and counted.

    Args:
        host: Address to bind.
        port: UDP port to bind; 0 lets the system choose.
        peer: Host and port of the device.

    Attributes:
        overflowed: Datagrams dropped because too many waited.
        strangers: Datagrams from hosts other than the configured peer.
    """

    def __init__(self, host: str, port: int, peer: tuple[str, int] | None = None) -> None:
        self._host = host
        self._port = port
        self._configured = peer
        self._peer: tuple[Any, ...] | None = None
        self._mailbox = Mailbox(joined=False)
        self._socket: _Socket | None = None
        self.overflowed = 0
        self.strangers = 0

    @property
    def port(self) -> int:
        """The port that is bound."""
        return int(self._socket.transport.get_extra_info("sockname")[1]) if self._socket else self._port

    @property
    def peer(self) -> str:
        """Who is answered, or where we are bound."""
        return address_text(*self._peer[:2]) if self._peer else f"bound to {address_text(self._host, self.port)}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._mailbox = Mailbox(joined=False)
        self._peer = None
        name = address_text(self._host, self._port)
        try:
            _, opened = await loop.create_datagram_endpoint(
                lambda: _Socket(self._arrived), local_addr=(self._host, self._port)
            )
        except OSError as error:
            raise cannot(name, "cannot bind", error) from None
        self._socket = opened
        if self._configured is not None:
            try:
                found = await loop.getaddrinfo(*self._configured, family=opened.family, type=socket.SOCK_DGRAM)
            except OSError as error:
                await self.__aexit__(None, None, None)
                raise cannot(address_text(*self._configured), "not a peer", error) from None
            self._peer = found[0][4]
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            opened.transport.abort()
            await opened.closed

    async def aclose(self) -> None:
        """A socket lives no longer than its conversation."""

    async def receive(self, timeout_s: float | None) -> bytes:
        """The next datagram; empty when `timeout_s` has passed without one.

        Raises:
            TransportError: the socket is not open.
        """
        self._open()
        return await self._mailbox.receive(timeout_s)

    async def send(self, data: bytes) -> None:
        """Sends one datagram; whether it arrives nobody says.

        Raises:
            TransportError: the socket is not open, or nobody has sent anything and no peer is configured.
        """
        opened = self._open()
        if self._peer is None:
            hint = "give the link the device's address: udp://host:port?peer=host:port"
            raise TransportError(f"{self.peer}: nobody to send to yet", hint=hint)
        opened.transport.sendto(data, self._peer)

    def _open(self) -> _Socket:
        if self._socket is None:
            raise TransportError(f"{address_text(self._host, self._port)} is not open")
        return self._socket

    def _arrived(self, data: bytes, sender: tuple[Any, ...]) -> None:
        if self._configured is None:
            self._peer = sender
        elif self._peer is None or sender[0] != self._peer[0]:
            self.strangers += 1
            return
        if len(self._mailbox) >= MAX_WAITING:
            self.overflowed += 1
        elif data:  # an empty datagram says nothing, and empty bytes mean that time has passed
            self._mailbox.put(data)


class _Socket(asyncio.DatagramProtocol):
    """asyncio's side; errors of single datagrams are left alone, for they say nothing about the next one."""

    transport: asyncio.DatagramTransport

    def __init__(self, arrived: Callable[[bytes, tuple[Any, ...]], None]) -> None:
        self._arrived = arrived
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def family(self) -> int:
        """IPv4 or IPv6."""
        return int(self.transport.get_extra_info("socket").family)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._arrived(data, addr)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)
