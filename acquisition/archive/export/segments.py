"""Evenly spaced segments out of samples: what the file formats of waves can hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from acquisition.archive.chunk import Chunk
from acquisition.clock import NS

LONGEST_NS = 3600 * NS
"""No segment is longer, so that one fits into memory whatever the run."""
DRIFT_NS = NS // 10
"""A segment is cut where its samples have moved this far from an even spacing."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Samples of one channel of one device without a break.

    Attributes:
        device: Configured id of the device.
        channel: Channel id.
        start_ns: UTC nanoseconds of the first sample.
        period_ns: Nanoseconds between samples.
        values: In the catalogue's unit, shape (n,); NaN where a sample is missing.
        scale: Units per count, if known.
        offset: Units at count zero, if known.
    """

    device: str
    channel: str
    start_ns: int
    period_ns: int
    values: NDArray[np.float64]
    scale: float | None = None
    offset: float | None = None


class Segmenter:
    """Joins chunks of one device into segments.

    Args:
        fill_ns: Samples that are missing for no longer than this are NaN within a segment; 0: they end it.
    """

    def __init__(self, fill_ns: int) -> None:
        self._fill_ns = fill_ns
        self._open: dict[str, list[Segment]] = {}

    def add(self, chunk: Chunk) -> Iterator[Segment]:
        """What is complete once these samples have come, which follow all others of their channel."""
        for piece in self._pieces(chunk):
            held = self._open.setdefault(chunk.channel, [])
            if held and not self._follows(held, piece):
                yield _whole(held)
                held.clear()
            if held:
                first = held[-1]
                missing = round((piece.start_ns - _end(first)) / first.period_ns)
                if missing > 0:
                    gap = np.full(missing, np.nan)
                    held.append(_like(first, _end(first), gap))
            held.append(piece)

    def close(self) -> Iterator[Segment]:
        """The segments that are still open."""
        for held in self._open.values():
            if held:
                yield _whole(held)
        self._open.clear()

    def _pieces(self, chunk: Chunk) -> Iterator[Segment]:
        steps = np.diff(chunk.time_ns)
        period = chunk.period_ns or (int(np.median(steps)) if steps.size else NS)
        edges = [0, *(np.flatnonzero(np.abs(steps - period) > period // 2) + 1).tolist(), len(chunk)]
        for begin, end in pairwise(edges):
            yield Segment(
                chunk.device, chunk.channel, int(chunk.time_ns[begin]), period, chunk.values[begin:end], chunk.scale,
                chunk.offset,
            )  # fmt: skip

    def _follows(self, held: list[Segment], piece: Segment) -> bool:
        last = held[-1]
        away = piece.start_ns - _end(last)
        alike = (piece.period_ns, piece.scale, piece.offset) == (last.period_ns, last.scale, last.offset)
        whole = abs(away - round(away / last.period_ns) * last.period_ns) <= last.period_ns // 2
        size = sum(each.values.size for each in held) + piece.values.size
        drift = abs(piece.start_ns - (held[0].start_ns + _count(held, away) * last.period_ns))
        return (
            alike
            and whole
            and -last.period_ns // 2 <= away <= max(self._fill_ns, last.period_ns // 2)
            and size * last.period_ns <= LONGEST_NS
            and drift <= DRIFT_NS
        )


def _count(held: list[Segment], away: int) -> int:
    return sum(each.values.size for each in held) + max(0, round(away / held[-1].period_ns))


def _end(segment: Segment) -> int:
    return segment.start_ns + segment.values.size * segment.period_ns


def _like(segment: Segment, start_ns: int, values: NDArray[np.float64]) -> Segment:
    return Segment(segment.device, segment.channel, start_ns, segment.period_ns, values, segment.scale, segment.offset)


def _whole(held: list[Segment]) -> Segment:
    return _like(held[0], held[0].start_ns, np.concatenate([each.values for each in held]))
