"""Has a forwarder's next batch read and prepared while the sink is busy with the one before; one batch, no more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, NamedTuple, Protocol, Self

from acquisition.interfaces import Prepared
from acquisition.lanes import Span
from acquisition.model import Observation


class Batch(Protocol):
    """Consecutive observations of the journal; `last_seq` is where the next read goes on, even if there are none."""

    @property
    def observations(self) -> Sequence[Observation]:
        """Oldest first."""
        ...

    @property
    def last_seq(self) -> int:
        """Sequence number of the last one."""
        ...

    @property
    def damaged(self) -> Sequence[str]:
        """Reports of what lies between and can no longer be read."""
        ...


class Wish(NamedTuple):
    """A batch that is wanted: the blocks from the beginning of the span, about `max_points` of them at most."""

    span: Span
    max_points: int


@dataclass(frozen=True, slots=True)
class Ready(Generic[Prepared]):
    """A batch, and what the sink made of it."""

    batch: Batch
    prepared: Prepared


class ReadAhead(Generic[Prepared]):
    """Reads batches, on demand and one ahead. Leaving gives up what is under way.

    What was read ahead is handed out only if reading now would give the same: the wish may have changed while the sink
    was busy, or away. Else it is kept for the wish after this, which often is the one it was read for.

    Args:
        read: The journal's; see `forwarder.Journal.read`.
        prepare: The sink's; runs in another thread.
    """

    def __init__(
        self,
        read: Callable[[int, int, int], Awaitable[Batch]],
        prepare: Callable[[Sequence[Observation]], Prepared],
    ) -> None:
        self._read = read
        self._prepare = prepare
        self._ahead: tuple[Wish, asyncio.Task[Ready[Prepared]]] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._drop()

    def begin(self, wish: Wish) -> None:
        """Reads in the background what will probably be taken next."""
        if self._ahead is None or self._ahead[0] != wish:
            self._drop()
            self._ahead = (wish, asyncio.create_task(self._fetch(wish)))

    async def take(self, wish: Wish) -> Ready[Prepared]:
        """The batch, at once if it was read ahead.

        Raises:
            JournalError: the journal cannot be read.
        """
        if self._ahead is not None:
            expected, task = self._ahead
            if (expected.span.after, expected.max_points) == (wish.span.after, wish.max_points):
                self._ahead = None
                ready = await task
                if expected == wish or ready.batch.last_seq < expected.span.upto:
                    return ready
        return await self._fetch(wish)

    async def _fetch(self, wish: Wish) -> Ready[Prepared]:
        batch = await self._read(wish.span.after, wish.max_points, wish.span.upto)
        return Ready(batch, await asyncio.to_thread(self._prepare, batch.observations))

    def _drop(self) -> None:
        if self._ahead is not None:
            _, task = self._ahead
            self._ahead = None
            task.cancel()
            # What went wrong with a batch that nobody wants goes wrong again when it is wanted.
            task.add_done_callback(lambda dropped: dropped.cancelled() or dropped.exception())
