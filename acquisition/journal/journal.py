"""The Journal: append until it is safe, read from a cursor, acknowledge, recover."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from acquisition.errors import JournalError
from acquisition.journal.batches import Batch, read_batch, total_at
from acquisition.journal.cursors import Cursors, Quarantined
from acquisition.journal.quarantine import line_of
from acquisition.journal.reader import JournalReader, JournalStat
from acquisition.journal.salvage import disk_errors
from acquisition.journal.store import Store
from acquisition.journal.writer import Committed, Writer
from acquisition.model import Observation

LOCK = "lock"


class Journal:
    """The journal of one bed; see the package's docstring. Entering opens it, leaving writes everything and closes it.

    Methods are for the event loop's thread.

    Args:
        directory: Made if it is not there.
        commit_interval_s: How long a group gathers before it is committed.
    """

    def __init__(self, directory: Path, *, commit_interval_s: float = 0.2) -> None:
        self._directory = directory
        self._interval_s = commit_interval_s
        self._lock: int | None = None
        self._end = Committed(0, 0, 0)
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Opens the journal, damaged or not.

        Raises:
            JournalError: the directory cannot be used, another process writes here, or a newer version did.
        """
        await asyncio.to_thread(self._open)
        self._writer = Writer(self._store, self._cursors, self._interval_s, self._committed, self._close)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Writes what was appended and closes."""
        await self._writer.close()

    def _open(self) -> None:
        with contextlib.ExitStack() as undo, _opening(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self._directory / LOCK)
            undo.callback(os.close, self._lock)
            self._cursors = Cursors(self._directory)
            undo.callback(self._cursors.close)
            self._store = Store(self._directory, self._cursors)
            self._end = Committed(self._store.last_seq, self._store.newest_ns, self._store.total)
            undo.pop_all()

    def _close(self) -> None:
        self._store.close()
        self._cursors.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _committed(self, end: Committed) -> None:
        self._end = end
        self._news.set()
        self._news = asyncio.Event()

    # -- writing -----------------------------------------------------------------------------------------------------

    def append(self, observations: Sequence[Observation], keys: Sequence[tuple[str, str]] = ()) -> asyncio.Future[None]:
        """Queues observations for the next group; never blocks.

        Args:
            observations: In the order in which they were made.
            keys: Device and key of messages that are complete with these observations.

        Returns:
            Done when all of it is on the disk; fails with JournalError if the disk refuses, if too much waits for it,
            or if an observation cannot be stored.
        """
        return self._writer.append(observations, keys)

    def begin_run(self, run: dict[str, Any]) -> dict[str, Any] | None:
        """Records the start of a run of the daemon, synced.

        Args:
            run: JSON values: start, boot id, version.

        Returns:
            The record of the run before, with `end_ns`: when it ended in order, None if it did not. None at first.

        Raises:
            JournalError: the disk refuses.
        """
        with _writing():
            return self._cursors.begin_run(run)

    def end_run(self, end_ns: int) -> None:
        """Records that the present run ends in order, synced.

        Raises:
            JournalError: the disk refuses.
        """
        with _writing():
            self._cursors.end_run(end_ns)

    # -- what is there -----------------------------------------------------------------------------------------------

    @property
    def newest_ns(self) -> int:
        """Latest time of anything, UTC nanoseconds; 0 if the journal is empty."""
        return self._end.newest_ns

    @property
    def last_seq(self) -> int:
        """Number of the last committed block; 0 if the journal is empty."""
        return self._end.last_seq

    @property
    def damaged(self) -> list[str]:
        """Reports of files that were found damaged and set aside."""
        return [*self._cursors.damaged, *self._store.damaged]

    def last_seen(self) -> dict[str, int]:
        """Device to the newest time of its numerics and waveforms, UTC nanoseconds."""
        return JournalReader(self._directory).last_seen()

    def keys(self, device: str, limit: int = 4096) -> list[str]:
        """The newest keys of a device's acknowledged messages, oldest first, from the two newest days."""
        return JournalReader(self._directory).keys(device, limit)

    def stat(self) -> JournalStat:
        """What the journal holds; cursors as they are now.

        Raises:
            JournalError: the disk cannot be read.
        """
        stat = JournalReader(self._directory).stat()
        cursors = self._cursors.all
        return replace(
            stat,
            cursors=cursors,
            backlog={sink: self.backlog(sink) for sink in cursors},
            quarantined=len(self.quarantined()),
        )

    # -- for forwarders ----------------------------------------------------------------------------------------------

    async def read(self, after_seq: int, max_points: int) -> Batch:
        """Whole blocks after a cursor, at least one if there is any; see `read_batch`.

        Raises:
            JournalError: the disk cannot be read now.
        """
        return await asyncio.to_thread(read_batch, self._directory, after_seq, max_points, self._end.last_seq)

    async def wait_for_new(self, after_seq: int) -> None:
        """Returns when there is a committed block after `after_seq`."""
        while self._end.last_seq <= after_seq:
            await self._news.wait()

    def cursor(self, sink: str) -> int:
        """Number of the last block that a sink has; 0 at first."""
        return self._cursors.get(sink)

    def commit_cursor(self, sink: str, seq: int) -> None:
        """Notes that a sink has everything up to `seq`; a smaller one than before changes nothing.

        Written by the writer's thread; after a crash the cursor may be an older one.
        """
        self._cursors.set(sink, seq)
        self._writer.wake()

    def backlog(self, sink: str) -> int:
        """Points that a sink does not have yet: numerics, samples and events.

        Raises:
            JournalError: the disk cannot be read now.
        """
        with disk_errors():
            return max(0, self._end.total - total_at(self._directory, self._cursors.get(sink)))

    def quarantine(self, sink: str, observation: Observation, reason: str) -> None:
        """Keeps an observation that a sink will never take, with the reason; before its cursor passes it."""
        self._cursors.quarantine(Quarantined(sink, reason, line_of(observation)))
        self._writer.wake()

    def quarantined(self, sink: str | None = None) -> list[Quarantined]:
        """What a sink, or any, rejected, oldest first."""
        return self._cursors.quarantined(sink)


def _locked(path: Path) -> int:
    """A descriptor of the lock file that holds the lock until it is closed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace")
        os.close(descriptor)
        raise JournalError(
            f"{path.parent}: another process writes this journal", hint=f"stop process {owner or 'that holds it'} first"
        ) from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def _opening(directory: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise JournalError(
            f"{directory}: the journal cannot be opened: {error}", hint="is the directory writable and the disk sound?"
        ) from error


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise JournalError(f"the journal was not written: {error}", hint="is the disk full or read-only?") from error
