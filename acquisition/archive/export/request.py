"""What a data set is asked to be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from acquisition.archive.export.blinding import CHANNELS, tells
from acquisition.archive.export.pseudonyms import Pseudonyms
from acquisition.clock import NS
from acquisition.errors import ConfigError
from acquisition.model import Event, EventKind

_PLAIN_DETAIL = frozenset(
    {"cause", "channel", "by_ns", "ahead_ns", "drift_ppm", "uncertainty_ns", "followed", "like_summer_time",
     "synchronised", "estimated_error_ns", "max_error_ns"}
)  # fmt: skip
_OWN_TABLE = frozenset({EventKind.EPISODE, EventKind.IDENTITY})
"""What travels as an event and is a table of its own here."""
_DATES = "that has dates, and no hours since an event; give --times utc (--pseudonymize moves the dates)"


class Format(StrEnum):
    """How readings are written."""

    PARQUET = "parquet"
    CSV = "csv"
    WFDB = "wfdb"
    EDF = "edf"
    ATRIUMDB = "atriumdb"


@dataclass(frozen=True)
class Request:
    """What is wanted and what is left out.

    Attributes:
        format: Of the readings; tables beside waves in another format than Parquet are CSV.
        every_ns: Length of a bucket of the wide form.
        utc: Whether times are UTC and not hours since randomisation or ECMO start.
        free_text: Whether what people and devices wrote is kept.
        unblinded: Whether the role may see what tells of the study drug.
        pseudonyms: New names.
        channels: Channel ids; None: all.
        clif: Device category of the table `ecmo_mcs` of CLIF; empty: no such table.
        omop: Whether the table MEASUREMENT of OMOP is written too.
        about: Configuration, or what is known of it.
    """

    format: Format = Format.PARQUET
    every_ns: int = 60 * NS
    utc: bool = False
    free_text: bool = False
    unblinded: bool = False
    pseudonyms: Pseudonyms = field(default_factory=Pseudonyms)
    channels: frozenset[str] | None = None
    clif: str = ""
    omop: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses what cannot be written.

        Raises:
            ConfigError: a format that has dates alone is asked for without dates, or in buckets that it cannot tell.
        """
        formats = {"--format atriumdb": self.format is Format.ATRIUMDB, "--clif": self.clif, "--omop": self.omop}
        dated = [word for word, asked in formats.items() if asked]
        if dated and not self.utc:
            raise ConfigError([f"{' and '.join(dated)}: {_DATES}"])
        if (self.clif or self.omop) and self.every_ns % NS:
            raise ConfigError(["--every: the times of --clif and --omop are whole seconds"])

    def wants(self, channel: str) -> bool:
        """Whether a channel is exported."""
        hidden = not self.unblinded and channel in CHANNELS
        return not hidden and (self.channels is None or channel in self.channels)

    def shows(self, event: Event) -> bool:
        """Whether an event is exported."""
        if event.event in _OWN_TABLE:
            return False
        return self.unblinded or not tells(f"{event.text} {event.detail}")

    def text(self, words: str) -> str:
        """What a person or a device wrote, if it may be kept."""
        return words if self.free_text and (self.unblinded or not tells(words)) else ""

    def word(self, word: str, known: Collection[str]) -> str:
        """A word of a list, which is no free text; anything else as a text."""
        return word if word in known else self.text(word)

    def detail(self, event: Event) -> dict[str, Any]:
        """What a program needs of an event, without times of day and names of places."""
        if self.free_text and self.utc and not self.pseudonyms.active:
            return dict(event.detail)
        return {key: value for key, value in event.detail.items() if key in _PLAIN_DETAIL}
