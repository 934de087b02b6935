"""Any device that streams, or answers with, one line of columns at a time, as its profile describes.

A line is used whole or not at all: the exact number of columns, each of them a number or a known state. A line whose
beginning was not seen is never used, because half of `-3588` is a good number too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from acquisition.catalogue import Catalogue
from acquisition.driver import Driver, DriverOptions, Profile
from acquisition.errors import ConfigError, UnitError
from acquisition.model import EventKind, State
from acquisition.units import conversion
from acquisition.wire.delimited import BLANK, DECIMAL, LineCutter, is_run, split_fields

_DEFAULT_PATTERNS = {"decimal": DECIMAL, "hex": "[0-9A-Fa-f]+"}
NS_PER_S = 1_000_000_000


class Bits(BaseModel):
    """What it means for some channels that any bit of `mask` is set in a hex column.

    Attributes:
        mask: The bits.
        channels: Channels of this profile.
        beside: State given beside a number.
        instead: State given in place of an absent number; the first that applies wins over the field's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mask: int = Field(gt=0)
    channels: tuple[str, ...]
    beside: State | None = None
    instead: State | None = None


class Column(BaseModel):
    """One column of the line.

    Attributes:
        index: Its place, counted from 1 as manuals do.
        name: The maker's term.
        type: What stands in it if not a state. A hex column has no states: flags that cannot be read spoil the line.
        pattern: What the whole field must match; for decimal and hex the strict form of such a number.
        channel: Where its value goes; without one the column is only checked.
        unit: UCUM unit of the number after `scale`.
        scale: Factor on the number as printed.
        tell: A change of the field is emitted as an event (error codes, calibration factors).
        bits: Meaning of the bits of a hex column.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int = Field(ge=1)
    name: str
    type: Literal["decimal", "hex", "text"] = "decimal"
    pattern: re.Pattern[str] | None = None
    channel: str | None = None
    unit: str = ""
    scale: float = 1.0
    tell: bool = False
    bits: tuple[Bits, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.channel and (self.type != "decimal" or not self.unit):
            raise ValueError(f"column {self.name!r}: a channel needs type 'decimal' and a unit")
        if self.bits and self.type != "hex":
            raise ValueError(f"column {self.name!r}: bits need type 'hex'")
        if self.type == "text" and self.pattern is None:
            raise ValueError(f"column {self.name!r}: type 'text' needs a pattern")
        return self

    def matches(self, field: str) -> bool:
        """Whether the whole field has the form this column must have."""
        return re.fullmatch(self.pattern or _DEFAULT_PATTERNS[self.type], field) is not None


class DelimitedProfile(Profile):
    """A line-oriented device.

    Attributes:
        terminator: What ends a line.
        encoding: Of the text.
        separator: A blank for any run of blanks, or the exact string between two fields.
        columns: Exact number of columns, so that a damaged line can never shift one.
        column: What is known of them.
        states: Text, or a single character that fills a field, to the state it stands for in any decimal column.
        max_line: Longest line in bytes.
        period_s: Seconds from one line to the next, or from one question to the next.
        poll: The one question this device may be asked; None for a device that talks by itself.
    """

    terminator: Literal["\r\n", "\r", "\n"]
    encoding: Literal["ascii", "latin-1", "utf-8"] = "ascii"
    separator: str = Field(default=BLANK, min_length=1)
    columns: int = Field(ge=1)
    column: tuple[Column, ...]
    states: dict[str, State] = Field(default_factory=dict)
    max_line: int = Field(default=256, ge=1, le=65536)
    period_s: float = Field(gt=0)
    poll: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        indexes = [column.index for column in self.column]
        channels = [column.channel for column in self.column if column.channel]
        if len(set(indexes)) < len(indexes) or max(indexes, default=0) > self.columns:
            raise ValueError(f"column indexes {indexes} must differ and lie in 1..{self.columns}")
        if not channels or len(set(channels)) < len(channels):
            raise ValueError(f"column channels {channels} must be at least one, and differ")
        flagged = {channel for column in self.column for bits in column.bits for channel in bits.channels}
        if unknown := flagged.difference(channels):
            raise ValueError(f"bits name channels that no column has: {sorted(unknown)}")
        return self


class DelimitedOptions(DriverOptions):
    """Options of a line-oriented device.

    Attributes:
        channels: The profile's channel to the channel it is at this bed (the same sensor on another line).
    """

    channels: dict[str, str] = Field(default_factory=dict)


class DelimitedDriver(Driver):
    """Reads a line-oriented device; asks it only if its profile has a question."""

    Options = DelimitedOptions
    ProfileType = DelimitedProfile
    max_buffer: ClassVar[int] = 1 << 17

    def __init__(self, options: DriverOptions, catalogue: Catalogue, profile: Profile | None = None) -> None:
        super().__init__(options, catalogue, profile)
        if not isinstance(profile, DelimitedProfile) or not isinstance(options, DelimitedOptions):
            raise ConfigError(["driver 'delimited' needs a profile: a line-oriented device from config/devices/"])
        self.profile = profile
        self._poll = profile.poll.encode(profile.encoding) if profile.poll else None
        self._cutter = LineCutter(profile.terminator.encode(profile.encoding), profile.max_line)
        self._columns = sorted(profile.column, key=lambda column: column.index)
        self._channels, self._conversions = _resolve(profile, options.channels, catalogue)
        self._told: dict[str, str] = {}
        self._awaiting = False

    @property
    def period_ns(self) -> int:
        """Nanoseconds from one line to the next."""
        return round(self.profile.period_s * NS_PER_S)

    def may_send(self, frame: bytes) -> bool:
        """Only the profile's question; nothing at all to a device that talks by itself."""
        return frame == self._poll

    def on_start(self, now: int) -> None:
        """Nothing is known of the line yet; a device to be asked is first given a period of silence."""
        self._cutter.reset()
        self._told.clear()
        self._awaiting = False
        if self._poll is not None:
            self.call_me_at(now + self.period_ns)

    def on_timer(self, now: int) -> None:
        """Asks, unless something is still on its way: a late answer must never pass for the next one's."""
        self.call_me_at(now + self.period_ns)
        unfinished = self._awaiting or len(self.buffer) > 0
        if self._awaiting:
            self.reject("timeout")
        self.skip(len(self.buffer), "unfinished")
        self._cutter.reset(at_boundary=not unfinished)
        self._awaiting = not unfinished
        if self._awaiting and self._poll is not None:
            self.send(self._poll)

    def on_data(self, now: int) -> None:
        """Cuts the buffer into lines and uses the whole ones."""
        while (piece := self._cutter.next(self.buffer)) is not None:
            if piece.line is None:
                if piece.flaw == "overlong":
                    self.reject(piece.flaw)
                self.skip(piece.size, piece.flaw)
                continue
            del self.buffer[: piece.size]
            if self._poll is not None and not self._awaiting:
                self.reject("unasked")
                continue
            self._awaiting = False
            self._use(piece.line)

    def _use(self, line: bytes) -> None:
        try:
            fields = split_fields(line.decode(self.profile.encoding), self.profile.separator)
        except UnicodeDecodeError:
            self.reject("encoding")
            return
        if len(fields) != self.profile.columns:
            self.reject("columns")
            return
        try:
            values, states = self._parse(fields)
        except ValueError:
            self.reject("field")
            return
        self._tell_changes(fields)
        self.measured(values, states)

    def _parse(self, fields: list[str]) -> tuple[dict[str, float], dict[str, State]]:
        values: dict[str, float] = {}
        states: dict[str, State] = {}
        for column in self._columns:
            field = fields[column.index - 1]
            state = self._state(field) if column.type == "decimal" else None
            if state is None and not column.matches(field):
                raise ValueError(column.name)
            if column.channel is None:
                continue
            channel = self._channels[column.channel]
            if state is None:
                factor, offset = self._conversions[column.channel]
                values[channel] = _finite(float(field) * column.scale * factor + offset)
            else:
                states[channel] = state
        self._apply_bits(fields, values, states)
        return values, states

    def _state(self, field: str) -> State | None:
        return next((state for mark, state in self.profile.states.items() if is_run(field, mark)), None)

    def _apply_bits(self, fields: list[str], values: Mapping[str, float], states: dict[str, State]) -> None:
        flags: dict[str, State] = {}
        for column in self._columns:
            for bits in column.bits:
                if not int(fields[column.index - 1], 16) & bits.mask:
                    continue
                for channel in (self._channels[name] for name in bits.channels):
                    state = bits.beside if channel in values else bits.instead
                    if state is not None:
                        flags.setdefault(channel, state)
        states.update(flags)

    def _tell_changes(self, fields: list[str]) -> None:
        for column in self._columns:
            field = fields[column.index - 1]
            if column.tell and self._told.get(column.name) != field:
                self._told[column.name] = field
                self.told(EventKind.STATE, f"{column.name} is {field}", column=column.name, value=field)


