"""Tells the journal, and so every sink, of each entry in the registry of episodes, once for each."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from acquisition.archive.episodes.events import untold
from acquisition.archive.episodes.registry import Registry, registry_path
from acquisition.config import RESERVED_DEVICE
from acquisition.errors import EpisodeError, JournalError
from acquisition.journal.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.model import Event, EventKind

logger = logging.getLogger(__name__)

CHECK_S = 2.0


class EpisodeRelay:
    """Looks at the registry every other second; what the journal does not know of becomes an event.

    An entry is known when its event is in the journal, so one made while the daemon was off is told at the next start,
    and a crash between telling and remembering tells nothing twice. Its event has the entry's own time, so that a
    database which gets it twice keeps one.

    Args:
        directory: Of the journal; the registry is beside it.
        journal: Takes the events.
    """

    def __init__(self, directory: Path, journal: Journal) -> None:
        self._directory = directory
        self._path = registry_path(directory)
        self._journal = journal
        self._told: list[Event] | None = None
        self._seen: tuple[int, int, int] | None = None
        self._complaint = ""

    async def run(self) -> None:
        """Relays for ever."""
        while True:
            try:
                await self.relay()
                complaint = ""
            except (EpisodeError, JournalError, OSError) as error:
                complaint = str(error)
            if complaint and complaint != self._complaint:  # said once, not every other second
                logger.warning("episodes are not forwarded: %s", complaint)
            self._complaint = complaint
            await asyncio.sleep(CHECK_S)

    async def relay(self) -> int:
        """Tells what is new; returns how many entries.

        Raises:
            EpisodeError: the registry is damaged, or lost entries that were told before.
            JournalError: the disk refuses.
        """
        if self._told is None:
            self._told = await asyncio.to_thread(self._known)
        if not self._path.exists():
            return 0
        stat = self._path.stat()
        seen = stat.st_ino, stat.st_size, stat.st_mtime_ns
        if seen == self._seen:
            return 0
        registry = await asyncio.to_thread(Registry.open, self._path)
        if registry.repaired:
            logger.warning("%s: %s", self._path, registry.repaired)
        events = untold(registry.entries, self._told, RESERVED_DEVICE)
        for event in events:
            await self._journal.append([event])
            self._told.append(event)
        self._seen = seen
        if len(registry.entries) < self._highest(registry):
            raise EpisodeError(f"{self._path}: the last entries are gone; the journal still has them as events")
        return len(events)

    def _known(self) -> list[Event]:
        reader = JournalReader(self._directory)
        events = reader.query(devices={RESERVED_DEVICE}, kinds=("event",))
        return [each for each in events if isinstance(each, Event) and each.event is EventKind.EPISODE]

    def _highest(self, registry: Registry) -> int:
        """The largest number that was ever told of this registry."""
        chain = registry.entries[0].hash if registry.entries else ""
        own = (each.detail for each in self._told or () if each.detail.get("chain") == chain)
        return max((detail["entry"]["number"] for detail in own), default=0)
