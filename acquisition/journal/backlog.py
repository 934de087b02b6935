"""What a sink does not have yet: how many points, and from when."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from acquisition.journal.salvage import Selection, blocks, opened
from acquisition.journal.schema import Block, day_names, rows, suppress_damage
from acquisition.lanes import Progress, Span

_TOTAL = "SELECT CAST(since AS INTEGER), seq, CAST(total AS INTEGER) FROM block"
"""A flipped byte can turn any column into any type."""


def backlogs(directory: Path, total: int, progresses: Mapping[str, Progress]) -> dict[str, int]:
    """Sink to points that it does not have: numerics, samples and events.

    Args:
        directory: Of the journal.
        total: Points of the journal up to its end.
        progresses: Sink to what it has.

    Raises:
        sqlite3.Error: the disk cannot be read now.
    """
    bounds = {seq for each in progresses.values() for span in _spans(each) for seq in span}
    totals = _totals_at(directory, bounds)
    return {
        sink: max(0, total - totals[each.cursor] - sum(totals[span.upto] - totals[span.after] for span in each.ahead))
        for sink, each in progresses.items()
    }


class SinkBytes(NamedTuple):
    """What the journal takes on the disk, as one sink sees it.

    Attributes:
        waiting: About what it does not have yet: its points at the mean size of those in the same files.
        had: Whole files before that. They go first when space is wanted.
    """

    waiting: int
    had: int


def sink_bytes(directory: Path, total: int, cursor: int, backlog: int) -> SinkBytes:
    """How many bytes wait for a sink, and how many would go before them.

    Args:
        directory: Of the journal.
        total: Points of the journal up to its end.
        cursor: Everything up to here the sink has.
        backlog: Points that it does not have.

    Raises:
        OSError: the directory cannot be read.
        sqlite3.Error: the disk cannot be read now.
    """
    files = [directory / name for name in day_names(directory)]
    first = _newest_by(directory, cursor + 1, [path.name for path in files]) or 0
    wanted, had = files[first:], sum(map(_size, files[:first]))
    start = next(filter(None, map(_start_of, map(str, wanted))), None)
    if start is None or total <= start.before:
        return SinkBytes(0, had)
    return SinkBytes(round(sum(map(_size, wanted)) * min(1.0, backlog / (total - start.before))), had)


def oldest_after(directory: Path, seq: int) -> int | None:
    """UTC nanoseconds at which the first block after `seq` begins; None if there is none that can be read.

    Raises:
        sqlite3.Error: the disk cannot be read now.
    """
    for path in files_after(directory, seq):
        with opened(path, []) as connection, suppress_damage():
            if connection is None:
                continue
            for block in blocks(connection, path.name, Selection(after=seq), []):
                return min(each.time_ns for each in block.observations)
    return None


def files_after(directory: Path, seq: int) -> Iterator[Path]:
    """The day files that may hold blocks after `seq`, oldest first.

    Raises:
        sqlite3.Error: the disk cannot be read now.
    """
    names = day_names(directory)
    return (directory / name for name in names[_newest_by(directory, seq + 1, names) or 0 :])


def _newest_by(directory: Path, seq: int, names: Sequence[str]) -> int | None:
    """Index of the last file that starts at a number or before it; None if there is none.

    Found by halving: there is a file for each day of a run.
    """
    low, high = -1, len(names)
    while high - low > 1:
        middle = (low + high) // 2
        # Where a file starts that cannot be read is not known: its neighbours tell.
        around = (*range(middle, low, -1), *range(middle + 1, high))
        starts = ((each, _start_of(f"{directory}/{names[each]}")) for each in around)
        at, start = next((each for each in starts if each[1] is not None), (-1, None))
        if start is None:
            break
        low, high = (at, high) if start.seq <= seq else (low, at)
    return low if low >= 0 else None


class _Start(NamedTuple):
    """Number of a file's first block, and points of the journal before it."""

    seq: int
    before: int


_STARTS: dict[tuple[str, int], _Start] = {}
"""By file and inode: a file that takes another's name has another inode."""


def _start_of(path: str) -> _Start | None:
    """Where a file starts; None if nothing can be read there.

    Read once: merging does not change it, and when blocks go from a file's front, what was so before its first block
    was so.
    """
    try:
        key = path, os.stat(path).st_ino
    except FileNotFoundError:
        return None
    if key not in _STARTS:
        with opened(Path(path), []) as connection, suppress_damage():
            row = (
                next(filter(_is_intact, rows(connection, "SELECT * FROM block ORDER BY seq")), None)
                if connection
                else None
            )
            if connection is not None and row is not None:
                _forget_others(path)
                _STARTS[key] = _Start(row.since, row.total - _points(connection, row.since - 1, row.seq))
    return _STARTS.get(key)


def _forget_others(path: str) -> None:
    """Drops what is known of files that are gone, and of one whose name another has taken: each day brings a file."""
    for key in list(_STARTS):
        if key[0] == path or not os.path.exists(key[0]):
            _STARTS.pop(key, None)


def _is_intact(block: Block) -> bool:
    # One that is not may show any number, and a file that seems to start too early would hide those before it.
    return block.intact


def _size(path: Path) -> int:
    log = path.with_name(f"{path.name}-wal")
    return sum(each.stat().st_size for each in (path, log) if each.exists())


def _spans(progress: Progress) -> Iterable[Span]:
    return (Span(0, progress.cursor), *progress.ahead)


def _totals_at(directory: Path, seqs: Iterable[int]) -> dict[int, int]:
    """Points of the journal up to and with each of these blocks; those of retired files count as delivered."""
    names = day_names(directory)
    return {seq: _total_at(directory, seq, names) for seq in set(seqs)}


def _total_at(directory: Path, seq: int, names: Sequence[str]) -> int:
    newest = _newest_by(directory, seq, names)
    if newest is None:
        first = next(filter(None, (_start_of(f"{directory}/{name}") for name in names)), None)
        return first.before if first else 0
    for name in reversed(names[: newest + 1]):
        with opened(directory / name, []) as connection, suppress_damage():
            start = _start_of(f"{directory}/{name}")
            if connection is None or start is None:
                continue
            row = connection.execute(f"{_TOTAL} WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (seq,)).fetchone()
            _, base, total = row or (start.seq, start.seq - 1, start.before)
            return total + _points(connection, base, seq)
    return 0


def _points(connection: sqlite3.Connection, after: int, upto: int) -> int:
    """Points of the blocks between two numbers, of which the first is that of a row; of a damaged row, none."""
    if upto <= after:
        return 0
    return sum(block.points for block in blocks(connection, "", Selection(after=after, upto=upto), []))
