"""The registry of episodes: append-only and hash-chained, joined to readings by bed, device and time when read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from acquisition.archive.episodes import file as registry_file
from acquisition.archive.episodes.chain import Entry
from acquisition.archive.episodes.file import registry_path
from acquisition.archive.episodes.fold import Fact, Folded, fold
from acquisition.archive.episodes.model import (
    BedInterval,
    Consent,
    ConsentInterval,
    Covariate,
    Echo,
    Interval,
    Note,
    Run,
    RunEvent,
    Stay,
)
from acquisition.errors import ConfigError
from acquisition.mistakes import nearest

__all__ = [
    "BedInterval",
    "Consent",
    "ConsentInterval",
    "Covariate",
    "Echo",
    "Interval",
    "Note",
    "Registry",
    "Run",
    "RunEvent",
    "Stay",
    "registry_path",
]


class Registry:
    """The state of a registry at the time it was opened.

    Args:
        entries: One whole chain.
        repaired: What had to be put right in the file; empty if nothing.

    Attributes:
        entries: As given.
        repaired: As given.
    """

    def __init__(self, entries: tuple[Entry, ...] = (), repaired: str = "") -> None:
        self.entries = entries
        self.repaired = repaired
        self._folded: Folded = fold(entries)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Reads a registry; an empty one if there is no file. See `registry_path`.

        Args:
            path: Of the file `episodes.jsonl`, or of the directory that has it.

        Raises:
            EpisodeError: it is damaged or cannot be read.
        """
        content = registry_file.read(path / registry_file.NAME if path.is_dir() else path)
        return cls(content.entries, content.report)

    def subjects(self) -> tuple[str, ...]:
        """Study ids of all who have data, sorted; those who were purged are not among them."""
        return tuple(sorted(subject for subject, stay in self._folded.stays.items() if not stay.purged))

    def stay(self, subject: str) -> Stay:
        """What is held to be true of a subject; of one who was purged, only that.

        Raises:
            ConfigError: nobody of that id; the nearest ids are named.
        """
        stay = self._folded.stays.get(subject)
        if stay is None:
            raise ConfigError([f"unknown subject {subject!r}{nearest(subject, self.subjects())}"])
        return stay

    def stays(self) -> tuple[Stay, ...]:
        """Of all subjects with data, in the order of their ids."""
        return tuple(self._folded.stays[subject] for subject in self.subjects())

    @property
    def facts(self) -> Mapping[int, Fact]:
        """Number of the entry to what it says now."""
        return self._folded.facts

    @property
    def problems(self) -> tuple[str, ...]:
        """What cannot be true; empty in a registry that only this program wrote."""
        return self._folded.problems
