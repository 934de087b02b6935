"""Terumo CDI packets: a header that says how long, text between tabs, a checksum in hex between STX and ETX.

Sources: CDI 500 manual pp. 136-155; pyCDI of the NIH project OpenSourcePerfusionSystem (CCR-SOP), public domain. Which
bytes the checksum covers is in neither: with and without STX are both tried, and two packets must agree on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from acquisition.wire.checksum import CHECKSUMS, ChecksumName

STX, ETX = 0x02, 0x03
MAX_FRAME = 1024
HEADER = 10
"""STX, device, two digits of sequence, four of length, class, sub-code."""
CODES = 18
"""Quantities in a report, 00 to 11 hex."""
_HEADER = re.compile(rb"\x02([A-Z])([0-9A-F]{2})([0-9A-F]{4})([A-Z])(.)", re.DOTALL)
_FIRST = re.compile(r".*[0-9]{2}:[0-9]{2}:[0-9]{2}")
_FIELD = re.compile(r"([0-9A-Fa-f]{2})..([ -~]*)")
_NUMBER = re.compile(r" *[+-]?[0-9]+(\.[0-9]+)? *")
_ABSENT = re.compile(r"[ .-]*")


@dataclass(frozen=True, slots=True)
class Packet:
    """A whole packet.

    Attributes:
        device: X the monitor, A the pump interface.
        kind: A attention, K acknowledgement, N refusal, E error, S set, G get.
        sub: Of an attention: 0 a report, 1 mark, 2 store, 3 recalibration.
        data: What is between header and checksum.
        covers: From which offsets on the checksum fits: 0 with STX, 1 without.
    """

    device: str
    kind: str
    sub: str
    data: bytes
    covers: frozenset[int]


@dataclass(frozen=True, slots=True)
class Piece:
    """What stands at the front of the buffer: bytes to drop, and the packet in them or what is wrong with it."""

    size: int
    packet: Packet | None = None
    flaw: str = ""


def cut(buffer: bytes | bytearray) -> Piece | None:
    """The piece at the front of `buffer`, to be dropped from it before the next call; None means not yet."""
    begin = buffer.find(STX)
    if begin:
        return Piece(len(buffer) if begin < 0 else begin) if buffer else None
    if len(buffer) < HEADER:
        again = buffer.find(STX, 1)
        return Piece(again, flaw="truncated") if again > 0 else None
    header = _HEADER.match(buffer)
    size = int(header[3], 16) if header else 0
    if header is None or not HEADER + 3 <= size <= MAX_FRAME:
        return Piece(1, flaw="header")
    again = buffer.find(STX, 1, size)
    if again > 0:
        return Piece(again, flaw="truncated")
    if len(buffer) < size:
        return None
    frame = bytes(buffer[:size])
    covers = _covers(frame)
    if frame[-1] != ETX or not covers:
        return Piece(1, flaw="checksum")
    device, kind, sub = (header[group].decode("latin-1") for group in (1, 4, 5))
    return Piece(size, Packet(device, kind, sub, frame[HEADER:-3], covers))


def report_of(data: bytes) -> dict[str, float | None] | None:
    """The quantities of a report by their code, None for what is out of range; None if it is no whole report."""
    try:
        first, *fields = data.decode("ascii").removesuffix("\t").split("\t")
    except UnicodeDecodeError:
        return None
    if len(fields) != CODES or not _FIRST.fullmatch(first):
        return None
    found: dict[str, float | None] = {}
    for field in fields:
        parts = _FIELD.fullmatch(field)
        if parts is None or not (_NUMBER.fullmatch(parts[2]) or _ABSENT.fullmatch(parts[2])):
            return None
        found[parts[1].upper()] = float(parts[2]) if _NUMBER.fullmatch(parts[2]) else None
    return found if found.keys() == {f"{code:02X}" for code in range(CODES)} else None


def _covers(frame: bytes) -> frozenset[int]:
    crc = CHECKSUMS[ChecksumName.CRC8_CDI].of
    return frozenset(start for start in (0, 1) if frame[-3:-1].upper() == b"%02X" % crc(frame[start:-3]))
