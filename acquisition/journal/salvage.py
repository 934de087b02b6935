"""Every block of a file that can be read, and a report of each row that cannot."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from acquisition.errors import JournalError
from acquisition.journal.merged import Original, originals
from acquisition.journal.schema import WIDEST, Block, is_damage, reading, rows

_SELECT = """
SELECT * FROM block
WHERE seq > ?1 AND seq <= ?2 AND (seq <= ?8 OR since <= ?8) AND last_ns >= ?3 AND first_ns < ?4
  AND (?5 IS NULL OR device IN (SELECT value FROM json_each(?5)))
  AND (?6 IS NULL OR kind IN (SELECT value FROM json_each(?6)))
  AND (?7 IS NULL OR channel = '' OR channel IN (SELECT value FROM json_each(?7)))
ORDER BY seq
"""
_END = 2**63 - 1

Decode = Callable[[Block], tuple[Original, ...]]


def unread(block: Block) -> tuple[Original, ...]:
    """Stands for the blocks of a row of which only the row is wanted."""
    return (Original(block.seq, ()),)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which blocks; None means any.

    Attributes:
        after: Blocks with a larger number.
        upto: Blocks with no larger number.
        from_ns: Blocks that end no earlier.
        to_ns: Blocks that begin earlier.
        devices: Of these devices.
        kinds: Of these kinds.
        channels: Waveforms of these channels; numerics and events pass.
    """

    after: int = 0
    upto: int = _END
    from_ns: int = -_END
    to_ns: int = _END
    devices: Collection[str] | None = None
    kinds: Collection[str] | None = None
    channels: Collection[str] | None = None

    def between(self, after: int, upto: int) -> Selection:
        """The part of it with `after < seq <= upto`."""
        return replace(self, after=max(after, self.after), upto=min(upto, self.upto))

    def parameters(self, after: int) -> tuple[int | str | None, ...]:
        """For the statement."""
        names = (
            None if each is None else json.dumps(sorted(each)) for each in (self.devices, self.kinds, self.channels)
        )
        return (after, self.last_row, self.from_ns, self.to_ns, *names, self.upto)

    @property
    def last_row(self) -> int:
        """Rows with no larger `seq` may hold such blocks."""
        return min(self.upto + WIDEST, _END)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Names what the disk refuses while a journal is read.

    Raises:
        JournalError: SQLite or the system refused.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise JournalError(f"the journal cannot be read: {error}", hint="is the disk failing?") from error


@contextmanager
def opened(path: Path, damaged: list[str]) -> Iterator[sqlite3.Connection | None]:
    """A connection that reads one state of a file, whatever is written meanwhile.

    None for a file without tables, one that went meanwhile, or one that is damaged throughout.

    Raises:
        sqlite3.Error: the file cannot be opened now, though it is not damaged.
    """
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(reading(path))
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                damaged.append(f"{path.name}: {error}: nothing can be read")
            elif path.exists():
                raise
            connection = None
        if connection is not None:
            connection.execute("BEGIN")
        yield connection


def damage_of(path: Path) -> str:
    """What SQLite finds wrong with the trees of a file, the first of it; empty if nothing. Reads all of it.

    Raises:
        sqlite3.Error: the file cannot be read now, though it is not damaged.
    """
    try:
        with reading(path) as connection:
            found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if connection else "ok"
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        found = str(error)
    return "" if found == "ok" else " ".join(found.split())


def blocks(
    connection: sqlite3.Connection,
    name: str,
    selection: Selection,
    damaged: list[str],
    decode: Decode = originals,
) -> Iterator[Original]:
    """The selected blocks in the order of their numbers, as they were appended, whether they were merged or not.

    All rows of a merged range begin with the same number, so that a range is over when a row begins with a later one.

    Args:
        connection: To a day file.
        name: Of the file, for reports.
        selection: Which blocks.
        damaged: Takes a report of every row that cannot be read, when it is its turn.
        decode: What gives the blocks of a row.

    Raises:
        sqlite3.Error: the file cannot be read now, though it is not damaged.
    """
    held: list[Original | tuple[int, str]] = []
    given = newest = selection.after
    reports: list[str] = []

    def in_turn() -> Iterator[Original]:
        nonlocal given
        for each in sorted(held, key=lambda each: each[0]):
            if not isinstance(each, Original):
                damaged.append(each[1])
            elif (
                each.seq > given
            ):  # a damaged tree may lead to a page out of use, with blocks from before they were merged
                given = each.seq
                yield each
        held.clear()

    for row, content in block_rows(connection, name, selection, reports, decode):
        if content and row.since > newest:
            yield from in_turn()
        if content:
            newest = max(newest, row.seq)
            held += [each for each in content if selection.after < each.seq <= selection.upto]
        else:
            held.append((min(row.seq, selection.upto), reports.pop()))
        damaged += reports
        reports.clear()
    yield from in_turn()
    damaged += reports


