"""Which registers of a Modbus device are read together, and what a whole reply says in catalogue terms."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from acquisition.catalogue import Catalogue, ChannelKind
from acquisition.errors import ConfigError, UnitError
from acquisition.model import EventKind, State
from acquisition.units import conversion
from acquisition.wire.modbus import MAX_BITS, MAX_REGISTERS, Read, reads_bits
from acquisition.wire.registers import NumberType, Register, number

_MEASURED = (ChannelKind.NUMERIC, ChannelKind.SETTING)


class Remark(NamedTuple):
    """Something to be told when its value changes; `usual` is not worth telling the first time."""

    subject: str
    channel: str
    value: float
    text: str
    kind: EventKind
    usual: float | None


@dataclass(slots=True)
class Decoded:
    """What one reply says."""

    values: dict[str, float] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Item:
    """A register at this bed.

    Attributes:
        index: Of its first word in the block.
        channel: Where its value goes; empty if it is not kept.
        factor: With `offset`, from the number in the register to the catalogue's unit.
        flagged: Channels to which each bit gives its state.
    """

    register: Register
    index: int
    channel: str = ""
    factor: float = 1.0
    offset: float = 0.0
    flagged: Mapping[int, Sequence[str]] = field(default_factory=dict)

    def decode(self, words: Sequence[int], into: Decoded) -> None:
        """Adds what the register says."""
        register = self.register
        raw = register.raw(words[self.index : self.index + register.width])
        state = next((state for key, state in register.states.items() if number(key) == raw), None)
        if not math.isfinite(raw):
            state = state or State.INVALID
        elif register.enum or register.event:
            meaning = next((text for key, text in register.enum.items() if number(key) == raw), f"{raw:g}")
            kind, text = register.event or EventKind.STATE, f"{register.label}: {meaning}"
            into.remarks.append(Remark(register.label, register.channel, raw, text, kind, register.usual))
        if self.channel and state is not None:
            into.states[self.channel] = state
        elif self.channel:
            into.values[self.channel] = self._converted(raw)
        for bit in register.bits:
            is_set = int(raw) >> bit.bit & 1
            if bit.event is not None:
                text = bit.text if is_set else f"{bit.text}: no longer"
                into.remarks.append(Remark(f"{register.label} bit {bit.bit}", "", is_set, text, bit.event, 0))
            if is_set and bit.state is not None:
                for channel in self.flagged[bit.bit]:
                    into.states.setdefault(channel, bit.state)

    def _converted(self, raw: float) -> float:
        if self.factor == 1.0 and self.offset == 0.0:
            return float(raw)
        # Twelve digits: more than instruments have, fewer than binary fractions leave behind.
        return float(f"{raw * self.factor + self.offset:.12g}")


@dataclass(frozen=True, slots=True)
class Block:
    """Registers that one request reads."""

    read: Read
    items: tuple[Item, ...]

    def decode(self, data: bytes) -> Decoded:
        """What the data of a reply to `read` says."""
        decoded = Decoded()
        words = self.read.words(data)
        for item in self.items:
            item.decode(words, decoded)
        return decoded


def lay_out(
    registers: Sequence[Register], unit: int, gap: int, given: Mapping[str, str], catalogue: Catalogue
) -> tuple[Block, ...]:
    """The blocks to read, in order of function and address.

    Args:
        registers: As in the profile.
        unit: Modbus address of the device.
        gap: Registers nobody wants that may be read along to save a request.
        given: The bed's choice: channel or name in the profile to channel of the catalogue.
        catalogue: What the channels must be in.

    Raises:
        ConfigError: with everything that does not fit together.
    """
    problems = [*_repetitions(registers, given), *_overlaps(registers), *_strangers(registers, given)]
    blocks = []
    for members in _groups(registers, gap):
        first = members[0].address
        count = max(member.address + member.width for member in members) - first
        items = tuple(_item(member, members, given, catalogue, problems) for member in members)
        blocks.append(Block(Read(unit, members[0].function, first, count), items))
    if problems:
        raise ConfigError(problems)
    return tuple(blocks)


def _channel(register: Register, given: Mapping[str, str]) -> str:
    """Where a register's value goes at this bed; empty for one whose value is not kept."""
    if register.bits or register.enum:
        return ""
    return given.get(register.channel) or given.get(register.name) or register.channel


