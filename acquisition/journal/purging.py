"""Deletes readings from day files that nobody writes to: windows of time, cut to the sample.

A touched day file is written anew without them and takes the old one's place in one step. Rows keep their numbers, so
that what sinks have stays true. A row that cannot be read goes with a touched file: nobody can say whose it is.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acquisition.clock import rfc3339
from acquisition.errors import JournalError
from acquisition.journal.anew import repaired
from acquisition.journal.codec import Codec, compress, encode, points
from acquisition.journal.journal import LOCK
from acquisition.journal.merged import MERGED, Original, merged
from acquisition.journal.placing import take_place
from acquisition.journal.quarantine import Quarantine, observation_of
from acquisition.journal.salvage import Selection, block_rows, disk_errors, opened
from acquisition.journal.schema import Block, create_tables, day_files, insert
from acquisition.journal.summary import write_sums
from acquisition.journal.window import within
from acquisition.model import Observation, Waveform, json_line

_END = 2**63 - 1

Keep = Callable[[Observation], Sequence[Observation]]
"""What of an observation stays: itself alone, parts of a waveform, or nothing."""


@dataclass(frozen=True)
class Window:
    """Readings to be deleted: from a time up to and without another, of some devices or of all but `spared`."""

    from_ns: int
    to_ns: int = _END
    devices: frozenset[str] = frozenset()
    spared: frozenset[str] = frozenset()

    def touches(self, device: str, first_ns: int, last_ns: int) -> bool:
        """Whether anything of a device between two times may lie within."""
        ours = device in self.devices if self.devices else device not in self.spared
        return ours and first_ns < self.to_ns and last_ns >= self.from_ns

    def without(self, observation: Observation) -> list[Observation]:
        """What of an observation is outside of the window."""
        if not self.touches(observation.device, -_END, _END):
            return [observation]
        parts = (within(observation, -_END, self.from_ns), within(observation, self.to_ns, _END))
        return [part for part in parts if part is not None]


@dataclass
class Purged:
    """What went of one device and channel.

    Attributes:
        device: Configured id.
        kind: `numerics`, `waveform` or `event`.
        channel: Of a waveform.
        points: Numerics, samples or events.
        first_ns: Time of the earliest.
        last_ns: Time of the latest, or of the last piece of a waveform.
    """

    device: str
    kind: str
    channel: str
    points: int = 0
    first_ns: int = _END
    last_ns: int = -_END
    digest: Any = field(default_factory=hashlib.sha256, repr=False)

    def add(self, gone: Observation) -> None:
        """Counts an observation."""
        self.points += points(gone)
        self.first_ns, self.last_ns = min(self.first_ns, gone.time_ns), max(self.last_ns, gone.time_ns)
        if isinstance(gone, Waveform):
            self.digest.update(f"{gone.time_ns} {gone.period_ns} {gone.scale!r} {gone.offset!r} ".encode() + gone.raw)
        else:
            self.digest.update(json_line(gone).encode() + b"\n")

    @property
    def told(self) -> dict[str, Any]:
        """For a tombstone, JSON values."""
        return {
            "device": self.device,
            "kind": self.kind,
            "channel": self.channel,
            "points": self.points,
            "from": rfc3339(self.first_ns),
            "to": rfc3339(self.last_ns),
            "sha256": self.digest.hexdigest(),
        }


class Gone:
    """What went, by device, kind and channel."""

    def __init__(self) -> None:
        self._purged: dict[tuple[str, str, str], Purged] = {}

    def add(self, observation: Observation) -> None:
        """Counts an observation."""
        channel = observation.channel if isinstance(observation, Waveform) else ""
        key = observation.device, observation.kind, channel
        self._purged.setdefault(key, Purged(*key)).add(observation)

    @property
    def sorted(self) -> list[Purged]:
        """In the order of device, kind and channel."""
        return [self._purged[key] for key in sorted(self._purged)]


def purge(
    directory: Path, windows: Sequence[Window], is_gone: Callable[[Observation], bool], damaged: list[str]
) -> list[Purged]:
    """Deletes what lies in a window, and whatever else `is_gone` says of, from day files and quarantine.

    The caller holds the journal with `alone`.

    Args:
        directory: Of the journal.
        windows: Any number of them.
        is_gone: Asked of every event.
        damaged: Takes a report of every row that could not be read in a file that was written anew.

    Returns:
        What went, in the order of device, kind and channel.

    Raises:
        JournalError: the disk refuses; what went before is gone, and a second purge goes on from there.
    """
    gone = Gone()

    def keep(observation: Observation) -> list[Observation]:
        return [] if observation.kind == "event" and is_gone(observation) else outside(windows, observation)

    with disk_errors():
        for path in day_files(directory):
            purge_file(repaired(path), windows, keep, gone.add, damaged)
        quarantine = Quarantine(directory)
        for entry in quarantine.entries():
            rejected = observation_of(entry)
            if list(keep(rejected)) != [rejected]:
                quarantine.strike_off(entry)
    return gone.sorted


def outside(windows: Sequence[Window], observation: Observation) -> list[Observation]:
    """What of an observation is in none of the windows."""
    left = [observation]
    for window in windows:
        left = [part for each in left for part in window.without(each)]
    return left


def purge_file(
    path: Path,
    windows: Sequence[Window],
    keep: Keep,
    count: Callable[[Observation], None],
    damaged: list[str],
    *,
    careful: bool = False,
) -> bool:
    """Writes one day file anew without what goes; the caller holds the journal, or the day is over.

    Args:
        path: Of the file.
        windows: Where anything may go, beside events.
        keep: What of an observation stays.
        count: Is told of each part that goes.
        damaged: Takes a report of every row that could not be read.
        careful: Whether the file stays as it is where something in it cannot be read: it may be anybody's.

    Returns:
        Whether the file was written anew.

    Raises:
        JournalError: somebody reads its log.
        sqlite3.Error: the disk refuses; nothing has changed.
        OSError: likewise.
    """
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    changed = False
    unread: list[str] = []
    try:
        with opened(path, unread) as old:
            if old is None:
                return False
            with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode=OFF")
                connection.execute("PRAGMA synchronous=OFF")
                create_tables(connection)
                connection.execute("BEGIN")
                for row, content in block_rows(old, path.name, Selection(), unread):
                    asked = row.kind == "event" or any(
                        window.touches(row.device, row.first_ns, row.last_ns) for window in windows
                    )
                    left = _left(content, keep) if asked or not content else list(content)
                    changed |= left != list(content)
                    if content and left == list(content):
                        insert(connection, [row])
                    elif left:
                        insert(connection, _again(row, left))
                    for each in content:
                        for observation in each.observations if asked else ():
                            _count_gone(observation, keep(observation), count)
                connection.executemany(
                    "INSERT INTO message_key VALUES (?,?,?)", old.execute("SELECT * FROM message_key").fetchall()
                )
                write_sums(connection, path.name)
                connection.execute("COMMIT")
        if changed or careful:
            damaged += unread
        if changed and not (careful and unread):
            _take_place(fresh, path)
            return True
        return False
    finally:
        fresh.unlink(missing_ok=True)


def _count_gone(whole: Observation, left: Sequence[Observation], count: Callable[[Observation], None]) -> None:
    if list(left) == [whole]:
        return
    if not isinstance(whole, Waveform) or not left:
        count(whole)
        return
    at = whole.time_ns
    ends = [each.end_ns for each in left if isinstance(each, Waveform)]
    for start, end in zip([*(each.time_ns for each in left), whole.end_ns], [*ends, whole.end_ns], strict=True):
        piece = within(whole, at, start)
        if piece is not None:
            count(piece)
        at = end


def _left(content: Sequence[Original], keep: Keep) -> list[Original]:
    left = (Original(each.seq, tuple(part for one in each.observations for part in keep(one))) for each in content)
    return [each for each in left if each.observations]


def _again(row: Block, left: Sequence[Original]) -> list[Block]:
    """The row with what is left of it; number, range and total stay those of the row."""
    parts = [
        row._replace(
            seq=each.seq,
            first_ns=min(one.time_ns for one in each.observations),
            last_ns=max(_last_ns(one) for one in each.observations),
            points=each.points,
        )
        for each in left
    ]
    parts[-1] = parts[-1]._replace(seq=row.seq)
    if row.codec & MERGED:
        return merged(parts, left, row.since)
    codec = Codec.DELTA_PLANES if row.kind == "waveform" else Codec.JSON_LINES
    return [parts[-1]._replace(codec=int(codec), payload=compress(encode(codec, left[0].observations))).sealed()]


def _last_ns(observation: Observation) -> int:
    if isinstance(observation, Waveform):
        return max(observation.time_ns, observation.end_ns - observation.period_ns)
    return observation.time_ns


def _take_place(fresh: Path, path: Path) -> None:
    """What the old file's log has is in the new file; met beside it, it would be taken for the new one's own."""
    for suffix in ("-wal", "-shm"):
        log = path.with_name(f"{path.name}{suffix}")
        if suffix == "-wal" and log.exists() and log.stat().st_size:
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise JournalError(f"{path.name}: somebody reads it", hint="end what reads the journal and try again")
        log.unlink(missing_ok=True)
    take_place(fresh, path)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Holds the journal as a daemon would.

    Raises:
        JournalError: a daemon does.
    """
    try:
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise JournalError(f"{directory}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise JournalError(
            f"{directory}: the daemon writes this journal", hint="stop it first: systemctl stop ecmo-daq"
        ) from error
    finally:
        os.close(descriptor)
