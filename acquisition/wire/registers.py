"""The registers of a Modbus device as its profile describes them: where they are, and what number the words hold."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from acquisition.wire.modbus import Read, reads_bits
from acquisition.wire.quantities import Quantity, require_held

Order = Literal["big", "little"]


class NumberType(StrEnum):
    """What a register, or several in a row, hold."""

    U16 = "u16"
    I16 = "i16"
    U32 = "u32"
    I32 = "i32"
    U64 = "u64"
    I64 = "i64"
    F32 = "f32"
    F64 = "f64"
    BOOL = "bool"


_FORMATS = {
    NumberType.U16: ">H",
    NumberType.I16: ">h",
    NumberType.U32: ">I",
    NumberType.I32: ">i",
    NumberType.U64: ">Q",
    NumberType.I64: ">q",
    NumberType.F32: ">f",
    NumberType.F64: ">d",
}


class Register(Quantity):
    """One quantity of the device.

    Attributes:
        function: 1 coils, 2 discrete inputs, 3 holding registers, 4 input registers.
        address: Of its first register, as in the PDU, counted from 0.
        bit: Which bit of the register, for type `bool` of functions 3 and 4.
        byte_order: Within a register.
        word_order: Of the registers; `big` has the high word first.
    """

    function: Literal[1, 2, 3, 4]
    address: int = Field(ge=0, le=0xFFFF)
    type: NumberType = NumberType.U16
    bit: int | None = Field(default=None, ge=0, le=15)
    byte_order: Order = "big"
    word_order: Order = "big"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.label:
            raise ValueError(f"register {self.address}: give it a channel or a name")
        is_bool = self.type is NumberType.BOOL
        if reads_bits(self.function) and not (is_bool and self.bit is None):
            raise ValueError(f"{self.label}: functions 1 and 2 read single bits: use type 'bool' and no bit")
        if not reads_bits(self.function) and is_bool != (self.bit is not None):
            raise ValueError(f"{self.label}: type 'bool' of a register needs bit = 0..15, and only that type has one")
        if self.bits and self.type is not NumberType.U16:
            raise ValueError(f"{self.label}: bits need type 'u16'")
        if any(bit.bit > 15 for bit in self.bits):
            raise ValueError(f"{self.label}: a register has bits 0 to 15")
        if not self.width <= 0x10000 - self.address:
            raise ValueError(f"{self.label}: its registers end after 65535")
        require_held(self, "B" if is_bool else _FORMATS[self.type][1:], 1 if is_bool else math.inf)
        return self

    @property
    def width(self) -> int:
        """Registers it takes; bits, for functions 1 and 2."""
        return 1 if self.type is NumberType.BOOL else struct.calcsize(_FORMATS[self.type]) // 2

    def raw(self, words: Sequence[int]) -> float:
        """The number in its words, before scale."""
        if self.type is NumberType.BOOL:
            return words[0] >> (self.bit or 0) & 1
        ordered = words if self.word_order == "big" else words[::-1]
        data = b"".join(word.to_bytes(2, self.byte_order) for word in ordered)
        (number,) = struct.unpack(_FORMATS[self.type], data)
        if self.type is NumberType.F32:
            # The shortest decimal that is this float: 3.85, not 3.8499999046325684.
            return float(str(np.float32(number)))
        return float(number) if self.type is NumberType.F64 else int(number)


class Probe(BaseModel):
    """A read that the device answers and whose reply differs in function or length from every poll's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    function: Literal[1, 2, 3, 4]
    address: int = Field(ge=0, le=0xFFFF)
    count: int = Field(ge=1, le=125)

    def read(self, unit: int) -> Read:
        """The request."""
        return Read(unit, self.function, self.address, self.count)
