"""The wires that simulated devices hang on: a pseudo-terminal with a stable name, TCP either way round, UDP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable
from urllib.parse import urlsplit

RECONNECT_S = 0.5


@runtime_checkable
class Device(Protocol):
    """A simulated device: talks over one open link until the link or the device ends."""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speaks the device's protocol; returns or raises ConnectionError when the other end has gone."""
        ...


@runtime_checkable
class DatagramDevice(Protocol):
    """A simulated device that talks in datagrams."""

    async def converse_in_datagrams(self, wire: Datagrams) -> None:
        """Speaks the device's protocol, for ever."""
        ...


class Datagrams(asyncio.DatagramProtocol):
    """A bound UDP socket.

    Attributes:
        inbox: What came, and from where.
        address: Where it is bound.
        announce: Where the device may make itself known unasked, if anywhere.
    """

    def __init__(self, announce: tuple[str, int] | None) -> None:
        self.inbox: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()
        self.announce = announce

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.address: tuple[str, int] = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Keeps what came."""
        self.inbox.put_nowait((data, (addr[0], addr[1])))

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        """Sends one datagram; whether it arrives nobody says."""
        self._transport.sendto(data, to)


@contextlib.asynccontextmanager
async def attached(url: str, device: Device | DatagramDevice) -> AsyncIterator[str]:
    """Attaches a device to a wire for the length of the block.

    Args:
        url: `pty:///path/of/link` makes a pseudo-terminal and a symbolic link to it; `tcp-listen://host:port`
            listens (port 0 picks one); `tcp://host:port` connects and connects again after a loss;
            `udp://host:port?announce=host:port` binds, for a device that talks in datagrams.
        device: What is at this end.

    Yields:
        The link URL for the daemon at the other end.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 0
    if parts.scheme == "udp":
        if not isinstance(device, DatagramDevice):
            raise ValueError(f"{url!r}: this device does not talk in datagrams")
        async with _datagrams(host, port, parts.query.removeprefix("announce="), device) as link:
            yield link
    elif not isinstance(device, Device):
        raise ValueError(f"{url!r}: this device talks in datagrams only")
    elif parts.scheme == "pty":
        async with _pty(Path(parts.path), device) as link:
            yield link
    elif parts.scheme == "tcp-listen":
        async with _listener(host, port, device) as link:
            yield link
    elif parts.scheme == "tcp":
        async with _background(_connect_for_ever(host, port, device)):
            yield f"tcp-listen://{host}:{port}"
    else:
        raise ValueError(f"{url!r}: use pty://, tcp-listen://, tcp:// or udp://")


@contextlib.asynccontextmanager
async def _background(coroutine: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await task


@contextlib.asynccontextmanager
async def _pty(path: Path, device: Device) -> AsyncIterator[str]:
    master, slave = os.openpty()
    tty.setraw(slave)  # a serial line does not echo or translate
    path.unlink(missing_ok=True)
    path.symlink_to(os.ttyname(slave))
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    read_end, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(master), "rb", buffering=0)
    )
    write_end, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(master, "wb", buffering=0)
    )
    writer = asyncio.StreamWriter(write_end, protocol, None, loop)
    try:
        async with _background(device.converse(reader, writer)):
            # Our own slave descriptor stays open, so that the daemon may close and reopen the port at will.
            yield f"serial://{path}"
    finally:
        read_end.close()
        write_end.abort()
        os.close(slave)
        path.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def _listener(host: str, port: int, device: Device) -> AsyncIterator[str]:
    writers: set[asyncio.StreamWriter] = set()
    talking: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        talking.add(asyncio.current_task())
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await device.converse(reader, writer)
        finally:
            writers.discard(writer)
            talking.discard(asyncio.current_task())
            writer.close()

    server = await asyncio.start_server(serve, host, port)
    try:
        yield f"tcp://{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in list(writers):
            writer.transport.abort()
        left = [task for task in talking if task is not None]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


@contextlib.asynccontextmanager
async def _datagrams(host: str, port: int, announce: str, device: DatagramDevice) -> AsyncIterator[str]:
    there, _, number = announce.rpartition(":")
    target = (there, int(number)) if number else None
    transport, wire = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Datagrams(target), local_addr=(host, port)
    )
    try:
        async with _background(device.converse_in_datagrams(wire)):
            yield f"udp://0.0.0.0:{target[1] if target else 24005}?peer={host}:{wire.address[1]}"
    finally:
        transport.close()


async def _connect_for_ever(host: str, port: int, device: Device) -> None:
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(RECONNECT_S)
            continue
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await device.converse(reader, writer)
        finally:
            writer.transport.abort()
        await asyncio.sleep(RECONNECT_S)
