"""Records of text as profiles describe them: what stands in each column, the checksum of the line, times in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from acquisition.catalogue import Catalogue
from acquisition.errors import ConfigError, UnitError
from acquisition.model import State
from acquisition.units import conversion
from acquisition.wire.checksum import CHECKSUMS, ChecksumName
from acquisition.wire.delimited import DECIMAL

RecordKind: TypeAlias = Literal["columns", "fixed", "pairs", "pattern", "header"]

_DEFAULT_PATTERNS = {"decimal": DECIMAL, "hex": "[0-9A-Fa-f]+"}
_TIME_PARTS = {"YYYY": "year", "YY": "year", "MM": "month", "DD": "day", "hh": "hour", "mm": "minute", "ss": "second"}
_TIME_PART = re.compile("|".join(_TIME_PARTS))
_ATOM = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?(?:P<\w+>|[:=!>]|<[=!]))?|\)|[*+?]|\{\d*,?\d*\}|.", re.DOTALL
)


def _without_nested_repetition(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """The pattern, if no repeated group has a repetition inside: on a line that almost fits it would take for ever."""
    inside = [False]
    closed = False
    for atom in (match[0] for match in _ATOM.finditer(pattern.pattern)):
        repeats = atom in ("*", "+") or (len(atom) > 1 and atom[0] == "{")
        if repeats and closed:
            raise ValueError(
                f"{pattern.pattern!r}: a repetition inside a repeated group can take for ever; write it out"
            )
        closed = False
        if atom[0] == "(":
            inside.append(False)
        elif atom == ")" and len(inside) > 1:
            closed = inside.pop()
            inside[-1] = inside[-1] or closed
        elif repeats:
            inside[-1] = True
    return pattern


LinePattern = Annotated[re.Pattern[str], AfterValidator(_without_nested_repetition)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bits(_Table):
    """What it means for some channels that any bit of `mask` is set in a hex column.

    Attributes:
        mask: The bits.
        channels: Channels of this profile.
        beside: State given beside a number.
        instead: State given in place of an absent number; the first that applies wins over the field's own.
    """

    mask: int = Field(gt=0)
    channels: tuple[str, ...]
    beside: State | None = None
    instead: State | None = None


class Column(_Table):
    """One column of the line.

    Attributes:
        index: Its place, counted from 1 as manuals do: of the fields between separators.
        start: Its place in characters, counted from 1, for fixed records.
        width: Its characters, for fixed records; blanks around the field are padding.
        key: What names it: in a pair, in the header line, or as a group of the pattern.
        name: The maker's term.
        type: What stands in it if not a state. A hex column has no states: flags that cannot be read spoil the line.
        pattern: What the whole field must match; for decimal and hex the strict form of such a number.
        suffix: What may follow the number, such as `%`.
        format: Of a time, from YYYY or YY, MM, DD, hh, mm and ss; several columns may share the parts.
        channel: Where its value goes; without one the value is kept only if the bed gives the name a channel.
        unit: UCUM unit of the number after `scale`.
        scale: Factor on the number as printed.
        tell: A change of the field is emitted as an event (error codes, calibration factors).
        bits: Meaning of the bits of a hex column.
    """

    index: int | None = Field(default=None, ge=1)
    start: int | None = Field(default=None, ge=1)
    width: int | None = Field(default=None, ge=1)
    key: str = ""
    name: str
    type: Literal["decimal", "hex", "text", "time"] = "decimal"
    pattern: LinePattern | None = None
    suffix: str = ""
    format: str = ""
    channel: str | None = None
    unit: str = ""
    scale: float = 1.0
    tell: bool = False
    bits: tuple[Bits, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.channel and (self.type != "decimal" or not self.unit):
            raise ValueError(f"column {self.name!r}: a channel needs type 'decimal' and a unit")
        if self.unit and self.type != "decimal":
            raise ValueError(f"column {self.name!r}: a unit needs type 'decimal'")
        if self.bits and self.type != "hex":
            raise ValueError(f"column {self.name!r}: bits need type 'hex'")
        if self.type == "text" and self.pattern is None:
            raise ValueError(f"column {self.name!r}: type 'text' needs a pattern")
        if (self.type == "time") != (_TIME_PART.search(self.format) is not None):
            raise ValueError(f"column {self.name!r}: type 'time' needs a format such as 'YYYY-MM-DD hh:mm:ss'")
        return self

    @property
    def label(self) -> str | None:
        """By what a bed can give it a channel; None for a column that has no value."""
        return (self.channel or self.name) if self.unit else None

    def number(self, field: str) -> str:
        """The field without what may follow the number."""
        return field.removesuffix(self.suffix)

    @cached_property
    def matches(self) -> Callable[[str], object]:
        """What gives something true for a field that has the form this column must have, as a whole."""
        if self.type == "time":
            return lambda field: time_parts(field, self.format)
        return (self.pattern or re.compile(_DEFAULT_PATTERNS[self.type])).fullmatch


class TextChecksum(_Table):
    """The checksum that ends a line.

    Attributes:
        kind: The rule.
        base: How it is printed.
        digits: How many characters it takes.
        mark: What stands between the text and the checksum.
        covers_mark: Whether the mark is part of what is summed.
        skip: Characters at the front of the line that are not.
    """

    kind: ChecksumName
    base: Literal["hex", "decimal"] = "hex"
    digits: int = Field(default=2, ge=1, le=8)
    mark: str = ""
    covers_mark: bool = False
    skip: int = Field(default=0, ge=0)

    def body(self, line: bytes) -> bytes | None:
        """The line without mark and checksum; None if it does not carry the right one."""
        mark = self.mark.encode("ascii", "replace")
        covered, printed = line[: -self.digits], line[-self.digits :]
        if not covered.endswith(mark) or re.fullmatch(rb"[0-9A-Fa-f]{%d}" % self.digits, printed) is None:
            return None
        body = covered.removesuffix(mark)
        expected = CHECKSUMS[self.kind].of((covered if self.covers_mark else body)[self.skip :])
        try:
            found = int(printed, 16 if self.base == "hex" else 10)
        except ValueError:
            return None
        return body if found == expected else None


def time_parts(field: str, format_: str) -> dict[str, int] | None:
    """What a field says of a time, `year` to `second`; None if it does not have the format."""
    pattern, names, end = "", [], 0
    for part in _TIME_PART.finditer(format_):
        pattern += re.escape(format_[end : part.start()]) + rf"([0-9]{{{len(part[0])}}})"
        names.append(part[0])
        end = part.end()
    found = re.fullmatch(pattern + re.escape(format_[end:]), field)
    if found is None:
        return None
    parts = {_TIME_PARTS[name]: int(digits) for name, digits in zip(names, found.groups(), strict=True)}
    return parts | ({"year": 2000 + parts["year"]} if "YY" in names else {})


def resolve(
    columns: Sequence[Column], renamed: Mapping[str, str], catalogue: Catalogue
) -> tuple[dict[str, str], dict[str, tuple[float, float]]]:
    """Where each channel of the profile goes, and how its number becomes the catalogue's unit.

    Raises:
        ConfigError: with every channel that does not exist or cannot take the unit.
    """
    units = {column.label: column.unit for column in columns if column.label}
    own = {column.channel for column in columns if column.channel}
    channels = {label: renamed.get(label, label) for label in units if label in own or label in renamed}
    problems = [f"channels: the profile has no {name!r}, only {[*units]}" for name in renamed if name not in units]
    if len(set(channels.values())) < len(channels):
        problems.append(f"channels: two columns would both be one channel: {channels}")
    conversions: dict[str, tuple[float, float]] = {}
    for label, channel in channels.items():
        if channel not in catalogue:
            problems.append(f"channels: {channel!r} is not in the catalogue")
            continue
        try:
            conversions[channel] = conversion(units[label], catalogue.unit(channel))
        except UnitError as error:
            problems.append(f"channels: {channel!r}: {error}")
    if problems:
        raise ConfigError(problems)
    return channels, conversions
