"""How a file takes another's place, in one step that a power cut does not halve."""

from __future__ import annotations

import os
from pathlib import Path


def take_place(fresh: Path, path: Path) -> None:
    """Puts a file in the place of another in one step: a power cut leaves the one or the other, whole.

    Synced before, because a name can reach the disk sooner than what it names: the day would be empty.

    Raises:
        OSError: the disk refuses; the old file may be there still.
    """
    _sync(fresh)
    fresh.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
