"""Devices to put at the other end of a link: a wire in memory, a pseudo-terminal, a socket of each kind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tty
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

from acquisition.interfaces import Transport
from acquisition.transports.memory import memory_pair
from acquisition.transports.serial import SerialTransport
from acquisition.transports.shared import SharedLine
from acquisition.transports.tcp import TcpClientTransport, TcpListenerTransport
from acquisition.transports.udp import UdpTransport

LOOPBACK = "127.0.0.1"


class FarEnd(Protocol):
    """The device at the other end of `link`; `large` bytes are more than all buffers between hold."""

    link: Transport
    large: int

    async def put(self, data: bytes) -> None: ...

    async def get(self, count: int) -> bytes: ...

    async def leave(self) -> None: ...

    async def end(self) -> None: ...


class MemoryEnd:
    large = 300_000

    def __init__(self, _: Path) -> None:
        self.link: Transport
        self.link, self._device = memory_pair()
        self._is_open = False

    async def put(self, data: bytes) -> None:
        await self._come()
        await self._device.send(data)

    async def get(self, count: int) -> bytes:
        await self._come()
        got = b""
        while len(got) < count:
            got += await self._device.receive(None)
        return got

    async def leave(self) -> None:
        await self._come()
        await self._device.__aexit__(None, None, None)
        self._is_open = False

    async def end(self) -> None:
        await self.leave()

    async def _come(self) -> None:
        if not self._is_open:
            await self._device.__aenter__()
            self._is_open = True


class SharedEnd(MemoryEnd):
    """One of two devices on a line; the other one is silent."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.link = SharedLine(self.link).member()


class SerialEnd:
    large = 300_000

    def __init__(self, folder: Path) -> None:
        self._path = folder / "port"
        self._open()
        self.link = SerialTransport(str(self._path), baud=115200)

    async def put(self, data: bytes) -> None:
        self._come()
        rest = memoryview(data)
        while rest:
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(self._master, rest) :]
            await asyncio.sleep(0)

    async def get(self, count: int) -> bytes:
        self._come()
        got = b""
        while len(got) < count:
            with contextlib.suppress(BlockingIOError):
                got += os.read(self._master, count - len(got))
            await asyncio.sleep(0)
        return got

    async def leave(self) -> None:
        os.close(self._master)
        self._path.unlink()
        self._open()

    async def end(self) -> None:
        os.close(self._master)

    def _open(self) -> None:
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        tty.setraw(slave)
        self._path.symlink_to(os.ttyname(slave))
        os.close(slave)

    def _come(self) -> None:
        """A serial line is always there."""


class _StreamEnd(ABC):
    large = 16_000_000
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter | None = None

    async def put(self, data: bytes) -> None:
        writer = await self._come()
        writer.write(data)
        await writer.drain()

    async def get(self, count: int) -> bytes:
        await self._come()
        return await self._reader.readexactly(count)

    async def leave(self) -> None:
        writer = await self._come()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self._writer = None

    @abstractmethod
    async def _come(self) -> asyncio.StreamWriter:
        """The open connection, once there is one."""


class ServerEnd(_StreamEnd):
    def __init__(self, _: Path) -> None:
        self._listening = socket.create_server((LOOPBACK, 0))
        self._listening.setblocking(False)
        self.link = TcpClientTransport(*self._listening.getsockname())

    async def end(self) -> None:
        self._listening.close()
        if self._writer is not None:
            await self.leave()

    async def _come(self) -> asyncio.StreamWriter:
        if self._writer is None:
            connected, _ = await asyncio.get_running_loop().sock_accept(self._listening)
            self._reader, self._writer = await asyncio.open_connection(sock=connected)
        return self._writer


class ClientEnd(_StreamEnd):
    def __init__(self, _: Path) -> None:
        self.link = TcpListenerTransport(LOOPBACK, 0)

    async def end(self) -> None:
        if self._writer is not None:
            await self.leave()
        await self.link.aclose()

    async def _come(self) -> asyncio.StreamWriter:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(LOOPBACK, self.link.port)
        return self._writer


class DatagramEnd:
    large = 0

    def __init__(self, _: Path) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((LOOPBACK, 0))
        self._socket.setblocking(False)
        self._link = UdpTransport(LOOPBACK, 0, peer=self._socket.getsockname())
        self.link: Transport = self._link

    async def put(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendto(self._socket, data, (LOOPBACK, self._link.port))

    async def get(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            got += await asyncio.get_running_loop().sock_recv(self._socket, 65536)
        return got

    async def leave(self) -> None:
        raise AssertionError("a datagram's sender cannot be seen to leave")

    async def end(self) -> None:
        self._socket.close()
