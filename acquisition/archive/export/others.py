"""Numerics in the table of another project's schema, beside our own tables, at the resolution of the wide form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from acquisition.archive.export.side import Row
from acquisition.archive.resample import Buckets

SmallTable = tuple[str, Sequence[str], Sequence[Row]]
"""Path in the data set, heading and rows."""
Names = Mapping[tuple[str, str], str]
"""Device and channel to what tells them apart: the channel, with the device where two have it."""


class OtherTable(Protocol):
    """Takes the numerics of one subject after another.

    Attributes:
        name: Of the schema.
    """

    name: str

    def add(self, subject: str, buckets: Sequence[Buckets], names: Names) -> None:
        """Takes a day of a subject, UTC nanoseconds less the subject's shift; only readings that are not bad count.

        Raises:
            OSError: the disk refuses.
        """
        ...

    def close(self) -> None:
        """Ends the table.

        Raises:
            OSError: the disk refuses.
        """
        ...

    def abandon(self) -> None:
        """Lets go of the table on a disk that has refused already."""
        ...

    def tables(self) -> Iterable[SmallTable]:
        """Small tables that belong to it."""
        ...

    def why_not(self, device: str, channel: str, *, wave: bool) -> str:
        """Why a channel that the data set has is not in this table; empty if it is."""
        ...


def by_series(buckets: Iterable[Buckets]) -> dict[tuple[str, str], Buckets]:
    """Device and channel to all of its buckets, in the order of time; only starts, median and flags are kept."""
    parts: defaultdict[tuple[str, str], list[Buckets]] = defaultdict(list)
    for each in buckets:
        parts[each.device, each.channel].append(each)
    return {
        key: Buckets(
            *key,
            np.concatenate([each.start_ns for each in found]),
            {"median": np.concatenate([each.figures["median"] for each in found])},
            np.concatenate([each.flagged for each in found]),
        )
        for key, found in parts.items()
    }
