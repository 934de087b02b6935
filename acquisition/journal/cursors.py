"""How far each sink has come, what it rejected, which runs there were, and the largest `seq` ever reserved.

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

from acquisition.journal.schema import connect, is_damage, set_aside

logger = logging.getLogger(__name__)

FILE = "cursors.db"

_TABLES = """
BEGIN;
CREATE TABLE IF NOT EXISTS cursor (sink TEXT PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY, sink TEXT NOT NULL, reason TEXT NOT NULL, line TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS run (id INTEGER PRIMARY KEY, end_ns INTEGER, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS mark (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL);
PRAGMA user_version = 1;
COMMIT;
"""


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
        sqlite3.Error: the file cannot be opened and is not damaged.
    """

    def __init__(self, directory: Path) -> None:
        self.damaged: list[str] = []
        self._gathering = threading.Lock()
        self._database = threading.RLock()
        self._path = directory / FILE
        try:
            self._connection = self._open()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self.damaged.append(f"{FILE}: {error}; set aside as {set_aside(self._path).name}; all is delivered again")
            self._connection = self._open()
        self._seqs: dict[str, int] = dict(self._connection.execute("SELECT sink, seq FROM cursor"))
        self._moved: set[str] = set()
        self._rejected: list[Quarantined] = []

    def _open(self) -> sqlite3.Connection:
        connection = connect(self._path)
        try:
            connection.executescript(_TABLES)
            connection.execute("PRAGMA synchronous=NORMAL")
            for table in ("cursor", "quarantine", "run", "mark"):
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - four names from above
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _transaction(self, *, synced: bool) -> Iterator[sqlite3.Connection]:
        with self._database:
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
            self._moved |= self._seqs.keys()

    # -- cursors and quarantine --------------------------------------------------------------------------------------

    def get(self, sink: str) -> int:
        """The last `seq` that the sink has; 0 at first."""
        return self._seqs.get(sink, 0)

    @property
    def all(self) -> dict[str, int]:
        """Sink to cursor."""
        with self._gathering:
            return dict(self._seqs)

    def set(self, sink: str, seq: int) -> None:
        """Moves a cursor forward; a smaller `seq` is ignored."""
        with self._gathering:
            if seq > self._seqs.get(sink, -1):
                self._seqs[sink] = seq
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
                moved = {sink: self._seqs[sink] for sink in self._moved}
                rejected = list(self._rejected)
            with self._transaction(synced=False) as connection:
                connection.executemany(
                    "INSERT INTO quarantine (sink, reason, line) VALUES (?,?,?)",
                    [(each.sink, each.reason, each.line) for each in rejected],
                )
                connection.executemany("INSERT OR REPLACE INTO cursor VALUES (?,?)", moved.items())
            with self._gathering:
                self._moved -= {sink for sink, seq in moved.items() if self._seqs[sink] == seq}
                del self._rejected[: len(rejected)]

    # -- the high-water mark and the runs ----------------------------------------------------------------------------

    @property
    def mark(self) -> int:
        """No block has a larger `seq`, nor has any cursor."""
        with self._database:
            row = self._connection.execute("SELECT seq FROM mark").fetchone()
        return max([row[0] if row else 0, *self._seqs.values()])

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
