"""Takes blocks from day files and gives their space back; every block that goes is counted first.

A past day's file is written anew without its waveforms and takes the old one's place in one step, so that a power cut
leaves one of the two. In the present day's file the pages of dropped blocks are used again by the next groups.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from acquisition.clock import rfc3339
from acquisition.journal import summary as summaries
from acquisition.journal.merged import originals
from acquisition.journal.placing import take_place
from acquisition.journal.retention import DayFile, Part, Why
from acquisition.journal.salvage import opened
from acquisition.journal.schema import (
    WIDEST,
    create_tables,
    day_files,
    is_set_aside,
    rows,
    suppress_damage,
)

_WAVES = "kind = 'waveform'"
_SUMMED_AGAIN = f"""
UPDATE span SET (blocks, first_ns, last_ns) = (
    SELECT coalesce(sum(blocks), 0), coalesce(min(first_ns), 0), coalesce(max(last_ns), 0) FROM block
    WHERE seq BETWEEN span.since AND span.upto AND device = span.device
);
DELETE FROM span WHERE blocks = 0;
DELETE FROM series WHERE {_WAVES};
INSERT INTO series SELECT device, kind, channel, sum(points), min(first_ns), max(last_ns)
    FROM block WHERE {_WAVES} GROUP BY device, kind, channel;
DELETE FROM series WHERE kind = '';
{summaries.SUM_UP_SPANS}
"""  # noqa: S608 - a constant from above
_PART_OF_PRESENT = 24
"""At least this part of the present day's waveforms goes at a time, so that reports come by the hour at most."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Dropped blocks of one channel; `channel` is empty for numerics and events."""

    device: str
    kind: str
    channel: str
    blocks: int
    points: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """What went from one day file.

    Attributes:
        name: Of the file.
        part: How much of it was to go.
        why: What asked for it.
        tallies: What went, by device and channel.
        missing: Sink to the points that it had not got and never will; only sinks with any.
        sinks: Whether there is any sink; without one, nobody else has what went.
    """

    name: str
    part: Part
    why: Why
    tallies: tuple[Tally, ...]
    missing: Mapping[str, int]
    sinks: bool

    @property
    def points(self) -> int:
        """Numerics, samples and events that went."""
        return sum(each.points for each in self.tallies)

    @property
    def lost(self) -> int:
        """Points that are nowhere else, or not in every sink."""
        return max(self.missing.values(), default=0) if self.sinks else self.points

    @property
    def text(self) -> str:
        """One sentence for a person."""
        asked = "at the quota" if self.why is Why.QUOTA else "because of its age"
        owed = "".join(f"; {sink} had not got {points} of them" for sink, points in self.missing.items())
        return f"{self.name}: {self.part.value} deleted {asked}: {self.points} points{owed}"

    @property
    def detail(self) -> dict[str, object]:
        """The same for a program, JSON values."""
        return {
            "cause": self.why.value,
            "file": self.name,
            "part": self.part.value,
            "from_ns": min((each.first_ns for each in self.tallies), default=None),
            "to_ns": max((each.last_ns for each in self.tallies), default=None),
            "points": self.points,
            "not_delivered": dict(self.missing),
            "dropped": [
                {
                    "device": each.device, "kind": each.kind, "channel": each.channel, "blocks": each.blocks,
                    "points": each.points, "from": rfc3339(each.first_ns), "to": rfc3339(each.last_ns),
                }
                for each in self.tallies
            ],
        }  # fmt: skip


def discard_unfinished(directory: Path) -> None:
    """Deletes what a power cut left of a file that was being written anew.

    Raises:
        OSError: the disk refuses.
    """
    for path in directory.glob(".*.journal.new"):
        path.unlink()


def space(directory: Path) -> tuple[int, int]:
    """Bytes that the day files and their logs take, and bytes free on their disk.

    Raises:
        OSError: the directory cannot be read.
    """
    return sum(map(_size, directory.glob("*.journal*"))), shutil.disk_usage(directory).free


def survey(directory: Path, cursors: Mapping[str, int], stuck: Collection[str]) -> tuple[list[DayFile], int]:
    """The day files for the plan, oldest first, and the bytes free on the disk and in the present day's file.

    Args:
        directory: Of the journal.
        cursors: Configured sink to cursor.
        stuck: Files that could not be written anew: their waveforms cannot go alone.

    Raises:
        OSError: the directory cannot be read.
        sqlite3.Error: a file cannot be read now, and is not damaged.
    """
    paths = day_files(directory)
    free = shutil.disk_usage(directory).free
    found = []
    for path in paths:
        size, summary, slack = _size_with_log(path), summaries.Summary(), 0
        present = path.name[:10] == paths[-1].name[:10]
        with opened(path, []) as connection:
            if connection is not None:
                with suppress_damage():
                    summary = summaries.load(connection)
                if path == paths[-1]:
                    slack = _free_pages(connection)
        samples = sum(each.readings for (_, kind, _), each in summary.series.items() if kind == "waveform")
        alone = not is_set_aside(path) and path.name not in stuck
        known = summary.last_seq > 0 and not is_set_aside(path)
        found.append(
            DayFile(
                name=path.name,
                size=size - slack,
                waveform_bytes=min(size, samples) if alone else 0,
                acknowledged=known and bool(cursors) and min(cursors.values()) >= summary.last_seq,
                present=present,
            )
        )
        free += slack
    return found, free


