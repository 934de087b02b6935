"""A link with a simulated device at its other end and no wire between: for virtual time and injected faults."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from acquisition.errors import TransportError
from acquisition.transports.mailbox import Mailbox
from simulators.links import Device


class _Mouth(asyncio.Transport):
    """Where the device's words leave: into the mailbox of the link."""

    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__()
        self._mailbox = mailbox

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data:
            self._mailbox.put(bytes(data))

    def is_closing(self) -> bool:
        return self._mailbox.loss is not None

    def close(self) -> None:
        self._mailbox.lose("the device hung up")

    def abort(self) -> None:
        self.close()


class MemoryLink:
    """A Transport; entering it begins a conversation with the device.

    Args:
        device: At the other end. Another one can be put there, as after a restart, before the link is entered again.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._mailbox = Mailbox(joined=False)
        self._reader: asyncio.StreamReader | None = None
        self._talking: asyncio.Task[None] | None = None

    @property
    def peer(self) -> str:
        """The kind of device."""
        return type(self.device).__name__

    def hang_up(self, why: str) -> None:
        """Breaks the link, as if a cable were pulled."""
        self._mailbox.lose(why)

    async def __aenter__(self) -> Self:
        self._mailbox = Mailbox(joined=False)
        self._reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(self._reader)
        writer = asyncio.StreamWriter(_Mouth(self._mailbox), protocol, None, asyncio.get_running_loop())
        self._talking = asyncio.create_task(self._talk(self._reader, writer))
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        talking, self._talking, self._reader = self._talking, None, None
        if talking is not None:
            talking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await talking

    async def aclose(self) -> None:
        """Nothing outlives a conversation."""

    async def receive(self, timeout_s: float | None) -> bytes:
        """The next words of the device; empty when `timeout_s` has passed without any.

        Raises:
            TransportError: the link was broken, or the device hung up.
        """
        return await self._mailbox.receive(timeout_s)

    async def send(self, data: bytes) -> None:
        """Hands bytes to the device.

        Raises:
            TransportError: the link was broken, or is not open.
        """
        if self._reader is None or self._mailbox.loss is not None:
            raise TransportError(self._mailbox.loss or "not open")
        self._reader.feed_data(data)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self.device.converse(reader, writer)
        self._mailbox.lose("the device hung up")