def _resolve(
    profile: DelimitedProfile, renamed: Mapping[str, str], catalogue: Catalogue
) -> tuple[dict[str, str], dict[str, tuple[float, float]]]:
    """Where each channel of the profile goes, and how its number becomes the catalogue's unit.

    Raises:
        ConfigError: with every channel that does not exist or cannot take the unit.
    """
    units = {column.channel: column.unit for column in profile.column if column.channel}
    channels = {channel: renamed.get(channel, channel) for channel in units}
    problems = [f"channels: the profile has no {name!r}, only {[*units]}" for name in renamed if name not in units]
    if len(set(channels.values())) < len(channels):
        problems.append(f"channels: two columns would both be one channel: {channels}")
    conversions: dict[str, tuple[float, float]] = {}
    for name, channel in channels.items():
        if channel not in catalogue:
            problems.append(f"channels: {channel!r} is not in the catalogue")
            continue
        try:
            conversions[name] = conversion(units[name], catalogue.unit(channel))
        except UnitError as error:
            problems.append(f"channels: {channel!r}: {error}")
    if problems:
        raise ConfigError(problems)
    return channels, conversions


def _finite(value: float) -> float:
    """The value without the last bits that conversion left in it.

    Raises:
        ValueError: it is infinite or no number.
    """
    if not math.isfinite(value):
        raise ValueError(value)
    return float(f"{value:.12g}")
