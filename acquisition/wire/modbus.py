"""Modbus for a reader: read requests, and their replies found among whatever else is on the line; RTU and TCP.

Sources: MODBUS Application Protocol Specification V1.1b3, sections 6.1 to 6.4 and 7; MODBUS over Serial Line V1.02,
section 2.5.1; MODBUS Messaging on TCP/IP V1.0b, section 3.1.3.

The PDU classes and the checksum are pymodbus's. Its decoder is not used: it trusts the first thing that looks like a
header and throws away what follows. We know which reply we expect, to the byte, and look for nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

from pymodbus.framer.rtu import FramerRTU
from pymodbus.framer.socket import FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    ReadDiscreteInputsResponse,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
)

MAX_FRAME = 260
"""Longest frame on either line: 256 bytes on a serial one, 7 of header and 253 of PDU on TCP."""
MAX_REGISTERS = 125
MAX_BITS = 2000
EXCEPTION = 0x80
TRANSACTIONS = 1 << 16
EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target failed to respond",
}

_PDUS: dict[int, tuple[type[ModbusPDU], type[ModbusPDU]]] = {
    1: (ReadCoilsRequest, ReadCoilsResponse),
    2: (ReadDiscreteInputsRequest, ReadDiscreteInputsResponse),
    3: (ReadHoldingRegistersRequest, ReadHoldingRegistersResponse),
    4: (ReadInputRegistersRequest, ReadInputRegistersResponse),
}
_FUNCTION = re.compile(b"[" + re.escape(bytes(each | mark for each in _PDUS for mark in (0, EXCEPTION))) + b"]")
_RTU = FramerRTU(DecodePDU(False))
_TCP = FramerSocket(DecodePDU(False))


class Mode(StrEnum):
    """How frames are told apart: checksum and silence, or the header of TCP."""

    RTU = "rtu"
    TCP = "tcp"
    RTU_OVER_TCP = "rtu_over_tcp"


def reads_bits(function: int) -> bool:
    """Whether a function reads single bits (coils, discrete inputs) and not registers."""
    return function in (1, 2)


@dataclass(frozen=True, slots=True)
class Read:
    """One read request, function 1 to 4.

    Attributes:
        address: As in the PDU, counted from 0.
        count: Registers, or bits.
    """

    unit: int
    function: int
    address: int
    count: int

    def __str__(self) -> str:
        return f"function {self.function}, {self.count} from address {self.address}"

    @property
    def shape(self) -> tuple[int, int]:
        """All that tells replies of one unit apart on a serial line: function and number of data bytes."""
        return self.function, (self.count + 7) // 8 if reads_bits(self.function) else 2 * self.count

    def pdu(self, transaction: int) -> ModbusPDU:
        """The request for pymodbus to frame."""
        request, _ = _PDUS[self.function]
        return request(dev_id=self.unit, transaction_id=transaction, address=self.address, count=self.count)

    def words(self, data: bytes) -> list[int]:
        """The registers, or the bits as 0 and 1, in a reply's data of shape (count,)."""
        _, response = _PDUS[self.function]
        reply = response()
        reply.decode(bytes((len(data),)) + data)
        return [int(word) for word in reply.bits or reply.registers][: self.count]


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply found at `buffer[start:end]`: its data, or the code of an exception."""

    start: int
    end: int
    data: bytes
    exception: int = 0


class Framing(Protocol):
    """What differs between a serial line and TCP. Transactions mean something on TCP only."""

    def encode(self, read: Read, transaction: int) -> bytes:
        """The frame that asks."""
        ...

    def find(self, buffer: bytearray, read: Read, transaction: int) -> Reply | None:
        """The first whole reply to that request anywhere in the buffer; None means not yet."""
        ...

    def strays(self, data: bytes) -> list[int]:
        """The transactions of the whole replies in bytes that nobody wanted (0 for each on a serial line)."""
        ...


@lru_cache(4096)
def _rtu_request(read: Read) -> bytes:
    return bytes(_RTU.buildFrame(read.pdu(0)))


class RtuFraming:
    """Unit, PDU, CRC: a reply says neither which request nor which register it answers."""

    def encode(self, read: Read, transaction: int) -> bytes:
        """The frame that asks."""
        return _rtu_request(read)

    def find(self, buffer: bytearray, read: Read, transaction: int) -> Reply | None:
        """The first reply with the right unit, function, length and CRC."""
        function, size = read.shape
        request = self.encode(read, transaction)

        def sound(start: int, end: int) -> bool:
            frame = bytes(buffer[start:end])
            # A line with local echo repeats the request, and one for coils can have the form of its own reply.
            return _crc_holds(frame) and frame != request

        data = _first(buffer, bytes((read.unit, function, size)), size + 5, sound)
        refusal = _first(buffer, bytes((read.unit, function | EXCEPTION)), 5, sound)
        return _earliest(buffer, data, 3, 2, refusal)

    def strays(self, data: bytes) -> list[int]:
        """A zero for each whole reply of any unit."""
        found: list[int] = []
        at = 0
        # Noise of megabytes is passed over at once: a byte that is no function begins nothing.
        while (function := _FUNCTION.search(data, at + 1)) and (at := function.start() - 1) + 5 <= len(data):
            size = _reply_size(data[at + 1], data[at + 2])
            if size and at + size <= len(data) and _crc_holds(data[at : at + size]):
                found.append(0)
                at += size
            else:
                at += 1
        return found


class TcpFraming:
    """MBAP header and PDU: the transaction says which request a reply answers."""

    def encode(self, read: Read, transaction: int) -> bytes:
        """The frame that asks."""
        return _TCP.buildFrame(read.pdu(transaction))

    def find(self, buffer: bytearray, read: Read, transaction: int) -> Reply | None:
        """The first reply with the right transaction, unit, function and length."""
        function, size = read.shape
        begin = transaction.to_bytes(2, "big") + b"\0\0"
        head = begin + bytes((0, size + 3, read.unit, function, size))

        def sound(start: int, end: int) -> bool:
            # No checksum here: a frame that was broken off shows only by the next one of its kind beginning inside
            # it. Of its kind, because any other header could also be the device's own small numbers.
            return head[2:] not in buffer[start + 3 : end + len(head) - 1]

        data = _first(buffer, head, size + 9, sound)
        refusal = _first(buffer, begin + bytes((0, 3, read.unit, function | EXCEPTION)), 9, sound)
        return _earliest(buffer, data, 9, 0, refusal)

    def strays(self, data: bytes) -> list[int]:
        """The transaction of each whole reply."""
        found: list[int] = []
        at = 0
        while at + 9 <= len(data):
            size = _header_length(data, at)
            if size and at + size <= len(data):
                found.append(int.from_bytes(data[at : at + 2], "big"))
                at += size
            else:
                at += 1
        return found


def framing_of(mode: Mode) -> Framing:
    """The framing of a mode; RTU frames are the same on a serial line and through a serial server."""
    return TcpFraming() if mode is Mode.TCP else RtuFraming()


def next_transaction(last: int, outstanding: Collection[int]) -> int:
    """The transaction after `last`, rolling over after 65535, that no late reply can still carry."""
    transaction = (last + 1) % TRANSACTIONS
    while transaction in outstanding:
        transaction = (transaction + 1) % TRANSACTIONS
    return transaction


def _crc_holds(frame: bytes) -> bool:
    return FramerRTU.check_CRC(frame[:-2], int.from_bytes(frame[-2:], "big"))


def _reply_size(function: int, size: int) -> int:
    if function & ~EXCEPTION not in _PDUS:
        return 0
    if function & EXCEPTION:
        return 5
    return size + 5 if reads_bits(function) or size % 2 == 0 else 0


def _header_length(data: bytes | bytearray, at: int) -> int:
    """Length of the reply on TCP whose header begins at `at`; 0 where none does."""
    if len(data) < at + 9 or data[at + 2 : at + 4] != b"\0\0":
        return 0
    length = int.from_bytes(data[at + 4 : at + 6], "big")
    # On a serial line the same PDU has address and checksum, three bytes, and not a header of seven.
    return length + 6 if length >= 3 and _reply_size(data[at + 7], data[at + 8]) == length + 2 else 0


def _first(buffer: bytearray, head: bytes, size: int, sound: Callable[[int, int], bool]) -> tuple[int, int] | None:
    start = buffer.find(head)
    while 0 <= start <= len(buffer) - size:
        if sound(start, start + size):
            return start, start + size
        start = buffer.find(head, start + 1)
    return None


def _earliest(
    buffer: bytearray, data: tuple[int, int] | None, head: int, tail: int, refusal: tuple[int, int] | None
) -> Reply | None:
    if data is not None and (refusal is None or data < refusal):
        start, end = data
        return Reply(start, end, bytes(buffer[start + head : end - tail]))
    if refusal is not None:
        start, end = refusal
        return Reply(start, end, b"", exception=buffer[end - tail - 1])
    return None
