"""Readings from InfluxDB by InfluxQL, in the layout of DESIGN.md section 8.

Source: InfluxDB OSS v1 documentation, "InfluxDB API reference", `/query`: `chunked`, `epoch`; "InfluxQL reference",
quoting of identifiers and strings. The same path is answered by 2.x and 3.x.
"""

from __future__ import annotations

import http.client
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np

from acquisition.archive.chunk import QUALITIES, STATES, Chunk, Window, joined
from acquisition.archive.source import NUMERICS_NS, WAVES_NS, Series
from acquisition.clock import NS
from acquisition.errors import ConfigError, SinkRefusedError, SinkUnavailableError
from acquisition.model import Event, EventKind
from acquisition.sinks.influxdb_servers import Credentials

CHUNK_ROWS = 10_000
EVENTS_NS = 86_400 * NS
TIMEOUT_S = 60.0
_STATE_FIELD = "_state"


class InfluxSource:
    """A central InfluxDB.

    Args:
        url: `http(s)://host:port`, and the path before `/query` if a proxy adds one.
        database: Database, or for 2.x and 3.x the name that the bucket is mapped to.
        auth: Who we are.
        site: Of this site only; needed where beds of two sites have one name.

    Raises:
        ConfigError: not such a URL.
    """

    def __init__(self, url: str, database: str, auth: Credentials | None = None, site: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigError([f"{url.rpartition('@')[2]}: write http(s)://host:port, without user or password"])
        self._parts = parts
        self._database = database
        self._auth = auth or Credentials()
        self._site = site

    def told_apart(self, bed: str | None) -> None:
        """Refuses to read two beds as one: beds of two sites with one name, or all that there are.

        Args:
            bed: Whose readings; None: nobody said.

        Raises:
            ConfigError: there is more than one.
            AcquisitionError: it cannot be read.
        """
        for key, named, option in (("site", self._site, "--site"), ("bed", bed, "--bed or --subject")):
            if named is not None:
                continue
            terms = [f'"{tag}" = {_string(value)}' for tag, value in (("site", self._site), ("bed", bed)) if value]
            where = f" WHERE {' AND '.join(terms)}" if terms else ""
            found = sorted({each for name in ("numerics", "waves") for each in self._tags(name, key, where)})
            if len(found) > 1:
                whose = f"{bed} is at" if bed is not None else "there are"
                raise ConfigError([f"{whose} more than one {key}: {', '.join(found)}; give {option}"])

    def series(self, window: Window) -> list[Series]:
        """See `Source.series`; exactly those in the window."""
        found: set[Series] = set()
        for measurement in ("numerics", "waves"):
            for tags, columns, rows in self._rows(
                _select("count(*)", measurement, self._where(window), 'GROUP BY "device"')
            ):
                for row in rows:
                    for column, count in zip(columns[1:], row[1:], strict=True):
                        channel = column.removeprefix("count_").removesuffix(_STATE_FIELD)
                        if count:
                            found.add(Series(tags["device"], channel, measurement == "waves"))
        return sorted(found)

    def extent(self, window: Window) -> Window | None:
        """See `Source.extent`."""
        measurements = ("numerics", "waves")
        begun = [ends for name in measurements if (ends := self._ends(name, window, None)) is not None]
        if not begun:
            return None
        rest = replace(window, to_ns=_LAST_NS)
        last = max(ends[1] for name in measurements if (ends := self._ends(name, rest, None)) is not None)
        return replace(window, from_ns=min(first for first, _ in begun), to_ns=min(window.to_ns, last + 1))

    def numerics(
        self, window: Window, devices: Collection[str] | None = None, channels: Collection[str] | None = None
    ) -> Iterator[Chunk]:
        """See `Source.numerics`."""
        fields = self._fields("numerics")
        wanted = sorted(field for field in fields if channels is None or field.removesuffix(_STATE_FIELD) in channels)
        for device in self._devices("numerics", window, devices) if wanted else ():
            for cut in self._slices("numerics", window, device, NUMERICS_NS):
                select = ",".join(map(_identifier, wanted))
                question = _select(select, "numerics", self._where(cut, device), 'GROUP BY "quality"')
                yield from self._numerics(device, question)

    def waves(
        self, window: Window, devices: Collection[str] | None = None, channels: Collection[str] | None = None
    ) -> Iterator[Chunk]:
        """See `Source.waves`."""
        wanted = sorted(field for field in self._fields("waves") if channels is None or field in channels)
        for device in self._devices("waves", window, devices) if wanted else ():
            for cut in self._slices("waves", window, device, WAVES_NS):
                for channel in wanted:
                    where = self._where(cut, device)
                    pieces = []
                    for tags, _, rows in self._rows(
                        _select(_identifier(channel), "waves", where, 'GROUP BY "quality"')
                    ):
                        times, values = zip(*rows, strict=True)
                        quality = np.full(len(rows), QUALITIES.index(tags["quality"]), np.uint8)
                        pieces.append(
                            Chunk(device, channel, np.array(times, np.int64), np.array(values, np.float64), quality)
                        )
                    if pieces:
                        yield joined(pieces)

    def events(self, window: Window, kinds: Collection[EventKind] | None = None) -> Iterator[Event]:
        """See `Source.events`."""
        for device in self._devices("events", window, None):
            for cut in self._slices("events", window, device, EVENTS_NS):
                found = [
                    Event(
                        device=device, time_ns=time_ns, event=EventKind(tags["kind"]), text=text,
                        detail=json.loads(detail or "{}"),
                    )
                    for tags, _, rows in self._rows(
                        _select('"text","detail"', "events", self._where(cut, device), 'GROUP BY "kind"')
                    )
                    for time_ns, text, detail in rows
                    if kinds is None or tags["kind"] in kinds
                ]  # fmt: skip
                yield from sorted(found, key=lambda event: event.time_ns)

    def _numerics(self, device: str, question: str) -> Iterator[Chunk]:
        pieces: defaultdict[str, list[Chunk]] = defaultdict(list)
        for tags, columns, rows in self._rows(question):
            place = {column: number for number, column in enumerate(columns)}
            times = np.array([row[0] for row in rows], np.int64)
            quality = QUALITIES.index(tags["quality"])
            for channel in {column.removesuffix(_STATE_FIELD) for column in columns[1:]}:
                values = np.full(times.size, np.nan)
                state = np.zeros(times.size, np.uint8)
                if (at := place.get(channel)) is not None:
                    values = np.array([row[at] for row in rows], np.float64)
                if (at := place.get(channel + _STATE_FIELD)) is not None:
                    state = np.array([STATES.index(row[at] or "") for row in rows], np.uint8)
                said = ~np.isnan(values) | (state > 0)
                if said.any():
                    judged = np.full(times.size, quality, np.uint8)
                    known = state if state.any() else None
                    pieces[channel].append(Chunk(device, channel, times, values, judged, known).at(said))
        for channel in sorted(pieces):
            yield joined(pieces[channel])

    def _slices(self, measurement: str, window: Window, device: str, length_ns: int) -> Iterator[Window]:
        """The window cut at multiples of a length, from the first point there is to the last."""
        ends = self._ends(measurement, window, device)
        if ends is None:
            return
        first, last = ends
        begin = first
        while begin <= last:
            end = min((begin // length_ns + 1) * length_ns, last + 1)
            yield Window(window.bed, begin, end)
            begin = end

    def _ends(self, measurement: str, window: Window, device: str | None) -> tuple[int, int] | None:
        """Times of the first point and the last."""
        ends = []
        for word in ("ASC", "DESC"):
            question = _select("*", measurement, self._where(window, device), f"ORDER BY time {word} LIMIT 1")
            found = [row[0] for _, _, rows in self._rows(question) for row in rows]
            if not found:
                return None
            ends.append(found[0])
        return ends[0], ends[1]

    def _devices(self, measurement: str, window: Window, devices: Collection[str] | None) -> list[str]:
        beds = f' WHERE "bed" = {_string(window.bed)}' if window.bed is not None else ""
        found = self._tags(measurement, "device", beds)
        return sorted(device for device in found if devices is None or device in devices)

    def _tags(self, measurement: str, key: str, where: str) -> set[str]:
        answer = self._rows(f'SHOW TAG VALUES FROM "{measurement}" WITH KEY = "{key}"{where}')
        return {row[-1] for _, _, rows in answer for row in rows}

    def _fields(self, measurement: str) -> list[str]:
        return [row[0] for _, _, rows in self._rows(f'SHOW FIELD KEYS FROM "{measurement}"') for row in rows]

    def _where(self, window: Window, device: str | None = None) -> str:
        tags = {"bed": window.bed, "site": self._site, "device": device}
        terms = [f'"{key}" = {_string(value)}' for key, value in tags.items() if value is not None]
        return " AND ".join([f"time >= {window.from_ns}", f"time < {min(window.to_ns, _LAST_NS)}", *terms])

    def _rows(self, question: str) -> Iterator[tuple[Mapping[str, str], list[str], list[list[Any]]]]:
        """Tags, columns and rows of each piece of the answer, times in nanoseconds."""
        query = {"db": self._database, "q": question, "epoch": "ns", "chunked": "true", "chunk_size": str(CHUNK_ROWS)}
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        place = f"{self._parts.scheme}://{self._parts.netloc}"
        connection = kind(self._parts.netloc, timeout=TIMEOUT_S)
        try:
            path = f"{self._parts.path.rstrip('/')}/query?{urlencode(query)}"
            connection.request("GET", path, headers=self._auth.headers | {"Accept": "application/json"})
            response = connection.getresponse()
            if response.status != HTTPStatus.OK:
                raise self._refusal(place, response)
            for line in response:
                if line.strip():
                    yield from self._series_in(json.loads(line), place)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SinkUnavailableError(f"{place} cannot be read: {str(error) or type(error).__name__}") from error
        finally:
            connection.close()

    @staticmethod
    def _series_in(answer: Mapping[str, Any], place: str) -> Iterator[tuple[Mapping[str, str], list[str], Any]]:
        for result in (answer, *answer.get("results", ())):
            if "error" in result:
                raise SinkRefusedError(f"{place} answered: {result['error']}")
            for series in result.get("series", ()):
                if series.get("name") == _DATABASES:
                    hint = "VictoriaMetrics does so; read the bed's journal, or an InfluxDB"
                    raise SinkRefusedError(f"{place} takes InfluxQL and does not answer it", hint=hint)
                if series.get("values"):
                    yield series.get("tags", {}), series["columns"], series["values"]

    def _refusal(self, place: str, response: http.client.HTTPResponse) -> SinkRefusedError | SinkUnavailableError:
        said = " ".join(response.read(2000).decode(errors="replace").split())[:200]
        if self._auth.secret:
            said = said.replace(self._auth.secret, "***")
        message = f"{place} answered {response.status}: {said or response.reason}"
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return SinkUnavailableError(message)
        return SinkRefusedError(message, hint="check the URL, the database, and user and password or token")


_DATABASES = "databases"
"""What VictoriaMetrics answers whatever is asked; no measurement of ours has that name."""

_LAST_NS = 2**63 - 2**31
"""Near the latest time that InfluxDB 1.x can be asked for (models.MaxNanoTime)."""


def _select(what: str, measurement: str, where: str, tail: str) -> str:
    """An InfluxQL statement of parts that are quoted already."""
    return " ".join(("SELECT", what, "FROM", _identifier(measurement), "WHERE", where, tail))


def _identifier(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _string(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
