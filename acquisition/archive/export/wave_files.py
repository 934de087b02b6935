"""Segments as files that physiologists' programs read: WFDB records, and EDF+ with one file for each segment.

WFDB: G. Moody, "WFDB Applications Guide", header(5) and signal(5): multi-segment records, formats 16 and 32 and their
value for a missing sample. EDF+: B. Kemp and J. Olivan, 2003. edfio writes EDF+C alone, so a gap begins a new file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from acquisition.archive.export.axis import Axis
from acquisition.archive.export.segments import Segment
from acquisition.archive.extra import library
from acquisition.catalogue import Catalogue
from acquisition.clock import NS

_FINE = 1000.0
"""Counts per unit where the device's own are not known; finer than any device's."""
_RECORD_S = 1.0


@dataclass(frozen=True, slots=True)
class Written:
    """One file of a segment: where it is, and when its first sample is."""

    path: str
    segment: Segment


class WaveFiles(Protocol):
    """Writes the segments of one subject."""

    fill_ns: int

    def write(self, segment: Segment, day: str, device: str) -> Written:
        """One file, or pair of files, in the data set.

        Raises:
            OSError: the disk refuses.
        """
        ...

    def close(self) -> None:
        """Writes what joins them.

        Raises:
            OSError: the disk refuses.
        """
        ...


class WfdbFiles:
    """One record for each segment, and a multi-segment record for each channel and day; no base time in any.

    Args:
        directory: Of the data set.
        subject: As named there.
        axis: Time line.
    """

    fill_ns = 60 * NS

    def __init__(self, directory: Path, subject: str, axis: Axis) -> None:
        self._wfdb = library("wfdb", "--format wfdb")
        self._directory = directory
        self._folder = f"waves/{_safe(subject)}"
        self._axis = axis
        self._parts: defaultdict[str, list[tuple[str, Segment]]] = defaultdict(list)

    def write(self, segment: Segment, day: str, device: str) -> Written:
        """See `WaveFiles.write`."""
        record = _safe(f"{segment.channel}_{device}_{day}")
        name = f"{record}_{len(self._parts[record]) + 1:04d}"
        self._parts[record].append((name, segment))
        counts, form, gain, baseline = _digital(segment)
        folder = self._directory / self._folder
        folder.mkdir(parents=True, exist_ok=True)
        self._wfdb.wrsamp(
            name,
            fs=NS / segment.period_ns,
            units=[_unit(segment.channel)],
            sig_name=[segment.channel],
            d_signal=counts.reshape(-1, 1),
            fmt=[form],
            adc_gain=[gain],
            baseline=[baseline],
            write_dir=str(folder),
        )
        return Written(f"{self._folder}/{name}", segment)

    def close(self) -> None:
        """See `WaveFiles.close`."""
        for record, parts in self._parts.items():
            for number, alike in enumerate(_of_one_rate(parts), 1):
                self._join(record if number == 1 else f"{record}_rate{number}", alike)
        self._parts.clear()

    def _join(self, record: str, parts: list[tuple[str, Segment]]) -> None:
        first = parts[0][1]
        period, rate = first.period_ns, NS / first.period_ns
        lines, end = [f"{record}_layout 0"], first.start_ns
        total = 0
        for name, segment in parts:
            missing = max(0, round((segment.start_ns - end) / period))
            if missing:
                lines.append(f"~ {missing}")
            lines.append(f"{name} {segment.values.size}")
            total += missing + segment.values.size
            end = first.start_ns + total * period
        folder = self._directory / self._folder
        heading = f"{record}/{len(lines)} 1 {rate!r} {total}"
        (folder / f"{record}.hea").write_text("\n".join([heading, *lines, ""]), encoding="ascii")
        _, _, gain, baseline = _digital(first)
        signal = f"~ 0 {gain!r}({baseline})/{_unit(first.channel)} 0 0 0 0 0 {first.channel}"
        layout = f"{record}_layout 1 {rate!r} 0\n{signal}\n"
        (folder / f"{record}_layout.hea").write_text(layout, encoding="ascii")


class EdfFiles:
    """One EDF+ file for each segment, without a patient and with a date that is none.

    The last second is filled up with the last value; how many samples there are stands in the index.

    Args:
        directory: Of the data set.
        subject: As named there.
        axis: Time line.
    """

    fill_ns = 0

    def __init__(self, directory: Path, subject: str, axis: Axis) -> None:
        self._edfio = library("edfio", "--format edf")
        self._directory = directory
        self._folder = f"waves/{_safe(subject)}"
        self._axis = axis
        self._number = 0

    def write(self, segment: Segment, day: str, device: str) -> Written:
        """See `WaveFiles.write`."""
        self._number += 1
        path = f"{self._folder}/{_safe(f'{segment.channel}_{device}_{day}_{self._number:04d}')}.edf"
        (self._directory / self._folder).mkdir(parents=True, exist_ok=True)
        rate = NS / segment.period_ns
        size = max(1, round(rate * _RECORD_S))
        short = -segment.values.size % size
        values = np.concatenate([segment.values, np.repeat(segment.values[-1:], short)])
        signal = self._edfio.EdfSignal(
            values,
            size / _RECORD_S,
            label=segment.channel[:16],
            physical_dimension=_unit(segment.channel)[:8],
            physical_range=_range(segment),
        )
        self._edfio.Edf([signal], data_record_duration=_RECORD_S).write(self._directory / path)
        return Written(path, segment)

    def close(self) -> None:
        """See `WaveFiles.close`."""


def _of_one_rate(parts: list[tuple[str, Segment]]) -> Iterator[list[tuple[str, Segment]]]:
    rates: defaultdict[int, list[tuple[str, Segment]]] = defaultdict(list)
    for name, segment in parts:
        rates[segment.period_ns].append((name, segment))
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


def _range(segment: Segment) -> tuple[float, float]:
    """Of the 65,536 values that a sample of EDF can have: the device's own counts if the header can tell them."""
    if segment.scale and segment.scale > 0:
        low = -(2**15) * segment.scale + (segment.offset or 0.0)
        high = (2**15 - 1) * segment.scale + (segment.offset or 0.0)
        exact = all(len(_shown(edge)) <= 8 and float(_shown(edge)) == round(edge, 9) for edge in (low, high))
        if exact and low <= segment.values.min() and segment.values.max() <= high:
            return float(_shown(low)), float(_shown(high))
    return float(np.floor(segment.values.min())) - 1, float(np.ceil(segment.values.max())) + 1


def _shown(edge: float) -> str:
    return f"{round(edge, 9):.12g}"


def _unit(channel: str) -> str:
    """Of UCUM without its brackets, which no WFDB header can hold; the codebook has it in full."""
    return re.sub(r"[^A-Za-z0-9^?%/-]", "", Catalogue.shipped().unit(channel)) or "1"


def _safe(name: str) -> str:
    """Letters, digits, `_` and `-`: what a WFDB record may be named."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def wave_files(form: str, directory: Path, subject: str, axis: Axis) -> Any:
    """What writes that format: `wfdb` or `edf`."""
    return (WfdbFiles if form == "wfdb" else EdfFiles)(directory, subject, axis)
