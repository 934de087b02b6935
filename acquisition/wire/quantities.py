"""What a number in a record means, however the record is laid out: a value, a state, an enumeration or a set of bits.

Shared by registers and by binary records; where a number stands is for them to say.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from acquisition.catalogue import Catalogue, ChannelKind
from acquisition.errors import ConfigError, UnitError
from acquisition.model import EventKind, State
from acquisition.units import conversion

_MEASURED = (ChannelKind.NUMERIC, ChannelKind.SETTING)


class Bit(BaseModel):
    """What one bit of a status word says.

    Attributes:
        text: What is the case while the bit is set, in the maker's words.
        state: State of the channels in `applies_to` while it is set; their values stay beside it.
        event: Both changes of the bit are told as events of this kind.
        applies_to: Channels, or names of quantities that a bed may give a channel.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bit: int = Field(ge=0, le=31)
    text: str
    state: State | None = None
    event: EventKind | None = None
    applies_to: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.state is None and self.event is None:
            raise ValueError(f"bit {self.bit}: give it a state or an event")
        if (self.state is None) != (not self.applies_to):
            raise ValueError(f"bit {self.bit}: a state needs applies_to, and applies_to a state")
        return self


class Quantity(BaseModel):
    """One number of the device, before it is known where it stands.

    Attributes:
        scale: Factor on the number.
        offset: Added after `scale`.
        unit: UCUM unit of the result.
        channel: Where the value goes.
        name: The maker's term. Without a channel the number is read, and the value kept only if the bed's
            configuration gives this name a channel.
        states: Number, before `scale`, that stands for a state in place of a value.
        bits: Meaning of the bits of a status word.
        enum: Meaning of each number of an enumeration; it becomes an event when it changes, never a value.
        event: A change of the number is told as an event of this kind.
        usual: With an enum or event: the number that is not worth telling when it is the first one seen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    channel: str = ""
    name: str = ""
    states: dict[str, State] = Field(default_factory=dict)
    bits: tuple[Bit, ...] = ()
    enum: dict[str, str] = Field(default_factory=dict)
    event: EventKind | None = None
    usual: int | None = None

    @field_validator("states", "enum")
    @classmethod
    def _numbers(cls, meanings: dict[str, object]) -> dict[str, object]:
        for key in meanings:
            try:
                number(key)
            except ValueError:
                raise ValueError(f"{key!r} is not a number that a register can hold, or a field") from None
        return meanings

    @model_validator(mode="after")
    def _means_one_thing(self) -> Self:
        if self.channel and self.bits:
            raise ValueError(f"{self.label}: what has bits has no value of its own: use name, not channel")
        return self

    @property
    def label(self) -> str:
        """How to call it in a sentence."""
        return self.name or self.channel


class Remark(NamedTuple):
    """Something to be told when its value changes; `usual` is not worth telling the first time."""

    subject: str
    channel: str
    value: float
    text: str
    kind: EventKind
    usual: float | None


def fresh(remarks: Sequence[Remark], told: dict[str, float]) -> Iterator[Remark]:
    """Those that say something new since they were told last; `told` is kept up to date."""
    for remark in remarks:
        if told.get(remark.subject, remark.usual) != remark.value:
            yield remark
        told[remark.subject] = remark.value


@dataclass(slots=True)
class Decoded:
    """What one record says."""

    values: dict[str, float] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Meaning:
    """A quantity at this bed.

    Attributes:
        channel: Where its value goes; empty if it is not kept.
        factor: With `offset`, from the number as it came to the catalogue's unit.
        flagged: Channels to which each bit gives its state.
    """

    quantity: Quantity
    channel: str = ""
    factor: float = 1.0
    offset: float = 0.0
    flagged: Mapping[int, Sequence[str]] = field(default_factory=dict)

    def say(self, raw: float, into: Decoded) -> None:
        """Adds what the number says."""
        quantity = self.quantity
        state = next((state for key, state in quantity.states.items() if number(key) == raw), None)
        if not math.isfinite(raw):
            state = state or State.INVALID
        elif quantity.enum or quantity.event:
            meaning = next((text for key, text in quantity.enum.items() if number(key) == raw), f"{raw:g}")
            kind, text = quantity.event or EventKind.STATE, f"{quantity.label}: {meaning}"
            into.remarks.append(Remark(quantity.label, quantity.channel, raw, text, kind, quantity.usual))
        if self.channel and state is not None:
            into.states[self.channel] = state
        elif self.channel:
            into.values[self.channel] = self._converted(raw)
        for bit in quantity.bits:
            is_set = int(raw) >> bit.bit & 1
            if bit.event is not None:
                text = bit.text if is_set else f"{bit.text}: no longer"
                into.remarks.append(Remark(f"{quantity.label} bit {bit.bit}", "", is_set, text, bit.event, 0))
            if is_set and bit.state is not None:
                for channel in self.flagged[bit.bit]:
                    into.states.setdefault(channel, bit.state)

    def _converted(self, raw: float) -> float:
        if self.factor == 1.0 and self.offset == 0.0:
            return float(raw)
        # Twelve digits: more than instruments have, fewer than binary fractions leave behind.
        return float(f"{raw * self.factor + self.offset:.12g}")


def meaning_of(
    quantity: Quantity,
    together: Sequence[Quantity],
    given: Mapping[str, str],
    catalogue: Catalogue,
    problems: list[str],
) -> Meaning:
    """What a quantity means at this bed.

    Args:
        quantity: As in the profile.
        together: What is read at the same instant, itself included.
        given: The bed's choice: channel or name in the profile to channel of the catalogue.
        catalogue: What the channels must be in.
        problems: Gets everything that does not fit together.
    """
    flagged: dict[int, list[str]] = {}
    for bit in quantity.bits:
        meant = [each for each in together if {each.channel, each.name} & set(bit.applies_to)]
        if len(meant) < len(bit.applies_to):
            have = ", ".join(each.label for each in together)
            problems.append(f"{quantity.label}, bit {bit.bit}: applies_to can name what is read with it: {have}")
        flagged[bit.bit] = [channel for each in meant if (channel := channel_of(each, given))]
    channel = channel_of(quantity, given)
    if quantity.channel and quantity.enum:
        problems += _wrong_channel(quantity, quantity.channel, (ChannelKind.ENUMERATION,), catalogue)
    if not channel:
        return Meaning(quantity, flagged=flagged)
    if wrong := _wrong_channel(quantity, channel, _MEASURED, catalogue):
        problems += wrong
        return Meaning(quantity)
    try:
        factor, offset = conversion(quantity.unit, catalogue.unit(channel))
    except UnitError as error:
        problems.append(f"{quantity.label}: channel {channel!r}: {error}")
        return Meaning(quantity)
    return Meaning(quantity, channel, quantity.scale * factor, quantity.offset * factor + offset)


def channel_of(quantity: Quantity, given: Mapping[str, str]) -> str:
    """Where a quantity's value goes at this bed; empty for one whose value is not kept."""
    if quantity.bits or quantity.enum:
        return ""
    return given.get(quantity.channel) or given.get(quantity.name) or quantity.channel