def block_rows(
    connection: sqlite3.Connection, name: str, selection: Selection, damaged: list[str], decode: Decode = originals
) -> Iterator[tuple[Block, tuple[Original, ...]]]:
    """The rows that may hold selected blocks, in the order of `seq`, each with its blocks.

    Args:
        connection: To a day file.
        name: Of the file, for reports.
        selection: Which blocks.
        damaged: Takes a report of every row that cannot be read; such a row comes with no blocks.
        decode: What gives the blocks of a row.

    Raises:
        sqlite3.Error: the file cannot be read now, though it is not damaged.
    """
    after, fruitless = selection.after, 0
    while True:
        try:
            for block in rows(connection, _SELECT, selection.parameters(after)):
                if block.intact:  # or its number may be any
                    if block.seq <= after:
                        damaged.append(
                            f"{name}: block {block.seq} comes after block {after}: what is between is passed"
                        )
                        continue  # a tree that leads back, for a forwarder for ever
                    after, fruitless = block.seq, 0
                yield block, _content(block, name, damaged, decode)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            for block in _one_by_one(connection, selection, after):
                if block.intact:
                    after, fruitless = block.seq, 0
                yield block, _content(block, name, damaged, decode)
            good, bad = _hole(connection, after, selection.last_row)
            # A damaged number may be as large as any: holes that follow each other on the way to it become longer.
            fruitless += 1
            bad = min(max(bad, good + (1 << max(0, fruitless - 16))), selection.last_row)
            if good < selection.upto:  # what is behind may yet be of use, and is no loss to who did not ask for it
                until = min(bad, selection.upto)
                damaged.append(f"{name}: {error}: nothing can be read of blocks {good + 1} to {until}")
            after = bad
        else:
            return
        if after >= selection.last_row:
            return


def _content(block: Block, name: str, damaged: list[str], decode: Decode) -> tuple[Original, ...]:
    if not block.intact:
        damaged.append(f"{name}: {block} fails its checksum")
        return ()
    try:
        return decode(block)
    except ValueError as error:
        damaged.append(f"{name}: {block} cannot be decoded: {error}")
        return ()


def _one_by_one(connection: sqlite3.Connection, selection: Selection, after: int) -> Iterator[Block]:
    """The rows up to damage; of a statement over many rows, Python's sqlite3 drops the last one before an error."""
    while True:
        try:
            row = next(rows(connection, f"{_SELECT} LIMIT 1", selection.parameters(after)), None)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            return
        if row is None or row.seq <= after:
            return
        after = row.seq
        yield row


def _hole(connection: sqlite3.Connection, after: int, upto: int) -> tuple[int, int]:
    """The numbers around blocks that SQLite cannot read: the last before them, and the last of them."""
    good = after
    try:
        for seq, _ in connection.execute(
            "SELECT seq, payload FROM block WHERE seq > ? AND seq <= ? ORDER BY seq", (after, upto)
        ):
            good = seq if good < seq <= upto else good  # a damaged number may lead back, and for ever
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
    bad, step = good, 1
    while not _readable_after(connection, bad + step):
        bad, step = bad + step, 2 * step
        if bad >= upto:
            return good, upto
    while step > 1:  # the smallest number after which reading works, between bad and bad + step
        step //= 2
        if not _readable_after(connection, bad + step):
            bad += step
    return good, bad + 1


def _readable_after(connection: sqlite3.Connection, seq: int) -> bool:
    try:
        connection.execute(
            "SELECT seq, payload FROM block WHERE seq > ? ORDER BY seq LIMIT 1", (min(seq, _END),)
        ).fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return False
    return True
