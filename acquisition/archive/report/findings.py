"""What a report tells, as values: everything is gathered before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acquisition.archive.chunk import Window
from acquisition.archive.report.scale import TimeLine
from acquisition.archive.report.story import Story


@dataclass(frozen=True, slots=True)
class Key:
    """A stream: one channel of one device, under the names of the data request."""

    device: str
    channel: str


@dataclass(frozen=True, slots=True)
class Curve:
    """Figures of one stream in buckets that have a usable reading, all arrays of shape (n,).

    Attributes:
        time_ns: UTC nanoseconds at which each bucket begins.
        low: Least value of each.
        median: Median of each.
        high: Greatest value of each.
        mean: Mean of each.
        count: Readings in each.
        ends: Whether the line ends at this bucket, because a silence follows.
    """

    time_ns: NDArray[np.int64]
    low: NDArray[np.float64]
    median: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    count: NDArray[np.int64]
    ends: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Hour:
    """One stream in one hour.

    Attributes:
        number: Hours since the zero of the axis.
        expected: Readings that should have come in the declared run.
        complete: Of these, those that came and are usable.
    """

    key: Key
    number: int
    expected: int
    complete: int

    @property
    def fraction(self) -> float | None:
        """Complete of expected; None outside of the declared run."""
        return self.complete / self.expected if self.expected else None


@dataclass(frozen=True, slots=True)
class Gap:
    """A silence of one or more channels of a device that fell silent and came back together."""

    device: str
    channels: tuple[str, ...]
    from_ns: int
    to_ns: int
    cause: str

    @property
    def length_ns(self) -> int:
        """Nanoseconds."""
        return self.to_ns - self.from_ns


@dataclass(frozen=True, slots=True)
class Lag:
    """How long after ECMO start a stream was first read; negative if it was read before."""

    key: Key
    first_ns: int
    lag_ns: int


@dataclass(frozen=True, slots=True)
class ClockPoint:
    """What was known of a clock at a time; None where the event does not tell it."""

    device: str
    time_ns: int
    ahead_s: float | None
    drift_ppm: float | None
    uncertainty_s: float | None
    set_by_s: float | None


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some seconds of a wave as they were recorded; time from the first sample, both of shape (n,)."""

    key: Key
    time_ns: int
    seconds: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Device:
    """What is known of a device of the run."""

    name: str
    driver: str
    profile: str
    readings: int


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that the report of one episode tells.

    Attributes:
        label: Of the subject or bed, under the names of the data request.
        pseudonymous: Whether names are new.
        blinded: Whether what tells of the study drug is left out.
        centre: Where it was; empty if that is not known or must not be told.
        beds: In the order of time.
        unread: Those of them that are not in the journal that was read.
        time: The common time line.
        bucket_ns: Length of a bucket of the curves.
        declared: When there should have been readings.
        story: What the registry tells; None where a bed was asked for.
        values: Numbers and states that came.
        samples: Of waves.
        curves: By stream, numerics only.
        hours: Completeness, of streams that come at a steady rate.
        silent: Streams that the source knows, but of which nothing came in this time.
        gaps: Longest first.
        lags: In the order of first readings; empty where no ECMO run is declared.
        clock: In the order of time, device by device.
        excerpts: Of waves, in the order of time.
        devices: In the order of names.
        versions: Which version recorded, from when on.
        damaged: What of the source could not be read.
        created: When the report was made; empty where dates must not be told.
    """

    label: str
    pseudonymous: bool
    blinded: bool
    centre: str
    beds: tuple[str, ...]
    unread: tuple[str, ...]
    time: TimeLine
    bucket_ns: int
    declared: tuple[Window, ...]
    story: Story | None
    values: int
    samples: int
    curves: Mapping[Key, Curve]
    hours: tuple[Hour, ...]
    silent: tuple[Key, ...]
    gaps: tuple[Gap, ...]
    lags: tuple[Lag, ...]
    clock: tuple[ClockPoint, ...]
    excerpts: tuple[Excerpt, ...]
    devices: tuple[Device, ...]
    versions: tuple[tuple[int, str], ...]
    damaged: tuple[str, ...]
    created: str

    def completeness(self, *channels: str) -> float | None:
        """Mean over streams of valid of expected in the declared run; None where nothing is expected.

        Args:
            channels: Of these only; none: of all.
        """
        sums: dict[Key, list[int]] = {}
        for hour in self.hours:
            if not channels or hour.key.channel in channels:
                total = sums.setdefault(hour.key, [0, 0])
                total[0] += hour.complete
                total[1] += hour.expected
        parts = [complete / expected for complete, expected in sums.values() if expected]
        return sum(parts) / len(parts) if parts else None
