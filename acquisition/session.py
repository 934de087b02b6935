"""The only code that moves bytes: pumps a transport through a driver, stamps on receipt, appends to the journal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Protocol

from acquisition.clock import Clock, Instant
from acquisition.driver import Driver
from acquisition.errors import JournalError, LinkEndedError, TransportError, WireError
from acquisition.interfaces import Floor, Transport
from acquisition.model import EventKind, GapCause, Numerics, Observation, Waveform
from acquisition.stamping import Stamper

logger = logging.getLogger(__name__)

UNSYNCED_TURNS = 256
"""Turns whose observations may wait for the disk before the session stops reading; then the sender has to wait."""
FIRST_RETRY_S = 0.2
LAST_RETRY_S = 2.0
FAREWELL_S = 0.5


class Keeper(Protocol):
    """What a session needs of the journal."""

    def append(self, observations: Sequence[Observation], keys: Sequence[tuple[str, str]] = ()) -> asyncio.Future[None]:
        """Never blocks; the future is done when everything is safe, and fails with JournalError if it is not."""
        ...


class Recorder(Protocol):
    """What a session needs of a raw trace."""

    def received(self, data: bytes, instant: Instant) -> None:
        """Bytes that came; identity is cut before they are written."""
        ...

    def sent(self, data: bytes, instant: Instant) -> None:
        """Bytes that left; empty when the driver was woken and sent nothing."""
        ...

    def lost(self, why: str, instant: Instant) -> None:
        """The link was lost, or cannot be opened."""
        ...

    def reopened(self, peer: str, instant: Instant) -> None:
        """The link is open again."""
        ...


class LinkState(StrEnum):
    """Where a session stands with its link."""

    OPENING = "opening"
    OPEN = "open"
    LOST = "lost"
    ENDED = "ended"


@dataclass(slots=True)
class SessionStatus:
    """What a session can tell of itself; counters only grow.

    Attributes:
        values: Values by channel; samples by channel; states by channel.
        lost: Observations that the journal could not take.
    """

    state: LinkState = LinkState.OPENING
    peer: str = ""
    error: str = ""
    opened: int = 0
    last_reading_ns: int | None = None
    values: Counter[str] = field(default_factory=Counter)
    lost: int = 0


class Session:
    """Runs one device for ever.

    Args:
        device: Configured id.
        driver: Speaks the device's protocol.
        transport: The link; reopened with back-off when lost.
        clock: Read once per turn.
        keeper: The journal.
        stamper: Makes the observations.
        recorder: Keeps the raw bytes, if wanted.
        floor: To be claimed before the driver speaks, on a line that is shared.
        listener: Shown every observation when it is made, for the live view.
        first_retry_s: How soon a lost link is opened again.
    """

    def __init__(
        self,
        device: str,
        driver: Driver,
        transport: Transport,
        clock: Clock,
        keeper: Keeper,
        stamper: Stamper,
        *,
        recorder: Recorder | None = None,
        floor: Floor | None = None,
        listener: Callable[[Observation], None] | None = None,
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        self.device = device
        self.driver = driver
        self.stamper = stamper
        self.status = SessionStatus()
        self._transport = transport
        self._clock = clock
        self._keeper = keeper
        self._recorder = recorder
        self._floor = floor
        self._listener = listener
        self._first_retry_s = first_retry_s
        self._bad_before = 0
        self._unsynced: set[asyncio.Future[None]] = set()
        self._replies: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Opens, pumps, reopens; returns when the link has ended for good."""
        retry = self._first_retry_s
        try:
            while True:
                try:
                    async with self._transport:
                        self._opened()
                        retry = self._first_retry_s
                        await self._pump()
                except LinkEndedError:
                    self.status.state = LinkState.ENDED
                    return
                except TransportError as error:
                    self._lost(error)
                await asyncio.sleep(retry)
                retry = min(2 * retry, LAST_RETRY_S)
        finally:
            await self._settle()
            await self._transport.aclose()

    async def _pump(self) -> None:
        if self._floor is not None:
            await self._floor.claim()
        instant = self._clock.now()
        self.driver.start(instant.mono_ns)
        try:
            await self._send(instant)
            self._yield_floor()
            while True:
                await self._turn()
        except LinkEndedError:
            raise
        except TransportError as error:
            self._lost(error)  # before the farewell, which nobody hears
            raise
        finally:
            await self._farewell()

    def _yield_floor(self) -> None:
        if self._floor is not None and not self.driver.awaiting:
            self._floor.release()

    async def _turn(self) -> None:
        deadline = self.driver.deadline
        data = await self._transport.receive(None if deadline is None else self._clock.seconds_until(deadline))
        instant = self._clock.now()
        driver = self.driver
        if data and self._recorder:
            self._recorder.received(data, instant)
        try:
            if data:
                driver.receive(data, instant.mono_ns)
            # Asked before every wait, so that a device that always has data cannot starve its own polls.
            woken = self._is_due(instant)
            if woken and self._floor is not None and not driver.awaiting:
                self._keep(instant)
                await self._floor.claim()
                instant = self._clock.now()
            driver.tick(instant.mono_ns)
        except WireError as error:
            logger.warning("%s: conversation starts again: %s", self.device, error)
            driver.start(instant.mono_ns)
            woken = True
        self._keep(instant)
        await self._send(instant, woken=woken)
        self._yield_floor()
        if len(self._unsynced) >= UNSYNCED_TURNS:
            await asyncio.wait(self._unsynced, return_when=asyncio.FIRST_COMPLETED)
        # Yields every turn, so that one chatty device cannot hold the loop.
        await asyncio.sleep(0)

    def _is_due(self, instant: Instant) -> bool:
        return self.driver.deadline is not None and instant.mono_ns >= self.driver.deadline

    def _keep(self, instant: Instant) -> None:
        emissions, keys = self.driver.take_emissions(), self.driver.take_keys()
        if not emissions and not keys:
            return
        bad = self.driver.counters["frames_bad"]
        if bad > self._bad_before:
            self.stamper.blame(GapCause.FRAMING_ERRORS, f"{bad - self._bad_before} bad frames")
        self._bad_before = bad
        observations = self.stamper.stamp(emissions, instant, self.driver.period_ns)
        self._count(observations, instant)
        self._append(observations, keys)

    def _append(self, observations: Sequence[Observation], keys: Sequence[str]) -> None:
        future = self._keeper.append(observations, [(self.device, key) for key in keys])
        if keys or not _is_safe(future):  # otherwise there is nothing to wait for and nobody to be told
            self._unsynced.add(future)
            future.add_done_callback(partial(self._synced, keys, observations))
        if self._listener:
            for observation in observations:
                self._listener(observation)

    def _synced(self, keys: Sequence[str], observations: Sequence[Observation], future: asyncio.Future[None]) -> None:
        self._unsynced.discard(future)
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self.driver.stored(keys)
            frames = self.driver.take_frames()
            if frames:
                task = asyncio.get_running_loop().create_task(self._reply(frames), name=f"{self.device}:reply")
                self._replies.add(task)
                task.add_done_callback(self._replies.discard)
        elif isinstance(error, JournalError):
            self.driver.failed(keys)
            if not keys:  # a sender that was not acknowledged still has the message
                self.status.lost += len(observations)
            self.stamper.refused(observations, f"the journal refused: {error}")
        else:
            raise error

    async def _reply(self, frames: Sequence[bytes]) -> None:
        # A link that is gone needs no acknowledgement: the sender will send the message again.
        with contextlib.suppress(TransportError):
            await self._put(frames, self._clock.now())

    async def _send(self, instant: Instant, *, woken: bool = False) -> None:
        frames = self.driver.take_frames()
        if woken and not frames and self._recorder:
            self._recorder.sent(b"", instant)
        await self._put(frames, instant)

    async def _put(self, frames: Sequence[bytes], instant: Instant) -> None:
        for frame in frames:
            if self._recorder:
                self._recorder.sent(frame, instant)
            await self._transport.send(frame)

    async def _farewell(self) -> None:
        instant = self._clock.now()
        self.driver.stop(instant.mono_ns)
        with contextlib.suppress(TransportError, TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._send(instant)

    async def _settle(self) -> None:
        if self._unsynced:
            await asyncio.wait(self._unsynced)
        await asyncio.sleep(0)
        for task in self._replies:
            task.cancel()
        if self._replies:
            await asyncio.wait(self._replies)

    def _opened(self) -> None:
        status = self.status
        status.peer = self._transport.peer
        status.opened += 1
        if status.state is LinkState.LOST:
            logger.info("%s: link open again: %s", self.device, status.peer)
            instant = self._clock.now()
            if self._recorder:
                self._recorder.reopened(status.peer, instant)
            self._tell(f"link open again: {status.peer}", instant)
        status.state, status.error = LinkState.OPEN, ""

    def _lost(self, error: TransportError) -> None:
        status = self.status
        was_open = status.state is LinkState.OPEN
        self.stamper.blame(GapCause.LINK_LOST if was_open else GapCause.PORT_ABSENT, str(error))
        if status.error != str(error):
            logger.warning("%s: %s", self.device, error)
        if was_open or status.state is LinkState.OPENING:
            instant = self._clock.now()
            if self._recorder:
                self._recorder.lost(str(error), instant)
            self._tell(f"link lost: {error}" if was_open else f"link cannot be opened: {error}", instant)
        status.state, status.error = LinkState.LOST, str(error)

    def _tell(self, text: str, instant: Instant) -> None:
        self._append([self.stamper.event(EventKind.LINK, text, {}, instant)], ())

    def _count(self, observations: Sequence[Observation], instant: Instant) -> None:
        values = self.status.values
        for observation in observations:
            if isinstance(observation, Numerics):
                for channel in observation.values:
                    values[channel] += 1
            elif isinstance(observation, Waveform):
                values[observation.channel] += len(observation.raw) // 4
            else:
                continue
            self.status.last_reading_ns = instant.utc_ns


def _is_safe(future: asyncio.Future[None]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
