"""The Journal: append until it is safe, read from a cursor, acknowledge, recover."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from acquisition.errors import JournalError
from acquisition.journal.backlog import SinkBytes, backlogs, oldest_after, sink_bytes
from acquisition.journal.batches import Batch, read_batch
from acquisition.journal.cursors import Cursors, Quarantined
from acquisition.journal.dropping import Dropped, discard_unfinished
from acquisition.journal.quarantine import line_of
from acquisition.journal.reader import JournalReader, JournalStat
from acquisition.journal.remembering import Remembering
from acquisition.journal.retention import Limits
from acquisition.journal.salvage import disk_errors
from acquisition.journal.store import Store
from acquisition.journal.tidying import RESERVE, Tidying
from acquisition.journal.writer import Committed, Writer
from acquisition.lanes import LATE_NS, Progress
from acquisition.model import Observation

LOCK = "lock"
REMEMBERED = 2
"""Merged ranges whose blocks are kept at hand, so that two sinks that catch up at two places need not take turns."""
_FULL_BYTES = 1 << 20


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
        self._ends = deque([self._end])
        self._news = asyncio.Event()
        self._decode = Remembering(REMEMBERED)
        self._refusal = ""
        self._refused = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Opens the journal, damaged or not.

        Raises:
            JournalError: the directory cannot be used, another process writes here, or a newer version did.
        """
        await asyncio.to_thread(self._open)
        self._writer = Writer(
            self._store, self._cursors, self._interval_s, self._committed, self._refused_by_disk, self._close
        )
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
            discard_unfinished(self._directory)
            if _is_full(self._directory):
                # To read what is in a log, SQLite has to make a file beside it.
                (self._directory / RESERVE).unlink(missing_ok=True)
            self._cursors = Cursors(self._directory)
            undo.callback(self._cursors.close)
            self._store = Store(self._directory, self._cursors)
            self._end = Committed(self._store.last_seq, self._store.newest_ns, self._store.total)
            self._ends = deque([self._end])
            undo.pop_all()

    def _close(self) -> None:
        self._store.close()
        self._cursors.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _committed(self, end: Committed) -> None:
        self._end = end
        self._refusal = ""
        self._refused.clear()
        self._ends.append(end)
        while self._ends[1].newest_ns < end.newest_ns - LATE_NS:
            self._ends.popleft()
        self._news.set()
        self._news = asyncio.Event()

    def _refused_by_disk(self, cause: str) -> None:
        self._refusal = _in_words(cause, self._directory)
        self._refused.set()

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

    def sign_of_life(self) -> asyncio.Future[None]:
        """Done when the writer's thread has come round once more; refusals of the disk are none of its business."""
        return self._writer.between_groups(lambda: None)

    # -- space -------------------------------------------------------------------------------------------------------

    async def tidy(self, limits: Limits, sinks: Collection[str], now_ns: int) -> list[Dropped]:
        """Drops what `limits` do not allow to stay; see `retention.plan`.

        Past days are worked on in another thread; only the present day's waveforms are dropped by the writer's.

        Args:
            limits: How much disk the journal may take.
            sinks: Those that must have a file before it goes below the quota; other cursors count for nothing.
            now_ns: UTC nanoseconds.

        Returns:
            What went, in the order in which it went.

        Raises:
            JournalError: the disk cannot be read now.
        """
        cursors = {sink: self._cursors.get(sink).cursor for sink in sinks}
        tidying = Tidying(self._directory, limits, cursors, now_ns)
        with disk_errors():
            while (step := await asyncio.to_thread(tidying.advance)) is not None:
                with tidying.attempt(step):
                    tidying.done(await self._writer.between_groups(partial(self._store.trim, step.need, cursors)))
        return tidying.dropped

    @property
    def refusal(self) -> str:
        """Why the disk refused the last group; empty when it took it."""
        return self._refusal

    async def wait_for_refusal(self) -> None:
        """Returns when the disk refuses to write."""
        await self._refused.wait()

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
        """What the journal holds; what each sink has is as of now.

        Raises:
            JournalError: the disk cannot be read.
        """
        stat = JournalReader(self._directory).stat()
        progress = self._cursors.all
        with disk_errors():
            backlog = backlogs(self._directory, self._end.total, progress)
        return replace(stat, progress=progress, backlog=backlog, quarantined=len(self.quarantined()))

    # -- for forwarders ----------------------------------------------------------------------------------------------

    async def read(self, after_seq: int, max_points: int, upto_seq: int | None = None) -> Batch:
        """Whole blocks after a number, and up to another, at least one if there is any; see `read_batch`.

        A batch is bounded by what it weighs: here each value and state of numerics is a point.

        Raises:
            JournalError: the disk cannot be read now.
        """
        upto = self._end.last_seq if upto_seq is None else min(upto_seq, self._end.last_seq)
        return await asyncio.to_thread(read_batch, self._directory, after_seq, max_points, upto, self._decode)

    async def wait_for_new(self, after_seq: int) -> None:
        """Returns when there is a committed block after `after_seq`."""
        while self._end.last_seq <= after_seq:
            await self._news.wait()

    def seq_before(self, age_ns: int) -> int:
        """Number of the last block before the newest `age_ns` of data; what was there at the opening counts as old.

        Args:
            age_ns: At most `LATE_NS`; nothing older is remembered.
        """
        until = self._end.newest_ns - age_ns
        return next((end.last_seq for end in reversed(self._ends) if end.newest_ns < until), self._ends[0].last_seq)

    def progress(self, sink: str) -> Progress:
        """What a sink has; nothing at first."""
        return self._cursors.get(sink)

    def commit(self, sink: str, progress: Progress) -> None:
        """Notes what a sink has, beside all that was noted before.

        Written by the writer's thread; after a crash it may be less.
        """
        self._cursors.set(sink, progress)
        self._writer.wake()

    def backlog(self, sink: str) -> int:
        """Points that a sink does not have yet: numerics, samples and events.

        Raises:
            JournalError: the disk cannot be read now.
        """
        with disk_errors():
            return backlogs(self._directory, self._end.total, {sink: self._cursors.get(sink)})[sink]

    def sink_bytes(self, sink: str, backlog: int) -> SinkBytes:
        """What waits for a sink on the disk, about, and what would be deleted before it.

        Args:
            sink: Its name.
            backlog: What `backlog` says of it.

        Raises:
            OSError: the directory cannot be read.
            JournalError: the disk cannot be read now.
        """
        with disk_errors():
            return sink_bytes(self._directory, self._end.total, self._cursors.get(sink).cursor, backlog)

    def oldest_unsent(self, sink: str) -> int | None:
        """UTC nanoseconds at which the first block that a sink does not have begins; None if it has everything.

        Raises:
            JournalError: the disk cannot be read now.
        """
        cursor = self._cursors.get(sink).cursor
        with disk_errors():
            return oldest_after(self._directory, cursor) if cursor < self._end.last_seq else None

    def quarantine(self, sink: str, observation: Observation, reason: str) -> None:
        """Keeps an observation that a sink will never take, with the reason; before the sink counts as having it."""
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
        with contextlib.suppress(OSError):  # on a full disk; it only helps a person
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


def _is_full(directory: Path) -> bool:
    try:
        return shutil.disk_usage(directory).free < _FULL_BYTES
    except OSError:
        return False


def _in_words(cause: str, directory: Path) -> str:
    """Of a full disk SQLite may only say that a file it needs cannot be made."""
    return f"{cause}; the disk is full" if "full" not in cause and _is_full(directory) else cause


@contextlib.contextmanager
def _opening(directory: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise JournalError(
            f"{directory}: the journal cannot be opened: {_in_words(str(error), directory)}",
            hint="is the directory writable and the disk sound?",
        ) from error


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise JournalError(f"the journal was not written: {error}", hint="is the disk full or read-only?") from error
