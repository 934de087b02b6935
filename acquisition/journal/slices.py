"""Numerics of one device as columns, slice by slice of time, without an object for every reading."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from acquisition.journal.codec import Codec, decode, decompress
from acquisition.journal.columns import Column, columns_in, columns_of
from acquisition.journal.merged import MERGED, without_table
from acquisition.journal.reader import JournalReader
from acquisition.journal.salvage import Selection, block_rows, disk_errors, opened, unread
from acquisition.journal.schema import Block
from acquisition.journal.summary import Slice
from acquisition.model import Numerics

Columns = dict[str, Column]


class NumericsSlices:
    """Reads the numerics of one device; gives what `JournalReader.query` gives, as columns.

    Args:
        reader: Of the journal; takes the reports of what cannot be read.
        device: Its configured id.
        channels: Only these; None: all.
    """

    def __init__(self, reader: JournalReader, device: str, channels: Collection[str] | None = None) -> None:
        self._reader = reader
        self._device = device
        self._channels = None if channels is None else frozenset(channels)
        self._before: dict[tuple[Path, int], Columns] = {}
        self._decoded: dict[tuple[Path, int], Columns] = {}

    def read(self, from_ns: int, to_ns: int, length_ns: int) -> Iterator[Columns]:
        """Columns by channel of each slice that has any, in the order of time.

        Args:
            from_ns: UTC nanoseconds, included.
            to_ns: UTC nanoseconds, excluded.
            length_ns: Of a slice; slices begin at multiples of it.

        Raises:
            JournalError: the disk cannot be read now.
        """
        whole = Selection(from_ns=from_ns, to_ns=to_ns, devices=[self._device], kinds=["numerics"])
        parts = [(path, part, part.devices[self._device]) for path, part in self._reader.parts(whole)]
        touched = {
            number
            for _, _, span in parts
            for number in range(max(from_ns, span.first_ns) // length_ns, min(to_ns - 1, span.last_ns) // length_ns + 1)
        }
        for number in sorted(touched):
            begin, end = max(from_ns, number * length_ns), min(to_ns, (number + 1) * length_ns)
            within = [(path, part) for path, part, span in parts if span.first_ns < end and span.last_ns >= begin]
            found = self._slice(begin, end, within)
            if found:
                yield found

    def _slice(self, begin: int, end: int, parts: list[tuple[Path, Slice]]) -> Columns:
        self._before, self._decoded = self._decoded, {}
        pieces: dict[str, list[Column]] = {}
        with disk_errors():
            for path, own in groupby(parts, key=itemgetter(0)):
                numbers = [(part.since, part.upto) for _, part in own]
                selection = Selection(
                    numbers[0][0] - 1, numbers[-1][1], begin, end, devices=[self._device], kinds=["numerics"]
                )
                read = self._file(path, selection)
                if read is None:
                    return self._one_by_one(begin, end)
                for columns in read:
                    for channel, column in columns.items():
                        inside = (column.time_ns >= begin) & (column.time_ns < end)
                        if inside.any():
                            pieces.setdefault(channel, []).append(column.at(inside))
        return {channel: Column.joined(pieces[channel]) for channel in sorted(pieces)}

    def _file(self, path: Path, selection: Selection) -> list[Columns] | None:
        """Columns of the rows of one file; None if two rows may hold the same block, as in a damaged tree."""
        found: list[Columns] = []
        reports: list[str] = []
        newest = 0
        with opened(path, reports) as connection:
            rows = block_rows(connection, path.name, selection, reports, unread) if connection else ()
            for row, content in rows:
                if not content:
                    continue
                if row.since <= newest:
                    return None
                newest = row.seq
                key = (path, row.seq)
                try:
                    self._decoded[key] = self._before.get(key) or _columns(row, self._channels)
                except ValueError as error:
                    reports.append(f"{path.name}: {row} cannot be decoded: {error}")
                    continue
                found.append(self._decoded[key])
        # A row that is in two slices is reported once.
        self._reader.damaged += [report for report in reports if report not in self._reader.damaged]
        return found

    def _one_by_one(self, begin: int, end: int) -> Columns:
        found = self._reader.query(devices=[self._device], from_ns=begin, to_ns=end, kinds=["numerics"])
        columns = columns_of([each for each in found if isinstance(each, Numerics)], self._channels)
        return {channel: columns[channel] for channel in sorted(columns)}


def _columns(row: Block, channels: Collection[str] | None) -> Columns:
    """What a row holds.

    Raises:
        ValueError: the payload is not of its codec.
    """
    body, codec = decompress(row.payload), row.codec & ~MERGED
    try:
        body = without_table(body) if row.codec & MERGED else body
        if codec == Codec.COLUMNS:
            return columns_in(body, channels)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(str(error)) from error
    numerics = decode(codec, body, device=row.device, channel=row.channel)
    return columns_of([each for each in numerics if isinstance(each, Numerics)], channels)
