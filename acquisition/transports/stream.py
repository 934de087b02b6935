"""What serial ports and TCP have in common: one asyncio connection, bounded in both directions, and its transport."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self, cast

from acquisition.errors import TransportError
from acquisition.transports.mailbox import Mailbox

logger = logging.getLogger(__name__)

BUFFER_BYTES = 1 << 16
"""Received and not yet taken: beyond this the link is not read, so that the sender has to wait."""
SEND_TIMEOUT_S = 2.0
"""A link that has taken no byte of what is to be sent for this long is lost."""
FAREWELL_S = 0.2
"""How long closing waits for what was sent last to leave."""
CLOSE_S = 1.0
"""How long closing waits for the operating system."""


class Connection(asyncio.Protocol):
    """One open connection, from being made to being lost.

    Args:
        name: The link, for messages.
    """

    def __init__(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.mailbox = Mailbox(joined=True)
        self.closed: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._writable: asyncio.Future[None] | None = None
        self._held = False

    # -- asyncio's side ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks to be told of every byte that could not be handed to the system at once."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        """Keeps the bytes and stops reading when there are too many."""
        self.mailbox.put(data)
        if self.mailbox.size >= BUFFER_BYTES and not self._held and self._transport is not None:
            self._held = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Everything is closed."""
        self.lose(str(exc) if exc else "closed by the other end")
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """Something could not be written at once."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Everything was written."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # -- the transport's side ----------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is, or was, another end."""
        return self._transport is not None

    @property
    def alive(self) -> bool:
        """Whether nothing is known of a loss."""
        return self.mailbox.loss is None

    def lose(self, reason: str) -> None:
        """Marks the link as lost; what was received before can still be taken."""
        self.mailbox.lose(f"{self.name}: {reason}")
        self.resume_writing()

    async def receive(self, timeout_s: float | None) -> bytes:
        """As `Transport.receive`."""
        data = await self.mailbox.receive(timeout_s)
        if self._held and self._transport is not None:
            self._held = False
            self._transport.resume_reading()
        return data

    async def send(self, data: bytes) -> None:
        """As `Transport.send`; waits while the other end takes nothing, and gives the link up if that lasts."""
        if self._transport is None:
            raise TransportError(f"{self.name}: nobody has connected yet")
        if self.alive:
            self._transport.write(data)
            if not await self.written(SEND_TIMEOUT_S):
                self.lose(f"nothing could be sent for {SEND_TIMEOUT_S:g} s")
        if self.mailbox.loss is not None:
            raise TransportError(self.mailbox.loss)

    def abort(self) -> None:
        """Cuts the connection without waiting for anything."""
        transport = self._transport
        # A transport that closes itself and has nothing left to write must not be told again: the serial one would
        # close twice.
        if transport is not None and (not transport.is_closing() or transport.get_write_buffer_size()):
            transport.abort()

    async def close(self) -> None:
        """Cuts the connection and waits until the system has let go of it."""
        if self._transport is None:
            return
        self.abort()
        await asyncio.wait({self.closed}, timeout=CLOSE_S)
        if not self.closed.done():
            logger.warning("%s: the system has not closed the link after %g s", self.name, CLOSE_S)

    async def written(self, timeout_s: float) -> bool:
        """Waits until everything was handed to the system; False when `timeout_s` has passed before."""
        if self._writable is None:
            return True
        done, _ = await asyncio.wait({self._writable}, timeout=timeout_s)
        return bool(done)


class StreamTransport(ABC):
    """A link that carries a stream of bytes over one connection at a time; subclasses make the connection.

    Args:
        name: The link, for people: a path, an address and port.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._connection: Connection | None = None

    @abstractmethod
    async def _connect(self) -> Connection:
        """Makes a connection.

        Raises:
            TransportError: it cannot be made.
        """

    async def __aenter__(self) -> Self:
        self._connection = await self._connect()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await self._farewell(connection)
            finally:
                await connection.close()

    async def _farewell(self, connection: Connection) -> None:
        """Lets the bytes sent last leave if they can soon; called also when the link is lost."""
        if connection.alive:
            await connection.written(FAREWELL_S)

    async def aclose(self) -> None:
        """Closes what is open; a port or connection lives no longer than its conversation, except a listener's."""
        await self.__aexit__(None, None, None)

    async def receive(self, timeout_s: float | None) -> bytes:
        """The next bytes; empty when `timeout_s` has passed without any.

        Raises:
            TransportError: the link was lost.
        """
        return await self._open.receive(timeout_s)

    async def send(self, data: bytes) -> None:
        """Hands bytes to the link in the order of the calls.

        Raises:
            TransportError: the link was lost, or takes nothing.
        """
        await self._open.send(data)

    @property
    def peer(self) -> str:
        """Who is at the other end, for people."""
        return self.name

    @property
    def _open(self) -> Connection:
        if self._connection is None:
            raise TransportError(f"{self.name} is not open")
        return self._connection
