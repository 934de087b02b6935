"""Makes room step by step: looks, does the first thing of the plan, looks again."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from acquisition.journal.dropping import Dropped, remove, rewrite, survey
from acquisition.journal.retention import DayFile, Limits, Part, Step, plan
from acquisition.journal.schema import day_of

logger = logging.getLogger(__name__)

DAY_NS = 86_400_000_000_000
RESERVE = "reserve"
RESERVE_BYTES = 256 << 20
"""A file of this size, or of a quarter of the least free space, is given up so that a day can be written anew.

Twice what the numerics of a day of full load take (decision 0011).
"""


class Tidying:
    """One round over the day files.

    Args:
        directory: Of the journal.
        limits: How much disk the journal may take.
        cursors: Configured sink to cursor.
        now_ns: UTC nanoseconds.

    Attributes:
        dropped: What went so far.
    """

    def __init__(self, directory: Path, limits: Limits, cursors: Mapping[str, int], now_ns: int) -> None:
        self.dropped: list[Dropped] = []
        self._directory = directory
        self._limits = limits
        self._cursors = cursors
        self._cutoff = None if limits.keep_days is None else day_of(max(0, now_ns - limits.keep_days * DAY_NS))
        self._stuck: set[tuple[str, Part]] = set()

    def advance(self) -> Step | None:
        """Does all that concerns past days; returns what only the writer may do, None when there is nothing left.

        Raises:
            OSError: the directory cannot be read.
            sqlite3.Error: a file cannot be read now.
        """
        while True:
            whole = {name for name, part in self._stuck if part is Part.WAVEFORMS}
            files, free = survey(self._directory, self._cursors, whole)
            steps = plan(files, self._limits, free=free, cutoff=self._cutoff, sinks=bool(self._cursors))
            step = next((each for each in steps if (each.name, each.part) not in self._stuck), None)
            if step is None:
                self._reserve()
                return None
            if _of_present(step, files):
                return step
            (self._directory / RESERVE).unlink(missing_ok=True)
            path = self._directory / step.name
            with self.attempt(step):
                if step.part is Part.ALL:
                    self.done(remove(path, step.why, self._cursors))
                    self._stuck.clear()  # there is room now to write another file anew
                else:
                    self.done(rewrite(path, self._cursors))

    def _reserve(self) -> None:
        """Without this, a disk that somebody else filled leaves no room to part waveforms from numerics."""
        path, size = self._directory / RESERVE, min(RESERVE_BYTES, self._limits.min_free_bytes // 4)
        if not size or path.exists() or shutil.disk_usage(self._directory).free - size <= self._limits.min_free_bytes:
            return
        try:
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError:
            path.unlink(missing_ok=True)

    def done(self, dropped: Dropped) -> None:
        """Notes what went."""
        if dropped.tallies or dropped.part is Part.ALL:
            logger.warning("%s", dropped.text) if dropped.lost else logger.info("%s", dropped.text)
            self.dropped.append(dropped)

    @contextmanager
    def attempt(self, step: Step) -> Iterator[None]:
        """A step that the disk refuses, or that gives nothing back, is not tried again in this round."""
        before = len(self.dropped)
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            logger.warning("%s: no space made: %s", step.name, error)
        if len(self.dropped) == before:
            self._stuck.add((step.name, step.part))


def _of_present(step: Step, files: list[DayFile]) -> bool:
    return any(each.name == step.name and each.present for each in files)
