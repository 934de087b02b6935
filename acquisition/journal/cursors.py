"""What each sink has, what it rejected, which runs there were, and the largest `seq` ever reserved.

Cursors and rejected observations gather in memory and are written by the writer's thread without a sync: an old cursor
repeats a delivery, which is harmless, and in one transaction a rejected observation never comes after its cursor. The
mark and the runs are synced.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acquisition.journal.schema import connect, damage, is_damage, reading, set_aside
from acquisition.lanes import Progress, Span

logger = logging.getLogger(__name__)

FILE = "cursors.db"

_TABLES = """
BEGIN;
CREATE TABLE IF NOT EXISTS cursor (sink TEXT PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS ahead (sink TEXT NOT NULL, after INTEGER NOT NULL, upto INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY, sink TEXT NOT NULL, reason TEXT NOT NULL, line TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS run (id INTEGER PRIMARY KEY, end_ns INTEGER, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS mark (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL);
PRAGMA user_version = 1;
COMMIT;
"""

_CHECKS = (
    "SELECT 1 FROM cursor WHERE typeof(sink) <> 'text' OR typeof(seq) <> 'integer'",
    "SELECT 1 FROM ahead WHERE typeof(sink) <> 'text' OR typeof(after) <> 'integer' OR typeof(upto) <> 'integer'",
    "SELECT 1 FROM quarantine WHERE typeof(sink) <> 'text' OR typeof(reason) <> 'text' OR NOT json_valid(line)",
    "SELECT 1 FROM run WHERE typeof(end_ns) NOT IN ('integer', 'null') OR NOT json_valid(record)",
    "SELECT 1 FROM mark WHERE typeof(seq) <> 'integer'",
)
"""What finds a row that a flipped byte has made into something else; SQLite does not mind."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An observation that a sink will never take.

    Attributes:
        sink: Which one.
        reason: The server's words.
        line: The observation as `line_of` writes it.
    """

    sink: str
    reason: str
    line: str


class Cursors:
    """The file `cursors.db`; its methods may be called from any thread.

    Args:
        directory: Of the journal.

    Attributes:
        damaged: Reports of files that were set aside.

    Raises:
        sqlite3.Error: the file can neither be opened nor be read, and is not damaged.
    """

    def __init__(self, directory: Path) -> None:
        self.damaged: list[str] = []
        self._gathering = threading.Lock()
        self._database = threading.RLock()
        self._path = directory / FILE
        self._moved: set[str] = set()
        self._rejected: list[Quarantined] = []
        self._is_copy = False
        try:
            self._connection = self._open()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                self._connection, self._is_copy = self._copied(error), True
            else:
                aside = set_aside(self._path).name
                self.damaged.append(f"{FILE}: {error}; set aside as {aside}; all is delivered again")
                self._connection = self._open()
        self._progress = progress_in(self._connection)

    def _open(self) -> sqlite3.Connection:
        connection = connect(self._path)
        try:
            connection.executescript(_TABLES)
            connection.execute("PRAGMA synchronous=NORMAL")
            for check in _CHECKS:
                if connection.execute(check).fetchone():
                    raise damage("a row cannot be what was written")
        except BaseException:
            connection.close()
            raise
        return connection

    def _copied(self, refused: sqlite3.Error) -> sqlite3.Connection:
        """A copy in memory, for a disk so full that nothing can be written: what is stored can still be delivered."""
        if not self._path.exists():
            raise refused
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        try:
            with reading(self._path) as connection:
                if connection is None:
                    raise refused
                connection.backup(copy)
        except BaseException:
            copy.close()
            raise
        return copy

    @contextmanager
    def _transaction(self, *, synced: bool) -> Iterator[sqlite3.Connection]:
        with self._database:
            if self._is_copy:
                connection = self._open()
                self._connection.close()
                self._connection, self._is_copy = connection, False
            self._connection.execute(f"PRAGMA synchronous={'FULL' if synced else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error) and is_damage(error):
                    self._begin_anew(error)
                raise

    def _begin_anew(self, error: sqlite3.Error) -> None:
        self._connection.close()
        report = f"{FILE}: {error}; set aside as {set_aside(self._path).name}"
        logger.error("journal damaged: %s", report)
        self.damaged.append(report)
        self._connection = self._open()
        with self._gathering:
            self._moved |= self._progress.keys()

    # -- cursors and quarantine --------------------------------------------------------------------------------------

    def get(self, sink: str) -> Progress:
        """What the sink has; nothing at first."""
        return self._progress.get(sink, Progress())

    @property
    def all(self) -> dict[str, Progress]:
        """Sink to what it has."""
        with self._gathering:
            return dict(self._progress)

    def set(self, sink: str, progress: Progress) -> None:
        """Adds to what a sink has; nothing is ever taken from it."""
        with self._gathering:
            before = self._progress.get(sink)
            after = progress.having(Span(0, before.cursor), *before.ahead) if before else progress
            if after != before:
                self._progress[sink] = after
                self._moved.add(sink)

    def quarantine(self, rejected: Quarantined) -> None:
        """Keeps what a sink rejected."""
        with self._gathering:
            self._rejected.append(rejected)

    def quarantined(self, sink: str | None) -> list[Quarantined]:
        """What a sink, or any, rejected, oldest first."""
        with self._database:
            written = self._connection.execute("SELECT sink, reason, line FROM quarantine ORDER BY id").fetchall()
            with self._gathering:
                gathered = list(self._rejected)
        return [each for each in (*(Quarantined(*row) for row in written), *gathered) if sink in (None, each.sink)]

    @property
    def unwritten(self) -> bool:
        """Whether `flush` has something to do."""
        return bool(self._moved or self._rejected)

    def flush(self) -> None:
        """Writes what has gathered.

        Raises:
            sqlite3.Error: the disk refuses; everything is kept for the next time.
        """
        with self._database:  # until the gathered are dropped, so that nobody sees one twice
            with self._gathering:
                moved = {sink: self._progress[sink] for sink in self._moved}
                rejected = list(self._rejected)
            with self._transaction(synced=False) as connection:
                connection.executemany(
                    "INSERT INTO quarantine (sink, reason, line) VALUES (?,?,?)",
                    [(each.sink, each.reason, each.line) for each in rejected],
                )
                connection.executemany("DELETE FROM ahead WHERE sink = ?", [(sink,) for sink in moved])
                connection.executemany(
                    "INSERT INTO ahead VALUES (?,?,?)", [(sink, *span) for sink in moved for span in moved[sink].ahead]
                )
                connection.executemany(
                    "INSERT OR REPLACE INTO cursor VALUES (?,?)", [(sink, each.cursor) for sink, each in moved.items()]
                )
            with self._gathering:
                self._moved -= {sink for sink, each in moved.items() if self._progress[sink] == each}
                del self._rejected[: len(rejected)]

    # -- the high-water mark and the runs ----------------------------------------------------------------------------

    @property
    def mark(self) -> int:
        """No block has a larger `seq`, nor has anything that a sink has."""
        with self._database:
            row = self._connection.execute("SELECT seq FROM mark").fetchone()
        had = [span.upto for each in self.all.values() for span in (Span(0, each.cursor), *each.ahead)]
        return max([row[0] if row else 0, *had])

    def reserve(self, seq: int) -> None:
        """Promises that no larger `seq` is in use; synced before it returns.

        Raises:
            sqlite3.Error: the disk refuses.
        """
        with self._transaction(synced=True) as connection:
            connection.execute("INSERT OR REPLACE INTO mark VALUES (1, ?)", (seq,))

    def begin_run(self, run: dict[str, Any]) -> dict[str, Any] | None:
        """Records the start of a run; returns the run before with `end_ns`, which is None if it never ended.

        Raises:
            sqlite3.Error: the disk refuses.
        """
        with self._transaction(synced=True) as connection:
            row = connection.execute("SELECT end_ns, record FROM run ORDER BY id DESC LIMIT 1").fetchone()
            connection.execute("INSERT INTO run (record) VALUES (?)", (json.dumps(run),))
        return {**json.loads(row[1]), "end_ns": row[0]} if row else None

    def end_run(self, end_ns: int) -> None:
        """Records that the present run ended in order.

        Raises:
            sqlite3.Error: the disk refuses.
        """
        with self._transaction(synced=True) as connection:
            connection.execute("UPDATE run SET end_ns = ? WHERE id = (SELECT max(id) FROM run)", (end_ns,))

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()


def progress_in(connection: sqlite3.Connection) -> dict[str, Progress]:
    """Sink to what it has, as the file says; one from before there was `ahead` knows cursors only.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    progress = {sink: Progress(seq) for sink, seq in connection.execute("SELECT sink, seq FROM cursor")}
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'ahead'").fetchone():
        for sink, after, upto in connection.execute("SELECT sink, after, upto FROM ahead"):
            progress[sink] = progress.get(sink, Progress()).having(Span(after, upto))
    return progress
