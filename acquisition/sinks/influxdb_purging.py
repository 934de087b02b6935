"""Deletes points from an InfluxDB, counts them first, and says of what other server why it cannot.

Sources: InfluxDB OSS v1 documentation, "Manage your database using InfluxQL": DELETE takes tags and time, in every
retention policy, and no field in its WHERE clause. InfluxDB OSS v2 documentation, "API reference", `POST
/api/v2/delete`, and "Delete predicate syntax": equality of tags and `_measurement` joined by AND; `/query` answers
InfluxQL where the bucket is mapped. InfluxDB 3 Core has neither; VictoriaMetrics deletes whole series only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp

from acquisition.clock import rfc3339
from acquisition.errors import SinkError, SinkRefusedError
from acquisition.sinks.http_answers import NOT_INFLUXDB, answer_of, judge, reaching
from acquisition.sinks.influxdb_servers import InfluxV1Server, InfluxV2Server

PATIENCE_S = 600.0
MEASUREMENTS = ("numerics", "waves", "events")
_VERSION_3 = (
    "InfluxDB {version} cannot delete single points: let its retention period take them, drop the tables or the "
    "database, or, in the Enterprise edition, ask for a row delete"
)
_NO_INFLUXDB = (
    "this server does not say that it is InfluxDB; VictoriaMetrics deletes only whole series, of all times and so of "
    "all subjects of the bed (/api/v1/admin/tsdb/delete_series): export what must stay, delete, and import it again"
)
_VERSION_1 = "InfluxDB {version} has no /api/v2/delete: name this sink influxdb_v1 while you purge"
_NO_MAP = "map the bucket to a database of its own name, so that its points can be counted: influx v1 dbrp create"


class Points(NamedTuple):
    """What is to go: points of one device from a time up to and without another."""

    device: str
    from_ns: int
    to_ns: int
    measurements: tuple[str, ...] = MEASUREMENTS


class InfluxPurge:
    """A connection that deletes.

    Args:
        server: Where the points are; with a retention policy they are counted there, and go from all.
        site: Tag `site` of the points.
        bed: Tag `bed` of the points.

    Raises:
        OSError: `ca_file` cannot be read, or holds no certificate.
    """

    def __init__(self, server: InfluxV1Server | InfluxV2Server, *, site: str, bed: str) -> None:
        self._server = server
        self._url = server.url.rstrip("/")
        self._tags = {"site": site, "bed": bed}
        self._tls = server.tls

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
            headers=self._server.credentials.headers,
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def why_not(self) -> str:
        """Why nothing can be deleted there, and what a person can do; empty if it can.

        Raises:
            SinkError: the server does not answer.
        """
        async with (
            reaching(self._url, PATIENCE_S),
            self._session.get(f"{self._url}/ping", allow_redirects=False) as response,
        ):
            version = response.headers.get("X-Influxdb-Version") or _version_in(await response.text(errors="replace"))
        version = version.removeprefix("v")
        if version.startswith("2."):
            return ""
        if version.startswith("1."):
            return "" if isinstance(self._server, InfluxV1Server) else _VERSION_1.format(version=version)
        return _VERSION_3.format(version=version) if version else _NO_INFLUXDB

    async def devices(self) -> list[str]:
        """Ids of all devices that the bed has points of.

        Raises:
            SinkError: the server does not answer so.
        """
        found = set()
        for measurement in MEASUREMENTS:
            query = f'SHOW TAG VALUES FROM "{measurement}" WITH KEY = "device" WHERE {_terms(self._tags)}'
            found |= {str(row[1]) for row in _rows(await self._ask(query))}
        return sorted(found)

    async def delete(self, asked: Sequence[Points]) -> list[dict[str, Any]]:
        """Deletes points; returns how many values there were, by device and measurement, JSON values.

        Raises:
            SinkError: the server does not answer, or refuses.
        """
        gone = []
        for each in asked:
            for measurement in each.measurements:
                values = await self._count(measurement, each)
                if not values:
                    continue
                await self._erase(measurement, each)
                if await self._count(measurement, each):
                    raise SinkError(f"{self._url}: points of {each.device} are still there after they were deleted")
                gone.append({"device": each.device, "measurement": measurement, "values": values})
        return gone

    async def _count(self, measurement: str, points: Points) -> int:
        query = f'SELECT count(*) FROM "{measurement}" WHERE {self._where(points)}'  # noqa: S608 - names are quoted
        return sum(int(cell) for row in _rows(await self._ask(query)) for cell in row[1:] if cell)

    async def _erase(self, measurement: str, points: Points) -> None:
        if isinstance(self._server, InfluxV1Server):
            await self._ask(f'DELETE FROM "{measurement}" WHERE {self._where(points)}')  # noqa: S608 - names are quoted
            return
        tags = {"_measurement": measurement, **self._tags, "device": points.device}
        body = {
            "start": rfc3339(points.from_ns, 9),
            # What is deleted there reaches to the very time that is named.
            "stop": rfc3339(points.to_ns - 1, 9),
            "predicate": " AND ".join(f"{key}={json.dumps(value)}" for key, value in tags.items()),
        }
        place = {"bucket": self._server.bucket} | ({"org": self._server.org} if self._server.org else {})
        async with reaching(self._url, PATIENCE_S):
            request = self._session.post(f"{self._url}/api/v2/delete", params=place, json=body, allow_redirects=False)
            async with request as response:
                await judge(response, secret=self._server.credentials.secret)

    def _where(self, points: Points) -> str:
        terms = _terms({**self._tags, "device": points.device})
        return f"{terms} AND time >= {points.from_ns} AND time < {points.to_ns}"

    async def _ask(self, query: str) -> dict[str, Any]:
        server = self._server
        place = server.place if isinstance(server, InfluxV1Server) else {"db": server.bucket}
        async with reaching(self._url, PATIENCE_S):
            request = self._session.post(
                f"{self._url}/query", params={**place, "epoch": "ns"}, data={"q": query}, allow_redirects=False
            )
            async with request as response:
                answer = _decoded(await answer_of(response, secret=server.credentials.secret), self._url)
        for result in (answer, *answer.get("results", ())):
            if "error" in result:
                hint = None if isinstance(server, InfluxV1Server) else _NO_MAP
                raise SinkRefusedError(f"{self._url}: {result['error']}", hint=hint)
        return answer


def _decoded(body: str, url: str) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        # Its words are not repeated: whatever stands in between may say the secret back.
        raise SinkRefusedError(f"{url} did not answer a query", hint=NOT_INFLUXDB)
    return answer


def _version_in(body: str) -> str:
    """As InfluxDB 3 tells it: in the body of its answer."""
    try:
        return str(json.loads(body)["version"])
    except (ValueError, KeyError, TypeError):
        return ""


def _rows(answer: dict[str, Any]) -> Iterator[list[Any]]:
    for result in answer.get("results", ()):
        for series in result.get("series", ()):
            yield from series["values"]


def _terms(tags: dict[str, str]) -> str:
    return " AND ".join(f"{key} = {_quoted(value)}" for key, value in tags.items())


def _quoted(text: str) -> str:
    return "'" + re.sub(r"(['\\])", r"\\\1", text) + "'"
