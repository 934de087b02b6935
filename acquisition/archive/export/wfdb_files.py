"""Segments as WFDB records: one for each segment, and a multi-segment record for each channel and day that joins them.

G. Moody, "WFDB Applications Guide", header(5) and signal(5): multi-segment records, formats 16 and 32 and their value
for a missing sample.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acquisition.archive.chunk import Chunk
from acquisition.archive.export.segments import Segment
from acquisition.archive.export.waves import folder_of, safe, unit_of
from acquisition.archive.extra import library
from acquisition.clock import NS

_FINE = 1000.0
"""Counts per unit where the device's own are not known; finer than any device's."""


class _Part(NamedTuple):
    """What the record that joins them must know of a segment; the samples are on the disk."""

    name: str
    channel: str
    start_ns: int
    period_ns: int
    size: int
    gain: float
    baseline: int


class WfdbFiles:
    """One record for each segment, and a multi-segment record for each channel and day; no base time in any.

    Args:
        directory: Of the data set.
        subject: As named there.
    """

    fill_ns = 60 * NS

    def __init__(self, directory: Path, subject: str) -> None:
        self._wfdb = library("wfdb", "--format wfdb")
        self._directory = directory
        self._folder = folder_of(subject)
        self._parts: defaultdict[str, list[_Part]] = defaultdict(list)

    def write(self, segment: Segment, day: str, device: str) -> str:
        """See `WaveFiles.write`."""
        record = safe(f"{segment.channel}_{device}_{day}")
        name = f"{record}_{len(self._parts[record]) + 1:04d}"
        counts, form, gain, baseline = _digital(segment)
        self._parts[record].append(
            _Part(name, segment.channel, segment.start_ns, segment.period_ns, counts.size, gain, baseline)
        )
        folder = self._directory / self._folder
        folder.mkdir(parents=True, exist_ok=True)
        self._wfdb.wrsamp(
            name,
            fs=NS / segment.period_ns,
            units=[unit_of(segment.channel)],
            sig_name=[segment.channel],
            d_signal=counts.reshape(-1, 1),
            fmt=[form],
            adc_gain=[gain],
            baseline=[baseline],
            write_dir=str(folder),
        )
        return f"{self._folder}/{name}"

    def numerics(self, chunk: Chunk, device: str) -> None:
        """See `WaveFiles.numerics`; they are tables beside the waves."""

    def close(self) -> None:
        """See `WaveFiles.close`."""
        for record, parts in self._parts.items():
            for number, alike in enumerate(_of_one_rate(parts), 1):
                self._join(record if number == 1 else f"{record}_rate{number}", alike)
        self._parts.clear()

    def abandon(self) -> None:
        """See `WaveFiles.abandon`; no file stays open between segments."""

    def _join(self, record: str, parts: list[_Part]) -> None:
        first = parts[0]
        period, rate = first.period_ns, NS / first.period_ns
        lines, end = [f"{record}_layout 0"], first.start_ns
        total = 0
        for part in parts:
            missing = max(0, round((part.start_ns - end) / period))
            if missing:
                lines.append(f"~ {missing}")
            lines.append(f"{part.name} {part.size}")
            total += missing + part.size
            end = first.start_ns + total * period
        folder = self._directory / self._folder
        heading = f"{record}/{len(lines)} 1 {rate!r} {total}"
        (folder / f"{record}.hea").write_text("\n".join([heading, *lines, ""]), encoding="ascii")
        signal = f"~ 0 {first.gain!r}({first.baseline})/{unit_of(first.channel)} 0 0 0 0 0 {first.channel}"
        layout = f"{record}_layout 1 {rate!r} 0\n{signal}\n"
        (folder / f"{record}_layout.hea").write_text(layout, encoding="ascii")


def _of_one_rate(parts: list[_Part]) -> Iterator[list[_Part]]:
    rates: defaultdict[int, list[_Part]] = defaultdict(list)
    for part in parts:
        rates[part.period_ns].append(part)
    yield from rates.values()


def _digital(segment: Segment) -> tuple[NDArray[np.int64], str, float, int]:
    """Counts, format, counts per unit, and the count of zero units: the device's own where they are known."""
    gain, baseline = _FINE, 0
    if segment.scale:
        zero = -(segment.offset or 0.0) / segment.scale
        if zero == round(zero):
            gain, baseline = 1 / segment.scale, round(zero)
    missing = np.isnan(segment.values)
    counts = np.round(np.where(missing, 0.0, segment.values) * gain).astype(np.int64) + baseline
    small = bool(np.all(np.abs(counts) < 2**15 - 1))
    counts[missing] = -(2**15) if small else -(2**31)
    return counts, "16" if small else "32", gain, baseline
