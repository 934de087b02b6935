"""An HTTP server on loopback that records what is written to it and answers as told."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.acquisition.strict_line_protocol import Point, parse


@dataclass
class Answer:
    """What to say to one request; `cut` closes the connection in the middle of the body."""

    status: int = 204
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    hang: bool = False


@dataclass
class Request:
    """One request as it came."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    points: list[Point]
    body: bytes = b""


@dataclass
class ScriptedInflux:
    """Answers with the next of `answers`, and 204 when there is none."""

    answers: deque[Answer] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Records and answers."""
        # aiohttp has undone what Content-Encoding says; a body that was not compressed fails to be read there.
        body = await request.read()
        points = parse(body) if request.path.endswith("/write") else []
        self.requests.append(Request(request.path, dict(request.query), dict(request.headers), points, body))
        answer = self.answers.popleft() if self.answers else Answer()
        if answer.hang:
            await self.released.wait()
        if answer.cut:
            response = web.StreamResponse(status=answer.status, headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b"{")
            assert request.transport is not None
            request.transport.close()
            return response
        return web.Response(status=answer.status, text=answer.body or None, headers=answer.headers)


@asynccontextmanager
async def scripted_influx(*answers: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedInflux]:
    """A running server, behind TLS if it is given its settings."""
    server = ScriptedInflux(deque(answers))
    application = web.Application(client_max_size=1 << 26)
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        server.released.set()
        await runner.cleanup()
