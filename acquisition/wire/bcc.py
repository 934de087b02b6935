"""B. Braun BCC: numbered blocks of quadruples between SOH and EOT, with length, sum and stuffed letters.

Source: B. Braun, Technical Interface Specification BCC 3.25/3.26, version 4 (I0022_000030). Only its ALIVE frame
verifies; the checksums of its other examples do not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SOH, STX, ETX, EOT, ACK, NAK, ETB, RS = 0x01, 0x02, 0x03, 0x04, 0x06, 0x15, 0x17, "\x1e"
MAX_FRAME = 1 << 16
ALIVE, GET = "ADMIN:ALIVE", "MEM:GET"
ANY_BED = "1"
"""Asks whoever is there; the answer has the bed's own name, which must be used afterwards."""

_FRAME = re.compile(rb"\x01([0-9]{5})\x02(.*)([\x03\x17])([0-9]{5})\x04", re.DOTALL)
_TEXT = re.compile(r"([0-9A-Za-z_.-]{1,32})/1/1>(.*)", re.DOTALL)
_STUFFED = {b"D": b"EX", b"E": b"EE", b"d": b"ex", b"e": b"ee"}
_UNSTUFFED = {stuffed: plain for plain, stuffed in _STUFFED.items()}
_NUMBERS = frozenset({"INRT", "INVI", "INDORT", "INDCON", "INVOLACT", "INRMT", "INTIME", "INBORT", "INBOVAL", "GNACK"})
_UNITS = frozenset({"INDORTU", "INDCONU"})
_NUMBER = re.compile(r"[0-9.+-]{1,12}|_NV")
_UNIT = re.compile(
    r"(?:[munp\u00b5]?[gl]|ml|mmol|mval|m?iu|m?u|kcal|kg|m2|min|h|24h|d|[/.*% ]){1,9}|_NV", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Block:
    """A whole block.

    Attributes:
        bed: Who speaks.
        text: What it says.
        more: Another block follows.
        stuffed: Its letters were stuffed on the wire.
    """

    bed: str
    text: str
    more: bool
    stuffed: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """What stands at the front of the buffer: bytes to drop, and the block in them or what is wrong with it."""

    size: int
    block: Block | None = None
    flaw: str = ""


def frame_of(bed: str, text: str, *, stuffed: bool, more: bool = False) -> bytes:
    """The bytes of a block; length and sum are of the letters before they are stuffed."""
    body = f"{bed}/1/1>{text}".encode("latin-1")
    length = len(body) + 14
    front = b"\x01%05d\x02" % length + body + bytes((ETB if more else ETX,))
    frame = front + b"%05d\x04" % (sum(front) % 256)
    return re.sub(rb"[DEde]", lambda found: _STUFFED[found[0]], frame) if stuffed else frame


def cut(buffer: bytes | bytearray) -> Piece | None:
    """The piece at the front of `buffer`, to be dropped from it before the next call; None means not yet.

    A frame begins at the last SOH before its EOT, so that half a frame never joins another.
    """
    begin = buffer.find(SOH)
    if begin:
        return Piece(len(buffer) if begin < 0 else begin) if buffer else None
    end = buffer.find(EOT, 1)
    again = buffer.rfind(SOH, 1, end if end >= 0 else len(buffer))
    if again > 0:
        return Piece(again, flaw="truncated")
    if end < 0:
        return Piece(len(buffer), flaw="overlong") if len(buffer) > MAX_FRAME else None
    wire = bytes(buffer[: end + 1])
    for stuffed in (True, False):
        block = _block(_unstuffed(wire) if stuffed else wire, stuffed=stuffed)
        if block is not None:
            return Piece(end + 1, block)
    return Piece(end + 1, flaw="checksum")


def quadruples(texts: Sequence[str]) -> list[tuple[str, str, str]] | None:
    """Address, parameter and value of everything in the blocks of one answer.

    Whether a quadruple may go on in the next block is not documented: None if two blocks meet without a separator:
    half a number is a number too, and a pump whose drug is lost would be missing from a sum.
    """
    if any(one and other and one[-1] != RS and other[0] != RS for one, other in pairwise(texts)):
        return None
    found = []
    for part in (part for text in texts for part in text.split(RS)):
        time, *rest = part.split(",", 3)
        if len(rest) == 3 and time:
            found.append((rest[0].strip(), rest[1].strip(), rest[2].strip()))
    return found


class IdentityCut:
    """Follows one direction and passes on what may be kept in a trace: numbers and units of known parameters.

    Drug names go, because they may be typed by hand and can unblind a trial; so does everything that is not known.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes:
        """What of the stream up to here may be written; a frame comes out when it is complete."""
        out = bytearray()
        self._buffer += data
        while (piece := cut(self._buffer)) is not None:
            noise = bytes(self._buffer[: piece.size])
            del self._buffer[: piece.size]
            block = piece.block
            if block is not None:
                text = RS.join(_kept(part) for part in block.text.split(RS))
                out += frame_of(block.bed, text, stuffed=block.stuffed, more=block.more)
            elif not piece.flaw:
                out += bytes(byte for byte in noise if byte in (ACK, NAK))
        return bytes(out)


def _kept(part: str) -> str:
    if part in ("", ALIVE, GET):
        return part
    time, *rest = part.split(",", 3)
    if len(rest) != 3 or not re.fullmatch(r" *[0-9]{1,10}", time) or not re.fullmatch(r" *[0-9]{1,6}", rest[0]):
        return "?"
    form = _NUMBER if rest[1] in _NUMBERS else _UNIT if rest[1] in _UNITS else None
    if form is None:
        return f"{time},{rest[0]},?,?"
    return f"{time},{rest[0]},{rest[1]},{rest[2] if form.fullmatch(rest[2].strip()) else '?'}"


def _unstuffed(wire: bytes) -> bytes:
    return re.sub(rb"E[XE]|e[xe]", lambda found: _UNSTUFFED[found[0]], wire)


def _block(frame: bytes, *, stuffed: bool) -> Block | None:
    parts = _FRAME.fullmatch(frame)
    if parts is None or int(parts[1]) != len(frame) or int(parts[4]) != sum(frame[:-6]) % 256:
        return None
    text = _TEXT.fullmatch(parts[2].decode("latin-1"))
    return Block(text[1], text[2], parts[3][0] == ETB, stuffed) if text else None
