"""Reading for people: a query in the order of time, what the journal holds, and whether it is intact."""

from __future__ import annotations

import contextlib
import heapq
import os
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from acquisition.errors import JournalError
from acquisition.journal import past
from acquisition.journal.backlog import backlogs
from acquisition.journal.cursors import FILE, progress_in
from acquisition.journal.missing import Missing
from acquisition.journal.salvage import Selection, block_rows, blocks, disk_errors, opened
from acquisition.journal.schema import DAMAGED, day_files, day_names, is_damage, is_set_aside, suppress_damage
from acquisition.journal.summary import EVERYTHING, Slice, Summary, load, rebuild
from acquisition.journal.window import only, within
from acquisition.lanes import Progress
from acquisition.model import Observation

_END = 2**63 - 1
_DAYS_OF_KEYS = 2
_DAYS_TO_LOOK_AT = 7


@dataclass(frozen=True, slots=True)
class JournalStat:
    """What the journal holds.

    Attributes:
        files: Day files, set-aside ones included.
        bytes: Of all files in the directory.
        blocks: How many were appended; merging changes nothing here.
        first_ns: Earliest time of anything; 0 in an empty journal.
        last_ns: Latest time of anything; 0 in an empty journal.
        readings: Device to channel to values (or states) of numerics and samples of waveforms.
        events: Device to number of events.
        points: Numerics, samples and events that were ever appended; those deleted since are among them.
        last_seq: Number of the last block; 0 in an empty journal.
        progress: Sink to the blocks it has.
        backlog: Sink to points it does not have yet.
        quarantined: Observations that some sink rejected.
        damaged: Files that were set aside, and files that can hardly be read.
    """

    files: int
    bytes: int
    blocks: int
    first_ns: int
    last_ns: int
    readings: Mapping[str, Mapping[str, int]]
    events: Mapping[str, int]
    points: int
    last_seq: int
    progress: Mapping[str, Progress]
    backlog: Mapping[str, int]
    quarantined: int
    damaged: tuple[str, ...]


