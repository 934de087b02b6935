"""Readings as Arrow tables on a subject's own time line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acquisition.archive.chunk import QUALITIES, STATES, Chunk
from acquisition.archive.export.axis import HOUR_NS, Axis
from acquisition.archive.extra import library

FIGURES = ("median", "mean", "min", "max")


class Columns:
    """Makes tables of one axis.

    Args:
        axis: Time line.
    """

    def __init__(self, axis: Axis) -> None:
        self._pa = library("pyarrow", "an export")
        self._axis = axis
        self._qualities = self._pa.array(QUALITIES)
        self._states = self._pa.array(STATES[1:])

    def readings(self, chunk: Chunk, device: str, unit: str) -> Any:
        """Columns of the long form: times, device, value, unit, state (of numerics), quality."""
        pa = self._pa
        wave = chunk.period_ns is not None or chunk.state is None
        values = pa.array(chunk.values) if wave else pa.array(chunk.values, mask=np.isnan(chunk.values))
        columns = {
            **self.times(chunk.time_ns),
            "device": self._constant(device, len(chunk)),
            "value": values,
            "unit": self._constant(unit, len(chunk)),
            "quality": pa.DictionaryArray.from_arrays(pa.array(chunk.quality.view(np.int8)), self._qualities),
        }
        return pa.table(columns)

    def states(self, chunk: Chunk) -> Any:
        """The column `state`."""
        said = np.zeros(len(chunk), np.int8) if chunk.state is None else chunk.state.view(np.int8)
        return self._pa.DictionaryArray.from_arrays(self._pa.array(said - 1, mask=said == 0), self._states)

    def wide(
        self, start_ns: NDArray[np.int64], names: Sequence[str], figures: Mapping[str, NDArray[np.float64]]
    ) -> Any:
        """One row a bucket; columns of channels that said nothing are empty.

        Args:
            start_ns: Beginnings of the buckets on the axis, counted from its zero.
            names: Columns after the times, in order.
            figures: Those of them that there are, shape (n,); NaN where there is nothing.
        """
        pa = self._pa
        nothing = pa.nulls(start_ns.size, pa.float64())
        columns = {
            name: pa.array(figures[name], mask=np.isnan(figures[name])) if name in figures else nothing
            for name in names
        }
        return pa.table({**self._since_zero(start_ns), **columns})

    def times(self, time_ns: NDArray[np.int64]) -> dict[str, Any]:
        """The columns of time."""
        return self._since_zero(time_ns - self._axis.zero_ns)

    def _since_zero(self, time_ns: NDArray[np.int64]) -> dict[str, Any]:
        pa = self._pa
        if self._axis.relative:
            return {"time_h": pa.array(time_ns / HOUR_NS), "time_ns": pa.array(time_ns)}
        return {
            "time": pa.array(time_ns.view("datetime64[ns]"), pa.timestamp("ns", "UTC")),
            "time_ns": pa.array(time_ns),
        }

    def _constant(self, word: str, size: int) -> Any:
        return self._pa.DictionaryArray.from_arrays(self._pa.array(np.zeros(size, np.int8)), self._pa.array([word]))
