"""A console's exported case log turned into a trace: every row at its own time, so that it replays like a live link.

A trace carries its own time and the daemon takes a device from one (`trace://`); nothing else would put old rows where
they belong. What the profile does not name never gets into the trace: a log may have names of people in it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from acquisition.catalogue import Catalogue
from acquisition.clock import NS, rfc3339
from acquisition.errors import ConfigError, TraceError
from acquisition.registry import build_driver, load_profile
from acquisition.trace import TraceHeader, TraceWriter
from acquisition.wire.text_layouts import Header
from acquisition.wire.text_records import Column, time_parts

DRIVER = "delimited"


class Imported(NamedTuple):
    """What became of the rows of a log."""

    rows: int
    headers: int
    passed_over: int


def trace_of_log(log: Path, trace: Path, profile: str, zone: ZoneInfo) -> Imported:
    """Writes the rows of a log as a trace.

    Args:
        log: Rows of columns that a header line names, with quotes as in CSV or without.
        trace: A path that does not exist yet.
        profile: Of the driver `delimited`, with `record = "header"` and columns of type time that give date and time.
        zone: Of the times in the log.

    Raises:
        ConfigError: the profile is wrong or a template, is not for such a log, or the log has no header line it names.
        TraceError: the log cannot be read, its rows run backwards, or the trace cannot be written.
    """
    search = (log.parent, Path())
    build_driver(DRIVER, profile, {}, Catalogue.shipped(), search)
    layout = load_profile(profile, search)
    columns = [Column.model_validate(column) for column in layout["column"]]
    if layout.get("record") != "header" or not any(column.type == "time" for column in columns):
        raise ConfigError(
            [f"profile {profile!r} is for no case log: it needs record = 'header' and columns of type time"]
        )
    encoding, terminator, separator = (
        layout.get("encoding", "ascii"),
        layout["terminator"],
        layout.get("separator", " "),
    )
    found = list(_rows(log, columns, separator, encoding, zone))
    headers = sum(row.time_ns is None for row in found)
    used = [row.time_ns for row in found if row.time_ns is not None]
    if not headers:
        keys = ", ".join(column.key for column in columns)
        raise ConfigError([f"{log}: no header line has all the columns of {profile!r}: {keys}"])
    if not used:
        raise TraceError(f"{log}: no row with a date and a time below its header")
    if late := next((number for number in range(1, len(used)) if used[number] < used[number - 1]), None):
        raise TraceError(f"{log}: row {late + 1} is earlier than the one before it", hint="sort the log by time")
    start = used[0]
    header = TraceHeader(link="case-log:", driver=DRIVER, started=rfc3339(start, 9))
    now = 0
    with TraceWriter(trace, header) as writer:
        writer.write(0, "<", terminator.encode())  # the driver uses no line whose beginning it has not seen
        for row in found:
            now = now if row.time_ns is None else row.time_ns - start
            writer.write(now, "<", (row.text + terminator).encode(encoding, "replace"))
    with log.open(encoding=encoding, errors="replace") as lines:
        total = sum(1 for line in lines if line.strip())
    return Imported(len(used), headers, total - len(found))


class _Row(NamedTuple):
    """A line of the trace to be; a header line has no time."""

    text: str
    time_ns: int | None


def _rows(log: Path, columns: list[Column], separator: str, encoding: str, zone: ZoneInfo) -> Iterator[_Row]:
    layout = Header(columns, separator)
    last = 0
    try:
        with log.open(encoding=encoding, errors="replace", newline="") as lines:
            for cells in csv.reader(lines, delimiter=separator):
                line = separator.join(
                    cell.replace(separator, " ").replace("\r", " ").replace("\n", " ") for cell in cells
                )
                line = line.removeprefix("\ufeff")
                is_header = layout.names_columns(line)
                fields = layout.fields(line)
                if fields is None:
                    continue
                time_ns = None if is_header else _time_ns(columns, fields, zone, last)
                if is_header or time_ns is not None:
                    last = time_ns or last
                    yield _Row(layout.kept(line), time_ns)
    except (OSError, csv.Error, TypeError) as error:
        raise TraceError(f"{log}: cannot be read: {error}") from error


def _time_ns(columns: list[Column], fields: list[str], zone: ZoneInfo, last: int) -> int | None:
    """UTC of a row; in the hour that the zone has twice, the first that is not before the row above."""
    parts: dict[str, int] = {}
    for column, field in zip(columns, fields, strict=True):
        if column.type == "time":
            parts |= time_parts(field, column.format) or {}
    try:
        first = datetime(**parts, tzinfo=zone)
    except (TypeError, ValueError):
        return None
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    both = [round((moment - epoch).total_seconds()) * NS for moment in (first, first.replace(fold=1))]
    return next((time_ns for time_ns in both if time_ns >= last), both[0])
