"""A wire in memory, for tests: two ends that are links to each other, which can be cut and open again."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from acquisition.errors import TransportError
from acquisition.transports.mailbox import Mailbox
from acquisition.transports.stream import BUFFER_BYTES


class MemoryTransport:
    """One end of a wire.

    What is sent before the other end opens waits for it. When one end closes, the other finds its link lost once it
    has taken what was sent before; both open again when they like.

    Attributes:
        piece_bytes: What is sent arrives in pieces of at most this many bytes; None leaves it whole, unless it is
            larger than what may wait.
    """

    def __init__(self, name: str, here: _Side, there: _Side) -> None:
        self.piece_bytes: int | None = None
        self._name = name
        self._here = here
        self._there = there

    @property
    def peer(self) -> str:
        """The name of the wire."""
        return self._name

    def drop(self) -> None:
        """Cuts the wire: whoever is open finds the link lost."""
        self._here.lose(f"{self._name}: the wire was cut")
        self._there.lose(f"{self._name}: the wire was cut")

    async def __aenter__(self) -> Self:
        self._here.is_open = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._here.is_open = False
        self._here.mailbox = Mailbox(joined=False)
        self._here.moved.set()
        self._there.lose(f"{self._name}: the other end has closed")

    async def aclose(self) -> None:
        """Nothing outlives a conversation."""

    async def receive(self, timeout_s: float | None) -> bytes:
        """The next piece; empty when `timeout_s` has passed without one.

        Raises:
            TransportError: the wire was cut, the other end has closed, or this one is not open.
        """
        self._check_open()
        data = await self._here.mailbox.receive(timeout_s)
        self._here.moved.set()
        return data

    async def send(self, data: bytes) -> None:
        """Hands bytes to the other end, and waits while that has too many.

        Raises:
            TransportError: the wire was cut, the other end has closed, or this one is not open.
        """
        there = self._there
        step = self.piece_bytes or BUFFER_BYTES
        for start in range(0, len(data), step):
            while there.mailbox.size >= BUFFER_BYTES and there.mailbox.loss is None:
                there.moved.clear()
                await there.moved.wait()
            self._check_open()
            loss = self._here.mailbox.loss or there.mailbox.loss
            if loss is not None:
                raise TransportError(loss)
            there.mailbox.put(data[start : start + step])

    def _check_open(self) -> None:
        if not self._here.is_open:
            raise TransportError(f"{self._name} is not open")


class _Side:
    """What one end has before it.

    Attributes:
        moved: Set when something was taken or lost, so that there may be room.
    """

    def __init__(self) -> None:
        self.mailbox = Mailbox(joined=False)
        self.moved = asyncio.Event()
        self.is_open = False

    def lose(self, reason: str) -> None:
        """Ends the conversation, if one was begun."""
        if self.is_open or len(self.mailbox):
            self.mailbox.lose(reason)
            self.moved.set()


def memory_pair(name: str = "memory") -> tuple[MemoryTransport, MemoryTransport]:
    """Two ends of one wire."""
    one, other = _Side(), _Side()
    return MemoryTransport(name, one, other), MemoryTransport(name, other, one)
