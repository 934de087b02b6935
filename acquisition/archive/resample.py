"""Fewer points from many: figures of buckets aligned to UTC, and the points that keep a plot's shape.

Largest-triangle-three-buckets: S. Steinarsson, "Downsampling Time Series for Visual Representation", University of
Iceland, 2013, section 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acquisition.archive.chunk import Chunk, joined
from acquisition.errors import ConfigError
from acquisition.mistakes import nearest

AGGREGATES = ("mean", "median", "min", "max", "count")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|100)")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|min|h|d)")
_UNITS_NS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
_FEW = 64
"""Buckets smaller than this on average are sorted all at once."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """Figures of one channel of one device, all arrays of shape (n,).

    Attributes:
        device: Configured id of the device.
        channel: Channel id.
        start_ns: UTC nanoseconds at which each bucket begins; a multiple of its length.
        figures: Name of the figure to its values; `count` is of int64, others of float64.
        flagged: Readings among them that are not good.
    """

    device: str
    channel: str
    start_ns: NDArray[np.int64]
    figures: dict[str, NDArray[np.float64] | NDArray[np.int64]]
    flagged: NDArray[np.int64]

    def __len__(self) -> int:
        return self.start_ns.size


def duration_ns(text: str) -> int:
    """Nanoseconds of `500ms`, `10s`, `1m`, `1h` or `1d`.

    Raises:
        ConfigError: none of these, or nothing.
    """
    match = _DURATION.fullmatch(text.strip())
    length = round(float(match[1]) * _UNITS_NS[match[2]]) if match else 0
    if length <= 0:
        raise ConfigError([f"{text!r} is not a length of time: write it like 500ms, 10s, 1m, 6h or 1d"])
    return length


def checked_aggregates(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each once.

    Raises:
        ConfigError: one is not known.
    """
    for name in (found := tuple(dict.fromkeys(names))):
        if name not in AGGREGATES and not _PERCENTILE.fullmatch(name):
            raise ConfigError([f"unknown figure {name!r}{nearest(name, (*AGGREGATES, 'p5', 'p95'))}"])
    return found


def aggregate(
    time_ns: NDArray[np.int64], values: NDArray[np.float64], every_ns: int, names: Sequence[str]
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64] | NDArray[np.int64]]]:
    """Figures of the buckets that have a value.

    Args:
        time_ns: UTC nanoseconds, rising, shape (n,).
        values: Numbers, shape (n,).
        every_ns: Length of a bucket; buckets begin at multiples of it since 1970.
        names: Of AGGREGATES, or `p95` for a percentile (interpolated between neighbours).

    Returns:
        Beginnings of the buckets, shape (m,), and the figures by name.
    """
    bucket = time_ns // every_ns
    begin = np.flatnonzero(np.diff(bucket, prepend=bucket[:1] - 1))
    count = np.diff(begin, append=bucket.size)
    figures: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {}
    ordered: NDArray[np.float64] | None = None
    for name in names:
        if name == "count":
            figures[name] = count.astype(np.int64)
        elif not begin.size:
            figures[name] = np.empty(0)
        elif name == "mean":
            figures[name] = np.add.reduceat(values, begin) / count
        elif name == "min":
            figures[name] = np.minimum.reduceat(values, begin)
        elif name == "max":
            figures[name] = np.maximum.reduceat(values, begin)
        else:
            ordered = _sorted_within(values, bucket, begin) if ordered is None else ordered
            figures[name] = _percentile(ordered, begin, count, 50.0 if name == "median" else float(name[1:]))
    return bucket[begin] * every_ns, figures


def _sorted_within(
    values: NDArray[np.float64], bucket: NDArray[np.int64], begin: NDArray[np.intp]
) -> NDArray[np.float64]:
    if values.size < _FEW * begin.size:
        return values[np.lexsort((values, bucket))]
    ordered = values.copy()
    for first, last in zip(begin.tolist(), [*begin[1:].tolist(), values.size], strict=True):
        ordered[first:last].sort()
    return ordered


def _percentile(
    ordered: NDArray[np.float64], begin: NDArray[np.intp], count: NDArray[np.intp], percent: float
) -> NDArray[np.float64]:
    place = (count - 1) * (percent / 100)
    below = np.floor(place).astype(np.intp)
    low = ordered[begin + below]
    high = ordered[begin + np.minimum(below + 1, count - 1)]
    result: NDArray[np.float64] = low + (high - low) * (place - below)
    return result


