"""InfluxDB and what speaks its write APIs: `/api/v2/write` through influxdb-client, and `/write` of 1.x."""

from __future__ import annotations

import gzip
import ipaddress
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

import aiohttp
from yarl import URL

from acquisition.model import Observation
from acquisition.sinks.http_answers import drop_spoiled, judge, reaching
from acquisition.sinks.influxdb_servers import InfluxV1Server, InfluxV2Server
from acquisition.sinks.line_protocol import render

if TYPE_CHECKING:
    from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync

GZIP_LEVEL = 3
"""Level 9 takes six times as long for a fifth less (measured on arterial pressure)."""


class _Body:
    """What a request carries: line protocol, compressed unless the server is on this machine.

    There the bytes cost nothing, and both ends share the processors that gzip would take.
    """

    def __init__(self, url: str, *, site: str, bed: str) -> None:
        self._site = site
        self._bed = bed
        self._compressed = not _on_this_machine(url)

    @property
    def headers(self) -> dict[str, str]:
        """What the server must know of it."""
        return {"Content-Encoding": "gzip"} if self._compressed else {}

    def of(self, observations: Sequence[Observation]) -> bytes:
        """The body; empty if there is nothing to say."""
        lines = render(observations, site=self._site, bed=self._bed)
        return gzip.compress(lines, GZIP_LEVEL) if lines and self._compressed else lines


class InfluxV2Sink:
    """Writes to a bucket.

    Args:
        server: Which, and where.
        site: Tag `site`.
        bed: Tag `bed`.
        timeout_s: Longest time for a whole delivery.

    Raises:
        OSError: `ca_file` cannot be read, or holds no certificate.
    """

    def __init__(self, server: InfluxV2Server, *, site: str, bed: str, timeout_s: float = 10.0) -> None:
        self._server = server
        self._body = _Body(server.url, site=site, bed=bed)
        self._timeout_s = timeout_s
        self._tls = server.tls
        self._client: InfluxDBClientAsync | None = None

    async def __aenter__(self) -> Self:
        # Here, because it takes 14 MB: a bed that writes elsewhere, and every command, does without.
        from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync

        self._client = InfluxDBClientAsync(
            url=self._server.url,
            token=self._server.token or "",
            org=self._server.org,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            ssl_context=self._tls,
            allow_redirects=False,
            # Judges an answer before the library reads it: the library logs bodies that it cannot parse.
            client_session_kwargs={"raise_for_status": partial(judge, secret=self._server.token)},
        )
        # The library's own gzip is of level 9, and runs in the event loop's thread.
        self._client.api_client.default_headers.update(self._body.headers)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()  # type: ignore[no-untyped-call]  # the library has no annotation there

    def prepare(self, observations: Sequence[Observation]) -> bytes:
        """The body of a request; empty if there is nothing to say."""
        return self._body.of(observations)

    async def deliver(self, prepared: bytes) -> None:
        """Writes the batch in one request, if it says anything; see `Sink.deliver`."""
        if self._client is None:
            raise RuntimeError("deliver outside the sink's context")
        if prepared:
            drop_spoiled(self._client.api_client.rest_client.pool_manager)
            async with reaching(self._server.url, self._timeout_s):
                await self._client.write_api().write(self._server.bucket, record=prepared)


class InfluxV1Sink:
    """Writes to a database; it must exist.

    Args:
        server: Which, and where.
        site: Tag `site`.
        bed: Tag `bed`.
        timeout_s: Longest time for a whole delivery.

    Raises:
        OSError: `ca_file` cannot be read, or holds no certificate.
    """

    def __init__(self, server: InfluxV1Server, *, site: str, bed: str, timeout_s: float = 10.0) -> None:
        self._server = server
        self._query = {**server.place, "precision": "ns"}
        self._body = _Body(server.url, site=site, bed=bed)
        self._headers = {
            "Content-Type": "text/plain; charset=utf-8", **self._body.headers, **server.credentials.headers
        }  # fmt: skip
        self._timeout_s = timeout_s
        self._tls = server.tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            headers=self._headers,
            raise_for_status=partial(judge, secret=self._server.password),
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def prepare(self, observations: Sequence[Observation]) -> bytes:
        """The body of a request; empty if there is nothing to say."""
        return self._body.of(observations)

    async def deliver(self, prepared: bytes) -> None:
        """Writes the batch in one request, if it says anything; see `Sink.deliver`."""
        if self._session is None:
            raise RuntimeError("deliver outside the sink's context")
        if prepared:
            drop_spoiled(self._session)
            address = f"{self._server.url.rstrip('/')}/write"
            async with (
                reaching(self._server.url, self._timeout_s),
                self._session.post(address, params=self._query, data=prepared, allow_redirects=False),
            ):
                pass


def _on_this_machine(url: str) -> bool:
    host = URL(url).host or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
