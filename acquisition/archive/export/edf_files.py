"""Waves as EDF+: one file for each channel, device and day, with a gap where nothing came."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from acquisition.archive.chunk import Chunk
from acquisition.archive.export.edf_plus import HIGHEST, MISSING, EdfPlus, Signal, number
from acquisition.archive.export.segments import Segment
from acquisition.archive.export.waves import folder_of, safe, unit_of
from acquisition.catalogue import Catalogue
from acquisition.errors import ConfigError


class EdfFiles:
    """See `WaveFiles`. Another file begins where the rate or the range changes, or where samples come early.

    Args:
        directory: Of the data set.
        subject: As named there.
    """

    fill_ns = 0

    def __init__(self, directory: Path, subject: str) -> None:
        self._directory = directory
        self._folder = folder_of(subject)
        self._day = ""
        self._open: dict[str, tuple[str, EdfPlus]] = {}
        self._begun: Counter[str] = Counter()

    def write(self, segment: Segment, day: str, device: str) -> str:
        """See `WaveFiles.write`."""
        if day != self._day:
            self.close()
            self._day = day
        name = safe(f"{segment.channel}_{device}_{day}")
        if name in self._open:
            path, file = self._open[name]
            if _goes_on(file, segment):
                return path
            del self._open[name]
            file.close()
        self._begun[name] += 1
        path = f"{self._folder}/{name}_{self._begun[name]:04d}.edf"
        (self._directory / self._folder).mkdir(parents=True, exist_ok=True)
        signal = _signal(segment)
        try:
            file = EdfPlus(self._directory / path, signal, segment.start_ns)
        except ValueError as error:
            raise ConfigError([f"--format edf: {segment.channel} of {device}: {error}"]) from error
        self._open[name] = path, file
        if not _goes_on(file, segment):
            raise ConfigError([f"--format edf: {segment.channel} of {device} has values that are no numbers"])
        return path

    def numerics(self, chunk: Chunk, device: str) -> None:
        """See `WaveFiles.numerics`; they are tables beside the waves."""

    def close(self) -> None:
        """See `WaveFiles.close`."""
        while self._open:
            _, (_, file) = self._open.popitem()
            file.close()

    def abandon(self) -> None:
        """See `WaveFiles.abandon`."""
        while self._open:
            _, (_, file) = self._open.popitem()
            file.abandon()


def _goes_on(file: EdfPlus, segment: Segment) -> bool:
    """Adds the segment to the file, if it fits into it."""
    if segment.period_ns != file.signal.period_ns:
        return False
    counts = file.signal.digital(segment.values)
    return counts is not None and file.add(segment.start_ns, counts)


def _signal(segment: Segment) -> Signal:
    low, high = _range(segment)
    return Signal(segment.channel[:16], unit_of(segment.channel)[:8], segment.period_ns, low, high)


def _range(segment: Segment) -> tuple[float, float]:
    """Of the values that a sample can have: the device's own counts if the header can tell them.

    Else what the catalogue holds possible, or what the segment has.
    """
    least, most = float(segment.values.min()), float(segment.values.max())
    if segment.scale and segment.scale > 0:
        edges = [count * segment.scale + (segment.offset or 0.0) for count in (MISSING, HIGHEST)]
        exact = all(len(number(edge)) <= 8 and float(number(edge)) == round(edge, 9) for edge in edges)
        if exact and edges[0] < least and most <= edges[1]:
            return float(number(edges[0])), float(number(edges[1]))
    known = Catalogue.shipped().get(segment.channel)
    low, high = (known and known.hard) or (least, most)
    return float(np.floor(min(low, least))) - 1, float(np.ceil(max(high, most))) + 1
