"""Which registers of a Modbus device are read together, and what a whole reply says in catalogue terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from acquisition.catalogue import Catalogue
from acquisition.errors import ConfigError
from acquisition.wire.modbus import MAX_BITS, MAX_REGISTERS, Read, reads_bits
from acquisition.wire.quantities import Decoded, Meaning, meaning_of, misfits
from acquisition.wire.registers import NumberType, Register


@dataclass(frozen=True, slots=True)
class Item:
    """A register at this bed, and the index of its first word in the block."""

    register: Register
    index: int
    meaning: Meaning

    def decode(self, words: Sequence[int], into: Decoded) -> None:
        """Adds what the register says."""
        self.meaning.say(self.register.raw(words[self.index : self.index + self.register.width]), into)


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
    problems = [*misfits(registers, given, "registers"), *_overlaps(registers)]
    blocks = []
    for members in _groups(registers, gap):
        first = members[0].address
        count = max(member.address + member.width for member in members) - first
        items = tuple(
            Item(member, member.address - first, meaning_of(member, members, given, catalogue, problems))
            for member in members
        )
        blocks.append(Block(Read(unit, members[0].function, first, count), items))
    if problems:
        raise ConfigError(problems)
    return tuple(blocks)


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


def _overlaps(registers: Sequence[Register]) -> Iterator[str]:
    # Single bits of one register may stand side by side.
    ordered = sorted(registers, key=lambda each: (each.function, each.address, each.width))
    for one, other in pairwise(ordered):
        bits = one.type is other.type is NumberType.BOOL and one.bit != other.bit
        if one.function == other.function and other.address < one.address + one.width and not bits:
            yield f"{one.label} and {other.label} overlap at address {other.address} of function {one.function}"
