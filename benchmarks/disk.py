"""What the disk itself can do, measured in the same run: the limit that no journal passes."""

from __future__ import annotations

import os
import time
from pathlib import Path

PAGE = bytes(4096)


def fsync_s(directory: Path, times: int) -> list[float]:
    """Seconds of each of so many writes of a page to the end of a file, synced, in the order of length."""
    descriptor = os.open(directory / "fsync", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    taken = []
    try:
        for _ in range(times):
            start = time.perf_counter()
            os.write(descriptor, PAGE)
            os.fsync(descriptor)
            taken.append(time.perf_counter() - start)
    finally:
        os.close(descriptor)
    return sorted(taken)


def median(ordered: list[float]) -> float:
    """The middle one."""
    return ordered[len(ordered) // 2]


def p99(ordered: list[float]) -> float:
    """That which one in a hundred exceeds."""
    return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
