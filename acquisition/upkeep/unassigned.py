"""What a bed recorded of no episode: where it is, and its deletion at the age that the configuration gives it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from acquisition.archive.episodes.join import unassigned
from acquisition.archive.episodes.registry import Registry, registry_path
from acquisition.clock import NS, Instant, rfc3339
from acquisition.config import RESERVED_DEVICE, Config
from acquisition.errors import EpisodeError, JournalError
from acquisition.journal.expiring import Expiry
from acquisition.journal.purging import Window
from acquisition.journal.reader import JournalReader
from acquisition.model import Event, EventKind

DAY_NS = 86_400 * NS
CHECK_NS = 3600 * NS


class Told(NamedTuple):
    """What is to be told in an event: a sentence for people, and JSON values."""

    text: str
    detail: Mapping[str, object]


class Unassigned:
    """Looks once an hour for whole days that are older than the limit, and deletes what in them is nobody's.

    Without a registry that can be trusted it deletes nothing: everything would be nobody's.

    Args:
        config: Of the bed; its life time is set.
    """

    def __init__(self, config: Config) -> None:
        self._bed = config.site.bed
        self._directory = config.journal.directory
        self._path = registry_path(self._directory)
        self._days = config.episodes.unassigned_keep_days or 0
        self._expiry = Expiry(self._directory)
        self._next_ns = 0
        self._complaint = ""

    async def look(self, now: Instant, cursors: Collection[int]) -> list[Told]:
        """Deletes what is due; returns what is to be told of it.

        Args:
            now: Present time.
            cursors: One of each configured sink.
        """
        if not self._days or now.mono_ns < self._next_ns:
            return []
        self._next_ns = now.mono_ns + CHECK_NS
        return await asyncio.to_thread(self._look, now.utc_ns, cursors)

    def _look(self, now_ns: int, cursors: Collection[int]) -> list[Told]:
        complaint, told = "", []
        try:
            cutoff_ns = (now_ns // DAY_NS - self._days) * DAY_NS
            reader = JournalReader(self._directory)
            registry = trusted(Registry.open(self._path) if self._path.is_file() else None, reader, self._bed)
            windows = list(windows_of(registry, reader, self._bed, cutoff_ns))
            for each in self._expiry.expire(windows, cursors, self._days):
                complaint = each.why_not or complaint
                if each.gone:
                    points = sum(gone.points for gone in each.gone)
                    text = f"{each.name}: {points} points of no episode, older than {self._days} days, were deleted"
                    detail = {"cause": "unassigned", "file": each.name, "points": points,
                              "journal": [gone.told for gone in each.gone]}  # fmt: skip
                    told.append(Told(text, detail))
        except (EpisodeError, JournalError, OSError) as error:
            complaint = str(error)
        if complaint and complaint != self._complaint:  # said once, not every hour
            told.append(Told(f"data of no episode is not deleted: {complaint}", {"cause": "unassigned"}))
        self._complaint = complaint
        return told


def trusted(registry: Registry | None, reader: JournalReader, bed: str) -> Registry:
    """The registry, if it is all that the journal knows of it.

    Args:
        registry: None: there is no file.
        reader: Of the journal beside it.
        bed: Whose journal it is.

    Raises:
        EpisodeError: it is not there, says what cannot be, lacks entries that were told before, or is of another bed.
        JournalError: the journal cannot be read.
    """
    if registry is None or not registry.entries:
        raise EpisodeError(
            "there is no registry of episodes with an entry, and without one everything would be nobody's"
        )
    if registry.problems:
        raise EpisodeError(f"the registry says what cannot be: {registry.problems[0]}")
    for event in reader.query(devices={RESERVED_DEVICE}, kinds=("event",)):
        if isinstance(event, Event) and event.event is EventKind.EPISODE:
            body = event.detail["entry"]
            known = registry.entries[body["number"] - 1 : body["number"]]
            if [entry.hash for entry in known] != [body["hash"]]:
                raise EpisodeError(f"the registry lacks entry {body['number']}, of {rfc3339(event.time_ns, 0)}")
    stays = registry.stays()
    if stays and not any(place.bed == bed for stay in stays for place in stay.beds):
        raise EpisodeError(f"the registry knows no stay in bed {bed}; was the bed given another name?")
    return registry


def windows_of(registry: Registry, reader: JournalReader, bed: str, cutoff_ns: int) -> Iterator[Window]:
    """For each device, what of it belongs to no episode and is older than the cutoff.

    Raises:
        JournalError: the journal cannot be read.
    """
    stat = reader.stat()
    for device in sorted((stat.readings.keys() | stat.events.keys()) - {RESERVED_DEVICE}):
        for free in unassigned(registry.stays(), bed=bed, from_ns=stat.first_ns, to_ns=cutoff_ns, device=device):
            yield Window(free.from_ns, cutoff_ns if free.to_ns is None else free.to_ns, frozenset({device}))
