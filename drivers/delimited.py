"""Any device that streams, or answers with, one line of columns at a time, as its profile describes.

A line is used whole or not at all: the exact number of columns, each of them a number or a known state. A line whose
beginning was not seen is never used, because half of `-3588` is a good number too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from acquisition.catalogue import Catalogue
from acquisition.driver import Driver, DriverOptions, Profile, WallTime
from acquisition.errors import ConfigError
from acquisition.model import EventKind, State
from acquisition.wire.delimited import BLANK, LineCutter, is_run
from acquisition.wire.text_layouts import Columns, Fixed, Header, Layout, Pairs, Pattern
from acquisition.wire.text_records import Column, LinePattern, RecordKind, TextChecksum, resolve, time_parts

NS_PER_S = 1_000_000_000
REMEMBERED_FIELDS = 512
MAX_PATTERN_LINE = 512
"""Longest line that is matched against a pattern: work may grow faster than the line."""
_DATE = {"year", "month", "day"}


class DelimitedProfile(Profile):
    """A line-oriented device.

    Attributes:
        terminator: What ends a line.
        encoding: Of the text.
        record: How a line falls into columns.
        separator: A blank for any run of blanks, or the exact string between two fields.
        assign: What stands between key and value of a pair.
        pattern: What the whole line must match, with a named group for each column.
        columns: Exact number of columns, or of characters where the record is fixed, so that a damaged line can never
            shift one; for records of kind columns and fixed.
        column: What is known of them.
        ignore: Lines that are no records, such as titles; counted and passed over.
        checksum: The checksum that ends a line.
        states: Text, or a single character that fills a field, to the state it stands for in any decimal column.
        max_line: Longest line in bytes.
        period_s: Seconds from one line to the next, or from one question to the next.
        poll: The one question this device may be asked; None for a device that talks by itself.
    """

    terminator: Literal["\r\n", "\r", "\n"]
    encoding: Literal["ascii", "latin-1", "utf-8"] = "ascii"
    record: RecordKind = "columns"
    separator: str = Field(default=BLANK, min_length=1)
    assign: str = Field(default="=", min_length=1)
    pattern: LinePattern | None = None
    columns: int | None = Field(default=None, ge=1)
    column: tuple[Column, ...]
    ignore: tuple[LinePattern, ...] = ()
    checksum: TextChecksum | None = None
    states: dict[str, State] = Field(default_factory=dict)
    max_line: int = Field(default=256, ge=1, le=65536)
    period_s: float = Field(gt=0)
    poll: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.record in ("columns", "fixed")) != (self.columns is not None):
            raise ValueError(
                f"columns = N goes with record = 'columns' and 'fixed', which need it; this is {self.record!r}"
            )
        if (self.record == "pattern") != (self.pattern is not None):
            raise ValueError("record = 'pattern' needs a pattern, and only that record has one")
        places = [self._place_of(column) for column in self.column]
        channels = [column.channel for column in self.column if column.channel]
        labels = [column.label for column in self.column if column.label]
        if len(set(places)) < len(places):
            raise ValueError(f"two columns are the same: {places}")
        if not labels or len(set(labels)) < len(labels):
            raise ValueError(f"column channels {labels} must be at least one, and differ")
        flagged = {channel for column in self.column for bits in column.bits for channel in bits.channels}
        if unknown := flagged.difference(channels):
            raise ValueError(f"bits name channels that no column has: {sorted(unknown)}")
        patterned = bool(self.ignore) or self.record == "pattern" or any(column.pattern for column in self.column)
        if patterned and self.max_line > MAX_PATTERN_LINE:
            raise ValueError(f"with patterns, max_line is {MAX_PATTERN_LINE} at most")
        return self

    def _place_of(self, column: Column) -> str | int:
        """What tells the column from others.

        Raises:
            ValueError: it has not what this kind of record needs.
        """
        limit = self.columns or len(self.column)
        if self.record == "fixed":
            if column.start is None or column.width is None or column.start + column.width - 1 > limit:
                raise ValueError(f"column {column.name!r}: needs start and width within the {limit} characters")
            return column.start
        if self.record == "columns" or (self.record == "pairs" and not column.key):
            if column.index is None or column.index > limit:
                raise ValueError(f"column {column.name!r}: needs an index in 1..{limit}")
            return column.index
        if not column.key or (self.pattern is not None and column.key not in self.pattern.groupindex):
            raise ValueError(f"column {column.name!r}: needs a key" + (" that is a group" if self.pattern else ""))
        return column.key

    def layout(self, columns: Sequence[Column]) -> Layout:
        """Finds the fields of these columns."""
        match self.record:
            case "columns":
                return Columns(columns, self.separator, self.columns or 0)
            case "fixed":
                return Fixed(columns, self.columns or 0)
            case "pairs":
                return Pairs(columns, self.separator, self.assign)
            case "header":
                return Header(columns, self.separator)
        if self.pattern is None:
            raise ConfigError(["record = 'pattern' needs a pattern"])
        return Pattern(columns, self.pattern)


class DelimitedOptions(DriverOptions):
    """Options of a line-oriented device.

    Attributes:
        channels: Channel or column name of the profile to the channel it is at this bed.
    """

    channels: dict[str, str] = Field(default_factory=dict)


class _Reader:
    """What the fields of one column say; devices repeat themselves, so the last ones are remembered.

    Args:
        column: Whose fields.
        states: Text to the state it stands for.
        conversion: Factor and offset to the catalogue's unit; None if the number is not kept.
    """

    def __init__(self, column: Column, states: Mapping[str, State], conversion: tuple[float, float] | None) -> None:
        self._column = column
        self._states = states if column.type in ("decimal", "time") else {}
        self._conversion = conversion
        self.read = lru_cache(REMEMBERED_FIELDS)(self._read)

    def _read(self, field: str) -> float | State | Mapping[str, int] | None:
        """Its number in the catalogue's unit, its state, its parts of a time, or nothing that is kept.

        Raises:
            ValueError: it has not the form that the column must have.
        """
        column = self._column
        number = column.number(field)
        state = next((state for mark, state in self._states.items() if is_run(number, mark)), None)
        if state is not None:
            return state if self._conversion is not None else None
        if not column.matches(number):
            raise ValueError(column.name)
        if column.type == "time":
            return time_parts(field, column.format) or {}
        if self._conversion is None:
            return None
        factor, offset = self._conversion
        return _finite(float(number) * column.scale * factor + offset)


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
        self._layout = profile.layout(profile.column)
        self._channels, conversions = resolve(profile.column, options.channels, catalogue)
        self._targets = [self._channels.get(column.label or "", "") for column in profile.column]
        self._reads = [
            _Reader(column, profile.states, conversions.get(channel)).read
            for column, channel in zip(profile.column, self._targets, strict=True)
        ]
        self._flagged = [(place, column.bits) for place, column in enumerate(profile.column) if column.bits]
        self._telling = [(place, column.name) for place, column in enumerate(profile.column) if column.tell]
        self._period = round(profile.period_s * NS_PER_S)
        self._told: dict[str, str] = {}
        self._awaiting = False

    @property
    def period_ns(self) -> int:
        """Nanoseconds from one line to the next."""
        return self._period

    def may_send(self, frame: bytes) -> bool:
        """Only the profile's question; nothing at all to a device that talks by itself."""
        return frame == self._poll

    def on_start(self, now: int) -> None:
        """Nothing is known of the line yet; a device to be asked is first given a period of silence."""
        self._cutter.reset()
        self._layout.restart()
        self._told.clear()
        self._awaiting = False
        if self._poll is not None:
            self.call_me_at(now + self.period_ns)

    def on_timer(self, now: int) -> None:
        """Asks, unless something is still on its way: a late answer must never pass for the next one's."""
        self.call_me_at(now + self.period_ns)
        unfinished = self._awaiting or len(self.buffer) > 0
        if self._awaiting:
            self.counters["timeout"] += 1
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
                elif self._poll is not None and not self._awaiting:
                    self.reject("late")
                self.skip(piece.size, piece.flaw)
                continue
            del self.buffer[: piece.size]
            if self._poll is not None and not self._awaiting:
                self.reject("late")
                continue
            self._awaiting = not self._use(piece.line)

    def _use(self, line: bytes) -> bool:
        """Whether the line was a record, sound or not; a title or a header is no answer to a question."""
        profile = self.profile
        if profile.checksum is not None:
            body = profile.checksum.body(line)
            if body is None:
                self.reject("checksum")
                return True
            line = body
        try:
            text = line.decode(profile.encoding)
        except UnicodeDecodeError:
            self.reject("encoding")
            return True
        if self._layout.names_columns(text):
            self.counters["headers"] += 1
            return False
        if profile.ignore and any(pattern.fullmatch(text) for pattern in profile.ignore):
            self.counters["lines_ignored"] += 1
            return False
        fields = self._layout.fields(text)
        if fields is None:
            self.reject("columns")
            return True
        try:
            values, states, time = self._parse(fields)
        except ValueError:
            self.reject("field")
            return True
        self._tell_changes(fields)
        if values or states:
            self.measured(values, states, time)
        return True

    def _parse(self, fields: list[str]) -> tuple[dict[str, float], dict[str, State], WallTime | None]:
        values: dict[str, float] = {}
        states: dict[str, State] = {}
        time: dict[str, int] = {}
        for read, channel, field in zip(self._reads, self._targets, fields, strict=True):
            said = read(field)
            if said is None:
                continue
            if isinstance(said, float):
                values[channel] = said
            elif isinstance(said, State):
                states[channel] = said
            else:
                time |= said
        self._apply_bits(fields, values, states)
        return values, states, WallTime(**time) if time.keys() >= _DATE else None

    def _apply_bits(self, fields: list[str], values: Mapping[str, float], states: dict[str, State]) -> None:
        flags: dict[str, State] = {}
        for place, meanings in self._flagged:
            raised = int(fields[place], 16)
            for bits in meanings:
                if not raised & bits.mask:
                    continue
                for channel in (self._channels[name] for name in bits.channels):
                    state = bits.beside if channel in values else bits.instead
                    if state is not None:
                        flags.setdefault(channel, state)
        states.update(flags)

    def _tell_changes(self, fields: list[str]) -> None:
        for place, name in self._telling:
            field = fields[place]
            if self._told.get(name) != field:
                self._told[name] = field
                self.told(EventKind.STATE, f"{name} is {field}", column=name, value=field)


def _finite(value: float) -> float:
    """The value without the last bits that conversion left in it.

    Raises:
        ValueError: it is infinite or no number.
    """
    if not math.isfinite(value):
        raise ValueError(value)
    return float(f"{value:.12g}")
