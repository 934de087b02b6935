"""The one thread that writes: it gathers appends for an interval and commits them as one group."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from acquisition.errors import JournalError
from acquisition.journal.codec import Packed, pack
from acquisition.journal.cursors import Cursors
from acquisition.journal.store import Store
from acquisition.model import Event, Numerics, Observation, Waveform

logger = logging.getLogger(__name__)

MAX_WAITING_BYTES = 64 << 20
_OBJECT_BYTES = 1000
"""An observation without its contents, measured with tracemalloc and rounded up."""
_VALUE_BYTES = 150

FULL_BYTES = 4 << 20
"""A group that is as large goes at once: gathering more would make it no cheaper, and its readings late."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Committed:
    """Where the journal ends now: `seq` of the last block, latest time, points up to here."""

    last_seq: int
    newest_ns: int
    total: int


@dataclass(frozen=True, slots=True)
class _Append:
    observations: tuple[Observation, ...]
    keys: tuple[tuple[str, str], ...]
    future: asyncio.Future[None]
    size: int


class Writer:
    """Takes appends on the event loop's thread and answers there.

    Args:
        store: Where groups go; used by this thread alone until `closed` is called.
        cursors: Flushed after each group.
        interval_s: How long a group gathers.
        on_commit: Called on the loop's thread after each group.
        on_refusal: Called on the loop's thread, with the reason, when the disk refused a group.
        on_end: Called on the writer's thread when everything is written.
    """

    def __init__(
        self,
        store: Store,
        cursors: Cursors,
        interval_s: float,
        on_commit: Callable[[Committed], None],
        on_refusal: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        self._store = store
        self._cursors = cursors
        self._interval_s = interval_s
        self._on_commit = on_commit
        self._on_refusal = on_refusal
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._state = threading.Condition()
        self._waiting: list[_Append] = []
        self._waiting_bytes = 0
        self._waiting_since_s = 0.0
        self._errands: list[Callable[[], None]] = []
        self._closing = False
        self._refusal: str | None = None
        self._complaint = ""
        # A daemon thread, so that an interpreter that dies without closing the journal dies.
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    # -- the loop's side ---------------------------------------------------------------------------------------------

    def append(self, observations: Sequence[Observation], keys: Sequence[tuple[str, str]]) -> asyncio.Future[None]:
        """Queues observations and keys; see `Journal.append`."""
        future: asyncio.Future[None] = self._loop.create_future()
        append = _Append(tuple(observations), tuple(keys), future, sum(map(_size, observations)) + 200 * len(keys))
        with self._state:
            refusal = self._refused(append)
            if refusal is None:
                self._waiting.append(append)
                self._waiting_bytes += append.size
                if len(self._waiting) == 1:
                    self._waiting_since_s = self._loop.time()
                    self._state.notify()
                elif self._waiting_bytes >= FULL_BYTES:
                    self._state.notify()
        if refusal is not None:
            future.set_exception(refusal)
        return future

    def _refused(self, append: _Append) -> JournalError | None:
        if self._closing:
            return JournalError("the journal is closed")
        if self._waiting_bytes + append.size > MAX_WAITING_BYTES:
            return JournalError(
                f"{self._waiting_bytes >> 20} MiB wait for the disk", hint="the disk is too slow or stalls: replace it"
            )
        return _refused_by_disk(self._refusal) if self._refusal is not None else None

    def wake(self) -> None:
        """There are cursors to write."""
        with self._state:
            self._state.notify()

    def between_groups(self, work: Callable[[], Answer]) -> asyncio.Future[Answer]:
        """Has the writer's thread do something with the store; the future has the answer or the error."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        with self._state:
            if self._closing:
                future.set_exception(JournalError("the journal is closed"))
            else:
                self._errands.append(partial(self._run_errand, work, future))
                self._state.notify()
        return future

    async def close(self) -> None:
        """Returns when everything appended is written or refused."""
        with self._state:
            self._closing = True
            self._state.notify()
        await asyncio.to_thread(self._thread.join)

    # -- the writer's side -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._gather():
                self._write_waiting()
                self._flush_cursors()
                self._run_errands()
                self._merge()
            self._flush_cursors()
            self._run_errands()
        finally:
            self._on_end()

    def _gather(self) -> bool:
        """Waits for something to do and for the interval; False when there will be no more."""
        with self._state:
            self._state.wait_for(lambda: self._waiting or self._cursors.unwritten or self._errands or self._closing)
            if self._closing and not self._waiting:
                return False
            # From the first append on, whatever was being written or merged when it came.
            begin_s = self._waiting_since_s if self._waiting else self._loop.time()
            wait_s = begin_s + self._interval_s - self._loop.time()
            self._state.wait_for(lambda: self._closing or self._waiting_bytes >= FULL_BYTES, max(0.0, wait_s))
        return True

    def _run_errands(self) -> None:
        with self._state:
            errands, self._errands = self._errands, []
        for errand in errands:
            errand()

    def _run_errand(self, work: Callable[[], Answer], future: asyncio.Future[Answer]) -> None:
        tell: Callable[[], None]
        try:
            tell = partial(future.set_result, work())
        except Exception as error:  # noqa: BLE001 - who asked is told, and the writer goes on
            tell = partial(future.set_exception, error)
        self._on_loop(lambda: None if future.done() else tell())

    def _flush_cursors(self) -> None:
        try:
            if self._cursors.unwritten:
                self._cursors.flush()
        except (sqlite3.Error, OSError) as error:
            self._complain("cursors are not written", error)

    def _merge(self) -> None:
        try:
            self._store.merge()
        except Exception as error:  # noqa: BLE001 - what merges may fail, and the writer goes on
            logger.warning("small blocks are not merged, later again: %s", error)

    def _complain(self, what: str, error: Exception) -> None:
        """Logs once what repeats with every group until the disk takes one again."""
        complaint = f"{what}: {error}"
        if complaint != self._complaint:
            logger.error("%s", complaint, exc_info=not isinstance(error, (sqlite3.Error, OSError)))
        self._complaint = complaint

    def _write_waiting(self) -> None:
        with self._state:
            group, self._waiting = self._waiting, []
        if not group:
            return
        try:
            group, packed = self._packed(group)
            self._store.write(packed, [key for append in group for key in append.keys])
        except Exception as error:  # noqa: BLE001 - a writer that died would leave every session waiting for ever
            self._complain("the journal was not written", error)
            self._refuse(group, str(error))
        else:
            self._complaint = ""
            end = Committed(self._store.last_seq, self._store.newest_ns, self._store.total)
            self._answer(group, lambda: self._on_commit(end), None)

    def _refuse(self, group: list[_Append], cause: str) -> None:
        """Fails the group and everything behind it.

        Otherwise a message repeated meanwhile, whose first copy is lost with this group, could be noted as stored.
        """
        with self._state:
            group, self._waiting = [*group, *self._waiting], []
            self._refusal = cause

        def mend() -> None:
            with self._state:
                self._refusal = None

        def also() -> None:
            self._on_refusal(cause)
            # Callers learn of it through callbacks that the loop runs first.
            self._loop.call_soon(self._loop.call_soon, mend)

        self._answer(group, also, _refused_by_disk(cause))

    def _packed(self, group: list[_Append]) -> tuple[list[_Append], list[Packed]]:
        try:
            return group, pack(observation for append in group for observation in append.observations)
        except (ValueError, OverflowError):
            sound = [append for append in group if self._sound(append)]
            return sound, pack(observation for append in sound for observation in append.observations)

    def _sound(self, append: _Append) -> bool:
        try:
            pack(append.observations)
        except (ValueError, OverflowError) as error:
            logger.error("an observation cannot be stored: %s", error)
            self._answer([append], lambda: None, JournalError(f"an observation cannot be stored: {error}"))
            return False
        return True

    def _answer(self, group: list[_Append], also: Callable[[], object], error: JournalError | None) -> None:
        with self._state:
            self._waiting_bytes -= sum(append.size for append in group)

        def tell() -> None:
            also()
            for append in group:
                if append.future.done():
                    continue
                if error is None:
                    append.future.set_result(None)
                else:
                    append.future.set_exception(error)

        self._on_loop(tell)

    def _on_loop(self, tell: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(tell)


def _refused_by_disk(cause: str) -> JournalError:
    return JournalError(f"the journal was not written: {cause}", hint="is the disk full, read-only or failing?")


def _size(observation: Observation) -> int:
    match observation:
        case Waveform():
            return _OBJECT_BYTES + len(observation.raw)
        case Numerics():
            return _OBJECT_BYTES + _VALUE_BYTES * (len(observation.values) + len(observation.states))
        case Event():
            return _OBJECT_BYTES + len(observation.text) + _VALUE_BYTES * len(observation.detail)
