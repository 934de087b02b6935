"""Reading for forwarders: whole blocks in the order of `seq`, after a cursor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from acquisition.journal.salvage import Selection, blocks, disk_errors, opened
from acquisition.journal.schema import day_files, suppress_damage
from acquisition.model import Observation


@dataclass(frozen=True, slots=True)
class Batch:
    """What follows a cursor.

    Attributes:
        observations: In the order of `seq`.
        last_seq: The cursor to commit once all of them are delivered.
        points: Numerics, samples and events in `observations`.
        damaged: One report for each block, or run of blocks, that is passed over because it cannot be read.
    """

    observations: tuple[Observation, ...]
    last_seq: int
    points: int
    damaged: tuple[str, ...] = ()


def read_batch(directory: Path, after_seq: int, max_points: int, committed: int) -> Batch:
    """Whole blocks with `seq > after_seq`, as many as fit into `max_points`, and at least one if there is any.

    Args:
        directory: Of the journal.
        after_seq: The cursor.
        max_points: Upper bound of the batch, unless its first block is larger.
        committed: Number of the last block known to be there: if nothing up to it can be read, it is passed over.

    Raises:
        JournalError: the disk cannot be read now.
    """
    observations: list[Observation] = []
    points, last_seq, damaged = 0, after_seq, list[str]()
    with disk_errors():
        for path in _files_after(directory, after_seq):
            with opened(path, damaged) as connection:
                if connection is None:
                    continue
                for block, content in blocks(connection, path.name, Selection(after=last_seq), damaged):
                    if content and observations and points + block.points > max_points:
                        return Batch(tuple(observations), last_seq, points, tuple(damaged))
                    observations += content
                    points += block.points if content else 0
                    last_seq = block.seq
    return Batch(tuple(observations), max(last_seq, committed), points, tuple(damaged))


def total_at(directory: Path, seq: int) -> int:
    """Points of the journal up to and with block `seq`; those of retired files count as delivered.

    Raises:
        sqlite3.Error: the disk cannot be read now.
    """
    before_all = 0
    for path in reversed(day_files(directory)):
        with opened(path, []) as connection:
            if connection is None:
                continue
            with suppress_damage():
                row = connection.execute(
                    "SELECT total FROM block WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (seq,)
                ).fetchone()
                if row is not None:
                    return int(row[0])
                row = connection.execute("SELECT total - points FROM block ORDER BY seq LIMIT 1").fetchone()
                before_all = row[0] if row is not None else before_all
    return before_all


def _files_after(directory: Path, seq: int) -> list[Path]:
    """The day files that may hold blocks after `seq`, oldest first."""
    files: list[Path] = []
    for path in reversed(day_files(directory)):
        files.insert(0, path)
        with opened(path, []) as connection, suppress_damage():
            row = connection.execute("SELECT min(seq) FROM block").fetchone() if connection else None
            if row and row[0] is not None and row[0] <= seq + 1:
                break
    return files
