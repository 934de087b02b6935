"""Writes a data set: one pass over the readings, beside the place where it will be, and moved there when whole."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from acquisition import INTENDED_USE
from acquisition.archive.absence import elsewhere
from acquisition.archive.chunk import Chunk, Window
from acquisition.archive.episodes.registry import Registry
from acquisition.archive.export import facts, side
from acquisition.archive.export.axis import Axis, axis_of
from acquisition.archive.export.clif import ClifTable
from acquisition.archive.export.omop import OmopTable
from acquisition.archive.export.others import OtherTable, SmallTable
from acquisition.archive.export.package import write_package
from acquisition.archive.export.proof import LEDGER, chained, write_manifest
from acquisition.archive.export.request import Format, Request
from acquisition.archive.export.stores import CsvStore, ParquetStore, Store, abandon
from acquisition.archive.export.subject import Outlet, SubjectReadings
from acquisition.archive.export.tally import declared_of
from acquisition.archive.scope import Scope, told_withdrawn
from acquisition.archive.source import JournalSource, Source, is_wave
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
            with chained(ledger) as chain:
                manifest = written.finish(out.name, chain.last)
                chain.enter(manifest, rfc3339(SystemClock().now().utc_ns))
        finally:
            written.abandon()
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
        self._store: Store = (ParquetStore if request.format is Format.PARQUET else CsvStore)(directory)
        self._others = [
            table(directory, request, self._store)
            for table, asked in ((ClifTable, request.clif), (OmopTable, request.omop))
            if asked
        ]
        self._channels: defaultdict[str, set[str]] = defaultdict(set)
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
        unread = elsewhere(self._source, scope.windows)
        for bed in unread:
            why = f"what {names.bed(bed)} recorded of {subject} is in a journal of its own, which was not read"
            self._rows["left_out.csv"].append(("", "", "", why))
        if told_withdrawn(scope.stay):
            why = f"what came of {subject} while consent was withdrawn; episodes.csv has the times"
            self._rows["left_out.csv"].append(("", "", "", why))
        outlet = Outlet(
            self._directory, self._request, self._store, self._others, self._rows["waves_index.csv"], self._saw
        )
        declared = declared_of(scope, windows, unread)
        one = SubjectReadings(outlet, subject, axis, declared, self._wide_columns(windows))
        whole = sum(window.length_ns for window in windows)
        done = 0
        try:
            for window in windows:
                for day in axis.days(window):
                    one.day(self._source, day)
                    done += day.length_ns
                    progress(done / whole)
            one.close()
        finally:
            one.abandon()
        if not one.tally:
            raise ConfigError([f"{scope.label}: there are no readings in that time"])
        self._describe(scope, one, subject, axis)

    def finish(self, name: str, previous: str) -> str:
        """Writes what describes the whole; returns the hash of the manifest.

        Raises:
            OSError: the disk refuses.
        """
        self._store.close()
        names = self._request.pseudonyms
        seen = {channel: {names.device(device) for device in devices} for channel, devices in self._channels.items()}
        self._rows["codebook.csv"] += side.codebook(seen)
        self._rows["devices.csv"] += side.devices(set().union(*self._channels.values()), self._request)
        tables: list[SmallTable] = [(path, heading, self._rows[path]) for path, heading in _HEADINGS.items()]
        for other in self._others:
            other.close()
            tables += other.tables()
            self._rows["left_out.csv"] += self._left_out(other)
        tables = [each for each in tables if each[2] or each[0] not in _ONLY_IF_ANY]
        for path, heading, rows in tables:
            side.write_rows(self._directory / path, heading, rows)
        plain = {path: heading for path, heading, _ in tables}
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
        write_package(self._directory, title, self._store, plain, about)
        return write_manifest(self._directory, about, previous)

    def abandon(self) -> None:
        """Lets go of every file, also on a disk that has refused already."""
        abandon(self._store)
        for other in self._others:
            other.abandon()

    def _saw(self, chunk: Chunk) -> None:
        self._channels[chunk.channel].add(chunk.device)

    def _left_out(self, other: OtherTable) -> Iterator[side.Row]:
        for channel, devices in sorted(self._channels.items()):
            for device in sorted(devices):
                if why := other.why_not(device, channel, wave=is_wave(channel)):
                    yield other.name, channel, self._request.pseudonyms.device(device), why

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

    def _describe(self, scope: Scope, one: SubjectReadings, subject: str, axis: Axis) -> None:
        request, names = self._request, self._request.pseudonyms
        events = [
            event for window in scope.windows for event in self._source.events(window) if window.hears(event.device)
        ]
        states = [*self._before(scope.windows), *events]
        one.events([event for event in events if request.shows(event)])
        for each in one.tally.completeness():
            begin, counts = axis.told(each.begin_ns + axis.zero_ns), (each.expected, each.received, each.valid)
            row = (subject, names.device(each.device), each.channel, each.bucket, begin, *counts, each.fraction)
            self._rows["completeness.csv"].append(row)
        for device, channel, begin_ns, end_ns, cause in one.tally.gaps(events):
            told = (axis.told(begin_ns), axis.told(end_ns), round((end_ns - begin_ns) / 1e9, 3), cause)
            self._rows["gaps.csv"].append((subject, names.device(device), channel, *told))
        self._rows["clock.csv"] += facts.clock(states, axis, subject, request)
        self._rows["device_identities.csv"] += facts.identities(states, axis, subject, request)
        self._rows["versions.csv"] += side.versions(states, axis)
        if scope.stay is not None:
            self._rows["episodes.csv"] += facts.episodes(scope.stay, axis, subject, request)
            self._rows["audit.csv"] += side.audit(self._registry.entries, scope, axis, subject, request)
        if isinstance(self._source, JournalSource):
            held = [window for window in scope.windows if self._source.holds(window)]
            self._rows["quarantine.csv"] += side.quarantine(self._source.rejected(), held, axis, request)

    def _before(self, windows: Sequence[Window]) -> Iterator[Event]:
        """What still held when the subject came, or what is asked for begins; told at that time."""
        for window in windows:
            earlier = self._source.events(replace(window, from_ns=0, to_ns=window.from_ns), facts.BEFORE)
            for event in facts.still_true(each for each in earlier if window.hears(each.device)):
                yield event.model_copy(update={"time_ns": window.from_ns})


_HEADINGS: dict[str, Sequence[str]] = {
    "codebook.csv": side.CODEBOOK,
    "completeness.csv": side.COMPLETENESS,
    "gaps.csv": side.GAPS,
    "clock.csv": side.CLOCK,
    "devices.csv": side.DEVICES,
    "device_identities.csv": side.IDENTITIES,
    "versions.csv": side.VERSIONS,
    "episodes.csv": side.EPISODES,
    "audit.csv": side.AUDIT,
    "quarantine.csv": side.QUARANTINE,
    "waves_index.csv": INDEX,
    "left_out.csv": side.LEFT_OUT,
}
_ONLY_IF_ANY = frozenset({"waves_index.csv", "left_out.csv"})


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