class JournalReader:
    """Reads a journal, beside a daemon that writes it or without one; never writes.

    Args:
        directory: Of the journal.

    Attributes:
        damaged: Reports of what could not be read so far.

    Raises:
        JournalError: there is no such directory.
    """

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise JournalError(f"{directory}: no journal here", hint="is the path right, and did the daemon ever run?")
        self.damaged: list[str] = []
        self._directory = directory

    def query(
        self,
        *,
        devices: Collection[str] | None = None,
        channels: Collection[str] | None = None,
        from_ns: int = 0,
        to_ns: int = _END,
        kinds: Collection[str] | None = None,
    ) -> Iterator[Observation]:
        """Observations with `from_ns <= time < to_ns`, in the order of time within a device.

        Waveforms are cut at the bounds. What cannot be read is passed over and reported in `damaged`.

        Args:
            devices: Of these only.
            channels: Of these only; numerics keep no other channel. Events are of no channel: they are left out then,
                unless `kinds` names them.
            from_ns: UTC nanoseconds.
            to_ns: UTC nanoseconds.
            kinds: `numerics`, `waveform`, `event`.

        Raises:
            JournalError: the disk cannot be read now.
        """
        if kinds is None and channels is not None:
            kinds = ("numerics", "waveform")
        wanted = None if channels is None else frozenset(channels)
        selection = Selection(from_ns=from_ns, to_ns=to_ns, devices=devices, kinds=kinds, channels=channels)
        with disk_errors():
            parts = [(path, part) for path in day_files(self._directory) for part in self._summary(path, 0).all_slices]
            low = _lowest_later([part for _, part in parts])
            held: defaultdict[str, list[tuple[int, int, Observation]]] = defaultdict(list)
            number = 0
            for index, (path, part) in enumerate(parts):
                if _touches(part, selection):
                    for whole in self._read(path, part, selection):
                        cut = within(whole, from_ns, to_ns)
                        piece = only(cut, wanted) if cut is not None and wanted is not None else cut
                        if piece is not None:
                            heapq.heappush(held[piece.device], (piece.time_ns, number, piece))
                            number += 1
                for device, heap in held.items():
                    until = low[index].get(device, _END + 1)
                    while heap and heap[0][0] < until:
                        yield heapq.heappop(heap)[2]

    def parts(self, selection: Selection) -> list[tuple[Path, Slice]]:
        """Which blocks of which files may be selected, by the sums that the files have of themselves.

        Raises:
            JournalError: the disk cannot be read now.
        """
        with disk_errors():
            return [
                (path, part)
                for path in day_files(self._directory)
                if _may_have(self._summary(path), selection)
                for part in self._summary(path, 0).all_slices
                if _touches(part, selection)
            ]

    def _read(self, path: Path, part: Slice, selection: Selection) -> Iterator[Observation]:
        within_part = selection.between(part.since - 1, part.upto)
        with opened(path, self.damaged) as connection:
            if connection is not None:
                for block in blocks(connection, path.name, within_part, self.damaged):
                    yield from block.observations

    def verify(self) -> Iterator[tuple[str, int]]:
        """Reads everything; yields each file's name and its sound blocks. What is not sound is in `damaged`.

        Cursors, quarantine, runs and the sums of a file are no blocks: of them SQLite's own check is taken.

        Raises:
            JournalError: the disk cannot be read now.
        """
        with disk_errors():
            for path in day_files(self._directory):
                with opened(path, self.damaged) as connection:
                    sound = 0
                    if connection is not None:
                        missing = Missing(connection)
                        for row, content in block_rows(connection, path.name, Selection(), self.damaged):
                            missing.add(row)
                            sound += len(content)
                        self.damaged += [f"{path.name}: {report}" for report in missing.reports]
                        self._check(connection, path)
                    yield path.name, sound
            path = self._directory / FILE
            if path.exists():
                with opened(path, self.damaged) as connection:
                    if connection is not None:
                        self._check(connection, path)
                yield path.name, 0

    def _check(self, connection: sqlite3.Connection, path: Path) -> None:
        """What SQLite itself finds wrong, the first of it."""
        try:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            found = str(error)
        if found != "ok":
            self.damaged.append(f"{path.name}: {found}")

    def last_seen(self) -> dict[str, int]:
        """Device to the newest time of its numerics and waveforms."""
        newest: dict[str, int] = {}
        with disk_errors():
            for summary in self._summaries(day_names(self._directory), self.damaged):
                for (device, kind, _), series in summary.series.items():
                    if kind != "event":
                        newest[device] = max(newest.get(device, series.last_ns), series.last_ns)
        return newest

    def keys(self, device: str, limit: int) -> list[str]:
        """The newest keys of acknowledged messages in the two newest days that have any, oldest first.

        A power cut while a day's file is made leaves it empty, and so may the next one.
        """
        files = day_files(self._directory)
        found: list[list[str]] = []
        with disk_errors():
            for day in sorted({path.name[:10] for path in files}, reverse=True)[:_DAYS_TO_LOOK_AT]:
                if keys := [key for path in files if path.name[:10] == day for key in _keys(path, device, limit)]:
                    found.append(keys)
                if len(found) == _DAYS_OF_KEYS:
                    break
        newest: dict[str, None] = {}
        for key in (key for keys in reversed(found) for key in keys):
            newest.pop(key, None)  # repeated on a later day, it is as new as that
            newest[key] = None
        return list(newest)[-limit:]

    def stat(self) -> JournalStat:
        """What the journal holds.

        Raises:
            JournalError: the disk cannot be read now.
        """
        readings: defaultdict[str, Counter[str]] = defaultdict(Counter)
        events: Counter[str] = Counter()
        whole, damaged = Summary(), list[str]()
        names = day_names(self._directory)
        with disk_errors():
            for summary in self._summaries(names, damaged):
                whole.slices += summary.all_slices
                whole.total = max(whole.total, summary.total)
                for (device, kind, channel), series in summary.series.items():
                    counter, name = (events, device) if kind == "event" else (readings[device], channel)
                    counter[name] += series.readings
            progress, quarantined = self._progress(damaged)
            backlog = backlogs(self._directory, whole.total, progress)
            sizes = dict(self._sizes())
        damaged += [name for name in sizes if DAMAGED in name and is_set_aside(Path(name))]
        first, last = whole.window
        return JournalStat(
            files=len(names),
            bytes=sum(sizes.values()),
            blocks=whole.blocks,
            first_ns=first,
            last_ns=last,
            readings={device: dict(counter) for device, counter in readings.items()},
            events=dict(events),
            points=whole.total,
            last_seq=whole.last_seq,
            progress=progress,
            backlog=backlog,
            quarantined=quarantined,
            damaged=tuple(sorted(damaged)),
        )

    def _summaries(self, names: list[str], damaged: list[str]) -> Iterator[Summary]:
        """What all files hold: the finished days as one, then each other file."""
        known = past.read(self._directory)
        yield known.summary
        for name in names:
            if name not in known.names:
                yield self._summary(self._directory / name, damaged=damaged)

    def _sizes(self) -> Iterator[tuple[str, int]]:
        """Name and bytes of every file that is there."""
        with os.scandir(self._directory) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # a log goes when its file is closed
                    yield entry.name, entry.stat().st_size

    def _summary(self, path: Path, whole_upto: int = EVERYTHING, damaged: list[str] | None = None) -> Summary:
        damaged = self.damaged if damaged is None else damaged
        with opened(path, damaged) as connection:
            if connection is None:
                return Summary()
            with suppress_damage():
                return load(connection, whole_upto)
            return rebuild(connection, path.name, damaged)

    def _progress(self, damaged: list[str]) -> tuple[dict[str, Progress], int]:
        path = self._directory / FILE
        if path.exists():
            with opened(path, damaged) as connection, suppress_damage():
                if connection is not None:
                    (quarantined,) = connection.execute("SELECT count(*) FROM quarantine").fetchone()
                    return progress_in(connection), quarantined
        return {}, 0


def _keys(path: Path, device: str, limit: int) -> list[str]:
    """The newest keys of one file, oldest first."""
    with opened(path, []) as connection, suppress_damage():
        if connection is not None:
            query = "SELECT key FROM message_key WHERE device = ? ORDER BY id DESC LIMIT ?"
            return [key for (key,) in reversed(connection.execute(query, (device, limit)).fetchall())]
    return []


def _may_have(summary: Summary, selection: Selection) -> bool:
    return any(
        series.first_ns < selection.to_ns and series.last_ns >= selection.from_ns
        for (device, _, _), series in summary.series.items()
        if selection.devices is None or device in selection.devices
    )


def _touches(part: Slice, selection: Selection) -> bool:
    return any(
        span.first_ns < selection.to_ns and span.last_ns >= selection.from_ns
        for device, span in part.devices.items()
        if selection.devices is None or device in selection.devices
    )


def _lowest_later(parts: list[Slice]) -> list[dict[str, int]]:
    """For each part, device to the earliest time in the parts after it: up to there the order of time is settled."""
    lowest: dict[str, int] = {}
    later = []
    for part in reversed(parts):
        later.append(dict(lowest))
        for device, span in part.devices.items():
            lowest[device] = min(lowest.get(device, span.first_ns), span.first_ns)
    return later[::-1]
