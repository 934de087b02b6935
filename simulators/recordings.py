"""A real recording, WFDB or CSV, as what a simulated monitor measures: waves as they were sampled, numerics in time."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acquisition.clock import NS, Clock
from acquisition.model import MISSING_COUNT

WAVE_HZ = 20.0
"""Signals with fewer samples a second are numerics."""
CSV_RESOLUTION = 0.001
CHANNELS: Mapping[str, str] = {
    # Names of signals in the MIMIC collections (PhysioNet) to channel ids.
    "ABP": "wf_abp", "ART": "wf_abp", "II": "wf_ecg_ii", "CVP": "wf_cvp", "PLETH": "wf_pleth",
    "HR": "hr", "PULSE": "pr_abp", "RESP": "rr", "SpO2": "spo2",
    "ABPSys": "abp_sys", "ABPDias": "abp_dia", "ABPMean": "abp_mean",
    "NBPSys": "nibp_sys", "NBPDias": "nibp_dia", "NBPMean": "nibp_mean",
}  # fmt: skip


class RecordedWave:
    """One signal of a recording as a source of samples.

    Attributes:
        counts: Its samples, shape (n,), `MISSING_COUNT` where there is none.
        rate_hz: Samples per second.
        resolution: What one count stands for, in the channel's unit.
    """

    def __init__(self, counts: NDArray[np.int32], rate_hz: float, resolution: float) -> None:
        self.counts = counts
        self.rate_hz = rate_hz
        self.resolution = resolution
        self._at = 0

    def take(self, n: int) -> NDArray[np.int32]:
        """The next `n` samples as counts; fewer at the end."""
        taken = self.counts[self._at : self._at + n]
        self._at += taken.size
        return taken

    @property
    def begun(self) -> bool:
        """Whether anything was taken."""
        return self._at > 0

    @property
    def exhausted(self) -> bool:
        """Whether everything was taken."""
        return self._at >= self.counts.size


@dataclass(slots=True)
class Recording:
    """What a monitor measures, by channel id.

    Attributes:
        waves: Sources of samples.
        series: Values of numerics, NaN where there is none, all with `series_hz` values per second.
        left_out: Signals for which no channel is known.
    """

    waves: dict[str, RecordedWave] = field(default_factory=dict)
    series: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    series_hz: float = 1.0
    left_out: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it is."""
        lengths = [wave.counts.size / wave.rate_hz for wave in self.waves.values()]
        return max([*lengths, *(values.size / self.series_hz for values in self.series.values())], default=0.0)

    def keep(self, channels: Collection[str]) -> None:
        """Leaves out every other channel.

        Raises:
            ValueError: nothing is left.
        """
        had = {*self.waves, *self.series}
        self.waves = {name: wave for name, wave in self.waves.items() if name in channels}
        self.series = {name: values for name, values in self.series.items() if name in channels}
        self.left_out += tuple(sorted(had.difference(channels)))
        if not self.waves and not self.series:
            raise ValueError(f"this monitor can send none of {', '.join(self.left_out)}")


class RecordedNumerics:
    """The numerics of a recording at the present instant; it begins when it is first looked at.

    Args:
        recording: Whose.
        clock: Goes through the recording.
    """

    def __init__(self, recording: Recording, clock: Clock) -> None:
        self._recording = recording
        self._clock = clock
        self._start: int | None = None

    @property
    def over(self) -> bool:
        """Whether the recording was begun and its last value has been there to be seen for a second."""
        if self._start is None:
            return False
        return (self._clock.now().mono_ns - self._start) / NS >= self._recording.seconds + 1

    def __call__(self) -> dict[str, float]:
        """Value by channel id; a channel without one now is left out."""
        now_ns = self._clock.now().mono_ns
        if self._start is None:
            self._start = now_ns
        place = int((now_ns - self._start) / NS * self._recording.series_hz)
        series = self._recording.series.items()
        now = {channel: float(values[min(place, values.size - 1)]) for channel, values in series}
        return {channel: value for channel, value in now.items() if not math.isnan(value)}


