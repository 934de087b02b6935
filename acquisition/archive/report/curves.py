"""Figures of buckets, collected stream by stream, and where the line through them must not go on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from acquisition.archive.export.tally import Stream, Tally
from acquisition.archive.report.findings import Curve, Key
from acquisition.archive.resample import Buckets

NAMES = ("min", "median", "max", "mean", "count")


class Curves:
    """Takes in buckets in the order of time; holds six numbers for each.

    Args:
        every_ns: Length of a bucket.
    """

    def __init__(self, every_ns: int) -> None:
        self._every_ns = every_ns
        self._parts: defaultdict[tuple[str, str], list[Buckets]] = defaultdict(list)

    def add(self, part: Buckets) -> None:
        """Takes in buckets that come after all others of their stream; their times are since the axis' zero."""
        self._parts[part.device, part.channel].append(part)

    def drawn(self, tally: Tally, zero_ns: int, name: Callable[[str], str]) -> dict[Key, Curve]:
        """The curves.

        Args:
            tally: That has seen the same readings, and knows their silences.
            zero_ns: Of the axis.
            name: New name of a device.
        """
        return {
            Key(name(device), channel): self._curve(parts, tally.stream(device, channel), zero_ns)
            for (device, channel), parts in sorted(self._parts.items())
        }

    def _curve(self, parts: list[Buckets], stream: Stream, zero_ns: int) -> Curve:
        times = np.concatenate([part.start_ns for part in parts]) + zero_ns
        low, median, high, mean = (
            np.concatenate([part.figures[name] for part in parts]).astype(np.float64) for name in NAMES[:4]
        )
        count = np.concatenate([part.figures["count"] for part in parts]).astype(np.int64)
        limit = max(self._every_ns, stream.limit_ns(stream.period_ns or 0))
        return Curve(times, low, median, high, mean, count, ends(times, stream.silences, self._every_ns, limit))


def ends(
    times: NDArray[np.int64], silences: Iterable[tuple[int, int]], every_ns: int, limit_ns: int
) -> NDArray[np.bool_]:
    """Whether the line ends at each bucket: none follows soon, or a silence longer than a bucket follows.

    Args:
        times: UTC nanoseconds at which buckets begin, rising, shape (n,).
        silences: Last reading before and first reading after each.
        every_ns: Length of a bucket.
        limit_ns: From one bucket to the next there may be no more than this.
    """
    found = np.diff(times, append=np.iinfo(np.int64).max) > limit_ns
    for begin, end in silences:
        if end - begin > every_ns:
            found[max(0, int(np.searchsorted(times, begin, "right")) - 1)] = True
    return found
