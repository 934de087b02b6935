"""What a day file holds, summed up every so many groups; what is newer is summed by reading it.

A `series` row counts the readings of one channel; a `span` row says when the blocks of one device between two numbers
of `seq` were read. Both are written seldom, because each would cost a page of the disk in every group. A `series` row
of no kind counts the blocks of a device in all spans, of which a day has thousands.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from acquisition.journal.codec import tally
from acquisition.journal.merged import Original, originals
from acquisition.journal.salvage import Selection, block_rows
from acquisition.journal.schema import Block, damage, rows

FLUSH_GROUPS = 256
"""A crash leaves at most this many groups, some 51 s of them, to be summed at the next start."""

REBUILD_BLOCKS = 4096
EVERYTHING = 2**63 - 1

_BOUNDS = """
SELECT (SELECT since FROM span ORDER BY upto LIMIT 1),
    (SELECT upto FROM span WHERE upto <= ? ORDER BY upto DESC LIMIT 1)
"""
SUM_UP_SPANS = """
INSERT OR REPLACE INTO series
SELECT device, '', '', sum(blocks), min(first_ns), max(last_ns) FROM span GROUP BY device
"""


@dataclass(slots=True)
class Series:
    """Readings of one channel and their first and last time."""

    readings: int
    first_ns: int
    last_ns: int

    def add(self, readings: int, first_ns: int, last_ns: int) -> None:
        """Counts more."""
        self.readings += readings
        self.first_ns = min(self.first_ns, first_ns)
        self.last_ns = max(self.last_ns, last_ns)


@dataclass(slots=True)
class Slice:
    """Blocks with `since <= seq <= upto`, and for each device how many there are and from when to when."""

    since: int
    upto: int
    devices: dict[str, Series] = field(default_factory=dict)


@dataclass(slots=True)
class Summary:
    """What one day file holds.

    Attributes:
        slices: Written ones, in the order of `seq`.
        series: Device, kind and channel to readings; channels of numerics under their own id.
        recent: What is not written yet, if there is any.
        written: Device to all its blocks in written slices.
        total: Points of the journal up to and with the last block.
    """

    slices: list[Slice] = field(default_factory=list)
    series: dict[tuple[str, str, str], Series] = field(default_factory=dict)
    recent: Slice | None = None
    written: dict[str, Series] = field(default_factory=dict)
    total: int = 0
    _changed: set[tuple[str, str, str]] = field(default_factory=set)

    def add(self, block: Block, readings: Mapping[str, int]) -> None:
        """Takes in a block that follows all others.

        Args:
            block: The block, or merged row of blocks.
            readings: Its readings by channel.
        """
        if self.recent is None:
            self.recent = Slice(block.since, block.seq)
        self.recent.upto = block.seq
        self.total = block.total
        if span := self.recent.devices.get(block.device):
            span.add(block.blocks, block.first_ns, block.last_ns)
        else:
            self.recent.devices[block.device] = Series(block.blocks, block.first_ns, block.last_ns)
        for channel, number in readings.items():
            key = (block.device, block.kind, channel)
            self._changed.add(key)
            if series := self.series.get(key):
                series.add(number, block.first_ns, block.last_ns)
            else:
                self.series[key] = Series(number, block.first_ns, block.last_ns)

    def pass_over(self, block: Block) -> None:
        """Takes note of a damaged block that follows all others: its number is in use."""
        if self.recent is None:
            self.recent = Slice(block.seq, block.seq)
        self.recent.upto = block.seq

    @property
    def all_slices(self) -> list[Slice]:
        """Written and recent ones."""
        return [*self.slices, self.recent] if self.recent else self.slices

    @property
    def last_seq(self) -> int:
        """Number of the last block; 0 if there is none."""
        return self.all_slices[-1].upto if self.all_slices else 0

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return sum(span.readings for part in self.all_slices for span in part.devices.values())

    @property
    def window(self) -> tuple[int, int]:
        """First and last time of anything; (0, 0) if there is nothing."""
        spans = [span for part in self.all_slices for span in part.devices.values()]
        return min((span.first_ns for span in spans), default=0), max((span.last_ns for span in spans), default=0)

    def flush(self, connection: sqlite3.Connection) -> None:
        """Writes what is recent; the caller holds the transaction."""
        if self.recent is None:
            return
        part, self.recent = self.recent, None
        self.slices.append(part)
        for device, span in part.devices.items():
            self.written.setdefault(device, Series(0, span.first_ns, span.last_ns)).add(
                span.readings, span.first_ns, span.last_ns
            )
        connection.executemany(
            "INSERT INTO span VALUES (?,?,?,?,?,?)",
            [
                (part.since, part.upto, device, span.readings, span.first_ns, span.last_ns)
                for device, span in part.devices.items()
            ],
        )
        changed = [(key, self.series[key]) for key in sorted(self._changed)]
        changed += [((device, "", ""), self.written[device]) for device in part.devices]
        connection.executemany(
            "INSERT OR REPLACE INTO series VALUES (?,?,?,?,?,?)",
            [(*key, series.readings, series.first_ns, series.last_ns) for key, series in changed],
        )
        self._changed.clear()


def load(connection: sqlite3.Connection, whole_upto: int = 0) -> Summary:
    """What the file holds, with the blocks since the last flush summed here.

    Args:
        connection: To the file.
        whole_upto: Slices up to this number come as one: a day has some 1700.

    Raises:
        sqlite3.Error: the file is damaged, or cannot be read now.
    """
    alone = not connection.in_transaction
    if alone:
        connection.execute("BEGIN")  # rows and their sums of one and the same moment
    try:
        summary = Summary()
        for device, kind, channel, *numbers in connection.execute("SELECT * FROM series"):
            _sound(*numbers)
            if kind:
                summary.series[device, kind, channel] = Series(*numbers)
            else:
                summary.written[device] = Series(*numbers)
        later: list[Slice] = []
        spans = connection.execute("SELECT * FROM span WHERE upto > ? ORDER BY upto, device", (whole_upto,))
        for since, upto, device, *numbers in spans:
            _sound(since, upto, *numbers)
            if not later or later[-1].upto != upto:
                later.append(Slice(since, upto))
            later[-1].devices[device] = Series(*numbers)
        summary.slices = [*_whole(connection, whole_upto, summary.written, later), *later]
        last = connection.execute("SELECT total FROM block ORDER BY seq DESC LIMIT 1").fetchone()
        if last:
            _sound(*last)
            summary.total = last[0]
        for block in rows(connection, "SELECT * FROM block WHERE seq > ? ORDER BY seq", (summary.last_seq,)):
            if block.intact:
                summary.add(block, _tally(block))
            else:
                summary.pass_over(block)
    finally:
        if alone:
            connection.execute("ROLLBACK")
    return summary


def _whole(
    connection: sqlite3.Connection, upto: int, written: Mapping[str, Series], later: Sequence[Slice]
) -> list[Slice]:
    """All slices up to a number as one; none if there are none. Its times are those of the later ones too."""
    first, last = connection.execute(_BOUNDS, (upto,)).fetchone()
    if last is None:
        return []
    _sound(first, last)
    whole = Slice(first, last)
    for device, span in written.items():
        left = span.readings - sum(part.devices[device].readings for part in later if device in part.devices)
        if left < 0:
            raise damage("sums disagree")
        if left:
            whole.devices[device] = Series(left, span.first_ns, span.last_ns)
    return [whole]


def rebuild(connection: sqlite3.Connection, name: str, damaged: list[str]) -> Summary:
    """What can still be read of a file whose own sums are damaged.

    Args:
        connection: To the file.
        name: Of the file, for reports.
        damaged: Takes a report of everything that cannot be read.

    Raises:
        sqlite3.Error: the file cannot be read now, though it is not damaged.
    """
    summary = Summary()
    for block, content in block_rows(connection, name, Selection(), damaged):
        part = summary.recent
        # A merged range is never in two slices: some of its blocks would be looked for in the wrong one.
        if content and part and block.since > part.upto and block.since - part.since >= REBUILD_BLOCKS:
            summary.slices.append(part)
            summary.recent = None
        if content:
            summary.add(block, _readings(content))
    return summary


def forget(connection: sqlite3.Connection, first: int, name: str) -> None:
    """Deletes the blocks from a number on, and their part of the sums; the caller holds the transaction.

    Args:
        connection: To the file.
        first: Number of the first that goes.
        name: Of the file, for reports.

    Raises:
        sqlite3.Error: the disk refuses.
    """
    connection.execute("DELETE FROM block WHERE seq >= ?", (first,))
    if connection.execute("SELECT 1 FROM span WHERE upto >= ?", (first,)).fetchone():
        write_sums(connection, name)


def write_sums(connection: sqlite3.Connection, name: str) -> None:
    """Writes the sums of a file anew; the caller holds the transaction.

    Raises:
        sqlite3.Error: the disk refuses.
    """
    connection.execute("DELETE FROM span")
    connection.execute("DELETE FROM series")
    summary = rebuild(connection, name, [])
    for part in summary.all_slices:
        connection.executemany(
            "INSERT INTO span VALUES (?,?,?,?,?,?)",
            [
                (part.since, part.upto, device, span.readings, span.first_ns, span.last_ns)
                for device, span in part.devices.items()
            ],
        )
    connection.executemany(
        "INSERT INTO series VALUES (?,?,?,?,?,?)",
        [(*key, each.readings, each.first_ns, each.last_ns) for key, each in summary.series.items()],
    )
    connection.execute(SUM_UP_SPANS)


def _sound(*numbers: object) -> None:
    # A flipped byte can turn any column into any type; SQLite does not mind.
    if not all(isinstance(number, int) for number in numbers):
        raise damage("a sum is no number")


def _tally(block: Block) -> Mapping[str, int]:
    if block.channel:
        return {block.channel: block.points}
    return _readings(originals(block))


def _readings(content: Sequence[Original]) -> Mapping[str, int]:
    return tally(observation for each in content for observation in each.observations)
