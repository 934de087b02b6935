"""The readings of one subject on their way into a data set: long and wide tables, waves, and other schemas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from acquisition.archive.chunk import Chunk, Window
from acquisition.archive.export import side
from acquisition.archive.export.atrium_files import AtriumFiles
from acquisition.archive.export.axis import DAY_NS, Axis
from acquisition.archive.export.columns import FIGURES, Columns
from acquisition.archive.export.edf_files import EdfFiles
from acquisition.archive.export.others import OtherTable
from acquisition.archive.export.request import Format, Request
from acquisition.archive.export.segments import Segment, Segmenter
from acquisition.archive.export.stores import Store
from acquisition.archive.export.tally import Tally
from acquisition.archive.export.waves import WaveFiles
from acquisition.archive.export.wfdb_files import WfdbFiles
from acquisition.archive.extra import library
from acquisition.archive.resample import Unfinished, resample
from acquisition.archive.scope import devices_of
from acquisition.archive.source import Source
from acquisition.catalogue import Catalogue
from acquisition.model import Event

_WAVE_FILES: Mapping[Format, Callable[[Path, str], WaveFiles]] = {
    Format.WFDB: WfdbFiles,
    Format.EDF: EdfFiles,
    Format.ATRIUMDB: AtriumFiles,
}


@dataclass(frozen=True)
class Outlet:
    """Where the readings of every subject of a data set go.

    Attributes:
        directory: Of the data set.
        request: What is wanted.
        store: Takes the large tables.
        others: Take numerics in the schemas of others.
        index: Rows of `waves_index.csv`.
        saw: Is shown every piece of data.
    """

    directory: Path
    request: Request
    store: Store
    others: Sequence[OtherTable]
    index: list[side.Row]
    saw: Callable[[Chunk], None]


class SubjectReadings:
    """Writes them day by day.

    Args:
        to: The data set.
        subject: As named there.
        axis: Time line.
        declared: When there should be readings.
        wide: Device and channel to the name of the channel in the wide form.
    """

    def __init__(
        self, to: Outlet, subject: str, axis: Axis, declared: Sequence[Window], wide: Mapping[tuple[str, str], str]
    ) -> None:
        self._to = to
        self._subject = subject
        self._axis = axis
        self._columns = Columns(axis)
        self._wide = wide
        self.tally = Tally(axis, declared)
        self._unfinished = Unfinished(to.request.every_ns)
        self._files: WaveFiles | None = None
        if to.request.format in _WAVE_FILES:
            self._files = _WAVE_FILES[to.request.format](to.directory, subject)

    def day(self, source: Source, window: Window) -> None:
        """One day, or a part of it, in one bed."""
        devices = devices_of(window, None)
        day = self._axis.day(window.from_ns)
        numerics = self._wanted(source.numerics(window, devices), window, wave=False)
        usable = (each.at(each.quality < 2) for each in self._day_long(numerics, day))
        self._write_wide(self._unfinished.held_back(usable, window.to_ns - self._axis.zero_ns))
        self._day_waves(self._wanted(source.waves(window, devices), window, wave=True), day)

    def _day_long(self, chunks: Iterable[Chunk], day: str) -> Iterator[Chunk]:
        for chunk in chunks:
            table = self._long(chunk)
            place = table.schema.get_field_index("quality")
            table = table.add_column(place, "state", self._columns.states(chunk))
            self._to.store.add("numerics_long", table, self._parts(chunk, day))
            moved = replace(chunk, time_ns=chunk.time_ns - self._axis.zero_ns)
            if self._files is not None:
                self._files.numerics(moved, self._to.request.pseudonyms.device(chunk.device))
            yield moved

    def _write_wide(self, chunks: Iterable[Chunk]) -> None:
        found = list(resample(chunks, self._to.request.every_ns, (*FIGURES, "count")))
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
        table = self._columns.wide(starts, columns, figures)
        edges = [0, *(np.flatnonzero(np.diff(starts // DAY_NS)) + 1).tolist(), starts.size]
        for begin, end in pairwise(edges):
            day = self._axis.day(int(starts[begin]) + self._axis.zero_ns)
            self._to.store.add("numerics_wide", table.slice(begin, end - begin), {"subject": self._subject, "day": day})
        for other in self._to.others:
            other.add(self._subject, found, self._wide)

    def _day_waves(self, chunks: Iterable[Chunk], day: str) -> None:
        segmenters: dict[str, Segmenter] = {}
        for chunk in chunks:
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
        path = files.write(replace(segment, start_ns=segment.start_ns - self._axis.zero_ns), day, device)
        start, rate = self._axis.told(segment.start_ns), 1e9 / segment.period_ns
        row = (self._subject, device, segment.channel, path, start, segment.values.size, rate)
        self._to.index.append(row)

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
        """Writes the last bucket, and ends the files of waves."""
        self._write_wide(self._unfinished.rest())
        if self._files is not None:
            self._files.close()

    def abandon(self) -> None:
        """Lets go of the files of waves on a disk that has refused already."""
        if self._files is not None:
            self._files.abandon()

    def _wanted(self, chunks: Iterable[Chunk], window: Window, *, wave: bool) -> Iterator[Chunk]:
        for chunk in chunks:
            if self._to.request.wants(chunk.channel):
                self._to.saw(chunk)
                self.tally.add(chunk, window.bed, wave=wave)
                yield chunk

    def _long(self, chunk: Chunk) -> Any:
        unit = Catalogue.shipped().unit(chunk.channel)
        return self._columns.readings(chunk, self._to.request.pseudonyms.device(chunk.device), unit)

    def _parts(self, chunk: Chunk, day: str) -> dict[str, str]:
        device = self._to.request.pseudonyms.device(chunk.device)
        return {"subject": self._subject, "day": day, "channel": chunk.channel, "device": device}
