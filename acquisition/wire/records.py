"""Binary records as profiles describe them: cut frames out of a stream, numbers out of a frame, states out of numbers.

A frame begins with the header of one of its records, has a size of its own or says how long it is, and ends with a
checksum, a trailer or both. What does not hold all of that is skipped byte by byte, so that no frame after it is lost.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from acquisition.wire.checksum import CHECKSUMS, ChecksumName
from acquisition.wire.quantities import Quantity, require_held

Order = Literal["big", "little"]
MAX_SIZE = 4096


def _from_hex(text: object) -> bytes:
    try:
        if isinstance(text, str):
            return bytes.fromhex(text)
    except ValueError:
        pass
    raise ValueError("write bytes as hex, such as 'A2 00 00 5D'")


HexBytes = Annotated[bytes, BeforeValidator(_from_hex)]


class FieldType(StrEnum):
    """What stands in a field."""

    U8 = "u8"
    I8 = "i8"
    U16 = "u16"
    I16 = "i16"
    U32 = "u32"
    I32 = "i32"
    U64 = "u64"
    I64 = "i64"
    F32 = "f32"
    F64 = "f64"


_FORMATS = dict(zip(FieldType, "BbHhIiQqfd", strict=True))
_UNSIGNED = (FieldType.U8, FieldType.U16, FieldType.U32)


def _number(data: bytes, at: int, kind: FieldType, order: Order) -> float:
    (found,) = struct.unpack_from((">" if order == "big" else "<") + _FORMATS[kind], data, at)
    # The shortest decimal that is this float: 3.85, not 3.8499999046325684.
    return float(str(np.float32(found))) if kind is FieldType.F32 else found


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RecordField(Quantity):
    """One number of a record.

    Attributes:
        at: Of its first byte in the frame, header included, counted from 0.
        byte_order: `big` has the high byte first.
        mask: Only these bits are the number; the lowest of them counts one.
    """

    at: int = Field(ge=0, lt=MAX_SIZE)
    type: FieldType
    byte_order: Order = "big"
    mask: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.label:
            raise ValueError(f"field at {self.at}: give it a channel or a name")
        if (self.bits or self.mask) and self.type not in _UNSIGNED:
            raise ValueError(f"{self.label}: bits and mask need type 'u8', 'u16' or 'u32'")
        if self.mask and self.mask >= 1 << 8 * self.width:
            raise ValueError(f"{self.label}: the mask is wider than the field")
        if any(bit.bit >= 8 * self.width for bit in self.bits):
            raise ValueError(f"{self.label}: the field has bits 0 to {8 * self.width - 1}")
        require_held(self, _FORMATS[self.type], self.mask // (self.mask & -self.mask) if self.mask else math.inf)
        return self

    @property
    def width(self) -> int:
        """Bytes it takes."""
        return struct.calcsize("=" + _FORMATS[self.type])

    @property
    def end(self) -> int:
        """Of the byte after its last."""
        return self.at + self.width

    def raw(self, frame: bytes) -> float:
        """The number in the frame, before scale."""
        found = _number(frame, self.at, self.type, self.byte_order)
        return found if self.mask is None else (int(found) & self.mask) // (self.mask & -self.mask)


class Record(_Table):
    """One kind of frame.

    Attributes:
        name: The maker's term.
        header: What such a frame begins with.
        size: Bytes of the whole frame, where the frame does not say how long it is.
        fields: `[[record.field]]`; those beyond the end of a shorter frame are absent.
    """

    name: str
    header: HexBytes = Field(min_length=1)
    size: int | None = Field(default=None, ge=2, le=MAX_SIZE)
    fields: tuple[RecordField, ...] = Field(alias="field", default=())


class Length(_Table):
    """Where a frame says how long it is.

    Attributes:
        at: Of the number's first byte, counted from 0.
        plus: What the number leaves out: the frame has `number + plus` bytes.
    """

    at: int = Field(ge=0, le=64)
    type: FieldType
    byte_order: Order = "big"
    plus: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.type not in _UNSIGNED:
            raise ValueError("a length has type 'u8', 'u16' or 'u32'")
        return self

    @property
    def end(self) -> int:
        """Of the byte after the number."""
        return self.at + struct.calcsize("=" + _FORMATS[self.type])

    def of(self, data: bytes | bytearray) -> int:
        """Bytes of the whole frame that begins here."""
        return int(_number(bytes(data[: self.end]), self.at, self.type, self.byte_order)) + self.plus


class FrameChecksum(_Table):
    """The checksum before the trailer.

    Attributes:
        skip: Bytes at the front of the frame that are not summed.
    """

    kind: ChecksumName
    byte_order: Order = "big"
    skip: int = Field(default=0, ge=0, le=64)


class Frame(_Table):
    """What all frames of the device have in common.

    Attributes:
        length: Where a frame says how long it is; without it each record has a size.
        checksum: Before the trailer.
        trailer: What a frame ends with.
        max_size: Longest frame; what claims to be longer is none.
    """

    length: Length | None = None
    checksum: FrameChecksum | None = None
    trailer: HexBytes = b""
    max_size: int = Field(default=256, ge=2, le=MAX_SIZE)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.checksum is None and not self.trailer:
            raise ValueError("a frame needs a checksum or a trailer: without either, noise cannot be told from data")
        return self

    @property
    def tail(self) -> int:
        """Bytes of checksum and trailer."""
        return len(self.trailer) + (CHECKSUMS[self.checksum.kind].size if self.checksum else 0)

    def flaw(self, frame: bytes) -> str:
        """What is wrong with a frame that has the right size; empty if nothing is."""
        if not frame.endswith(self.trailer):
            return "trailer"
        if self.checksum is not None:
            end = len(frame) - self.tail
            found = int.from_bytes(frame[end : len(frame) - len(self.trailer)], self.checksum.byte_order)
            if found != CHECKSUMS[self.checksum.kind].of(frame[self.checksum.skip : end]):
                return "checksum"
        return ""


@dataclass(frozen=True, slots=True)
class Piece:
    """What stands at the front of the buffer.

    Attributes:
        size: Bytes to drop from the buffer.
        record: What kind of frame it is; None if it must not be used.
        frame: All its bytes.
        flaw: Why it must not be used; empty for noise.
    """

    size: int
    record: Record | None = None
    frame: bytes = b""
    flaw: str = ""


class FrameCutter:
    """Cuts a stream into frames.

    Args:
        frame: What they have in common.
        records: The kinds there are.
    """

    def __init__(self, frame: Frame, records: Sequence[Record]) -> None:
        self._frame = frame
        self._records = records

    def next(self, buffer: bytearray) -> Piece | None:
        """The piece at the front of `buffer`, to be dropped from it before the next call; None means not yet."""
        begin = self._begin(buffer)
        if begin:
            return Piece(begin)
        record = next((each for each in self._records if buffer.startswith(each.header)), None)
        if record is None:
            return None
        size = record.size
        if size is None and self._frame.length is not None:
            if len(buffer) < self._frame.length.end:
                return None
            size = self._frame.length.of(buffer)
        if size is None or not len(record.header) + self._frame.tail <= size <= self._frame.max_size:
            return Piece(1, flaw="length")
        if len(buffer) < size:
            return None
        frame = bytes(buffer[:size])
        flaw = self._frame.flaw(frame)
        return Piece(1, flaw=flaw) if flaw else Piece(size, record, frame)

    def _begin(self, buffer: bytearray) -> int:
        """Offset of the first byte that may begin a frame, or the end of the buffer."""
        found = [at for record in self._records if (at := buffer.find(record.header)) >= 0]
        longest = max(len(record.header) for record in self._records)
        for at in range(max(0, len(buffer) - longest + 1), len(buffer)):
            rest = bytes(buffer[at:])
            found += [at for record in self._records if record.header.startswith(rest)]
        return min(found, default=len(buffer))
