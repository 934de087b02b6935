"""What a data set is asked to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from acquisition.archive.export.blinding import CHANNELS, tells
from acquisition.archive.export.pseudonyms import Pseudonyms
from acquisition.clock import NS
from acquisition.model import Event, EventKind

_PLAIN_DETAIL = frozenset(
    {"cause", "channel", "by_ns", "ahead_ns", "drift_ppm", "uncertainty_ns", "followed", "like_summer_time"}
)
_UNIDENTIFIED = frozenset({EventKind.EPISODE})
"""An episode travels as an event; here it is a table of its own."""


class Format(StrEnum):
    """How readings are written."""

    PARQUET = "parquet"
    CSV = "csv"
    WFDB = "wfdb"
    EDF = "edf"


@dataclass(frozen=True)
class Request:
    """What is wanted and what is left out.

    Attributes:
        format: Of the readings; tables beside waves in WFDB or EDF+ are CSV.
        every_ns: Length of a bucket of the wide form.
        utc: Whether times are UTC and not hours since randomisation or ECMO start.
        free_text: Whether what people and devices wrote is kept.
        unblinded: Whether the role may see what tells of the study drug.
        pseudonyms: New names.
        channels: Channel ids; None: all.
        about: Configuration, or what is known of it.
    """

    format: Format = Format.PARQUET
    every_ns: int = 60 * NS
    utc: bool = False
    free_text: bool = False
    unblinded: bool = False
    pseudonyms: Pseudonyms = field(default_factory=Pseudonyms)
    channels: frozenset[str] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def wants(self, channel: str) -> bool:
        """Whether a channel is exported."""
        hidden = not self.unblinded and channel in CHANNELS
        return not hidden and (self.channels is None or channel in self.channels)

    def shows(self, event: Event) -> bool:
        """Whether an event is exported."""
        if event.event in _UNIDENTIFIED:
            return False
        return self.unblinded or not tells(f"{event.text} {event.detail}")

    def text(self, words: str) -> str:
        """What a person or a device wrote, if it may be kept."""
        return words if self.free_text and (self.unblinded or not tells(words)) else ""

    def detail(self, event: Event) -> dict[str, Any]:
        """What a program needs of an event, without times of day and names of places."""
        if self.free_text and self.utc and not self.pseudonyms.active:
            return dict(event.detail)
        return {key: value for key, value in event.detail.items() if key in _PLAIN_DETAIL}
