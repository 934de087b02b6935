"""Deletes readings in given windows from the past days of a journal, beside the daemon that writes its present day."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from acquisition.journal.purging import Gone, Purged, Window, outside, purge_file
from acquisition.journal.salvage import disk_errors, opened
from acquisition.journal.schema import day_files, is_set_aside
from acquisition.journal.summary import Summary, load

_Span = tuple[str, int, int]


@dataclass(frozen=True)
class Expired:
    """What was done to one day file.

    Attributes:
        name: Of the file.
        gone: What went; empty if nothing could.
        why_not: Why what should have gone is still there; empty if it is not.
    """

    name: str
    gone: tuple[Purged, ...] = ()
    why_not: str = ""


class Expiry:
    """Works on one journal; remembers what it has looked at, so that it reads a file once and not every time.

    Args:
        directory: Of the journal.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._done: dict[str, list[_Span]] = {}

    def expire(self, windows: Sequence[Window], cursors: Collection[int], keep_days: int) -> list[Expired]:
        """Takes what lies in a window out of past days that every sink has.

        The newest days stay whatever the windows say: a clock that is years ahead must not empty the journal. A file
        that was set aside, or in which anything cannot be read, stays too. What a sink rejected is left in quarantine.

        Args:
            windows: Each of named devices.
            cursors: One of each configured sink; none: there is no sink.
            keep_days: So many of the newest days of which there are files stay, and one more: a wrong clock may have
                begun it.

        Raises:
            JournalError: the disk cannot be read, or refuses.
        """
        paths = day_files(self._directory)
        young = sorted({path.name[:10] for path in paths})[-keep_days - 1 :]
        found = []
        with disk_errors():
            for path in paths:
                if path.name[:10] in young or is_set_aside(path):
                    continue
                summary = _summary(path)
                spans = _spans(summary, windows)
                if not spans or self._done.get(path.name) == spans:
                    continue
                if summary.last_seq > min(cursors, default=summary.last_seq):
                    continue  # it is told by the backlog, and comes again
                found.append(_expired(path, windows))
                self._done[path.name] = spans
        return [each for each in found if each.gone or each.why_not]


def _expired(path: Path, windows: Sequence[Window]) -> Expired:
    gone, damaged = Gone(), list[str]()
    written = purge_file(path, windows, lambda each: outside(windows, each), gone.add, damaged, careful=True)
    if damaged:
        return Expired(path.name, why_not=f"{path.name} stays as it is, because of what cannot be read: {damaged[0]}")
    return Expired(path.name, tuple(gone.sorted) if written else ())


def _summary(path: Path) -> Summary:
    with opened(path, []) as connection:
        if connection is not None:
            with suppress(sqlite3.DatabaseError):  # a file without its own sums is looked at by no means
                return load(connection)
    return Summary()


def _spans(summary: Summary, windows: Sequence[Window]) -> list[_Span]:
    """The parts of the windows in which the file may have something, by device."""
    return sorted(
        {
            (device, max(window.from_ns, series.first_ns), min(window.to_ns, series.last_ns + 1))
            for (device, _, _), series in summary.series.items()
            for window in windows
            if window.touches(device, series.first_ns, series.last_ns)
        }
    )
