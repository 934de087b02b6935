"""The archive for a program or a notebook: `open_archive`, and tables from it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from acquisition.archive import frames
from acquisition.archive.chunk import Window
from acquisition.archive.episodes.events import registries
from acquisition.archive.episodes.registry import Joined, Registry, registry_path
from acquisition.archive.influx import InfluxSource
from acquisition.archive.question import Question, checked_channels
from acquisition.archive.resample import checked_aggregates, duration_ns
from acquisition.archive.scope import EVER, Scope, of_bed, of_subject, one_bed
from acquisition.archive.source import JournalSource, Source
from acquisition.clock import from_rfc3339
from acquisition.errors import ConfigError
from acquisition.model import EventKind, Quality
from acquisition.sinks.influxdb_servers import Credentials


class Archive:
    """A source of readings and the registry that says whose they are.

    Args:
        source: Of readings.
        registry: Of subjects.
        bed: Of the journal, where the source is one and its bed is known.
    """

    def __init__(self, source: Source, registry: Registry, bed: str | None = None) -> None:
        self.source = source
        self.registry = registry
        self._bed = bed

    def scope(
        self, *, subject: str | None = None, bed: str | None = None, from_: str | None = None, to: str | None = None
    ) -> Scope:
        """Whose readings, or of which bed, and when.

        Args:
            subject: Study id.
            bed: Name of a bed.
            from_: RFC 3339 with an offset, included.
            to: RFC 3339 with an offset, excluded.

        Raises:
            ConfigError: nobody of that id, times without a zone, an empty range, beds that cannot be told apart.
        """
        from_ns, to_ns = 0 if from_ is None else utc_ns(from_), EVER if to is None else utc_ns(to)
        if subject is None:
            scope = of_bed(bed or self._bed, from_ns=from_ns, to_ns=to_ns)
        else:
            if isinstance(self.source, JournalSource):
                one_bed(self.registry, bed or self._bed)
            scope = of_subject(self.registry, subject, from_ns=from_ns, to_ns=to_ns, bed=bed)
        if isinstance(self.source, InfluxSource):
            for each in scope.beds or (None,):
                self.source.told_apart(each)
        return scope

    def query(
        self,
        channels: Collection[str] | None = None,
        *,
        subject: str | None = None,
        bed: str | None = None,
        from_: str | None = None,
        to: str | None = None,
        every: str | None = None,
        aggregates: Sequence[str] = ("mean",),
        quality: str | None = None,
        devices: Collection[str] | None = None,
        unblinded: bool = False,
        kind: frames.Kind = "arrow",
    ) -> Any:
        """Readings, or figures of them, as a table.

        Args:
            channels: Channel ids; None: all.
            subject: Study id.
            bed: Name of a bed.
            from_: RFC 3339 with an offset, included.
            to: RFC 3339 with an offset, excluded.
            every: Length of a bucket, such as `1m`; None: readings as they are.
            aggregates: `mean`, `median`, `min`, `max`, `count`, or percentiles such as `p95`.
            quality: The worst that is taken: good, suspect or bad; None: suspect in figures, else bad.
            devices: Device ids; None: all.
            unblinded: Whether what tells of the study drug is answered too.
            kind: `arrow`, `pandas` or `polars`.

        Raises:
            ConfigError: something that cannot be meant, or a library is missing.
            AcquisitionError: the source cannot be read.
        """
        question = Question(
            self.scope(subject=subject, bed=bed, from_=from_, to=to),
            None if channels is None else checked_channels(channels),
            None if devices is None else frozenset(devices),
            worst_of(quality, every),
            None if every is None else duration_ns(every),
            checked_aggregates(aggregates),
            unblinded,
        )
        if question.every_ns is None:
            return frames.turned(frames.of_readings(question.readings(self.source)), kind)
        return frames.turned(frames.of_figures(question.figures(self.source), question.aggregates), kind)


def open_archive(
    journal: Path | str | None = None,
    *,
    influx: str | None = None,
    database: str = "ecmo",
    auth: Credentials | None = None,
    site: str | None = None,
    bed: str | None = None,
    registry: Path | str | None = None,
) -> Archive:
    """Opens the journal of a bed, or a central InfluxDB, for reading.

    Args:
        journal: Directory of a journal.
        influx: URL of an InfluxDB, in place of a journal.
        database: Its database.
        auth: Who we are there.
        site: Of this site only, there.
        bed: Whose journal it is, if that is known.
        registry: File or directory of the episodes; None: beside the journal.

    Raises:
        ConfigError: none or both of journal and influx, or a wrong URL.
        JournalError: there is no such journal.
        EpisodeError: the registry is damaged.
    """
    if (journal is None) == (influx is None):
        raise ConfigError(["give one of: a journal, an influx URL"])
    place = Path(registry) if registry is not None else None
    if journal is not None:
        place = place or registry_path(Path(journal))
        return Archive(JournalSource(Path(journal), bed), Registry.open(place), bed)
    source = InfluxSource(str(influx), database, auth, site)
    return Archive(source, Registry.open(place) if place is not None else registry_in(source))


def registry_in(source: Source) -> Registry:
    """The registries that travelled as events into a database, as one: each bed's service has its own.

    Raises:
        EpisodeError: an entry was changed or is missing.
        AcquisitionError: the source cannot be read.
    """
    found = list(registries(source.events(Window(None, 0, EVER), [EventKind.EPISODE])).values())
    return found[0] if len(found) == 1 else Joined(found)


def utc_ns(text: str) -> int:
    """UTC nanoseconds of a time with its offset.

    Raises:
        ConfigError: not such a time.
    """
    try:
        return from_rfc3339(text)
    except ValueError as error:
        hint = "write it like 2026-01-31T18:00:00+01:00"
        raise ConfigError([f"{text!r} is not a time with a UTC offset: {error} ({hint})"]) from None


def worst_of(quality: str | None, every: str | None) -> Quality:
    """The worst quality that is taken; by default what is outside hard limits counts in no figure.

    Raises:
        ConfigError: not a quality.
    """
    if quality is None:
        return Quality.BAD if every is None else Quality.SUSPECT
    try:
        return Quality(quality)
    except ValueError:
        raise ConfigError([f"quality {quality!r}: use good, suspect or bad"]) from None
