"""One line with several devices on it, such as RS-485: each has a link of its own, and one at a time may speak."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from acquisition.errors import TransportError
from acquisition.interfaces import Transport
from acquisition.transports.mailbox import Mailbox
from acquisition.transports.stream import BUFFER_BYTES

HANDOVER_S = 0.005
"""Silence between the exchanges of two devices: 3.5 characters at 9600 baud and above, and the slack of adapters."""


class SharedLine:
    """The real link, open as long as one member has it open.

    What is received goes to the member that speaks or spoke last: a reply tells by the address in it whose it is, and
    a driver throws away what is not its own. When the line is lost, it is lost for every member.

    Args:
        transport: The link.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._opening = asyncio.Lock()
        self._speaking = asyncio.Lock()
        self._members: set[SharedTransport] = set()
        self._reader: asyncio.Task[None] | None = None
        self._speaker: SharedTransport | None = None
        self._lost = False

    def member(self) -> SharedTransport:
        """A link for one more device."""
        return SharedTransport(self)

    async def join(self, member: SharedTransport) -> None:
        """Opens the line unless it is open.

        Raises:
            TransportError: it cannot be opened.
        """
        async with self._opening:
            if self._lost:  # somebody has not noticed yet; what he has is lost in any case
                await self._close()
            if self._reader is None:
                await self.transport.__aenter__()
                self._reader = asyncio.get_running_loop().create_task(self._read(), name=f"{self.transport.peer}:read")
            self._members.add(member)

    async def leave(self, member: SharedTransport) -> None:
        """Closes the line if nobody else has it open."""
        self.release(member)
        async with self._opening:
            self._members.discard(member)
            if not self._members:
                await self._close()

    async def _close(self) -> None:
        reader, self._reader, self._lost = self._reader, None, False
        if reader is not None:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
            await self.transport.__aexit__(None, None, None)

    async def _read(self) -> None:
        try:
            while True:
                data = await self.transport.receive(None)
                hearer = self._speaker if self._speaker in self._members else next(iter(self._members), None)
                if data and hearer is not None:
                    await hearer.hear(data)
        except TransportError as error:
            self._lose(str(error))

    def _lose(self, reason: str) -> None:
        self._lost = True
        for member in self._members:
            member.mailbox.lose(reason)

    async def claim(self, member: SharedTransport) -> None:
        """Returns when nobody else speaks; `member` then has the line until it releases it."""
        if self._speaking.locked() and self._speaker is member:
            return
        await self._speaking.acquire()
        before, self._speaker = self._speaker, member
        if before not in (None, member):
            try:
                await asyncio.sleep(HANDOVER_S)
            except BaseException:
                self._speaking.release()
                raise

    def release(self, member: SharedTransport) -> None:
        """Lets the next one speak, if it was `member` that did."""
        if self._speaking.locked() and self._speaker is member:
            self._speaking.release()


class SharedTransport:
    """One device's link on a shared line, and its right to speak there.

    Args:
        line: The line.
    """

    def __init__(self, line: SharedLine) -> None:
        self.mailbox = Mailbox(joined=True)
        self._line = line
        self._has_room = asyncio.Event()
        self._is_open = False

    async def __aenter__(self) -> Self:
        self.mailbox = Mailbox(joined=True)
        await self._line.join(self)
        self._is_open = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_open:
            self._is_open = False
            self._has_room.set()
            await self._line.leave(self)

    async def aclose(self) -> None:
        """Leaves the line."""
        await self.__aexit__(None, None, None)

    async def receive(self, timeout_s: float | None) -> bytes:
        """The next bytes that came while this device spoke or had spoken last; see `Transport.receive`."""
        self._check_open()
        data = await self.mailbox.receive(timeout_s)
        self._has_room.set()
        return data

    async def hear(self, data: bytes) -> None:
        """Takes what came on the line; waits while too much is not yet received."""
        self.mailbox.put(data)
        self._has_room.clear()
        if self.mailbox.size >= BUFFER_BYTES:
            await self._has_room.wait()

    async def send(self, data: bytes) -> None:
        """Hands bytes to the line; who does so has claimed it."""
        self._check_open()
        if self.mailbox.loss is not None:
            raise TransportError(self.mailbox.loss)
        await self._line.transport.send(data)

    async def claim(self) -> None:
        """Returns when no other device speaks; until `release` none will."""
        await self._line.claim(self)

    def release(self) -> None:
        """Lets the next device speak."""
        self._line.release(self)

    @property
    def peer(self) -> str:
        """Who is at the other end, for people."""
        return self._line.transport.peer

    def _check_open(self) -> None:
        if not self._is_open:
            raise TransportError(f"{self.peer} is not open")
