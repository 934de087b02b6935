"""Deletes points from an InfluxDB 1.x by InfluxQL, and counts them first.

Source: InfluxDB OSS v1 documentation, "Manage your database using InfluxQL": DELETE takes tags and time, in every
retention policy; a field cannot stand in its WHERE clause.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp

from acquisition.errors import SinkError
from acquisition.sinks.http_answers import judge, reaching
from acquisition.sinks.tls import client_context

PATIENCE_S = 600.0
MEASUREMENTS = ("numerics", "waves", "events")


class Points(NamedTuple):
    """What is to go: points of one device from a time up to and without another."""

    device: str
    from_ns: int
    to_ns: int
    measurements: tuple[str, ...] = MEASUREMENTS


class InfluxPurge:
    """A connection that deletes.

    Args:
        url: `http(s)://host:port`, and the path before `/query` if a proxy adds one.
        database: Database.
        site: Tag `site` of the points.
        bed: Tag `bed` of the points.
        username: User, if the server wants one.
        password: Its password.
        retention_policy: Where points are counted; the database's default if None. They go from all.
        verify_tls: Whether certificate and host name are checked.
        ca_file: PEM certificates to trust in place of the host's.

    Raises:
        OSError: `ca_file` cannot be read, or holds no certificate.
    """

    def __init__(
        self,
        *,
        url: str,
        database: str,
        site: str,
        bed: str,
        username: str | None = None,
        password: str | None = None,
        retention_policy: str | None = None,
        verify_tls: bool = True,
        ca_file: Path | None = None,
    ) -> None:
        self._url = url
        self._parameters = {"db": database, "epoch": "ns"} | ({"rp": retention_policy} if retention_policy else {})
        self._password = password
        self._headers = {}
        if username is not None:
            pair = base64.b64encode(f"{username}:{password or ''}".encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"
        self._where = f"site = {_quoted(site)} AND bed = {_quoted(bed)}"
        self._tls = client_context(verify=verify_tls, ca_file=ca_file)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
            headers=self._headers,
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def devices(self) -> list[str]:
        """Ids of all devices that the bed has points of.

        Raises:
            SinkError: the server does not answer so.
        """
        found = set()
        for measurement in MEASUREMENTS:
            query = f'SHOW TAG VALUES FROM "{measurement}" WITH KEY = "device" WHERE {self._where}'
            found |= {str(row[1]) for row in _rows(await self._ask(query))}
        return sorted(found)

    async def delete(self, asked: Sequence[Points]) -> list[dict[str, Any]]:
        """Deletes points; returns how many values there were, by device and measurement, JSON values.

        Raises:
            SinkError: the server does not answer, or refuses.
        """
        gone = []
        for each in asked:
            where = f"{self._where} AND device = {_quoted(each.device)}"
            where += f" AND time >= {each.from_ns} AND time < {each.to_ns}"
            for measurement in each.measurements:
                answer = await self._ask(_count(measurement, where))
                values = sum(int(cell) for row in _rows(answer) for cell in row[1:] if cell)
                if not values:
                    continue
                await self._ask(f'DELETE FROM "{measurement}" WHERE {where}')  # noqa: S608 - names are quoted
                left = await self._ask(_count(measurement, where))
                if any(_rows(left)):
                    raise SinkError(f"{self._url}: points of {each.device} are still there after DELETE")
                gone.append({"device": each.device, "measurement": measurement, "values": values})
        return gone

    async def _ask(self, query: str) -> dict[str, Any]:
        address = f"{self._url.rstrip('/')}/query"
        async with reaching(self._url, PATIENCE_S):
            request = self._session.post(address, params=self._parameters, data={"q": query}, allow_redirects=False)
            async with request as response:
                await judge(response, secret=self._password)
                answer: dict[str, Any] = await response.json()
        for result in answer.get("results", ()):
            if "error" in result:
                raise SinkError(f"{self._url}: {result['error']}")
        return answer


def _rows(answer: dict[str, Any]) -> Iterator[list[Any]]:
    for result in answer.get("results", ()):
        for series in result.get("series", ()):
            yield from series["values"]


def _count(measurement: str, where: str) -> str:
    return f'SELECT count(*) FROM "{measurement}" WHERE {where}'  # noqa: S608 - names are quoted


def _quoted(text: str) -> str:
    return "'" + re.sub(r"(['\\])", r"\\\1", text) + "'"
