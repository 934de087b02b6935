"""The device's end of Modbus: answers read requests over RTU or TCP from a register map, and can be made to misbehave.

Layout: MODBUS Application Protocol Specification V1.1b3, sections 4.4 and 6; checksum: MODBUS over Serial Line V1.02,
section 6.2.2 and appendix B. Written without looking at the other end.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from simulators.faults import FaultKind

ILLEGAL_FUNCTION = 1
ILLEGAL_ADDRESS = 2
ILLEGAL_VALUE = 3
READ_INPUT = 4
LATE_S = 1.6
"""Longer than anybody waits for a reply."""
WRITES = (5, 6, 15, 16, 22, 23)

Registers = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one reply.

    Attributes:
        delay_s: It is held back so long; like a real device, nothing else is done meanwhile.
        copies: How often it is sent; 0 loses it.
        before: Bytes that come first.
        unit: It carries this address in place of its own.
        corrupt: One bit of its last value is wrong, which only a serial line's checksum can tell.
        keep: Only so many bytes of it are sent.
        exception: It is this exception instead.
    """

    delay_s: float = 0.0
    copies: int = 1
    before: bytes = b""
    unit: int | None = None
    corrupt: bool = False
    keep: int | None = None
    exception: int | None = None


class ModbusServer:
    """One unit on a serial line, or behind a TCP port.

    Attributes:
        faults: What happens to the next replies, one each; empty when all is well.
        refused_writes: Requests to write that were received; none was obeyed.
        channels: Channel ids of the values that it sends.
        answered: Good replies that had the register `main`, each sent whole and once or more.
        muted: It has fallen silent: it reads requests and does nothing about them.

    Args:
        registers: The input registers at this moment, called once for each read with the range that is asked for.
        main: Address of a register that every poll reads and no probe has to.
        unit: Its address.
        tcp: Frames have the header of Modbus TCP instead of address and checksum.
    """

    channels: tuple[str, ...] = ()

    def __init__(self, registers: Callable[[range], Registers], main: int, *, unit: int = 1, tcp: bool = False) -> None:
        self.faults: deque[Fault] = deque()
        self.refused_writes = 0
        self.answered = 0
        self.muted = False
        self._main = main
        self._registers = registers
        self._unit = unit
        self._tcp = tcp

    def provoke(self, kind: FaultKind) -> bool:
        """Misbehaves once, with the next reply; whether it can in that way."""
        if kind is FaultKind.LATE:
            self.faults.append(Fault(delay_s=LATE_S))
        elif kind is FaultKind.WRONG_UNIT:
            self.faults.append(Fault(unit=self._unit + 1))
        else:
            return False
        return True

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers until the other end goes."""
        while True:
            try:
                header, unit, pdu = await (self._next_tcp(reader) if self._tcp else self._next_rtu(reader))
            except asyncio.IncompleteReadError:
                return
            if unit != self._unit or self.muted:
                continue
            fault = self.faults.popleft() if self.faults else Fault()
            reply = self.answer(pdu) if fault.exception is None else bytes((pdu[0] | 0x80, fault.exception))
            body = bytes((unit if fault.unit is None else fault.unit,)) + reply
            frame = header + struct.pack(">H", len(body)) + body if self._tcp else body + crc(body)
            if fault.corrupt:
                frame = frame[:-3] + bytes((frame[-3] ^ 0x10,)) + frame[-2:]
            if fault.delay_s:
                await asyncio.sleep(fault.delay_s)
            writer.write(fault.before + frame[: fault.keep] * fault.copies)
            await writer.drain()
            if reply[0] == READ_INPUT and fault.copies and fault.keep is None and not fault.corrupt:
                address, count = struct.unpack(">HH", pdu[1:])
                self.answered += self._main in range(address, address + count)

    def answer(self, pdu: bytes) -> bytes:
        """The reply to a request, both without framing."""
        function = pdu[0]
        if function in WRITES:
            self.refused_writes += 1
        if function != READ_INPUT or len(pdu) != 5:
            return bytes((function | 0x80, ILLEGAL_FUNCTION))
        address, count = struct.unpack(">HH", pdu[1:])
        if not 1 <= count <= 125:
            return bytes((function | 0x80, ILLEGAL_VALUE))
        wanted = range(address, address + count)
        registers = self._registers(wanted)
        if any(each not in registers for each in wanted):
            return bytes((function | 0x80, ILLEGAL_ADDRESS))
        return struct.pack(f">BB{count}H", function, 2 * count, *(registers[each] for each in wanted))

    async def _next_rtu(self, reader: asyncio.StreamReader) -> tuple[bytes, int, bytes]:
        # Every request a reader can send is eight bytes long; what is not one is dropped byte by byte.
        frame = await reader.readexactly(8)
        while crc(frame[:-2]) != frame[-2:]:
            frame = frame[1:] + await reader.readexactly(1)
        return b"", frame[0], frame[1:-2]

    async def _next_tcp(self, reader: asyncio.StreamReader) -> tuple[bytes, int, bytes]:
        transaction, protocol, length = struct.unpack(">HHH", await reader.readexactly(6))
        if protocol != 0 or not 2 <= length <= 254:
            raise ConnectionError(f"no Modbus TCP header: protocol {protocol}, length {length}")
        body = await reader.readexactly(length)
        return struct.pack(">HH", transaction, 0), body[0], body[1:]


def crc(data: bytes) -> bytes:
    """CRC-16 of a serial frame, low byte first."""
    remainder = 0xFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ 0xA001 if remainder & 1 else remainder >> 1
    return struct.pack("<H", remainder)


def signed(value: float | None, step: float) -> int:
    """A register with `value` in units of `step`, two's complement; -32768 if there is none or it does not fit."""
    count = -0x8000 if value is None else round(value / step)
    return (count if -0x8000 < count <= 0x7FFF else -0x8000) & 0xFFFF
