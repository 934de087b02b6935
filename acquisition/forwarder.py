"""Carries the journal to one sink: in order, at least once, with all the patience that sinks do not have.

A delivery that fails for want of the server is tried again for ever. A batch that the server will never take is halved
until what it rejects stands alone; that is quarantined with the server's reason, and its neighbours are delivered.
InfluxDB 1.x stores the good points of a batch it answers with 400; delivering them again is harmless.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, TypeVar

from acquisition.clock import NS, Clock
from acquisition.errors import SinkRefusedError, SinkRejectedError, SinkTooLargeError, SinkUnavailableError
from acquisition.interfaces import Sink
from acquisition.model import Numerics, Observation, Waveform

logger = logging.getLogger(__name__)

FIRST_BACKOFF_S = 1.0
LONGEST_RETRY_AFTER_S = 3600.0
"""No server silences us for longer, whatever it asks."""

Piece = tuple[Observation, ...]
Divisible = TypeVar("Divisible", Numerics, Waveform)


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


class Journal(Protocol):
    """What a forwarder needs of the journal."""

    async def read(self, after_seq: int, max_points: int) -> Batch:
        """What follows `after_seq`, about `max_points` at most; `last_seq` equals `after_seq` if nothing does."""
        ...

    async def wait_for_new(self, after_seq: int) -> None:
        """Returns when there is something after `after_seq`."""
        ...

    def cursor(self, sink: str) -> int:
        """The last sequence number that this sink has."""
        ...

    def commit_cursor(self, sink: str, seq: int) -> None:
        """Records that the sink has everything up to `seq`."""
        ...

    def quarantine(self, sink: str, observation: Observation, reason: str) -> None:
        """Records that the sink will never take this; after a crash before the cursor it is recorded again."""
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
        cursor: Last sequence number that the sink has.
        backoff_until_ns: UTC of the next attempt, while waiting for it.
    """

    state: ForwarderState = ForwarderState.IDLE
    delivered: int = 0
    quarantined: int = 0
    last_error: str = ""
    last_success_ns: int | None = None
    attempts: int = 0
    cursor: int = 0
    backoff_until_ns: int | None = None


class Forwarder:
    """One sink's reader of the journal.

    Args:
        name: Name of the sink; its cursor's name in the journal.
        sink: Where to.
        journal: Where from.
        clock: Stamps successes and the end of a wait.
        batch_points: How many points to deliver at once.
        max_backoff_s: Longest wait of our own choice between two attempts.
        rng: Spreads the attempts of many beds after an outage they share.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        journal: Journal,
        clock: Clock,
        *,
        rng: random.Random,
        batch_points: int = 5000,
        max_backoff_s: float = 60.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self._sink = sink
        self._journal = journal
        self._clock = clock
        self._rng = rng
        self._batch_points = batch_points
        self._max_backoff_s = max_backoff_s
        self._sleep = sleep
        self._status = ForwarderStatus()

    @property
    def status(self) -> ForwarderStatus:
        """How it stands now."""
        return self._status

    async def run(self) -> None:
        """Forwards for ever.

        Raises:
            JournalError: the journal cannot be read, or the cursor not be written.
        """
        cursor = self._journal.cursor(self.name)
        self._status = replace(self._status, cursor=cursor)
        async with self._sink:
            while True:
                batch = await self._journal.read(cursor, self._batch_points)
                if batch.last_seq == cursor:
                    self._status = replace(self._status, state=ForwarderState.IDLE)
                    await self._journal.wait_for_new(cursor)
                    continue
                for report in batch.damaged:
                    logger.error("sink %s will not get what the journal lost: %s", self.name, report)
                await self._carry(tuple(batch.observations))
                cursor = batch.last_seq
                self._journal.commit_cursor(self.name, cursor)
                self._status = replace(self._status, cursor=cursor)
                await asyncio.sleep(0)

    async def _carry(self, batch: Piece) -> None:
        """Returns when the sink has everything of the batch except what was quarantined."""
        pieces = [batch] if batch else []
        quarantined_before, reason = self._status.quarantined, ""
        while pieces:
            piece = pieces.pop()
            try:
                await self._deliver(piece)
            except (SinkTooLargeError, SinkRejectedError) as error:
                # A block of samples shares one fate with the server, except for its size.
                parts = _halves(piece, samples=isinstance(error, SinkTooLargeError))
                if parts:
                    pieces += reversed(parts)
                else:
                    self._quarantine(piece[0], str(error))
                    reason = str(error)
        if reason:
            count = self._status.quarantined - quarantined_before
            logger.warning("sink %s: quarantined %d points, the last because: %s", self.name, count, reason)

    async def _deliver(self, piece: Piece) -> None:
        """Tries until the server answers for this piece.

        Raises:
            SinkTooLargeError: it never will in one piece.
            SinkRejectedError: it never will with everything in it.
        """
        while True:
            self._status = replace(self._status, state=ForwarderState.DELIVERING, backoff_until_ns=None)
            try:
                await self._sink.deliver(piece)
            except SinkUnavailableError as error:
                await self._back_off(error)
            except (SinkTooLargeError, SinkRejectedError):
                self._status = replace(self._status, attempts=0)
                raise
            else:
                if self._status.attempts:
                    logger.info("sink %s: delivers again after %d attempts", self.name, self._status.attempts)
                self._status = replace(
                    self._status,
                    delivered=self._status.delivered + _points(piece),
                    last_success_ns=self._clock.now().utc_ns,
                    last_error="",
                    attempts=0,
                )
                return

    async def _back_off(self, error: SinkUnavailableError) -> None:
        attempts = self._status.attempts + 1
        if error.retry_after_s is not None:
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
        quarantined = self._status.quarantined + _points((observation,))
        self._status = replace(self._status, quarantined=quarantined, last_error=reason)


def _points(piece: Piece) -> int:
    return sum(len(one.raw) // 4 if isinstance(one, Waveform) else 1 for one in piece)


def _halves(piece: Piece, *, samples: bool) -> list[Piece]:
    """Two smaller pieces, earlier first; none if this is the smallest there is.

    Numerics fall apart into channels, so that one that the server rejects does not keep the others from it. With
    `samples`, a block of a waveform falls apart into two.
    """
    if len(piece) > 1:
        middle = len(piece) // 2
        return [piece[:middle], piece[middle:]]
    match piece[0]:
        case Numerics() as numerics:
            channels = list(dict.fromkeys([*numerics.values, *numerics.states]))
            if len(channels) > 1:
                middle = len(channels) // 2
                return [(_only(numerics, channels[:middle]),), (_only(numerics, channels[middle:]),)]
        case Waveform() as wave if samples and len(wave.raw) > 4:
            middle = len(wave.raw) // 8 * 4
            later = wave.time_ns + middle // 4 * wave.period_ns
            return [(_changed(wave, raw=wave.raw[:middle]),), (_changed(wave, raw=wave.raw[middle:], time_ns=later),)]
    return []


def _only(numerics: Numerics, channels: Sequence[str]) -> Numerics:
    return _changed(
        numerics,
        values={channel: value for channel, value in numerics.values.items() if channel in channels},
        states={channel: state for channel, state in numerics.states.items() if channel in channels},
        quality={channel: quality for channel, quality in numerics.quality.items() if channel in channels},
    )


def _changed(observation: Divisible, **changes: object) -> Divisible:
    # Not model_copy, which would carry the cached counts of a waveform along.
    return type(observation).model_validate(observation.model_dump() | changes)
