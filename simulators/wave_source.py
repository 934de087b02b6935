"""Where a simulated monitor's samples come from, and the same wave as a monitor of another rate samples it."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from acquisition.model import MISSING_COUNT

FINEST = 10_000
"""Rates are taken as fractions with denominators up to this, so that positions never drift."""


class WaveSource(Protocol):
    """Where the samples of one waveform come from.

    Attributes:
        rate_hz: Samples per second.
        resolution: What one count stands for, in the catalogue's unit.
    """

    @property
    def rate_hz(self) -> float: ...  # noqa: D102 - told above

    @property
    def resolution(self) -> float: ...  # noqa: D102 - told above

    def take(self, n: int) -> NDArray[np.int32]:
        """The next `n` samples as counts, shape (n,)."""
        ...


class Resampled:
    """A wave at another rate and resolution: on the straight line between two samples, rounded once.

    A sample beside a missing one is missing, unless it falls on one that is there.

    Args:
        source: The wave as it was sampled.
        rate_hz: Samples per second from now on.
        resolution: What one count stands for from now on, in the unit of the source.
    """

    def __init__(self, source: WaveSource, rate_hz: float, resolution: float) -> None:
        self.rate_hz = rate_hz
        self.resolution = resolution
        self._source = source
        exact = [Fraction(rate).limit_denominator(FINEST) for rate in (source.rate_hz, rate_hz)]
        self._step = exact[0] / exact[1]
        self._taken = 0
        self._held = np.empty(0, dtype=np.int32)
        self._first = 0

    def take(self, n: int) -> NDArray[np.int32]:
        """The next `n` samples as counts; fewer at the end of the source."""
        numbers = np.arange(self._taken, self._taken + n, dtype=np.int64) * self._step.numerator
        before, rest = np.divmod(numbers, self._step.denominator)
        after = before + (rest > 0)
        wanted = (int(after[-1]) + 1 if n else 0) - self._first - self._held.size
        if wanted > 0:
            self._held = np.concatenate([self._held, self._source.take(wanted)])
        there = after < self._first + self._held.size
        low = self._held[before[there] - self._first].astype(np.float64)
        high = self._held[after[there] - self._first].astype(np.float64)
        counts = low + (high - low) * (rest[there] / self._step.denominator)
        counts = np.round(counts * (self._source.resolution / self.resolution))
        counts[(low == MISSING_COUNT) | (high == MISSING_COUNT)] = MISSING_COUNT
        self._taken += counts.size
        passed = min(int(self._taken * self._step) - self._first, self._held.size)
        self._held, self._first = self._held[passed:], self._first + passed
        taken: NDArray[np.int32] = counts.astype(np.int32)
        return taken
