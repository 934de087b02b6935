"""Which blocks are merged when: those of the present day once they are old, the rest of a day when it is over."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from bisect import bisect_right
from collections import deque
from pathlib import Path

from acquisition.journal.merging import is_merged, merge_range, merged_upto
from acquisition.journal.salvage import damage_of
from acquisition.journal.schema import connect_day, is_damage, reading, suppress_damage
from acquisition.journal.summary import Summary, load
from acquisition.lanes import LATE_NS

logger = logging.getLogger(__name__)

_EVERYTHING = 2**63


class Merger:
    """Merges the blocks of the present day's file; what was in it when it was opened counts as old.

    Args:
        connection: To the file.
        summary: Of the file.
        total: Points of the journal.
    """

    def __init__(self, connection: sqlite3.Connection, summary: Summary, total: int) -> None:
        self._connection = connection
        self._merged = summary.last_seq
        with suppress_damage():
            self._merged = merged_upto(connection)
        self._old = summary.slices[-1].upto if summary.slices else 0
        self._ageing: deque[tuple[int, int]] = deque()
        self._total = total

    def summed_up(self, summary: Summary, newest_ns: int) -> None:
        """Takes note of a new slice, which may be merged when `newest_ns` is older than `LATE_NS`."""
        if summary.slices:
            self._ageing.append((summary.slices[-1].upto, newest_ns))

    def merge(self, summary: Summary, newest_ns: int, total: int) -> None:
        """Merges some of what is old: a range, or as many points as came since it was last called.

        Args:
            summary: Of the file.
            newest_ns: Latest time of anything in the journal.
            total: Points of the journal.

        Raises:
            sqlite3.Error: the disk refuses.
        """
        while self._ageing and self._ageing[0][1] < newest_ns - LATE_NS:
            self._old, _ = self._ageing.popleft()
        budget, self._total = total - self._total, total
        self._merged = _merge(self._connection, summary, self._merged, self._old, budget)

    def merge_rest(self, summary: Summary) -> None:
        """Merges everything.

        Args:
            summary: Of the file, with everything summed up.

        Raises:
            sqlite3.Error: the disk refuses.
        """
        self._merged = _merge(self._connection, summary, self._merged, summary.last_seq, _EVERYTHING)


def merge_past(path: Path) -> str:
    """Merges what a crash, or the end of the run, left of a past day; what fails here is left to the next start.

    Returns:
        What is wrong with the trees of the file, to which nothing is written then; empty if nothing is.
    """
    try:
        with reading(path) as read_only:
            if read_only is None or is_merged(read_only):
                return ""
        if report := damage_of(path):
            return report
        with contextlib.closing(connect_day(path)) as connection:
            summary = load(connection)
            sum_up(connection, summary)
            Merger(connection, summary, 0).merge_rest(summary)
    except Exception as error:  # noqa: BLE001 - a journal opens whether or not an old day is merged
        logger.warning("%s: not merged: %s", path.name, error)
    return ""


def sum_up(connection: sqlite3.Connection, summary: Summary) -> None:
    """Writes the sums of what is recent.

    Raises:
        sqlite3.Error: the disk refuses.
    """
    connection.execute("BEGIN IMMEDIATE")
    summary.flush(connection)
    connection.execute("COMMIT")


def _merge(connection: sqlite3.Connection, summary: Summary, after: int, upto: int, budget: int) -> int:
    """Merges ranges of summed up slices, each in a transaction of its own; returns up to where everything is merged.

    Raises:
        sqlite3.Error: the disk refuses; what is merged already stays so.
    """
    parts = summary.slices[bisect_right(summary.slices, after, key=lambda part: part.upto) :]
    for part in parts:
        while part.upto <= upto:
            try:
                connection.execute("BEGIN IMMEDIATE")
                done = merge_range(connection, after, part.upto)
                connection.execute("COMMIT")
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                done = None  # it is reported where it is read
            if done is None:
                after = part.upto
                break
            after = done[0]
            budget -= done[1]
            if budget <= 0:
                return after
    return after
