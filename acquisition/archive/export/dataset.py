"""Writes a data set: one pass over the readings, beside the place where it will be, and moved there when whole."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from acquisition import INTENDED_USE
from acquisition.archive.chunk import Chunk, Window
from acquisition.archive.episodes import Registry
from acquisition.archive.export import side
from acquisition.archive.export.axis import Axis, axis_of
from acquisition.archive.export.columns import FIGURES, Columns
from acquisition.archive.export.package import write_package
from acquisition.archive.export.proof import LEDGER, enter, last_of, write_manifest
from acquisition.archive.export.request import Format, Request
from acquisition.archive.export.segments import Segment, Segmenter
from acquisition.archive.export.stores import CsvStore, ParquetStore, Store, abandon
from acquisition.archive.export.tally import Tally, declared_of
from acquisition.archive.export.wave_files import WaveFiles, wave_files
from acquisition.archive.extra import library
from acquisition.archive.resample import resample
from acquisition.archive.scope import Scope, devices_of
from acquisition.archive.source import JournalSource, Source
from acquisition.catalogue import Catalogue
from acquisition.clock import SystemClock, rfc3339
from acquisition.errors import ConfigError
from acquisition.model import Event

INDEX = ("subject", "device", "channel", "file", "start", "samples", "rate_hz")
Progress = Callable[[float], None]
"""Is told which fraction is done."""


def export(
    source: Source,
    registry: Registry,
    scopes: Sequence[Scope],
    request: Request,
    out: Path,
    *,
    ledger: Path | None = None,
    progress: Progress = lambda _: None,
) -> str:
    """Writes the data set of these subjects or beds; returns the hash of its manifest.

    Args:
        source: Of readings.
        registry: Of subjects.
        scopes: Whose readings.
        request: What is wanted.
        out: Directory that does not exist yet.
        ledger: The chain of data sets; None: `exports.jsonl` beside `out`.
        progress: Is told how far it is.

    Raises:
        ConfigError: `out` exists, there are no readings, the disk is full, or a library is missing.
        AcquisitionError: the source cannot be read.
    """
    ledger = ledger or out.absolute().parent / LEDGER
    with _moved_when_whole(out) as directory:
        written = DataSet(source, registry, request, directory)
        try:
            for number, scope in enumerate(scopes):
                written.add(scope, partial(_share, progress, number, len(scopes)))
            previous = last_of(ledger)
            manifest = written.finish(out.name, previous)
        finally:
            abandon(written.store)
        enter(ledger, manifest, previous, rfc3339(SystemClock().now().utc_ns))
    return manifest


def _share(progress: Progress, number: int, of: int, part: float) -> None:
    progress((number + part) / of)


class DataSet:
    """A data set that is being written.

    Args:
        source: Of readings.
        registry: Of subjects.
        request: What is wanted.
        directory: To write to.
    """

    def __init__(self, source: Source, registry: Registry, request: Request, directory: Path) -> None:
        self._source = source
        self._registry = registry
        self._request = request
        self._directory = directory
        self.store: Store = (ParquetStore if request.format is Format.PARQUET else CsvStore)(directory)
        self._channels: defaultdict[str, set[str]] = defaultdict(set)
        self._devices: set[str] = set()
        self._axes: set[str] = set()
        self._rows: dict[str, list[side.Row]] = {name: [] for name in _HEADINGS}

    def add(self, scope: Scope, progress: Progress) -> None:
        """The readings of one subject or bed, and all that describes them.

        Raises:
            ConfigError: there are none.
            OSError: the disk refuses.
            AcquisitionError: the source cannot be read.
        """
        windows = [part for window in scope.windows if (part := self._source.extent(window)) is not None]
        if not windows:
            raise ConfigError([f"{scope.label}: there are no readings in that time"])
        names = self._request.pseudonyms
        subject = names.subject(scope.label) if scope.stay is not None else names.bed(scope.label)
        shift = names.shift_days(scope.label)
        axis = axis_of(scope, windows[0].from_ns, utc=self._request.utc, shift_days=shift)
        self._axes.add(axis.since or "UTC")
        one = _Subject(self, subject, axis, self._wide_columns(windows))
        whole = sum(window.length_ns for window in windows)
        done = 0
        for window in windows:
            for day in axis.days(window):
                one.day(self._source, day)
                done += day.length_ns
                progress(done / whole)
        one.close()
        if not one.tally:
            raise ConfigError([f"{scope.label}: there are no readings in that time"])
        self._describe(scope, windows, one, subject, axis)

    def finish(self, name: str, previous: str) -> str:
        """Writes what describes the whole; returns the hash of the manifest.

        Raises:
            OSError: the disk refuses.
        """
        self.store.close()
        names = self._request.pseudonyms
        seen = {channel: {names.device(device) for device in devices} for channel, devices in self._channels.items()}
        self._rows["codebook.csv"] += side.codebook(seen)
        self._rows["devices.csv"] += side.devices(self._devices, self._request)
        for path, heading in _HEADINGS.items():
            if self._rows[path] or path not in _ONLY_IF_ANY:
                side.write_rows(self._directory / path, heading, self._rows[path])
        plain = {path: heading for path, heading in _HEADINGS.items() if (self._directory / path).exists()}
        about: dict[str, Any] = {
            "software": f"ecmo-daq {version('ecmo-daq')}",
            "intended_use": INTENDED_USE,
            "times_since": sorted(self._axes),
            "wide_bucket_s": self._request.every_ns / 1e9,
            "pseudonymous": names.active,
            "blinded": not self._request.unblinded,
            "free_text_left_out": not self._request.free_text,
        }
        if names.active:
            about["request"] = names.request
        else:
            about["created"] = rfc3339(SystemClock().now().utc_ns)
            about["configuration"] = dict(self._request.about)
        title = "data-set" if names.active else name.lower()
        write_package(self._directory, title, self.store, plain, about)
        return write_manifest(self._directory, about, previous)

    def saw(self, chunk: Chunk) -> None:
        """Notes that the channel of this device is in the data set."""
        self._channels[chunk.channel].add(chunk.device)
        self._devices.add(chunk.device)

    @property
    def request(self) -> Request:
        """What is wanted."""
        return self._request

    @property
    def directory(self) -> Path:
        """Where it is written."""
        return self._directory

    def rows(self, path: str) -> list[side.Row]:
        """The rows of a table of text, to be added to."""
        return self._rows[path]

    def _wide_columns(self, windows: Iterable[Window]) -> dict[tuple[str, str], str]:
        """Device and channel to the name of the channel in the wide form; with the device where two have it."""
        found = {
            (series.device, series.channel)
            for window in windows
            for series in self._source.series(window)
            if not series.wave and self._request.wants(series.channel)
        }
        channels = [channel for _, channel in found]
        return {
            (device, channel): channel
            if channels.count(channel) == 1
            else f"{channel}@{self._request.pseudonyms.device(device)}"
            for device, channel in sorted(found, key=lambda pair: (pair[1], pair[0]))
        }

    def _describe(self, scope: Scope, windows: Sequence[Window], one: _Subject, subject: str, axis: Axis) -> None:
        request, names = self._request, self._request.pseudonyms
        events = [event for window in scope.windows for event in self._source.events(window)]
        shown = [event for event in events if request.shows(event)]
        one.events(shown)
        declared = declared_of(scope, windows)
        for device, channel, bucket, start_ns, *counts in one.tally.completeness(declared):
            start = axis.told(int(str(start_ns)) + axis.zero_ns)
            self._rows["completeness.csv"].append((subject, names.device(str(device)), channel, bucket, start, *counts))
        for device, channel, begin, end, cause in one.tally.gaps(declared, events):
            told = (axis.told(begin), axis.told(end), round((end - begin) / 1e9, 3), cause)
            self._rows["gaps.csv"].append((subject, names.device(device), channel, *told))
        self._rows["clock.csv"] += side.clock(events, axis, subject, request)
        self._rows["versions.csv"] += side.versions(events, axis)
        if scope.stay is not None:
            self._rows["episodes.csv"] += side.episodes(scope.stay, axis, subject, request)
            self._rows["audit.csv"] += side.audit(self._registry.entries, scope, axis, subject, request)
        if isinstance(self._source, JournalSource):
            self._rows["quarantine.csv"] += side.quarantine(self._source.rejected(), scope, axis, request)


class _Subject:
    """The readings of one subject on their way into the data set."""

    def __init__(self, data_set: DataSet, subject: str, axis: Axis, wide: dict[tuple[str, str], str]) -> None:
        self._to = data_set
        self._subject = subject
        self._axis = axis
        self._columns = Columns(axis)
        self._wide = wide
        self.tally = Tally(axis)
        self._files: WaveFiles | None = None
        form = data_set.request.format
        if form in (Format.WFDB, Format.EDF):
            self._files = wave_files(form.value, data_set.directory, subject, axis)

    def day(self, source: Source, window: Window) -> None:
        """One day, or a part of it, in one bed."""
        devices = devices_of(window, None)
        day = self._axis.day(window.from_ns)
        self._day_wide(self._day_long(source.numerics(window, devices), day), day)
        self._day_waves(source.waves(window, devices), day)

    def _day_long(self, chunks: Iterable[Chunk], day: str) -> Iterator[Chunk]:
        for chunk in self._wanted(chunks):
            self.tally.add(chunk, wave=False)
            table = self._long(chunk)
            place = table.schema.get_field_index("quality")
            table = table.add_column(place, "state", self._columns.states(chunk))
            self._to.store.add("numerics_long", table, self._parts(chunk, day))
            yield chunk

    def _day_wide(self, chunks: Iterable[Chunk], day: str) -> None:
        every, zero = self._to.request.every_ns, self._axis.zero_ns
        moved = (
            Chunk(each.device, each.channel, each.time_ns - zero, each.values, each.quality, each.state)
            for each in chunks
        )
        usable = (each.at(each.quality < 2) for each in moved)
        found = list(resample((each for each in usable if len(each)), every, (*FIGURES, "count")))
        if not found:
            return
        starts = np.unique(np.concatenate([part.start_ns for part in found]))
        figures: dict[str, Any] = {}
        for part in found:
            name = self._wide.get((part.device, part.channel))
            if name is None:
                continue
            where = np.searchsorted(starts, part.start_ns)
            for figure, values in (*part.figures.items(), ("flagged", part.flagged)):
                column = figures.setdefault(f"{name}_{figure}", np.full(starts.size, np.nan))
                column[where] = values
        columns = [f"{name}_{figure}" for name in self._wide.values() for figure in (*FIGURES, "count", "flagged")]
        parts = {"subject": self._subject, "day": day}
        self._to.store.add("numerics_wide", self._columns.wide(starts, columns, figures), parts)

    def _day_waves(self, chunks: Iterable[Chunk], day: str) -> None:
        segmenters: dict[str, Segmenter] = {}
        for chunk in self._wanted(chunks):
            self.tally.add(chunk, wave=True)
            if self._files is None:
                self._to.store.add("waves", self._long(chunk), self._parts(chunk, day))
                continue
            segmenter = segmenters.setdefault(chunk.device, Segmenter(self._files.fill_ns))
            for segment in segmenter.add(chunk):
                self._keep(self._files, segment, day)
        for segmenter in segmenters.values():
            for segment in segmenter.close():
                if self._files is not None:
                    self._keep(self._files, segment, day)

    def _keep(self, files: WaveFiles, segment: Segment, day: str) -> None:
        device = self._to.request.pseudonyms.device(segment.device)
        path = files.write(segment, day, device).path
        start, rate = self._axis.told(segment.start_ns), 1e9 / segment.period_ns
        row = (self._subject, device, segment.channel, path, start, segment.values.size, rate)
        self._to.rows("waves_index.csv").append(row)

    def events(self, events: Sequence[Event]) -> None:
        """The events that may be shown."""
        pa = library("pyarrow", "an export")
        request = self._to.request
        times = self._columns.times(np.array([event.time_ns for event in events], np.int64))
        columns = {
            "device": [request.pseudonyms.device(event.device) for event in events],
            "kind": [event.event.value for event in events],
            "text": [request.text(event.text) for event in events],
            "detail": [json.dumps(request.detail(event), sort_keys=True) for event in events],
        }
        texts = {name: pa.array(column, pa.string()) for name, column in columns.items()}
        self._to.store.add("events", pa.table({**times, **texts}), {"subject": self._subject})

    def close(self) -> None:
        """Ends the files of waves."""
        if self._files is not None:
            self._files.close()

    def _wanted(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            if self._to.request.wants(chunk.channel):
                self._to.saw(chunk)
                yield chunk

    def _long(self, chunk: Chunk) -> Any:
        unit = Catalogue.shipped().unit(chunk.channel)
        return self._columns.readings(chunk, self._to.request.pseudonyms.device(chunk.device), unit)

    def _parts(self, chunk: Chunk, day: str) -> dict[str, str]:
        device = self._to.request.pseudonyms.device(chunk.device)
        return {"subject": self._subject, "day": day, "channel": chunk.channel, "device": device}


_HEADINGS: dict[str, Sequence[str]] = {
    "codebook.csv": side.CODEBOOK,
    "completeness.csv": side.COMPLETENESS,
    "gaps.csv": side.GAPS,
    "clock.csv": side.CLOCK,
    "devices.csv": side.DEVICES,
    "versions.csv": side.VERSIONS,
    "episodes.csv": side.EPISODES,
    "audit.csv": side.AUDIT,
    "quarantine.csv": side.QUARANTINE,
    "waves_index.csv": INDEX,
}
_ONLY_IF_ANY = frozenset({"waves_index.csv"})


@contextmanager
def _moved_when_whole(out: Path) -> Iterator[Path]:
    """A directory beside `out` that becomes it at the end, and is removed if the end is not reached."""
    if out.exists():
        raise ConfigError([f"{out}: exists already; name a directory that does not"])
    directory = out.absolute().parent / f".{out.name}.partial"
    try:
        directory.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError([f"{directory}: another export is at work, or was cut off: remove it"]) from None
    except OSError as error:
        raise ConfigError([f"{directory}: {error.strerror}"]) from error
    try:
        yield directory
        directory.rename(out)
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError([f"{out}: {why}; nothing was exported, the half data set is removed"]) from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)
