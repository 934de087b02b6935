"""A server that keeps the points it takes and answers every way that a server, a proxy or a bad line can."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.acquisition.strict_line_protocol import Point, parse

Key = tuple[str, tuple[tuple[str, str], ...], int]
"""What makes a point one point: measurement, tags, time."""
REASONS = {200: "OK", 204: "No Content", 400: "Bad Request", 503: "Service Unavailable"}


@dataclass
class Exchange:
    """One request that came whole, and the line back."""

    server: HostileInflux
    points: list[Point]
    writer: asyncio.StreamWriter

    def store(self, points: list[Point] | None = None) -> None:
        """Keeps these points, or all; equal measurement, tags and time overwrite, as in every InfluxDB."""
        for point in self.points if points is None else points:
            key = (point.measurement, point.tags, point.time_ns)
            kept = self.server.stored.setdefault(key, {})
            for name, value in point.fields:
                assert kept.setdefault(name, value) == value, f"{key} was overwritten by another value"
            self.server.times_taken[key] += 1

    async def say(self, data: bytes) -> None:
        """Sends bytes."""
        self.writer.write(data)
        await self.writer.drain()


Move = Callable[[Exchange], Awaitable[None]]


def head(status: int, headers: Mapping[str, str | int]) -> bytes:
    """Status line and headers."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Whatever')}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def answers(
    status: int,
    body: str = "",
    headers: Mapping[str, str] | None = None,
    *,
    stores: bool | None = None,
    length: int | None = None,
    after_s: float = 0.0,
) -> Move:
    """An answer.

    Args:
        status: Of the answer.
        body: Of the answer.
        headers: Besides Content-Length.
        stores: Whether the points are kept; without it, if the answer is one of success.
        length: What Content-Length says; without it, the truth.
        after_s: How long it takes.
    """

    async def move(exchange: Exchange) -> None:
        if stores if stores is not None else status < 300:
            exchange.store()
        await asyncio.sleep(after_s)
        size = {} if status == 204 else {"Content-Length": len(body.encode()) if length is None else length}
        await exchange.say(head(status, {**(headers or {}), **size}) + body.encode())

    return move


def says(data: bytes, *, stores: bool = False, then: str = "closes", each_s: float = 0.0) -> Move:
    """These bytes, whatever they mean, and then what `then` says.

    Args:
        data: What is sent.
        stores: Whether the points are kept.
        then: `closes`, `resets`, `stalls` (says nothing more and keeps the line) or `goes on` (reads the next request).
        each_s: Seconds between two bytes; 0 sends them together.
    """

    async def move(exchange: Exchange) -> None:
        if stores:
            exchange.store()
        for byte in data if each_s else ():
            await exchange.say(bytes([byte]))
            await asyncio.sleep(each_s)
        if not each_s:
            await exchange.say(data)
        if then == "resets":
            # Linger of no seconds: the kernel sends RST in place of FIN.
            line: socket.socket = exchange.writer.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if then == "stalls":
            await exchange.server.released.wait()
        if then != "goes on":
            exchange.writer.transport.abort() if then == "resets" else exchange.writer.close()

    return move


@dataclass
class HostileInflux:
    """Makes the next of `moves` at each request, and `otherwise` when there is none.

    Attributes:
        stored: Fields by what makes a point one point.
        times_taken: How often each point was taken.
        requests: Whole requests that came.
    """

    moves: deque[Move] = field(default_factory=deque)
    otherwise: Move = field(default_factory=lambda: answers(204))
    stored: dict[Key, dict[str, float | str]] = field(default_factory=dict)
    times_taken: Counter[Key] = field(default_factory=Counter)
    requests: int = 0
    port: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it ends."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                exchange = Exchange(self, await _request(reader), writer)
                self.requests += 1
                await (self.moves.popleft() if self.moves else self.otherwise)(exchange)
        writer.close()

    async def end(self) -> None:
        """Hangs up on everybody."""
        self.released.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _request(reader: asyncio.StreamReader) -> list[Point]:
    text = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    headers = dict(line.lower().split(": ", 1) for line in text.splitlines()[1:] if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return parse(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)


@asynccontextmanager
async def hostile_influx(
    *moves: Move, otherwise: Move | None = None, tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[HostileInflux]:
    """A running server on loopback."""
    hostile = HostileInflux(deque(moves))
    hostile.otherwise = otherwise or hostile.otherwise
    server = await asyncio.start_server(hostile.meet, "127.0.0.1", port, ssl=tls)
    hostile.port = server.sockets[0].getsockname()[1]
    try:
        yield hostile
    finally:
        server.close()
        await hostile.end()
