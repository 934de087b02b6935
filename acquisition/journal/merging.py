"""Merges the rows of a range of numbers: the small ones go, and one for each stream takes their place."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from acquisition.journal.merged import MERGED, Original, merged, originals
from acquisition.journal.schema import WIDEST, Block, insert, rows

MAX_WEIGHT = 50_000
"""Of a range; what a forwarder reads a part of, it reads as a whole."""


def merge_range(connection: sqlite3.Connection, after: int, upto: int) -> tuple[int, int] | None:
    """Merges the first range after a number; the caller holds the transaction.

    A row that is damaged stays as it is. All other rows of the range begin with one and the same number from now on.

    Args:
        connection: To a day file.
        after: Up to here everything is merged.
        upto: Where the range ends at the latest; a range never crosses a slice of `summary.py`.

    Returns:
        The last number of the range, and its points; None if no row is left.

    Raises:
        sqlite3.Error: the disk refuses, or the file is damaged.
    """
    streams: dict[tuple[str, str, str], list[tuple[Block, Original]]] = {}
    since, last, points, weight = 0, 0, 0, 0
    query = f"SELECT * FROM block WHERE seq > ? AND seq <= ? AND codec < {MERGED} ORDER BY seq"  # noqa: S608 - a constant
    for row in rows(connection, query, (after, upto)):
        try:
            content: Sequence[Original] = originals(row) if row.intact else ()
        except ValueError:
            content = ()
        since = since or row.seq
        weight += sum(original.weight for original in content)
        if last and (row.seq - since >= WIDEST or (content and weight > MAX_WEIGHT)):
            break
        last = row.seq
        for original in content:
            points += row.points
            streams.setdefault((row.device, row.kind, row.channel), []).append((row, original))
    for stream in streams.values():
        small = [row for row, _ in stream]
        connection.executemany("DELETE FROM block WHERE seq = ?", [(row.seq,) for row in small])
        insert(connection, merged(small, [original for _, original in stream], since))
    return (last, points) if last else None


def merged_upto(connection: sqlite3.Connection) -> int:
    """The last number of the merged rows; 0 if there are none.

    Raises:
        sqlite3.Error: the file is damaged, or cannot be read now.
    """
    query = f"SELECT seq FROM block WHERE codec >= {MERGED} ORDER BY seq DESC LIMIT 1"  # noqa: S608 - a constant
    row = connection.execute(query).fetchone()
    return row[0] if row else 0


def is_merged(connection: sqlite3.Connection) -> bool:
    """Whether the last row is merged, and so all are that can be.

    Raises:
        sqlite3.Error: the file is damaged, or cannot be read now.
    """
    # A flipped byte can turn any column into any type.
    query = f"SELECT codec >= {MERGED} FROM block ORDER BY seq DESC LIMIT 1"  # noqa: S608 - a constant
    row = connection.execute(query).fetchone()
    return row is None or bool(row[0])
