"""The day file: its name, its tables, the row that is a block, and how to open it, sound or damaged."""

from __future__ import annotations

import os
import re
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from acquisition.clock import rfc3339
from acquisition.errors import JournalError
from acquisition.journal.mending import log_of

VERSION = 1
"""Of the tables below, in `PRAGMA user_version`; payloads have their own number, `codec`."""

WIDEST = 4096
"""Numbers in a range of blocks that are merged, at most: so far behind a number may the row be that holds its block."""

SUFFIX = ".journal"
DAMAGED = ".damaged-"
_ASIDE = re.compile(rf"....-..-..{re.escape(SUFFIX + DAMAGED)}\d+")

_TABLES = f"""
BEGIN;
CREATE TABLE block (
    seq      INTEGER PRIMARY KEY,
    since    INTEGER NOT NULL,
    device   TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    channel  TEXT    NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns  INTEGER NOT NULL,
    points   INTEGER NOT NULL,
    blocks   INTEGER NOT NULL,
    total    INTEGER NOT NULL,
    codec    INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    payload  BLOB    NOT NULL
);
CREATE TABLE message_key (
    id     INTEGER PRIMARY KEY,
    device TEXT    NOT NULL,
    key    TEXT    NOT NULL,
    UNIQUE (device, key)
);
CREATE TABLE span (
    since    INTEGER NOT NULL,
    upto     INTEGER NOT NULL,
    device   TEXT    NOT NULL,
    blocks   INTEGER NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns  INTEGER NOT NULL,
    PRIMARY KEY (upto, device)
) WITHOUT ROWID;
CREATE TABLE series (
    device   TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    channel  TEXT    NOT NULL,
    readings INTEGER NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns  INTEGER NOT NULL,
    PRIMARY KEY (device, kind, channel)
) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
COMMIT;
"""


class Block(NamedTuple):
    """One row, in the order of the table's columns: a block as it was appended, or many of one stream that were merged.

    Attributes:
        seq: Number of the block, or of the last of those that were merged.
        since: The same; of a merged row the first number of the range that was merged with it (`merging.py`).
        points: Numerics, samples or events within.
        blocks: How many blocks are within.
        total: Points of the journal up to and with the block `seq`.
    """

    seq: int
    since: int
    device: str
    kind: str
    channel: str
    first_ns: int
    last_ns: int
    points: int
    blocks: int
    total: int
    codec: int
    checksum: int
    payload: bytes

    def sealed(self) -> Self:
        """The same block with the checksum that belongs to it."""
        return self._replace(checksum=self._crc())

    @property
    def intact(self) -> bool:
        """Whether the checksum is that of the rest of the row."""
        payload: object = self.payload  # a flipped byte can turn any column into any type
        return isinstance(payload, bytes) and self.checksum == self._crc()

    def _crc(self) -> int:
        identity = repr(self[:-2]).encode()
        return zlib.crc32(self.payload, zlib.crc32(identity))

    def __str__(self) -> str:
        """For a report: number, device and what it holds."""
        number = f"block {self.seq}" if self.blocks == 1 else f"{self.blocks} blocks of {self.since} to {self.seq}"
        return f"{number} ({self.device} {self.channel or self.kind})"


def day_of(time_ns: int) -> str:
    """The UTC day of a time, as day files are called: `2026-01-31`."""
    return rfc3339(time_ns)[:10]


def day_file(directory: Path, day: str) -> Path:
    """Where the blocks of a day are."""
    return directory / f"{day}{SUFFIX}"


def day_files(directory: Path) -> list[Path]:
    """All day files in the order of `seq`; one that was set aside comes before the one that took its place."""
    return [directory / name for name in day_names(directory)]


def day_names(directory: Path) -> list[str]:
    """Names of the day files, in the same order; there may be hundreds, and this is asked for each batch."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    sound = [name for name in names if name[10:] == SUFFIX and name[4] == name[7] == "-"]
    aside = [name for name in names if DAMAGED in name and _ASIDE.fullmatch(name)]
    return sorted([*aside, *sound], key=_place) if aside else sorted(sound)


def _place(name: str) -> tuple[str, float]:
    day, _, rest = name.partition(SUFFIX)
    return day, float(rest.removeprefix(DAMAGED) or "inf")


def new_file() -> bytes:
    """A day file in which nothing is yet, but for its mode."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.executescript(_TABLES)
        return connection.serialize()
    finally:
        connection.close()


