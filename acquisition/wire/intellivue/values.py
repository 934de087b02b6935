"""Numbers, the states they are in, and samples with their scale, out of the attributes of one object.

Source: PROTOCOLS.md section 1.9: FLOAT-Type, NU_VAL_OBS, SA_VAL_OBS, SA_SPECN, SCALE_SPECN_I16, measurement state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from acquisition.errors import WireError
from acquisition.model import MISSING_COUNT, State
from acquisition.wire.intellivue import messages
from acquisition.wire.intellivue.fields import Fields

Observed = TypeVar("Observed")

INVALID, QUESTIONABLE, UNAVAILABLE, CALIBRATION, TEST, DEMO = 0x8000, 0x4000, 0x2000, 0x1000, 0x0800, 0x0400
_INSTEAD = ((INVALID, State.INVALID), (UNAVAILABLE, State.UNAVAILABLE))
_BESIDE = (
    (DEMO, State.DEMO),
    (TEST, State.DEMO),
    (CALIBRATION, State.CALIBRATING),
    (QUESTIONABLE, State.QUESTIONABLE),
)
_SPECIAL = {
    0x7FFFFF: State.INVALID,
    0x800000: State.UNAVAILABLE,
    0x7FFFFE: State.ABOVE_RANGE,
    0x800002: State.BELOW_RANGE,
    0x800001: State.INVALID,  # reserved in ISO/IEEE 11073-20601, annex F
}
_SATURATED = 4
"""The one fixed sample value that is a measurement: the end of the range (0x0A16)."""


class Numeric(NamedTuple):
    """One observed value.

    Attributes:
        term: What it is, in partition 2.
        bits: The measurement state as the monitor sends it.
        unit: Its unit, in partition 4.
        value: None where there is no number.
        special: What stands in place of the number, if the number itself says so.
    """

    term: int
    bits: int
    unit: int
    value: float | None
    special: State | None


class Block(NamedTuple):
    """Samples of one wave as they came.

    Attributes:
        term: What they are, in partition 2.
        bits: The measurement state as the monitor sends it.
    """

    term: int
    bits: int
    data: bytes


class Array(NamedTuple):
    """How samples are laid out.

    Attributes:
        samples: How many there are in a block.
        size: Bits that a sample takes, 8 or 16.
        mask: The bits of it that are the sample.
    """

    samples: int
    size: int
    mask: int


class Scale(NamedTuple):
    """value = sample * factor + offset, in the unit of the wave."""

    factor: float
    offset: float


def real(word: int) -> float | State:
    """The value of a FLOAT-Type: eight bits of decimal exponent, twenty-four of mantissa; or what it says instead."""
    mantissa = word & 0xFFFFFF
    special = _SPECIAL.get(mantissa)
    if special is not None:
        return special
    exponent = word >> 24
    signed = mantissa - (1 << 24) if mantissa & 0x800000 else mantissa
    # Through its decimal form, so that 367e-1 is 36.7 and no other number.
    return float(f"{signed}e{exponent - 256 if exponent & 0x80 else exponent}")


def instead_of(bits: int) -> State | None:
    """The state that stands in place of a value, if its measurement state says that it has none."""
    return next((state for mask, state in _INSTEAD if bits & mask), None)


def beside(bits: int) -> State | None:
    """The state that stands beside a value, the gravest one; None for a plain measurement."""
    return next((state for mask, state in _BESIDE if bits & mask), None)


def numerics(attributes: Mapping[int, bytes]) -> list[Numeric]:
    """The values of an object, single and compound.

    Raises:
        WireError: an attribute is of the wrong length.
    """
    return _observed(attributes, messages.NUMERIC, messages.COMPOUND_NUMERIC, _numeric)


def blocks(attributes: Mapping[int, bytes]) -> list[Block]:
    """The samples of an object, single and compound.

    Raises:
        WireError: an attribute is of the wrong length.
    """
    return _observed(attributes, messages.SAMPLES, messages.COMPOUND_SAMPLES, _block)


def _observed(
    attributes: Mapping[int, bytes], single: int, compound: int, read: Callable[[Fields], Observed]
) -> list[Observed]:
    found = []
    if single in attributes:
        alone = Fields(attributes[single])
        found.append(read(alone))
        alone.finish()
    if compound in attributes:
        several = Fields(attributes[compound])
        found += [read(piece) for piece in several.listed()]
        several.finish()
    return found


def array(value: bytes) -> Array:
    """Layout of the samples.

    Raises:
        WireError: the attribute is of the wrong length, or no such layout is known.
    """
    fields = Fields(value)
    count, size, significant = fields.u16(), fields.u8(), fields.u8()
    fields.u16()
    fields.finish()
    if size not in (8, 16) or not 1 <= significant <= size or not count:
        raise WireError("layout")
    return Array(count, size, (1 << significant) - 1)


def scale(value: bytes, *, calibration: bool = False) -> Scale:
    """Scale of the samples; a calibration has two more fields and the same meaning.

    Raises:
        WireError: the attribute is of the wrong length, or its two points are no line.
    """
    fields = Fields(value)
    low, high = real(fields.u32()), real(fields.u32())
    first, last = fields.u16(), fields.u16()
    if calibration:
        fields.take(4)
    fields.finish()
    if isinstance(low, State) or isinstance(high, State) or first == last or low == high:
        raise WireError("scale")
    factor = (high - low) / (last - first)
    return Scale(factor, low - first * factor)


def fixed(value: bytes) -> frozenset[int]:
    """Samples that are marks and no measurement.

    Raises:
        WireError: the attribute is of the wrong length.
    """
    fields = Fields(value)
    marks = [(piece.u16(), piece.u16()) for piece in fields.listed()]
    fields.finish()
    return frozenset(sample for meaning, sample in marks if meaning != _SATURATED)


def counts(data: bytes, layout: Array, marks: frozenset[int]) -> NDArray[np.int32]:
    """Samples as counts, shape (n,), `MISSING_COUNT` where there is a mark.

    Raises:
        WireError: there are not as many as the layout says.
    """
    if len(data) * 8 != layout.samples * layout.size:
        raise WireError("layout")
    raw = np.frombuffer(data, ">u2" if layout.size == 16 else "u1").astype(np.int32)
    masked: NDArray[np.int32] = raw & layout.mask
    for mark in marks:
        # A mark may use bits beyond the significant ones; within them it is known by those alone.
        masked[masked == mark if mark <= layout.mask else raw == mark] = MISSING_COUNT
    return masked


def texts(value: bytes) -> list[str]:
    """Strings that follow each other, each after its length in bytes: printable ASCII, at most 64 characters.

    Raises:
        WireError: they do not fill the value.
    """
    fields, found, left = Fields(value), [], len(value)
    while left:
        size = fields.u16()
        found.append(plain(fields.take(size)))
        left -= size + 2
    return found


def production(value: bytes) -> dict[int, str]:
    """What a production specification says, by kind: 1 serial number, 4 software, 5 firmware.

    Its layout is not in PROTOCOLS.md; this is the one of ISO/IEEE 11073-20601, annex A [MEM], for what it is worth.

    Raises:
        WireError: it is laid out otherwise.
    """
    fields, found = Fields(value), dict[int, str]()
    for piece in fields.listed():
        kind, _ = piece.u16(), piece.u16()
        found[kind] = plain(piece.take(piece.u16()))
    fields.finish()
    return found


def plain(text: bytes) -> str:
    """The printable ASCII of a text, at most 64 characters; what fills it up is gone."""
    return "".join(chr(byte) for byte in text if 0x20 <= byte < 0x7F).strip()[:64]


def label_text(value: bytes) -> str:
    """The text of a label, UTF-16, at most 64 characters.

    Raises:
        WireError: the attribute is of the wrong length.
    """
    fields = Fields(value)
    text = fields.take(fields.u16())
    fields.finish()
    return text.decode("utf-16-be", "replace").strip("\0 ")[:64]


def _numeric(fields: Fields) -> Numeric:
    term, bits, unit = fields.u16(), fields.u16(), fields.u16()
    value = real(fields.u32())
    return (
        Numeric(term, bits, unit, None, value) if isinstance(value, State) else Numeric(term, bits, unit, value, None)
    )


def _block(fields: Fields) -> Block:
    term, bits = fields.u16(), fields.u16()
    return Block(term, bits, fields.take(fields.u16()))