def resample(chunks: Iterable[Chunk], every_ns: int, names: Sequence[str]) -> Iterator[Buckets]:
    """Figures of chunks that come in the order of time within a channel; a bucket may cross from one to the next.

    States without a value do not count. What is held is one bucket for each channel, and a chunk.

    Args:
        chunks: As a source gives them.
        every_ns: Length of a bucket.
        names: See `aggregate`.
    """
    held: dict[tuple[str, str], Chunk] = {}
    for chunk in chunks:
        if held and chunk.device not in {device for device, _ in held}:
            yield from _closed(held, every_ns, names)
        key = (chunk.device, chunk.channel)
        present = chunk if chunk.state is None else chunk.at(~np.isnan(chunk.values))
        if not len(present):
            continue
        if key in held:
            before = held.pop(key)
            present = Chunk(
                *key,
                np.concatenate([before.time_ns, present.time_ns]),
                np.concatenate([before.values, present.values]),
                np.concatenate([before.quality, present.quality]),
            )
        open_ns = present.time_ns[-1] // every_ns * every_ns
        cut = int(np.searchsorted(present.time_ns, open_ns))
        held[key] = present.at(slice(cut, None))
        if cut:
            yield _buckets(present.at(slice(0, cut)), every_ns, names)
    yield from _closed(held, every_ns, names)


class Unfinished:
    """Readings of buckets that go on where a day or the stay in a bed ends; they wait for the rest of them.

    Args:
        every_ns: Length of a bucket.
    """

    def __init__(self, every_ns: int) -> None:
        self._every_ns = every_ns
        self._waiting: dict[tuple[str, str], Chunk] = {}

    def held_back(self, chunks: Iterable[Chunk], to_ns: int) -> Iterator[Chunk]:
        """What waits and these chunks, but for the bucket that goes on after `to_ns`."""
        begun_ns = to_ns // self._every_ns * self._every_ns
        before, self._waiting = self._waiting, {}
        for chunk in chunks:
            key = chunk.device, chunk.channel
            whole = joined([before.pop(key), chunk]) if key in before else chunk
            cut = int(np.searchsorted(whole.time_ns, begun_ns))
            if cut < len(whole):
                rest = whole.at(slice(cut, None))
                self._waiting[key] = joined([self._waiting[key], rest]) if key in self._waiting else rest
            if cut:
                yield whole.at(slice(0, cut))
        for key, chunk in before.items():
            if chunk.time_ns[0] < begun_ns:
                yield chunk
            else:
                self._waiting[key] = chunk

    def rest(self) -> Iterator[Chunk]:
        """What waits still."""
        yield from self._waiting.values()
        self._waiting = {}


def _closed(held: dict[tuple[str, str], Chunk], every_ns: int, names: Sequence[str]) -> Iterator[Buckets]:
    for key in sorted(held):
        yield _buckets(held.pop(key), every_ns, names)


def _buckets(chunk: Chunk, every_ns: int, names: Sequence[str]) -> Buckets:
    start, figures = aggregate(chunk.time_ns, chunk.values, every_ns, names)
    bucket = chunk.time_ns // every_ns
    begin = np.flatnonzero(np.diff(bucket, prepend=bucket[:1] - 1))
    flagged = np.add.reduceat((chunk.quality > 0).astype(np.int64), begin)
    return Buckets(chunk.device, chunk.channel, start, figures, flagged)


def lttb(x: NDArray[np.float64], y: NDArray[np.float64], points: int) -> NDArray[np.intp]:
    """Indices, rising, of the points that keep the shape of a line: the first, the last and those of large triangles.

    Args:
        x: Rising, shape (n,).
        y: Numbers, shape (n,).
        points: How many to keep; all of them if there are no more.

    Raises:
        ValueError: fewer than three points are asked for.
    """
    if points < 3:
        raise ValueError("a line keeps at least three points")
    if x.size <= points:
        return np.arange(x.size)
    edges = np.linspace(1, x.size - 1, points - 1).astype(np.intp)
    sizes = np.diff(edges, append=x.size)
    # All means at once, and plain numbers in the loop: numpy takes longer to be called than to add so few.
    mean_x, mean_y = ((np.add.reduceat(of, edges) / sizes).tolist() for of in (x, y))
    bounds = edges.tolist()
    kept, last_x, last_y = [0], float(x[0]), float(y[0])
    for number in range(points - 2):
        begin, end = bounds[number], bounds[number + 1]
        across_x, across_y = mean_x[number + 1] - last_x, mean_y[number + 1] - last_y
        area = np.abs((x[begin:end] - last_x) * across_y - (y[begin:end] - last_y) * across_x)
        last = begin + int(area.argmax())
        kept.append(last)
        last_x, last_y = float(x[last]), float(y[last])
    return np.array([*kept, x.size - 1], np.intp)