def _groups(registers: Sequence[Register], gap: int) -> Iterator[list[Register]]:
    group: list[Register] = []
    for register in sorted(registers, key=lambda each: (each.function, each.address)):
        if group:
            end = max(member.address + member.width for member in group)
            longest = MAX_BITS if reads_bits(register.function) else MAX_REGISTERS
            near = register.function == group[0].function and register.address - end <= gap
            if not near or register.address + register.width - group[0].address > longest:
                yield group
                group = []
        group.append(register)
    yield group


def _item(
    register: Register,
    members: Sequence[Register],
    given: Mapping[str, str],
    catalogue: Catalogue,
    problems: list[str],
) -> Item:
    index = register.address - members[0].address
    flagged: dict[int, list[str]] = {}
    for bit in register.bits:
        meant = [member for member in members if {member.channel, member.name} & set(bit.applies_to)]
        if len(meant) < len(bit.applies_to):
            have = ", ".join(member.label for member in members)
            problems.append(f"{register.label}, bit {bit.bit}: applies_to can name what is read with it: {have}")
        flagged[bit.bit] = [channel for member in meant if (channel := _channel(member, given))]
    channel = _channel(register, given)
    if register.channel and register.enum:
        problems += _wrong_channel(register, register.channel, (ChannelKind.ENUMERATION,), catalogue)
    if not channel:
        return Item(register, index, flagged=flagged)
    if wrong := _wrong_channel(register, channel, _MEASURED, catalogue):
        problems += wrong
        return Item(register, index)
    try:
        factor, offset = conversion(register.unit, catalogue.unit(channel))
    except UnitError as error:
        problems.append(f"{register.label}: channel {channel!r}: {error}")
        return Item(register, index)
    return Item(register, index, channel, register.scale * factor, register.offset * factor + offset)


def _wrong_channel(
    register: Register, channel_id: str, kinds: Sequence[ChannelKind], catalogue: Catalogue
) -> list[str]:
    channel = catalogue.get(channel_id)
    if channel is None:
        return [f"{register.label}: channel {channel_id!r} is not in the catalogue"]
    if channel.kind not in kinds:
        right = " or ".join(kinds)
        return [f"{register.label}: channel {channel_id!r} is of kind {channel.kind}; it must be {right} here"]
    return []


def _repetitions(registers: Sequence[Register], given: Mapping[str, str]) -> Iterator[str]:
    labels = Counter(register.label for register in registers)
    channels = Counter(channel for register in registers if (channel := _channel(register, given)))
    yield from (f"two registers are called {label!r}" for label, count in labels.items() if count > 1)
    yield from (f"two registers go to channel {channel!r}" for channel, count in channels.items() if count > 1)


def _overlaps(registers: Sequence[Register]) -> Iterator[str]:
    # Single bits of one register may stand side by side.
    ordered = sorted(registers, key=lambda each: (each.function, each.address, each.width))
    for one, other in pairwise(ordered):
        bits = one.type is other.type is NumberType.BOOL and one.bit != other.bit
        if one.function == other.function and other.address < one.address + one.width and not bits:
            yield f"{one.label} and {other.label} overlap at address {other.address} of function {one.function}"


def _strangers(registers: Sequence[Register], given: Mapping[str, str]) -> Iterator[str]:
    known = {name for register in registers for name in (register.channel, register.name) if name}
    for name in sorted(given.keys() - known):
        yield f"channels: the profile has no {name!r} (have: {', '.join(sorted(known))})"
