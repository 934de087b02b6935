"""Mends a day file that was set aside: its log, its first page, and its tree, by writing all intact blocks anew."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from acquisition.journal.leaves import blocks_in_use
from acquisition.journal.mending import has_sound_tables, is_mended, log_of, mend_first_page, seal_log
from acquisition.journal.merged import MERGED
from acquisition.journal.missing import missing_in
from acquisition.journal.placing import take_place
from acquisition.journal.salvage import Selection, block_rows, damage_of, unread
from acquisition.journal.schema import (
    Block,
    create_tables,
    is_damage,
    is_set_aside,
    new_file,
    reading,
    set_aside,
    suppress_damage,
)
from acquisition.journal.wal import PAGE

_INSERT = "INSERT OR IGNORE INTO block VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"
_DROP_MERGED = f"""
DELETE FROM block WHERE seq IN (
    SELECT small.seq FROM block AS whole CROSS JOIN block AS small
    WHERE whole.codec >= {MERGED} AND small.codec < {MERGED} AND small.seq BETWEEN whole.since AND whole.seq
    AND small.device = whole.device AND small.kind = whole.kind AND small.channel = whole.channel
)
"""  # noqa: S608 - a constant


def mend(path: Path, sound: bytes, *, trees: bool = True) -> list[str]:
    """Mends a file that was set aside, once; to be repeated if the power goes meanwhile.

    Args:
        path: The file.
        sound: A new one of the layout that this program writes.
        trees: Whether to look at its trees, for which all of it is read; else that is left to the next start.

    Returns:
        What is not in a file that was written anew, though by its sums it should be.

    Raises:
        OSError: the disk refuses.
        sqlite3.Error: likewise, or somebody reads the log.
    """
    seal_log(path, sound)
    if is_mended(path, sound):
        return []
    lost: list[str] = []
    # Without the old first page nobody knows which pages are out of use: what is then damaged is read as it is.
    if has_sound_tables(path, sound):
        if not trees:
            return []
        with suppress_damage():
            lost = _write_anew(path, sound) if damage_of(path) else []
    mend_first_page(path, sound)
    return lost


def repaired(path: Path) -> Path:
    """A file whose tree is sound, or mended and set aside; the caller holds the journal.

    Raises:
        OSError: the disk refuses.
        sqlite3.Error: likewise.
    """
    if not is_set_aside(path):
        if not damage_of(path):
            return path
        path = set_aside(path)
    mend(path, new_file())
    return path


def _write_anew(path: Path, sound: bytes) -> list[str]:
    """Puts a file with a sound tree and all intact blocks in the place of one with a damaged tree, in one step."""
    _empty_log(path)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=OFF")
            connection.execute("PRAGMA synchronous=OFF")
            create_tables(connection)
            connection.execute("BEGIN")
            reports: list[str] = []
            connection.executemany(_INSERT, _in_tree(path, reports))
            in_tree = connection.total_changes
            if not _insert_pages(connection, path):
                return []
            gained = connection.total_changes > in_tree
            connection.execute(_DROP_MERGED)
            _copy(connection, path, "message_key")
            # Without the sums nobody would know what is missing: a file with more damage is read as it is.
            if not (_copy(connection, path, "span") and _copy(connection, path, "series")):
                return []
            connection.execute("COMMIT")
            lost = missing_in(connection, path.name)
        if reports and not gained:
            return []  # whoever reads the file as it is hears of what is missing
        mend_first_page(fresh, sound)
        take_place(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    return lost


def _empty_log(path: Path) -> None:
    log = log_of(path)
    if not log.exists() or not log.stat().st_size:
        return
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError(f"{path.name}: somebody reads its log")


def _insert_pages(connection: sqlite3.Connection, path: Path) -> bool:
    """Adds the blocks on the pages in use; not so if nobody knows which those are."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = blocks_in_use(
            lambda number: os.pread(descriptor, PAGE, max(0, number - 1) * PAGE), os.fstat(descriptor).st_size // PAGE
        )
        if found is None:
            return False
        connection.executemany(_INSERT, found)
    finally:
        os.close(descriptor)
    return True


def _in_tree(path: Path, reports: list[str]) -> Iterator[Block]:
    """What SQLite reads: where the list of pages out of use is damaged, a page may be in it that is in use."""
    with reading(path) as connection:
        if connection is not None:
            for block, content in block_rows(connection, path.name, Selection(), reports, unread):
                if content:
                    yield block


def _copy(connection: sqlite3.Connection, path: Path, table: str) -> bool:
    """Copies a table as far as it can be read; whether that was all."""
    with contextlib.suppress(sqlite3.IntegrityError), reading(path) as old:
        if old is None:
            return False
        try:
            for row in old.execute(f"SELECT * FROM {table}"):  # noqa: S608 - three names
                marks = ",".join("?" * len(row))
                connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608 - likewise
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            return False
        return True
    return False
