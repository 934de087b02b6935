"""Keeps the journal within its quota, and keeps the daemon's own events until the disk takes them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence

from acquisition.clock import Clock
from acquisition.config import RESERVED_DEVICE, JournalConfig
from acquisition.errors import JournalError
from acquisition.health import JournalHealth
from acquisition.journal.dropping import space
from acquisition.journal.journal import Journal
from acquisition.journal.retention import Limits, Why
from acquisition.model import Event, EventKind
from acquisition.upkeep.growth import Growth, hours
from acquisition.upkeep.unassigned import Unassigned

logger = logging.getLogger(__name__)

CHECK_S = 60.0
PAUSE_S = 2.0
"""Between two checks while the disk refuses everything."""
GB = 1_000_000_000
_UNTOLD = 1000


class Housekeeper:
    """Looks at the space once a minute, and at once when the disk refuses.

    Args:
        config: Directory and limits.
        sinks: Ids of the configured ones.
        journal: Tidied and told.
        clock: For the age of days.
        unassigned: Deletes what is nobody's; None: it has no life time.
    """

    def __init__(
        self,
        config: JournalConfig,
        sinks: Sequence[str],
        journal: Journal,
        clock: Clock,
        unassigned: Unassigned | None = None,
    ) -> None:
        self._directory = config.directory
        self._limits = Limits(
            quota_bytes=None if config.quota_gb is None else round(config.quota_gb * GB),
            min_free_bytes=round(config.min_free_gb * GB),
            keep_days=config.keep_days,
        )
        self._sinks = tuple(sinks)
        self._journal = journal
        self._clock = clock
        self._unassigned = unassigned
        self._untold: deque[Event] = deque(maxlen=_UNTOLD)
        self._last_event = 0
        self._dropped = 0
        self._dropped_last = ""
        self._complaint = ""
        self._growth = Growth()

    async def run(self) -> None:
        """Tidies for ever."""
        while True:
            await self._tidy()
            await self._expire()
            await self._store_events()
            if self._journal.refusal:
                await asyncio.sleep(PAUSE_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await self._journal.wait_for_refusal()

    def tell(self, time_ns: int, kind: EventKind, text: str, detail: Mapping[str, object]) -> None:
        """An event of the daemon itself; stored now, or as soon as the disk takes it."""
        self._last_event = max(time_ns, self._last_event + 1_000_000)
        event = Event(device=RESERVED_DEVICE, time_ns=self._last_event, event=kind, text=text, detail=dict(detail))

        def done(future: asyncio.Future[None]) -> None:
            if not future.cancelled() and future.exception() is not None:
                self._untold.append(event)

        self._journal.append([event]).add_done_callback(done)

    async def _store_events(self) -> None:
        while self._untold:
            event = self._untold.popleft()
            try:
                await self._journal.append([event])
            except JournalError:
                self._untold.appendleft(event)
                return

    async def _tidy(self) -> None:
        try:
            dropped = await self._journal.tidy(self._limits, self._sinks, self._clock.now().utc_ns)
        except JournalError as error:
            if str(error) != self._complaint:
                logger.warning("no space can be made: %s", error)
            self._complaint = str(error)
            return
        self._complaint = ""
        for each in dropped:
            if each.why is Why.QUOTA and each.lost:
                self._dropped += each.lost
                self._dropped_last = each.text
            self.tell(self._clock.now().utc_ns, EventKind.RETENTION, each.text, each.detail)

    async def _expire(self) -> None:
        """After tidying and never beside it, because both write past days anew."""
        if self._unassigned is None:
            return
        cursors = [self._journal.progress(sink).cursor for sink in self._sinks]
        for text, detail in await self._unassigned.look(self._clock.now(), cursors):
            logger.info("%s", text)
            self.tell(self._clock.now().utc_ns, EventKind.RETENTION, text, detail)

    def health(self) -> JournalHealth:
        """Size, space, growth and losses, as of now.

        Raises:
            OSError: the directory cannot be read.
        """
        size, free = space(self._directory)
        mono_ns = self._clock.now().mono_ns
        self._growth.saw(size, mono_ns)
        rate = self._growth.bytes_per_second(mono_ns)
        room = max(0, -self._limits.overdraft(size, free))
        return JournalHealth(
            directory=str(self._directory),
            size_bytes=size,
            free_bytes=free,
            room_bytes=room,
            bytes_per_second=rate,
            hours_left=hours(room, rate),
            damaged=tuple(self._journal.damaged),
            refusal=self._journal.refusal,
            dropped=self._dropped,
            dropped_last=self._dropped_last,
        )