def read_recording(path: Path, channels: Mapping[str, str] | None = None) -> Recording:
    """Reads a recording.

    Args:
        path: A WFDB record, with or without `.hea`; or a CSV: seconds in the first column, signals in the others.
        channels: Name of a signal to channel id, besides `CHANNELS`; a signal may also be named as its channel.

    Raises:
        ValueError: it cannot be read as such, or has no signal for which a channel is known.
    """
    if path.suffix == ".csv":
        names, rate_hz, columns = _csv(path)
    else:
        names, rate_hz, columns = _wfdb(path)
    known = {**CHANNELS, **(channels or {})}
    recording = Recording(series_hz=rate_hz)
    left_out = []
    for name, (counts, resolution) in zip(names, columns, strict=True):
        channel = known.get(name, name)
        is_wave = rate_hz >= WAVE_HZ
        if channel.startswith("wf_") != is_wave or (channel == name and not _is_channel(name)):
            left_out.append(name)
        elif is_wave:
            recording.waves[channel] = RecordedWave(counts, rate_hz, resolution)
        else:
            values = np.where(counts == MISSING_COUNT, np.nan, counts * resolution)
            recording.series[channel] = values
    recording.left_out = tuple(left_out)
    if not recording.waves and not recording.series:
        raise ValueError(f"{path}: no channel is known for {', '.join(names)}; say --channel NAME=channel_id")
    return recording


def _is_channel(name: str) -> bool:
    return name == name.lower() and name.replace("_", "").isalnum() and not name[:1].isdigit()


def _wfdb(path: Path) -> tuple[list[str], float, list[tuple[NDArray[np.int32], float]]]:
    try:
        import wfdb
    except ImportError:
        raise ValueError("WFDB records need the extra archive: pip install 'ecmo-daq[archive]'") from None
    try:
        record: Any = wfdb.rdrecord(str(path.with_suffix("") if path.suffix == ".hea" else path), physical=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a WFDB record: {error}") from None
    columns = []
    for number in range(record.n_sig):
        raw = record.d_signal[:, number].astype(np.int64)
        missing = raw == -(1 << (int(record.fmt[number]) - 1)) if record.fmt[number].isdigit() else raw != raw
        counts = np.where(missing, MISSING_COUNT, raw - record.baseline[number]).astype(np.int32)
        columns.append((counts, float(1.0 / record.adc_gain[number])))
    return list(record.sig_name), float(record.fs), columns


def _csv(path: Path) -> tuple[list[str], float, list[tuple[NDArray[np.int32], float]]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = [*csv.reader(file)] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV: {error}") from None
    if len(head) < 2 or len(rows) < 2:
        raise ValueError(f"{path}: no signal has two samples; the first line names the columns, seconds first")
    table = np.empty((len(rows), len(head)))
    for number, row in enumerate(rows):
        if len(row) != len(head):
            raise ValueError(f"{path}, line {number + 2}: {len(row)} cells; the first line has {len(head)}")
        try:
            table[number] = [float(cell) if cell else math.nan for cell in row]
        except ValueError as error:
            raise ValueError(f"{path}, line {number + 2}: {error}") from None
    steps = np.diff(table[:, 0])
    step = float(np.median(steps))
    if not (step > 0 and np.abs(steps - step).max() <= 0.01 * step):
        raise ValueError(f"{path}: the seconds in the first column must be evenly spaced")
    columns = []
    for values in table[:, 1:].T:
        counts = np.round(np.where(np.isnan(values), 0.0, values) / CSV_RESOLUTION)
        columns.append((np.where(np.isnan(values), MISSING_COUNT, counts).astype(np.int32), CSV_RESOLUTION))
    # Times are written with few decimals: over the whole length their rounding does not count.
    rate_hz = float(f"{(len(rows) - 1) / (table[-1, 0] - table[0, 0]):.6g}")
    return head[1:], rate_hz, columns