def misfits(quantities: Sequence[Quantity], given: Mapping[str, str], what: str) -> Iterator[str]:
    """Names and channels that stand for two quantities, and names in `given` that stand for none.

    Args:
        quantities: All of a profile.
        given: The bed's choice.
        what: What a sentence calls them: registers, fields.
    """
    labels = Counter(quantity.label for quantity in quantities)
    channels = Counter(channel for quantity in quantities if (channel := channel_of(quantity, given)))
    yield from (f"two {what} are called {label!r}" for label, count in labels.items() if count > 1)
    yield from (f"two {what} go to channel {channel!r}" for channel, count in channels.items() if count > 1)
    known = {name for quantity in quantities for name in (quantity.channel, quantity.name) if name}
    for name in sorted(given.keys() - known):
        yield f"channels: the profile has no {name!r} (have: {', '.join(sorted(known))})"


def conversions_of(
    units: Mapping[str, str], channels: Mapping[str, str], catalogue: Catalogue
) -> dict[str, tuple[float, float]]:
    """Factor and offset from the unit of each field to that of its channel.

    Args:
        units: Of the fields that can be a channel.
        channels: Field to channel.
        catalogue: What the channels must be in.

    Raises:
        ConfigError: with every channel that does not exist or cannot take the unit.
    """
    problems, found = [], {}
    for letter, channel in channels.items():
        if letter not in units:
            problems.append(f"channels: {letter!r} is no field with a unit (have: {', '.join(units)})")
        elif channel not in catalogue:
            problems.append(f"channels: {channel!r} is not in the catalogue")
        else:
            try:
                found[letter] = conversion(units[letter], catalogue.unit(channel))
            except UnitError as error:
                problems.append(f"channels: {channel!r}: {error}")
    if len(set(channels.values())) < len(channels):
        problems.append(f"channels: two fields would both be one channel: {dict(channels)}")
    if problems:
        raise ConfigError(problems)
    return found


def require_held(quantity: Quantity, form: str, most: float = math.inf) -> None:
    """Sees to it that what stands for a state or a meaning can be read at all; else it would be taken for a value.

    Args:
        quantity: Whose tables.
        form: What its field holds, as `struct` names it.
        most: The largest number in it.

    Raises:
        ValueError: with the first that cannot.
    """
    for key in (*quantity.states, *quantity.enum):
        wanted, held = number(key), _held(number(key), form)
        if held != wanted or wanted > most:
            other = f"; it is read as {held!r}" if held <= most else ""
            raise ValueError(f"{quantity.label}: {key} is not a number that its type can hold{other}")


def _held(value: float, form: str) -> float:
    """What is read in place of a number from a field that it was written to."""
    if form in "fd":
        with np.errstate(over="ignore"):
            return float(str(np.float32(value))) if form == "f" else value
    bits = 8 * struct.calcsize(f"={form}")
    wrapped = int(value) % (1 << bits)
    return wrapped - (1 << bits) if form.islower() and wrapped >> (bits - 1) else wrapped


def number(text: str) -> float:
    """A number as a profile writes the key of a table: `-32768`, `0x8000`, `9.9e37`.

    Raises:
        ValueError: it is none.
    """
    try:
        return int(text, 0)
    except ValueError:
        return float(text)


def _wrong_channel(
    quantity: Quantity, channel_id: str, kinds: Sequence[ChannelKind], catalogue: Catalogue
) -> list[str]:
    channel = catalogue.get(channel_id)
    if channel is None:
        return [f"{quantity.label}: channel {channel_id!r} is not in the catalogue"]
    if channel.kind not in kinds:
        right = " or ".join(kinds)
        return [f"{quantity.label}: channel {channel_id!r} is of kind {channel.kind}; it must be {right} here"]
    return []
