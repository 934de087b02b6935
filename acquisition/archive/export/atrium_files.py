"""Waves and numerics as an AtriumDB data set in the directory `atriumdb`, with SQLite for what describes them.

Source: the package atriumdb 2.6 and its documentation. It keeps integer nanoseconds since 1970 and none before, and
it has no place for quality or states: numbers that are bad are left out here, and stand in the tables beside.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from acquisition.archive.chunk import QUALITIES, Chunk
from acquisition.archive.export.segments import Segment
from acquisition.archive.extra import library
from acquisition.catalogue import Catalogue
from acquisition.clock import NS
from acquisition.model import Quality

FOLDER = "atriumdb"
_BAD = QUALITIES.index(Quality.BAD.value)


class AtriumFiles:
    """See `WaveFiles`. A device of AtriumDB is `SUBJECT/DEVICE`, because one device serves one subject after another.

    Args:
        directory: Of the data set.
        subject: As named there; the patient's "mrn" in AtriumDB.
    """

    fill_ns = 0

    def __init__(self, directory: Path, subject: str) -> None:
        sdk = library("atriumdb", "--format atriumdb").AtriumSDK
        self._subject = subject
        self._measures: dict[tuple[str, int], int] = {}
        self._devices: dict[str, int] = {}
        self._periods: dict[tuple[str, str], int] = {}
        self._extents: dict[int, tuple[int, int]] = {}
        place = directory / FOLDER
        with _as_disk_errors():
            if place.exists():
                self._sdk = sdk(dataset_location=place)
            else:
                self._sdk = sdk.create_dataset(dataset_location=place, database_type="sqlite", overwrite="error")

    def write(self, segment: Segment, day: str, device: str) -> str:
        """See `WaveFiles.write`."""
        scale, offset = segment.scale or 1.0, segment.offset or 0.0
        values = np.round((segment.values - offset) / scale).astype(np.int64) if segment.scale else segment.values
        with _as_disk_errors():
            self._sdk.write_segment(
                self._measure(segment.channel, segment.period_ns),
                self._device(device, segment.start_ns, segment.start_ns + values.size * segment.period_ns),
                values,
                segment.start_ns,
                period=segment.period_ns,
                time_units="ns",
                scale_m=scale,
                scale_b=offset if segment.scale else 0.0,
            )
        return FOLDER

    def numerics(self, chunk: Chunk, device: str) -> None:
        """See `WaveFiles.numerics`."""
        usable = chunk.at((chunk.quality < _BAD) & ~np.isnan(chunk.values))
        if not len(usable):
            return
        steps = np.diff(usable.time_ns)
        usual = round(float(np.median(steps)) / 1e6) * 10**6 if steps.size else NS
        period = self._periods.setdefault((device, chunk.channel), max(usual, 10**6))
        with _as_disk_errors():
            self._sdk.write_time_value_pairs(
                self._measure(chunk.channel, period),
                self._device(device, int(usable.time_ns[0]), int(usable.time_ns[-1]) + 1),
                usable.time_ns,
                usable.values,
                period=period,
                time_units="ns",
            )

    def close(self) -> None:
        """See `WaveFiles.close`."""
        with _as_disk_errors():
            patient = self._sdk.insert_patient(mrn=self._subject)
            self._sdk.insert_device_patient_data(
                [(device, patient, begin, end) for device, (begin, end) in self._extents.items()]
            )
            self._sdk.close()

    def abandon(self) -> None:
        """See `WaveFiles.abandon`."""
        with suppress(sqlite3.Error, OSError):
            self._sdk.close()

    def _measure(self, channel: str, period_ns: int) -> int:
        key = channel, period_ns
        if key not in self._measures:
            unit = Catalogue.shipped().unit(channel)
            self._measures[key] = self._sdk.insert_measure(
                measure_tag=channel, freq=NS / period_ns, freq_units="Hz", units=unit
            )
        return self._measures[key]

    def _device(self, device: str, from_ns: int, to_ns: int) -> int:
        if device not in self._devices:
            self._devices[device] = self._sdk.insert_device(device_tag=f"{self._subject}/{device}")
        number = self._devices[device]
        begin, end = self._extents.get(number, (from_ns, to_ns))
        self._extents[number] = min(begin, from_ns), max(end, to_ns)
        return number


@contextmanager
def _as_disk_errors() -> Iterator[None]:
    """SQLite says in its own way that the disk refuses."""
    try:
        yield
    except sqlite3.OperationalError as error:
        full = "full" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, os.strerror(errno.ENOSPC) if full else str(error)) from error
