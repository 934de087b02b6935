"""Where the commands of the registry work: the file, the journal beside it, and the configuration around both."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from rich.console import Console

from acquisition.archive.episodes.chain import Action
from acquisition.archive.episodes.events import sentence
from acquisition.archive.episodes.registry import registry_path
from acquisition.archive.episodes.rules import SUBJECT_PATTERN
from acquisition.archive.episodes.snapshot import snapshot, window
from acquisition.archive.episodes.times import time_ns
from acquisition.archive.episodes.writing import Draft, record
from acquisition.catalogue import Catalogue
from acquisition.clock import SystemClock
from acquisition.config import Config, load_config
from acquisition.errors import ConfigError, JournalError
from acquisition.journal.reader import JournalReader

out = Console()
err = Console(stderr=True)


class Desk(NamedTuple):
    """Where the registry is and what is known around it.

    Attributes:
        path: Of the registry.
        journal: Directory of the journal beside it, if one is named.
        config: If one is named.
    """

    path: Path
    journal: Path | None
    config: Config | None

    @classmethod
    def at(cls, config: Path | None, journal: Path | None, registry: Path | None) -> Desk:
        """The desk that the options name.

        Raises:
            ConfigError: they name none, or the configuration is wrong.
        """
        settings = None if config is None else load_config(config, for_sinks=False)
        place = journal or (settings.journal.directory if settings else None)
        if registry is None and place is None:
            raise ConfigError(["give --config, --journal or --registry"])
        if registry is not None:
            return cls(registry, place, settings)
        return cls(registry_path(place or Path()), place, settings)

    def time(self, text: str | None, *, now_ns: int) -> int:
        """The asked time, or now.

        Raises:
            ConfigError: it has no offset, or one that the bed's zone has not then.
        """
        if text is None:
            return now_ns
        try:
            return time_ns(text, ZoneInfo(self.config.site.timezone) if self.config else None)
        except ValueError as error:
            raise ConfigError([str(error)]) from None

    def bed(self, asked: str | None) -> str:
        """The asked bed, or that of the configuration.

        Raises:
            ConfigError: neither is there.
        """
        if asked is None and self.config is None:
            raise ConfigError(["give --bed, or --config"])
        return asked or (self.config.site.bed if self.config else "")

    def record(self, action: Action, subject: str, data: dict[str, Any], actor: str | None, reason: str) -> None:
        """Writes one entry and says so."""
        self.write([Draft(action, subject, {**data, "reason": reason})], actor)

    def write(self, drafts: list[Draft], actor: str | None, wrong: list[tuple[str, str]] | None = None) -> None:
        """Writes entries, all or none, and says so."""
        recorded = record(
            self.path,
            drafts,
            actor=actor if actor is not None else user(),
            now_ns=now(),
            pattern=self.config.episodes.subject_pattern if self.config else SUBJECT_PATTERN,
            wrong=wrong or [],
        )
        if recorded.repaired:
            err.print(f"{self.path}: {recorded.repaired}", style="yellow", markup=False, soft_wrap=True)
        for entry in recorded.entries:
            out.print(f"entry {entry.number}: {sentence(entry)}", markup=False, highlight=False, soft_wrap=True)


def now() -> int:
    """Present time, UTC nanoseconds."""
    return SystemClock().now().utc_ns


def user() -> str:
    """Who uses this computer, also behind sudo."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def frozen(desk: Desk, measured_ns: int) -> dict[str, Any] | None:
    """The signals around a measurement; None, and said, where there is no journal that can be read."""
    if desk.journal is None:
        err.print("no --config and no --journal: the signals around it are not frozen", style="yellow")
        return None
    from_ns, to_ns = window(measured_ns)
    try:
        readings = JournalReader(desk.journal).query(from_ns=from_ns, to_ns=to_ns, kinds=("numerics",))
        return snapshot(readings, measured_ns, Catalogue.shipped()) | {"complete": to_ns <= now()}
    except JournalError as error:
        err.print(f"the signals around it are not frozen: {error}", style="yellow", markup=False, soft_wrap=True)
        return None
