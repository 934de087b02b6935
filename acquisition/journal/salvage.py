"""Every block of a file that can be read, and a report of each that cannot."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from acquisition.errors import JournalError
from acquisition.journal.codec import unpack
from acquisition.journal.schema import Block, is_damage, reading, rows
from acquisition.model import Observation

_SELECT = """
SELECT * FROM block
WHERE seq > ?1 AND seq <= ?2 AND last_ns >= ?3 AND first_ns < ?4
  AND (?5 IS NULL OR device IN (SELECT value FROM json_each(?5)))
  AND (?6 IS NULL OR kind IN (SELECT value FROM json_each(?6)))
  AND (?7 IS NULL OR channel = '' OR channel IN (SELECT value FROM json_each(?7)))
ORDER BY seq
"""
_END = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Selection:
    """Which blocks; None means any.

    Attributes:
        after: Blocks with a larger `seq`.
        upto: Blocks with no larger `seq`.
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
        return (after, self.upto, self.from_ns, self.to_ns, *names)


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
    """A connection for reading; None for a file without tables, one that went meanwhile, or one damaged throughout.

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
        yield connection


def blocks(
    connection: sqlite3.Connection, name: str, selection: Selection, damaged: list[str]
) -> Iterator[tuple[Block, list[Observation]]]:
    """The selected blocks in the order of `seq`, each with its observations.

    Args:
        connection: To a day file.
        name: Of the file, for reports.
        selection: Which blocks.
        damaged: Takes a report of every block that cannot be read; such a block comes with no observations.

    Raises:
        sqlite3.Error: the file cannot be read now, though it is not damaged.
    """
    after = selection.after
    while True:
        try:
            for block in rows(connection, _SELECT, selection.parameters(after)):
                if block.intact:  # or its number may be any
                    after = block.seq
                yield block, _observations(block, name, damaged)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            good, bad = _hole(connection, after, selection.upto)
            damaged.append(f"{name}: {error}: nothing can be read of blocks {good + 1} to {bad}")
            after = bad
        else:
            return
        if after >= selection.upto:
            return


def _observations(block: Block, name: str, damaged: list[str]) -> list[Observation]:
    if not block.intact:
        damaged.append(f"{name}: {block} fails its checksum")
        return []
    try:
        return unpack(block.codec, block.payload, device=block.device, channel=block.channel)
    except ValueError as error:
        damaged.append(f"{name}: {block} cannot be decoded: {error}")
        return []


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
