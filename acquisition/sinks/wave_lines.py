"""Samples as line protocol, many blocks at once: a table of fixed-width bytes, squeezed at the end.

A sample is a count and counts recur: a number is formatted once for all its occurrences. Times are put together from
groups of four digits that were formatted beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acquisition.model import MISSING_COUNT, Waveform, in_units

TABLE_ROWS = 2000
"""A table takes no further block beyond this; larger ones leave the allocator's reach, and every page is faulted in."""
_FULL_NS = 10**18
"""From September 2001 on a time has 19 digits, as long as 64 bits suffice."""
_GROUPS = np.array([b"%04d" % number for number in range(10_000)])
_FIRST_GROUPS = np.array([b" %03d" % number for number in range(1_000)])


def wave_lines(waveforms: Sequence[Waveform], heads: Sequence[bytes]) -> bytes:
    """One line for each sample that is a number, blocks in the order given.

    Args:
        waveforms: Blocks.
        heads: What a line of each begins with: measurement, tags, field and the equals sign. No NUL byte.
    """
    sizes = [len(waveform.raw) // 4 for waveform in waveforms]
    parts, begin, rows = list[bytes](), 0, 0
    for end, size in enumerate(sizes, 1):
        rows += size
        if rows >= TABLE_ROWS or end == len(sizes):
            parts.append(_table(waveforms[begin:end], sizes[begin:end], heads[begin:end]))
            begin, rows = end, 0
    return b"".join(parts)


def _table(waveforms: Sequence[Waveform], sizes: Sequence[int], heads: Sequence[bytes]) -> bytes:
    counts = np.frombuffer(b"".join(waveform.raw for waveform in waveforms), dtype="<i4")
    if not counts.size:
        return b""
    columns = (
        np.repeat(np.array(heads), sizes),
        _values(waveforms, sizes, counts),
        _times(waveforms, sizes),
    )
    table = np.empty(
        counts.size, dtype=[*((str(at), column.dtype) for at, column in enumerate(columns)), ("end", "S1")]
    )
    for at, column in enumerate(columns):
        table[str(at)] = column
    table["end"] = b"\n"
    present = counts != MISSING_COUNT
    if not present.all():
        table = table[present]
    # NumPy fills what is shorter than its column with NUL bytes.
    return table.tobytes().replace(b"\0", b"")


def _values(waveforms: Sequence[Waveform], sizes: Sequence[int], counts: NDArray[np.int32]) -> NDArray[np.bytes_]:
    scalings: dict[tuple[float, float], int] = {}
    which = [scalings.setdefault((waveform.scale, waveform.offset), len(scalings)) for waveform in waveforms]
    # The scaling above, the count below, so that those of one scaling stand together.
    keys = (np.repeat(which, sizes) << 32) + (counts.astype(np.int64) - MISSING_COUNT)
    distinct, places = np.unique(keys, return_inverse=True)
    texts: list[bytes] = []
    for (scale, offset), number in scalings.items():
        own = (distinct[distinct >> 32 == number] & 0xFFFFFFFF) + MISSING_COUNT
        texts += (repr(value).encode() for value in in_units(own, scale, offset).tolist())
    return np.array(texts)[places]


def _times(waveforms: Sequence[Waveform], sizes: Sequence[int]) -> NDArray[Any]:
    """Each time with the space before it."""
    begins = np.repeat(np.cumsum(sizes) - sizes, sizes)
    periods = np.repeat([waveform.period_ns for waveform in waveforms], sizes)
    times = np.repeat([waveform.time_ns for waveform in waveforms], sizes) + (np.arange(len(begins)) - begins) * periods
    if times.min() < _FULL_NS:
        return np.array([b" %d" % time for time in times.tolist()])
    upper = times // 10**8
    lower = (times - upper * 10**8).astype(np.uint32)
    first = upper // 10**8
    middle = (upper - first * 10**8).astype(np.uint32)
    groups = np.empty((len(times), 5), dtype="S4")
    groups[:, 0] = _FIRST_GROUPS[first]
    groups[:, 1] = _GROUPS[middle // 10**4]
    groups[:, 2] = _GROUPS[middle % 10**4]
    groups[:, 3] = _GROUPS[lower // 10**4]
    groups[:, 4] = _GROUPS[lower % 10**4]
    return groups.view("S20").ravel()
