"""TCP links: we connect to the device, or the device connects to us."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable
from typing import cast

from acquisition.errors import TransportError
from acquisition.transports.stream import Connection, StreamTransport

CONNECT_S = 5.0
USER_TIMEOUT_MS = 20_000
MAX_WAITING = 16
"""Conversations that ended or began while nobody listened; a peer beyond that is refused until they were taken."""

_HINTS = {
    errno.ECONNREFUSED: "the host is there and nothing listens on this port: is the output enabled, is the port right?",
    errno.EHOSTUNREACH: "check power, cable, switch and address",
    errno.ENETUNREACH: "this computer has no route to that network: check its own address and cable",
    errno.EADDRINUSE: "another program or link listens on this port",
    errno.EADDRNOTAVAIL: "this computer does not have that address; 0.0.0.0 means every address it has",
    errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE",
}


class TcpClientTransport(StreamTransport):
    """A device that listens; a dead one is found out after 20 to 25 s.

    Args:
        host: Address, or a name (an address needs no name server to be up).
        port: TCP port.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(address_text(host, port))
        self._host = host
        self._port = port

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                transport, connection = await loop.create_connection(
                    lambda: Connection(self.name), self._host, self._port
                )
        except TimeoutError:
            hint = "check power, cable, switch and address"
            raise TransportError(f"{self.name}: no answer within {CONNECT_S:g} s", hint=hint) from None
        except OSError as error:
            raise cannot(self.name, "cannot connect", error) from None
        _tune(transport)
        return connection


class TcpListenerTransport(StreamTransport):
    """A device that connects to us; entering listens, and the peer may come later.

    The listening socket lives from the first entry to `aclose`, across exits and entries, so that a device that comes
    back at once is not refused: it is accepted, and what it says waits for the next entry. One peer at a time: a new
    connection from the same address takes the place of the old one, whose conversation ends with TransportError; one
    from another address is closed at once while a peer is there. Conversations are handed out whole and in order, one
    an entry, and never mixed.

    Args:
        host: Address to listen on; `0.0.0.0` for all.
        port: TCP port; 0 lets the system choose.

    Attributes:
        refused_peers: Connections closed at once.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(address_text(host, port))
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._waiting: deque[Connection] = deque()
        self._latest: Connection | None = None
        self._latest_host = ""
        self.refused_peers = 0

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server else self._port

    @property
    def peer(self) -> str:
        """Who has connected, or where we listen."""
        if self._connection is not None and self._connection.connected:
            return self._connection.name
        return f"listening on {address_text(self._host, self.port)}"

    async def aclose(self) -> None:
        """Stops listening and ends every conversation."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        while self._waiting:
            await self._waiting.popleft().close()
        await self.__aexit__(None, None, None)

    async def _connect(self) -> Connection:
        if self._server is None:
            loop = asyncio.get_running_loop()
            try:
                self._server = await loop.create_server(
                    lambda: _Arrival(self._admit), self._host, self._port, reuse_address=True
                )
            except OSError as error:
                raise cannot(self.name, "cannot listen", error) from None
        self._forget_the_mute()
        return self._waiting.popleft() if self._waiting else Connection(self.name)

    def _admit(self, transport: asyncio.Transport) -> None:
        self._forget_the_mute()
        address = transport.get_extra_info("peername")
        latest = self._latest if self._latest is not None and self._latest.alive else None
        stranger = latest is not None and address is not None and address[0] != self._latest_host
        if self._server is None or address is None or stranger or len(self._waiting) >= MAX_WAITING:
            self.refused_peers += 1
            transport.abort()
            return
        if latest is not None:
            latest.lose("the same device has connected again")
            latest.abort()
        connection = self._connection
        if connection is None or connection.connected:
            connection = Connection(self.name)
            self._waiting.append(connection)
        connection.name = f"{address_text(*address[:2])} on {address_text(self._host, self.port)}"
        self._latest, self._latest_host = connection, address[0]
        _tune(transport)
        transport.set_protocol(connection)
        connection.connection_made(transport)

    def _forget_the_mute(self) -> None:
        """Conversations that ended before they began are nothing to hand out."""
        self._waiting = deque(one for one in self._waiting if one.alive or len(one.mailbox))


class _Arrival(asyncio.Protocol):
    """Stands in until the listener has seen who has connected."""

    def __init__(self, admit: Callable[[asyncio.Transport], None]) -> None:
        self._admit = admit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._admit(cast(asyncio.Transport, transport))


def address_text(host: str, port: int) -> str:
    """An address as people write it; IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tune(transport: asyncio.Transport) -> None:
    """Small pieces leave at once, and a peer that fell silent is found out without anything being sent."""
    connected: socket.socket = transport.get_extra_info("socket")
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


def cannot(name: str, what: str, error: OSError) -> TransportError:
    """The TransportError for what the system said when a socket could not be opened, with what to do about it."""
    if isinstance(error, socket.gaierror):
        return TransportError(f"{name}: unknown host", hint="write its IP address, or mend the name server")
    return TransportError(f"{name}: {what}: {error.strerror or error}", hint=_HINTS.get(error.errno or 0))
