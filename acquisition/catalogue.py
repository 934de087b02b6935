"""The channel catalogue: one meaning, one UCUM unit, limits and codes for each channel id (`config/channels.toml`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict

CIRCUIT = "ecmo_console"
"""Source of what is of the circuit and not of the patient."""
_EXTENSION_ID = re.compile(r"mdc_\d{1,10}|(?:dri|medibus)_[a-z0-9_]{1,32}")


class ChannelKind(StrEnum):
    """What sort of thing a channel carries."""

    NUMERIC = "numeric"
    WAVEFORM = "waveform"
    SETTING = "setting"
    ENUMERATION = "enumeration"
    EVENT = "event"
    MANUAL = "manual"


class Mdc(BaseModel):
    """A code of ISO/IEEE 11073-10101 in its context-free 32-bit form, with how well it is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: int
    refid: str
    provenance: str


class Channel(BaseModel):
    """One row of the catalogue.

    Attributes:
        hard: Outside this range a value is bad.
        plausible: Outside this range a value is suspect.
        max_rate: A faster change, in units per second, is suspect.
        derived: Computed by us from other channels.
        hidden: Exists for tests; never shown or exported.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    description: str
    kind: ChannelKind
    unit: str
    hard: tuple[float, float] | None = None
    plausible: tuple[float, float] | None = None
    max_rate: float | None = None
    mdc: Mdc | None = None
    mdc_aliases: tuple[int, ...] = ()
    other_codes: str = ""
    typical_rate: str = ""
    note: str = ""
    source: str = ""
    manual_entry: bool = False
    derived: bool = False
    hidden: bool = False


class Catalogue:
    """All channels by id.

    Args:
        channels: The rows.
    """

    def __init__(self, channels: list[Channel]) -> None:
        self._channels = {channel.id: channel for channel in channels}
        self._by_mdc: dict[int, list[Channel]] = {}
        for channel in channels:
            codes = (channel.mdc.code, *channel.mdc_aliases) if channel.mdc else channel.mdc_aliases
            for code in codes:
                self._by_mdc.setdefault(code, []).append(channel)

    def __contains__(self, channel_id: object) -> bool:
        return channel_id in self._channels

    def __getitem__(self, channel_id: str) -> Channel:
        return self._channels[channel_id]

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._channels.values())

    def __len__(self) -> int:
        return len(self._channels)

    def get(self, channel_id: str) -> Channel | None:
        """The channel of that id, if there is one."""
        return self._channels.get(channel_id)

    def by_mdc(self, code: int) -> list[Channel]:
        """The channels that carry this 11073 code; two devices may send one code for two channels."""
        return self._by_mdc.get(code, [])

    def of_monitor(self, code: int, *, wave: bool) -> Channel | None:
        """The channel that a patient monitor means by this 11073 code.

        It means the patient: of the circuit only the bed can tell that a line or probe is there, by `channels`.
        """
        known = [each for each in self.by_mdc(code) if (each.kind is ChannelKind.WAVEFORM) is wave]
        patient = [each for each in known if each.source != CIRCUIT]
        return min(patient, key=lambda each: not each.source.startswith("monitor"), default=None)

    def unit(self, channel_id: str) -> str:
        """The UCUM unit of a channel; empty for a code the catalogue does not know."""
        channel = self._channels.get(channel_id)
        return channel.unit if channel else ""

    def admits(self, channel_id: str) -> bool:
        """Whether a driver may emit this id: one of ours, or a protocol's own after its prefix, as `mdc_<number>`."""
        return channel_id in self._channels or _EXTENSION_ID.fullmatch(channel_id) is not None

    @classmethod
    def load(cls, path: Path) -> Catalogue:
        """Reads a catalogue file.

        Raises:
            OSError: the file cannot be read.
            tomllib.TOMLDecodeError: it is not TOML.
            pydantic.ValidationError: a row is wrong.
        """
        rows = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls([Channel.model_validate({"id": channel_id, **row}) for channel_id, row in rows.items()])

    @classmethod
    @cache
    def shipped(cls) -> Catalogue:
        """The catalogue that comes with the product."""
        return cls.load(shipped_config() / "channels.toml")


@cache
def shipped_config() -> Path:
    """The directory `config/` of the checkout, or its copy inside an installed wheel."""
    installed = Path(str(files("acquisition"))) / "shipped"
    return installed if installed.is_dir() else Path(__file__).resolve().parent.parent / "config"
