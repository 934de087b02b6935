"""The registry of episodes: append-only and hash-chained, joined to readings by bed, device and time when read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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
    "Joined",
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
    def everyone(self) -> Mapping[str, Stay]:
        """Subject to stay; those who were purged too."""
        return self._folded.stays

    @property
    def facts(self) -> Mapping[int, Fact]:
        """Number of the entry to what it says now."""
        return self._folded.facts

    @property
    def problems(self) -> tuple[str, ...]:
        """What cannot be true; empty in a registry that only this program wrote."""
        return self._folded.problems


class Joined(Registry):
    """Registries of several beds, read as one; each was checked on its own, and nothing can be entered.

    Args:
        parts: In any order.
    """

    def __init__(self, parts: Sequence[Registry]) -> None:
        self.entries = tuple(entry for part in parts for entry in part.entries)
        self.repaired = ""
        known = Counter(subject for part in parts for subject in part.everyone)
        self._several = {subject for subject, count in known.items() if count > 1}
        stays = {subject: stay for part in parts for subject, stay in part.everyone.items()}
        self._folded = Folded(stays, {}, tuple(problem for part in parts for problem in part.problems))

    def stay(self, subject: str) -> Stay:
        """See `Registry.stay`; what two registries tell of one subject is only a half of the truth each.

        Raises:
            ConfigError: also of a subject who is in two of them.
        """
        if subject in self._several:
            raise ConfigError([f"{subject} is in more than one registry of this database; give --registry"])
        return super().stay(subject)