def remove(path: Path, why: Why, cursors: Mapping[str, int]) -> Dropped:
    """Deletes a past day's file; needs no space.

    Raises:
        OSError: it cannot be deleted.
        sqlite3.Error: it cannot be read now, and is not damaged.
    """
    dropped = Dropped(path.name, Part.ALL, why, (), {}, bool(cursors))
    with opened(path, []) as connection:
        if connection is not None:
            with suppress_damage():
                dropped = _count(connection, dropped, cursors, "1")
    # The log last: SQLite deletes a log that it finds beside an empty file, and never the other way round.
    for each in (path, *_logs(path)):
        each.unlink(missing_ok=True)
    return dropped


def rewrite(path: Path, cursors: Mapping[str, int]) -> Dropped:
    """Writes a past day's file anew without its waveforms; needs space for what stays.

    Raises:
        OSError: the disk refuses; nothing has changed.
        sqlite3.Error: likewise, or somebody reads what is still in the log.
    """
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    dropped = Dropped(path.name, Part.WAVEFORMS, Why.QUOTA, (), {}, bool(cursors))
    try:
        # Not in WAL mode: nobody writes here again, and readers then need no file beside it.
        with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=OFF")
            connection.execute("PRAGMA synchronous=OFF")
            create_tables(connection)
            connection.execute("ATTACH ? AS old", (str(path),))
            # What is in the log belongs to the old file; met beside the new one it would be taken for its own.
            busy, *_ = connection.execute("PRAGMA old.wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise sqlite3.OperationalError(f"{path.name}: somebody reads its log")
            dropped = _count(connection, dropped, cursors, _WAVES, "old.block")
            connection.execute("BEGIN")
            connection.execute(f"INSERT INTO block SELECT * FROM old.block WHERE NOT {_WAVES}")  # noqa: S608 - constant
            for table in ("message_key", "span", "series"):
                connection.execute(f"INSERT INTO {table} SELECT * FROM old.{table}")  # noqa: S608 - three names
            _sum_again(connection)
            summaries.load(connection).flush(connection)  # where merging failed, the newest blocks have no sums yet
            connection.execute("COMMIT")
        take_place(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return dropped


def trim(connection: sqlite3.Connection, name: str, need: int, cursors: Mapping[str, int]) -> Dropped:
    """Deletes the oldest waveforms of the present day's file; the caller holds the transaction.

    Args:
        connection: To the file, all of it summed up.
        name: Of the file.
        need: Bytes to give back; more goes if that is little.
        cursors: Configured sink to cursor.

    Raises:
        sqlite3.Error: the disk refuses.
    """
    bound = 0
    (whole,) = connection.execute(f"SELECT sum(length(payload)) FROM block WHERE {_WAVES}").fetchone()  # noqa: S608 - constant
    left = max(need, (whole or 0) // _PART_OF_PRESENT)
    for seq, size in connection.execute(f"SELECT seq, length(payload) FROM block WHERE {_WAVES} ORDER BY seq"):  # noqa: S608 - constant
        bound, left = seq, left - size
        if left <= 0:
            break
    oldest = f"{_WAVES} AND seq <= {bound:d}"
    dropped = Dropped(name, Part.WAVEFORMS, Why.QUOTA, (), {}, bool(cursors))
    dropped = _count(connection, dropped, cursors, oldest)
    connection.execute(f"DELETE FROM block WHERE {oldest}")  # noqa: S608 - a number and a constant
    _sum_again(connection)
    return dropped


def _sum_again(connection: sqlite3.Connection) -> None:
    for statement in filter(str.strip, _SUMMED_AGAIN.split(";")):  # executescript would commit first
        connection.execute(statement)


def _count(
    connection: sqlite3.Connection, dropped: Dropped, cursors: Mapping[str, int], where: str, table: str = "block"
) -> Dropped:
    owed = "".join(", coalesce(sum(points) FILTER (WHERE since > ?), 0)" for _ in cursors)
    found = connection.execute(
        "SELECT device, kind, channel, sum(blocks), sum(points), min(first_ns), max(last_ns)"  # noqa: S608 - own words
        f"{owed} FROM {table} WHERE {where} GROUP BY device, kind, channel",
        tuple(cursors.values()),
    ).fetchall()
    totals = {
        sink: sum(row[7 + index] for row in found) + _owed_of_merged(connection, cursor, where, table)
        for index, (sink, cursor) in enumerate(cursors.items())
    }
    missing = {sink: points for sink, points in totals.items() if points}
    return Dropped(
        dropped.name, dropped.part, dropped.why, tuple(Tally(*row[:7]) for row in found), missing, dropped.sinks
    )


def _owed_of_merged(connection: sqlite3.Connection, cursor: int, where: str, table: str) -> int:
    """Points after a cursor in merged rows that it is within; of a damaged one all of them."""
    query = f"SELECT * FROM {table} WHERE {where} AND since <= ?1 AND seq > ?1 AND seq <= ?1 + {WIDEST}"  # noqa: S608 - own words
    owed = 0
    for row in rows(connection, query, (cursor,)):
        try:
            owed += sum(each.points for each in originals(row) if each.seq > cursor) if row.intact else row.points
        except ValueError:
            owed += row.points
    return owed


def _free_pages(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(size)


def _logs(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _size_with_log(path: Path) -> int:
    return sum(map(_size, (path, *_logs(path))))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a log goes when its file is closed
        return 0
