"""What a format of wave files must do, and how signals and files are named in all of them."""

from __future__ import annotations

import re
from typing import Protocol

from acquisition.archive.chunk import Chunk
from acquisition.archive.export.segments import Segment
from acquisition.catalogue import Catalogue


class WaveFiles(Protocol):
    """Writes the segments of one subject; times are those of the subject's time line.

    Attributes:
        fill_ns: Samples that are missing for no longer than this are NaN within a segment; 0: they end it.
    """

    fill_ns: int

    def write(self, segment: Segment, day: str, device: str) -> str:
        """Writes samples that follow all others of their channel and device; returns where, in the data set.

        Raises:
            OSError: the disk refuses.
        """
        ...

    def numerics(self, chunk: Chunk, device: str) -> None:
        """Takes values that follow all others of their channel and device, where the format has a place for them.

        Raises:
            OSError: the disk refuses.
        """
        ...

    def close(self) -> None:
        """Ends every file, and writes what joins them.

        Raises:
            OSError: the disk refuses.
        """
        ...

    def abandon(self) -> None:
        """Lets go of every file on a disk that has refused already."""
        ...


def unit_of(channel: str) -> str:
    """Of UCUM without its brackets, which no WFDB or EDF header can hold; the codebook has it in full."""
    return re.sub(r"[^A-Za-z0-9^?%/-]", "", Catalogue.shipped().unit(channel)) or "1"


def safe(name: str) -> str:
    """Letters, digits, `_` and `-`: what a WFDB record may be named."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def folder_of(subject: str) -> str:
    """Where a subject's files of waves are, in the data set."""
    return f"waves/{safe(subject)}"