def is_set_aside(path: Path) -> bool:
    """Whether a file was damaged and set aside; not so its log, which goes with it."""
    return path.name.rpartition(DAMAGED)[2].isdigit()


def damage(text: str) -> sqlite3.DatabaseError:
    """An error like SQLite's own, for what it does not look at."""
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is damaged, and not that the disk is full, busy or forbidden."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@contextmanager
def suppress_damage() -> Iterator[None]:
    """Leaves the block early where the file is damaged; what is lost is reported when blocks are read."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise


def connect(path: Path) -> sqlite3.Connection:
    """A connection for writing, one transaction at a time, each synced before it is over; WAL mode.

    Raises:
        sqlite3.Error: it cannot be opened; see `is_damage`.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_day(path: Path) -> sqlite3.Connection:
    """A connection for writing to a day file, made if it is not there.

    Raises:
        JournalError: a newer version of this program wrote it.
        sqlite3.Error: it cannot be opened; see `is_damage`.
    """
    connection = connect(path)
    try:
        if _version(connection, path) == 0:
            create_tables(connection)
        connection.execute("SELECT max(seq) FROM block").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def create_tables(connection: sqlite3.Connection) -> None:
    """Makes the tables of a day file.

    Raises:
        sqlite3.Error: the disk refuses.
    """
    connection.executescript(_TABLES)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection that cannot write; None if the file has no tables yet.

    Works beside a writer, and without one on a medium that cannot be written to.

    Raises:
        JournalError: a newer version of this program wrote it.
        sqlite3.Error: it cannot be opened; see `is_damage`.
    """
    try:
        connection = _connect_to_read(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK:
            # The power went while the file was made, before it was in WAL mode; whoever writes to it next undoes that.
            yield None
            return
        # WAL mode wants a -shm file even to read. Where none can be made, on a disk that is full or cannot be written
        # to, nobody can be writing either.
        if is_damage(error) or (os.access(path.parent, os.W_OK) and _has_log(path)):
            raise
        connection = _connect_to_read(path, "immutable=1")
    try:
        yield connection if _version(connection, path) else None
    finally:
        connection.close()


def _connect_to_read(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None)
    try:
        # A flipped byte in a name must reach the checksum and not stop the reader.
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        if DAMAGED in path.name:
            # Without this SQLite refuses a file that is shorter than its header says, whole pages and all.
            connection.execute("PRAGMA writable_schema=ON")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _has_log(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _version(connection: sqlite3.Connection, path: Path) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise JournalError(
            f"{path}: layout {version}, and this program knows up to {VERSION}", hint="install the newer version again"
        )
    return version


def set_aside(path: Path) -> Path:
    """Renames a damaged file and its log to `<name>.damaged-<n>`, n being the first that is free."""
    number = 1
    while (aside := path.with_name(f"{path.name}{DAMAGED}{number}")).exists():
        number += 1
    # The log first: without it beside, SQLite would take the log of a file that is gone for that of the next.
    if log_of(path).exists():
        log_of(path).rename(log_of(aside))
    path.rename(aside)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    return aside


def finish_setting_aside(directory: Path) -> None:
    """Renames each file of which the log alone was renamed when the power went.

    Raises:
        OSError: the disk refuses.
    """
    for log in directory.glob(f"*{DAMAGED}*-wal"):
        aside = log.with_name(log.name.removesuffix("-wal"))
        path = aside.with_name(aside.name.rpartition(DAMAGED)[0])
        if path.exists() and not aside.exists():
            path.rename(aside)


def insert(connection: sqlite3.Connection, blocks: list[Block]) -> None:
    """Adds blocks; the caller holds the transaction."""
    connection.executemany("INSERT INTO block VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", blocks)


def rows(connection: sqlite3.Connection, sql: str, parameters: tuple[Any, ...] = ()) -> Iterator[Block]:
    """The blocks that a statement selects with `SELECT * FROM block`."""
    return map(Block._make, connection.execute(sql, parameters))
