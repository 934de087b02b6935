"""One interface over the places that readings are read from, and the one that is a bed's own journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Protocol

import numpy as np

from acquisition.archive.chunk import QUALITIES, Chunk, Window, joined
from acquisition.catalogue import Catalogue, ChannelKind
from acquisition.clock import NS
from acquisition.journal.cursors import Quarantined
from acquisition.journal.quarantine import Quarantine
from acquisition.journal.reader import JournalReader
from acquisition.journal.slices import NumericsSlices
from acquisition.model import MISSING_COUNT, Event, EventKind, Observation, Waveform, in_units

NUMERICS_NS = 3600 * NS
"""What is held of numerics at a time; aligned to UTC, so that every source cuts at the same places."""
WAVES_NS = 600 * NS


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """One channel of one device that a source holds."""

    device: str
    channel: str
    wave: bool


class Source(Protocol):
    """Where readings are read from; every source gives the same answer to the same question.

    Chunks come device by device in the order of their ids, then in slices of UTC (an hour of numerics, ten minutes of
    waves), then channel by channel. A sample that the device did not send is in no chunk.
    """

    def series(self, window: Window) -> list[Series]:
        """What there is, in order; perhaps also what is held of other times.

        Raises:
            AcquisitionError: the source cannot be read.
        """
        ...

    def extent(self, window: Window) -> Window | None:
        """The window from its first reading, and without the time after the last of all; None if there is none.

        Raises:
            AcquisitionError: the source cannot be read.
        """
        ...

    def numerics(
        self, window: Window, devices: Collection[str] | None = None, channels: Collection[str] | None = None
    ) -> Iterator[Chunk]:
        """Values and states with `from_ns <= time < to_ns`.

        Raises:
            AcquisitionError: the source cannot be read.
        """
        ...

    def waves(
        self, window: Window, devices: Collection[str] | None = None, channels: Collection[str] | None = None
    ) -> Iterator[Chunk]:
        """Samples with `from_ns <= time < to_ns`.

        Raises:
            AcquisitionError: the source cannot be read.
        """
        ...

    def events(self, window: Window, kinds: Collection[EventKind] | None = None) -> Iterator[Event]:
        """Events, device by device, each in the order of time.

        Raises:
            AcquisitionError: the source cannot be read.
        """
        ...


class JournalSource:
    """The journal of one bed.

    Args:
        directory: Of the journal.
        bed: Whose it is, if that is known; then it has nothing to say about another bed.

    Attributes:
        damaged: Reports of what could not be read so far.

    Raises:
        JournalError: there is no such directory.
    """

    def __init__(self, directory: Path, bed: str | None = None) -> None:
        self._reader = JournalReader(directory)
        self._bed = bed
        self._directory = directory
        self._stat = self._reader.stat()

    @property
    def damaged(self) -> list[str]:
        """Reports of what could not be read so far."""
        return self._reader.damaged

    def series(self, window: Window) -> list[Series]:
        """See `Source.series`; of all times."""
        if not self.holds(window):
            return []
        return sorted(
            Series(device, channel, is_wave(channel))
            for device, channels in self._stat.readings.items()
            for channel in channels
            if channel
        )

    def extent(self, window: Window) -> Window | None:
        """See `Source.extent`."""
        last = max(self._reader.last_seen().values(), default=0) if self.holds(window) else 0
        kinds = ["numerics", "waveform"]
        begun: list[int] = []
        for device in self._stat.readings if last else ():
            found = self._reader.query(devices=[device], from_ns=window.from_ns, to_ns=window.to_ns, kinds=kinds)
            begun += islice((first for each in found if (first := _first_ns(each)) is not None), 1)
        first = min((*begun, window.to_ns))
        held = replace(window, from_ns=first, to_ns=min(window.to_ns, last + 1))
        return held if held.length_ns else None

    def rejected(self) -> list[Quarantined]:
        """What some sink rejected.

        Raises:
            JournalError: the journal cannot be read.
        """
        return Quarantine(self._directory).entries()

    def numerics(
        self, window: Window, devices: Collection[str] | None = None, channels: Collection[str] | None = None
    ) -> Iterator[Chunk]:
        """See `Source.numerics`."""
        for device in self._devices(window, devices):
            for columns in NumericsSlices(self._reader, device, channels).read(
                window.from_ns, window.to_ns, NUMERICS_NS
            ):
                for channel, column in columns.items():
                    state = column.state if column.state.any() else None
                    yield Chunk(device, channel, column.time_ns, column.values, column.quality, state)

    def waves(
        self, window: Window, devices: Collection[str] | None = None, channels: Collection[str] | None = None
    ) -> Iterator[Chunk]:
        """See `Source.waves`."""
        for device in self._devices(window, devices):
            blocks: defaultdict[str, list[Waveform]] = defaultdict(list)
            held: defaultdict[str, list[Chunk]] = defaultdict(list)
            end_ns = 0
            for each in self._reader.query(
                devices=[device], channels=channels, from_ns=window.from_ns, to_ns=window.to_ns, kinds=["waveform"]
            ):
                if not isinstance(each, Waveform):
                    continue
                while each.time_ns >= end_ns:
                    _take_up(blocks, held)
                    yield from _before(held, end_ns)
                    reached = min((parts[0].time_ns[0] for parts in held.values() if parts), default=each.time_ns)
                    end_ns = (int(reached) // WAVES_NS + 1) * WAVES_NS
                blocks[each.channel].append(each)
            _take_up(blocks, held)
            while any(held.values()):
                yield from _before(held, end_ns)
                end_ns += WAVES_NS

    def events(self, window: Window, kinds: Collection[EventKind] | None = None) -> Iterator[Event]:
        """See `Source.events`."""
        if not self.holds(window):
            return
        for device in sorted(self._stat.events):
            for each in self._reader.query(
                devices=[device], from_ns=window.from_ns, to_ns=window.to_ns, kinds=["event"]
            ):
                if isinstance(each, Event) and (kinds is None or each.event in kinds):
                    yield each

    def holds(self, window: Window) -> bool:
        """Whether the window is of this bed, as far as that is known."""
        return self._bed is None or window.bed is None or window.bed == self._bed

    def _devices(self, window: Window, devices: Collection[str] | None) -> list[str]:
        held = self._stat.readings if self.holds(window) else {}
        return sorted(device for device in held if devices is None or device in devices)


def is_wave(channel: str) -> bool:
    """Whether the catalogue has this channel as a waveform."""
    found = Catalogue.shipped().get(channel)
    return found is not None and found.kind is ChannelKind.WAVEFORM


_QUALITY = {name: number for number, name in enumerate(QUALITIES)}


def _first_ns(observation: Observation) -> int | None:
    """When the first number or state of it was; None in a block that has none."""
    if not isinstance(observation, Waveform):
        return observation.time_ns
    present = np.flatnonzero(observation.counts != MISSING_COUNT)
    return observation.time_ns + int(present[0]) * observation.period_ns if present.size else None


def _take_up(blocks: defaultdict[str, list[Waveform]], held: defaultdict[str, list[Chunk]]) -> None:
    """Blocks as chunks, all at once that are alike: numpy wants long arrays, and a block has some thousand samples."""
    for channel, waves in blocks.items():
        for _, alike in groupby(waves, key=lambda wave: (wave.period_ns, wave.scale, wave.offset)):
            chunk = _chunk(list(alike))
            if len(chunk):
                held[channel].append(joined([chunk]))
    blocks.clear()


def _chunk(waves: Sequence[Waveform]) -> Chunk:
    """Blocks of one channel, period and scale."""
    first = waves[0]
    counts = np.concatenate([wave.counts for wave in waves])
    sizes = np.array([wave.counts.size for wave in waves])
    begin = np.cumsum(sizes) - sizes
    shift_ns = np.array([wave.time_ns for wave in waves], np.int64) - begin * first.period_ns
    chunk = Chunk(
        first.device,
        first.channel,
        np.repeat(shift_ns, sizes) + np.arange(counts.size, dtype=np.int64) * first.period_ns,
        in_units(counts, first.scale, first.offset),
        np.repeat(np.array([_QUALITY[wave.quality.value] for wave in waves], np.uint8), sizes),
        None,
        first.period_ns,
        first.scale,
        first.offset,
    )
    present = counts != MISSING_COUNT
    return chunk if present.all() else chunk.at(present)


def _before(held: defaultdict[str, list[Chunk]], end_ns: int) -> Iterator[Chunk]:
    """Takes what lies before a time, channel by channel; what crosses it is cut."""
    for channel in sorted(held):
        early, late = list[Chunk](), list[Chunk]()
        for chunk in held[channel]:
            cut = int(np.searchsorted(chunk.time_ns, end_ns))
            if cut:
                early.append(chunk.at(slice(0, cut)))
            if cut < len(chunk):
                late.append(chunk.at(slice(cut, None)))
        held[channel] = late
        if early:
            yield joined(early)
