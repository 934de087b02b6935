"""The day file that is written to: which one, what comes next in it, and what to do when it turns out damaged."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from acquisition.journal import past
from acquisition.journal import summary as summaries
from acquisition.journal.anew import mend
from acquisition.journal.codec import Packed
from acquisition.journal.cursors import Cursors
from acquisition.journal.dropping import Dropped, trim
from acquisition.journal.mending import fault, first_page, is_first_page_damaged
from acquisition.journal.merger import Merger, merge_past, sum_up
from acquisition.journal.merging import merged_upto
from acquisition.journal.salvage import Selection, block_rows, damage_of
from acquisition.journal.schema import (
    Block,
    connect_day,
    day_file,
    day_names,
    day_of,
    finish_setting_aside,
    insert,
    is_damage,
    is_set_aside,
    new_file,
    reading,
    set_aside,
    suppress_damage,
)

logger = logging.getLogger(__name__)

RESERVED = 65_536
"""Numbers reserved at a time, so that the mark is synced every ten minutes or so and not with every group."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """What the disk refused since the last group that it took: from which number, behind what, with which keys."""

    first: int
    last_seq: int
    newest_ns: int
    total: int
    keys: tuple[tuple[str, str], ...]


class Store:
    """Writes groups of blocks to the files of a directory; to be used by one thread at a time.

    Opening sets damaged files aside. The caller holds the directory's lock.

    Args:
        directory: Of the journal.
        cursors: Where the high-water mark of `seq` is.

    Attributes:
        damaged: Reports of files that were set aside.
        last_seq: Number of the last block that can be read; 0 if there is none.
        newest_ns: Latest time of anything; 0 if there is nothing.
        total: Points up to and with the last block.

    Raises:
        JournalError: a newer version wrote the newest file.
        sqlite3.Error: a file cannot be read and is not damaged.
    """

    def __init__(self, directory: Path, cursors: Cursors) -> None:
        self.damaged: list[str] = []
        self.last_seq = 0
        self.newest_ns = 0
        self.total = 0
        self._directory = directory
        self._cursors = cursors
        self._connection: sqlite3.Connection | None = None
        self._is_log_doubtful = False
        self._refused: _Refused | None = None
        self._summary = summaries.Summary()
        self._groups = 0
        self._sound = new_file()
        self._merger: Merger | None = None
        self._pause = 0
        self._is_started = False
        finish_setting_aside(directory)
        self._past = self._known()
        for path in self._unknown():
            if is_set_aside(path):
                self._mend(path)  # the power may have gone before it was done
            elif report := fault(path, self._sound):
                self._set_aside(path, report)
        self._learn(self._past.summary)
        for path in self._unknown():
            self._survey(path)
        self._reserved = max(cursors.mark, self.last_seq)
        self._next = self._reserved + 1
        if self.last_seq < cursors.mark:
            self._check_newest()
        self._day = max((name[:10] for name in day_names(directory)), default="")
        for path in self._unknown():
            if not is_set_aside(path) and path.name[:10] < self._day and (report := merge_past(path)):
                self._set_aside(path, report)
        self._past = past.note(directory, self._day, self._past)
        if self._day and day_file(directory, self._day).exists():
            # On a full disk the next group tries again, and beside a reader the log stays.
            with contextlib.suppress(sqlite3.OperationalError):
                self._open()
                self._empty_log()
        self._is_started = True

    def _known(self) -> past.Past:
        """The finished days of which nothing but the first page has to be looked at."""
        known = past.read(self._directory)
        if any(is_first_page_damaged(first_page(self._directory / name), self._sound) for name in known.names):
            return past.Past()
        return known

    def _unknown(self) -> list[Path]:
        return [self._directory / name for name in day_names(self._directory) if name not in self._past.names]

    def _check_newest(self) -> None:
        """Sets the newest file aside if its tree is damaged, which SQLite does not notice when it writes to it.

        The last number is the mark after every end in order; where it is not, the run before crashed, or blocks hide.
        """
        for path in self._unknown()[-1:]:
            if not is_set_aside(path) and (report := damage_of(path)):
                self._set_aside(path, report)

    def _mend(self, aside: Path, report: str = "") -> None:
        said = [report] if report else []
        try:
            lost = mend(aside, self._sound, trees=not self._is_started)
            said = ["; ".join([report or aside.name, *lost])] if report or lost else []
        except (OSError, sqlite3.Error) as error:
            # A full disk: what is readable as it is will be read, and the next start tries again.
            logger.error("%s cannot be mended: %s", aside.name, error)
            said.append(f"{aside.name} cannot be mended: {error}")
        self.damaged += said

    def _survey(self, path: Path) -> None:
        try:
            with reading(path) as connection:
                if connection is not None:
                    self._learn(summaries.load(connection, summaries.EVERYTHING))
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            if not is_set_aside(path):
                path = self._set_aside(path, error)
            self._learn_last(path)

    def _learn_last(self, path: Path) -> None:
        with contextlib.suppress(sqlite3.DatabaseError), reading(path) as connection:
            if connection is None:
                return
            for block, _ in block_rows(connection, path.name, Selection(), []):
                if block.intact:
                    self.last_seq = max(self.last_seq, block.seq)
                    self.newest_ns = max(self.newest_ns, block.last_ns)
                    self.total = max(self.total, block.total)

    def _learn(self, summary: summaries.Summary) -> None:
        self.last_seq = max(self.last_seq, summary.last_seq)
        self.newest_ns = max(self.newest_ns, summary.window[1])
        self.total = max(self.total, summary.total)

    def _set_aside(self, path: Path, error: sqlite3.Error | str) -> Path:
        aside = set_aside(path)
        report = f"{path.name}: {error}; set aside as {aside.name}"
        logger.error("journal damaged: %s", report)
        self._mend(aside, report)
        return aside

    def _open(self) -> None:
        path = day_file(self._directory, self._day)
        try:
            self._connection, self._summary = self._connect(path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._set_aside(path, error)
            self._connection, self._summary = self._connect(path)
        self._groups = 0
        self._learn(self._summary)
        self._merger = Merger(self._connection, self._summary, self.total)
        # A commit that was reported as failed may be there after all.
        self._next = max(self._next, self.last_seq + 1)

    @staticmethod
    def _connect(path: Path) -> tuple[sqlite3.Connection, summaries.Summary]:
        connection = connect_day(path)
        try:
            merged = 0
            with suppress_damage():
                merged = merged_upto(connection)
            return connection, summaries.load(connection, merged)
        except BaseException:
            connection.close()
            raise

    def write(self, packed: Sequence[Packed], keys: Sequence[tuple[str, str]]) -> None:
        """Adds a group in one transaction, synced before this returns.

        Raises:
            JournalError: a newer version wrote the file.
            sqlite3.Error: the disk refuses; nothing of the group is known to be kept.
            OSError: likewise.
        """
        upto = self._next + len(packed)
        if upto > self._reserved:
            self._cursors.reserve(upto + RESERVED)
            self._reserved = upto + RESERVED
        try:
            self._write(packed, keys)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._set_aside(day_file(self._directory, self._day), error)
            self._write(packed, keys)

    def _write(self, packed: Sequence[Packed], keys: Sequence[tuple[str, str]]) -> None:
        newest = max((each.last_ns for each in packed), default=0)
        day = max(self._day, day_of(newest)) if packed or not self._day else self._day
        try:
            if self._refused is not None:
                self._take_back(self._refused)
            if day != self._day:
                self.merge_rest()
                self._finish()
                self._day = day
                self._past = past.note(self._directory, day, past.read(self._directory))
            if self._connection is None:
                self._open()
            if self._is_log_doubtful:
                self._empty_log()
            self._commit(self._numbered(packed), packed, keys)
        except BaseException:
            # After a failed sync SQLite's view of the file may differ from the disk's: read it anew next time.
            self._drop()
            before = self._refused or _Refused(self._next, self.last_seq, self.newest_ns, self.total, ())
            self._refused = replace(before, keys=(*before.keys, *keys))
            raise
        self.newest_ns = max(self.newest_ns, newest)

    def _take_back(self, refused: _Refused) -> None:
        """Deletes a group that was reported as failed and is there after all: it comes again from who was told."""
        if self._connection is None:
            self._open()
        if self._is_log_doubtful:
            self._empty_log()
        connection = self._opened()
        connection.execute("BEGIN IMMEDIATE")
        summaries.forget(connection, refused.first, self._day)
        connection.executemany("DELETE FROM message_key WHERE device = ? AND key = ?", refused.keys)
        connection.execute("COMMIT")
        self._summary = summaries.load(connection)
        self.last_seq, self.newest_ns, self.total = refused.last_seq, refused.newest_ns, refused.total
        self._refused = None

    def _empty_log(self) -> None:
        """Moves everything out of a log in which a sync failed.

        What the kernel then took for written is in its memory alone: what follows it in the log would end with it.
        """
        busy, *_ = self._opened().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError("a sync failed, and somebody reads the log that must be emptied first")
        self._is_log_doubtful = False

    def _numbered(self, packed: Sequence[Packed]) -> list[Block]:
        blocks = []
        total = self.total
        for seq, each in enumerate(packed, self._next):
            total += each.points
            block = Block(
                seq=seq,
                since=seq,
                device=each.device,
                kind=each.kind,
                channel=each.channel,
                first_ns=each.first_ns,
                last_ns=each.last_ns,
                points=each.points,
                blocks=1,
                total=total,
                codec=int(each.codec),
                checksum=0,
                payload=each.payload,
            )
            blocks.append(block.sealed())
        return blocks

    def _commit(self, blocks: list[Block], packed: Sequence[Packed], keys: Sequence[tuple[str, str]]) -> None:
        connection = self._opened()
        connection.execute("BEGIN IMMEDIATE")
        insert(connection, blocks)
        connection.executemany("INSERT OR IGNORE INTO message_key (device, key) VALUES (?,?)", keys)
        for block, each in zip(blocks, packed, strict=True):
            self._summary.add(block, each.tally)
        self._groups += 1
        if self._groups >= summaries.FLUSH_GROUPS:
            self._summary.flush(connection)
            self._groups = 0
        connection.execute("COMMIT")
        if not self._groups and self._merger is not None:
            self._merger.summed_up(self._summary, max([self.newest_ns, *(block.last_ns for block in blocks)]))
        if blocks:
            self.last_seq, self.total = blocks[-1].seq, blocks[-1].total
            self._next = self.last_seq + 1

    def merge(self) -> None:
        """Merges some of what no live lane wants any more; after a refusal not until some groups later.

        Raises:
            sqlite3.Error: the disk refuses; nothing is lost.
        """
        self._pause = max(0, self._pause - 1)
        if self._merger is None or self._pause:
            return
        try:
            self._merger.merge(self._summary, self.newest_ns, self.total)
        except BaseException:
            self._pause = summaries.FLUSH_GROUPS
            self._drop()
            raise

    def merge_rest(self) -> None:
        """Merges all that the present file has; what fails here is merged by the next start."""
        if self._connection is None or self._merger is None:
            return
        try:
            sum_up(self._connection, self._summary)
            self._groups = 0
            self._merger.merge_rest(self._summary)
        except Exception as error:  # noqa: BLE001 - a new day is written whether or not the old one is merged
            logger.warning("%s: not merged: %s", self._day, error)
            self._drop()

    def trim(self, need: int, cursors: Mapping[str, int]) -> Dropped:
        """Drops the oldest waveforms of the present day's file; the next groups use their pages again.

        Args:
            need: Bytes to give back.
            cursors: Configured sink to cursor.

        Raises:
            sqlite3.Error: the disk refuses; nothing has changed.
        """
        try:
            if self._connection is None:
                self._open()
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            self._summary.flush(connection)
            dropped = trim(connection, day_file(self._directory, self._day).name, need, cursors)
            connection.execute("COMMIT")
            with contextlib.suppress(sqlite3.OperationalError):  # on a full disk the log stays, and is used again
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._summary = summaries.load(connection)
        except BaseException:
            self._drop()
            raise
        return dropped

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("no file is open")
        return self._connection

    def _drop(self) -> None:
        self._is_log_doubtful = True
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
            self._merger = None

    def _finish(self) -> None:
        """Leaves the present file summed up and without a log; what fails here costs the next start some time."""
        if self._connection is None:
            return
        try:
            sum_up(self._connection, self._summary)
        except sqlite3.Error as error:
            logger.warning("%s: not summed up: %s", self._day, error)
        self._drop()

    def close(self) -> None:
        """Closes the file; the mark becomes the last number that is in use."""
        self._finish()
        with contextlib.suppress(sqlite3.Error):
            self._cursors.reserve(self._next - 1)
