"""Carries the journal to one sink: at least once, the newest beside the oldest, with the patience that sinks lack.

While a batch is under way the next is read and prepared: what comes next is known, because no delivery is given up.
While there is a backlog, a batch of the newest readings and a batch of the oldest take turns; each lane is in order.
A delivery that fails for want of the server is tried again for ever. A batch that the server will never take is halved
until what it rejects stands alone; that is quarantined with the server's reason, and its neighbours are delivered.
InfluxDB 1.x stores the good points of a batch it answers with 400; delivering them again is harmless.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from acquisition.clock import NS, Clock
from acquisition.errors import (
    JournalError,
    SinkRefusedError,
    SinkRejectedError,
    SinkTooLargeError,
    SinkUnavailableError,
)
from acquisition.interfaces import Sink
from acquisition.lanes import LATE_NS, LIVE_NS, End, Lanes, Progress
from acquisition.model import Observation
from acquisition.pieces import Piece, halves, points
from acquisition.rate import Rate
from acquisition.read_ahead import Batch, ReadAhead, Ready, Wish

logger = logging.getLogger(__name__)

FIRST_BACKOFF_S = 1.0
SLOW_NS = NS // 2
"""On a line that takes longer for a batch, batches become smaller, so that live readings do not wait behind one."""
FEWEST_POINTS = 100
LONGEST_RETRY_AFTER_S = 3600.0
"""No server silences us for longer, whatever it asks."""


class Journal(Protocol):
    """What a forwarder needs of the journal."""

    async def read(self, after_seq: int, max_points: int, upto_seq: int) -> Batch:
        """What follows `after_seq` up to `upto_seq`; `last_seq` is past `after_seq`.

        About `max_points` at most, of which each value and state of numerics is one.
        """
        ...

    async def wait_for_new(self, after_seq: int) -> None:
        """Returns when there is something after `after_seq`."""
        ...

    @property
    def last_seq(self) -> int:
        """The last sequence number."""
        ...

    def seq_before(self, age_ns: int) -> int:
        """The last sequence number of what is older than that, measured from the newest."""
        ...

    def progress(self, sink: str) -> Progress:
        """What this sink has."""
        ...

    def commit(self, sink: str, progress: Progress) -> None:
        """Records what the sink has."""
        ...

    def quarantine(self, sink: str, observation: Observation, reason: str) -> None:
        """Records that the sink will never take this; after a crash before the commit it is recorded again."""
        ...


class ForwarderState(StrEnum):
    """What a forwarder is doing."""

    IDLE = "idle"
    DELIVERING = "delivering"
    WAITING = "waiting"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ForwarderStatus:
    """How a forwarder stands; for health, the page and people.

    Attributes:
        delivered: Points that the sink took since the start; a sample of a waveform is a point.
        quarantined: Points it will never take.
        last_error: What went wrong last, and what to mend if a person must; empty after a success.
        last_success_ns: UTC of the last delivery.
        attempts: Deliveries tried in a row without success.
        cursor: Up to this sequence number the sink has everything.
        points_per_second: Points delivered, over the last minute.
        backoff_until_ns: UTC of the next attempt, while waiting for it.
    """

    state: ForwarderState = ForwarderState.IDLE
    delivered: int = 0
    quarantined: int = 0
    last_error: str = ""
    last_success_ns: int | None = None
    attempts: int = 0
    cursor: int = 0
    points_per_second: float = 0.0
    backoff_until_ns: int | None = None


class Forwarder:
    """One sink's reader of the journal.

    Args:
        name: Name of the sink; its cursor's name in the journal.
        sink: Where to: a sink, or what gives one when it is entered. While that is refused it is tried again, like a
            delivery.
        journal: Where from.
        clock: Stamps successes and the end of a wait.
        batch_points: How many samples, values, states and events to deliver at once, on a line that is fast enough; see
            `SLOW_NS`.
        max_backoff_s: Longest wait of our own choice between two attempts.
        rng: Spreads the attempts of many beds after an outage they share.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        name: str,
        sink: AbstractAsyncContextManager[Sink[Any]],
        journal: Journal,
        clock: Clock,
        *,
        rng: random.Random,
        batch_points: int = 10_000,
        max_backoff_s: float = 60.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self._destination = sink
        self._journal = journal
        self._clock = clock
        self._rng = rng
        self._batch_points = self._most_points = batch_points
        self._max_backoff_s = max_backoff_s
        self._sleep = sleep
        self._status = ForwarderStatus()
        self._sink: Sink[Any]
        self._rate = Rate(clock.now().mono_ns)

    @property
    def status(self) -> ForwarderStatus:
        """How it stands now."""
        return replace(self._status, points_per_second=self._rate.per_second(self._clock.now().mono_ns))

    async def run(self) -> None:
        """Forwards for ever.

        Whatever else goes wrong is a defect, which the supervisor starts again after. It is told like an outage, and
        counts as an attempt: acquisition must not be started again for it as for a forwarder that hangs.
        """
        try:
            while True:
                try:
                    async with self._destination as self._sink:
                        await self._forward()
                except SinkUnavailableError as error:  # of entering: those of a delivery do not come here
                    await self._back_off(error)
        except Exception as error:
            self._status = replace(
                self._status,
                state=ForwarderState.WAITING,
                last_error=f"{type(error).__name__}: {error}",
                attempts=self._status.attempts + 1,
            )
            raise

    async def _forward(self) -> None:
        lanes = Lanes(self._journal.progress(self.name))
        self._status = replace(self._status, cursor=lanes.progress.cursor)
        async with ReadAhead(self._journal.read, self._sink.prepare) as ahead:
            while True:
                if not (wish := self._wish(lanes)).span:
                    self._status = replace(self._status, state=ForwarderState.IDLE)
                    await self._journal.wait_for_new(lanes.progress.cursor)
                    continue
                ready = await self._take(ahead, wish)
                for report in ready.batch.damaged:
                    logger.error("sink %s will not get what the journal lost: %s", self.name, report)
                lanes = lanes.delivered(wish.span, ready.batch.last_seq)
                if (probably := self._wish(lanes)).span:
                    ahead.begin(probably)
                await self._carry(tuple(ready.batch.observations), ready.prepared)
                self._journal.commit(self.name, lanes.progress)
                self._status = replace(self._status, cursor=lanes.progress.cursor)
                await asyncio.sleep(0)

    def _wish(self, lanes: Lanes) -> Wish:
        end = End(
            self._journal.last_seq, live=self._journal.seq_before(LIVE_NS), late=self._journal.seq_before(LATE_NS)
        )
        return Wish(lanes.next_span(end), self._batch_points)

    async def _take(self, ahead: ReadAhead[Any], wish: Wish) -> Ready[Any]:
        while True:
            try:
                return await ahead.take(wish)
            except JournalError as error:
                await self._back_off(SinkUnavailableError(str(error)))

    async def _carry(self, batch: Piece, prepared: Any) -> None:
        """Returns when the sink has everything of the batch except what was quarantined."""
        pieces = [(batch, prepared)] if batch else []
        quarantined_before, reason = self._status.quarantined, ""
        while pieces:
            piece, prepared = pieces.pop()
            try:
                await self._deliver(prepared, points(piece))
            except (SinkTooLargeError, SinkRejectedError) as error:
                # A block of samples shares one fate with the server, except for its size.
                parts = halves(piece, samples=isinstance(error, SinkTooLargeError))
                pieces += [(part, await asyncio.to_thread(self._sink.prepare, part)) for part in reversed(parts)]
                if not parts:
                    self._quarantine(piece[0], str(error))
                    reason = str(error)
        if reason:
            count = self._status.quarantined - quarantined_before
            logger.warning("sink %s: quarantined %d points, the last because: %s", self.name, count, reason)

    async def _deliver(self, prepared: Any, count: int) -> None:
        """Tries until the server answers for this piece.

        Raises:
            SinkTooLargeError: it never will in one piece.
            SinkRejectedError: it never will with everything in it.
        """
        while True:
            self._status = replace(self._status, state=ForwarderState.DELIVERING, backoff_until_ns=None)
            begin_ns = self._clock.now().mono_ns
            try:
                await self._sink.deliver(prepared)
            except SinkUnavailableError as error:
                await self._back_off(error)
            except (SinkTooLargeError, SinkRejectedError):
                self._status = replace(self._status, attempts=0)
                raise
            else:
                if self._status.attempts:
                    logger.info("sink %s: delivers again after %d attempts", self.name, self._status.attempts)
                now = self._clock.now()
                self._rate.add(count, now.mono_ns)
                self._fit_batches(now.mono_ns - begin_ns)
                self._status = replace(
                    self._status,
                    delivered=self._status.delivered + count,
                    last_success_ns=now.utc_ns,
                    last_error="",
                    attempts=0,
                )
                return

    def _fit_batches(self, took_ns: int) -> None:
        if took_ns > SLOW_NS:
            self._batch_points = max(min(FEWEST_POINTS, self._most_points), self._batch_points // 2)
        elif took_ns < SLOW_NS // 4:
            self._batch_points = min(2 * self._batch_points, self._most_points)

    async def _back_off(self, error: SinkUnavailableError) -> None:
        attempts = self._status.attempts + 1
        # "In no seconds" is no answer: taken at its word, it has us send the same batch as fast as the line can.
        if error.retry_after_s:
            wait_s = min(error.retry_after_s, LONGEST_RETRY_AFTER_S)
        else:
            # Full jitter: any moment of the whole interval is as likely as any other.
            wait_s = self._rng.uniform(0, min(self._max_backoff_s, FIRST_BACKOFF_S * 2 ** min(attempts - 1, 32)))
        refused = isinstance(error, SinkRefusedError)
        if str(error) != self._status.last_error:
            logger.warning("sink %s: %s; trying again until it works, nothing is lost", self.name, error)
        self._status = replace(
            self._status,
            state=ForwarderState.REFUSED if refused else ForwarderState.WAITING,
            last_error=str(error),
            attempts=attempts,
            backoff_until_ns=self._clock.now().utc_ns + int(wait_s * NS),
        )
        await self._sleep(wait_s)

    def _quarantine(self, observation: Observation, reason: str) -> None:
        self._journal.quarantine(self.name, observation, reason)
        quarantined = self._status.quarantined + points((observation,))
        self._status = replace(self._status, quarantined=quarantined, last_error=reason)
