"""Edwards "IFMout": frames of lettered fields of fixed width, and a check byte whose rule is not known.

Source: public driver code and a field table in public code, one author each; unverified on hardware. STX, the fields
one after the other, ETX, one check byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

STX, ETX = 0x02, 0x03
MAX_TEXT = 512
PATIENT = "N"
"""The field nnnn-nnnn-nn, an identifier, of whom is not known; it never leaves this module."""

WIDTHS = {
    **dict.fromkeys("CcbTBX", 4),
    **dict.fromkeys("SsVvAHPpEJKUuWw", 3),
    **dict.fromkeys("RrDOMm", 4),
    **dict.fromkeys("Ia", 5),
    **dict.fromkeys("FfLl", 2),
    "Q": 1,
    "Y": 5,
    PATIENT: 12,
}
_NUMBER = re.compile(r" *[+-]?[0-9]+(\.[0-9]+)?")
_ABSENT = re.compile(r"[ +]*-+(\.-+)?")


@dataclass(frozen=True, slots=True)
class Piece:
    """What stands at the front of the buffer.

    Attributes:
        size: Bytes to drop from the buffer.
        text: What is between STX and ETX; None for noise.
        check: The byte after ETX.
        flaw: Why a frame must not be used; empty for noise and whole frames.
    """

    size: int
    text: bytes | None = None
    check: int = 0
    flaw: str = ""


def cut(buffer: bytes | bytearray) -> Piece | None:
    """The piece at the front of `buffer`, to be dropped from it before the next call; None means not yet.

    A frame begins at the last STX before its ETX, so that half a frame never joins another.
    """
    begin = buffer.find(STX)
    if begin:
        return Piece(len(buffer) if begin < 0 else begin) if buffer else None
    end = buffer.find(ETX, 1, MAX_TEXT + 2)
    again = buffer.rfind(STX, 1, end if end >= 0 else len(buffer))
    if again > 0:
        return Piece(again, flaw="truncated")
    if end < 0:
        return Piece(len(buffer), flaw="overlong") if len(buffer) > MAX_TEXT + 1 else None
    if len(buffer) < end + 2:
        return None
    text, check = bytes(buffer[1:end]), buffer[end + 1]
    if check == STX and not fits(text, check):
        # More likely the next frame than a check byte: one that was lost costs its own frame only.
        return Piece(end + 1, flaw="without_check")
    return Piece(end + 2, text, check)


def fits(text: bytes, check: int) -> bool:
    """Whether the check byte is 255 - sum, as the source has it in code that it never runs; of what is not known."""
    spans = (head + text + tail for head, tail in product((b"", bytes((STX,))), (b"", bytes((ETX,)))))
    return check in {255 - (sum(span) & 0xFF) for span in spans}


def fields_of(text: bytes) -> dict[str, str] | None:
    """The fields by letter, the identifier left out; None if the text does not fall into fields that are known."""
    found: dict[str, str] = {}
    for letter, field in _fields(text):
        if field is None or letter in found:
            return None
        found[letter] = field
    found.pop(PATIENT, None)
    return found


def value_of(field: str) -> float | None:
    """The number in a field; None where dashes stand for one.

    Raises:
        ValueError: it is neither.
    """
    if _ABSENT.fullmatch(field):
        return None
    if not _NUMBER.fullmatch(field):
        raise ValueError(field)
    return float(field)


def _fields(text: bytes) -> Iterator[tuple[str, str | None]]:
    try:
        rest = text.decode("ascii")
    except UnicodeDecodeError:
        rest = "?"
    while rest:
        width = WIDTHS.get(rest[0], MAX_TEXT)
        yield rest[0], rest[1 : width + 1] if len(rest) > width else None
        rest = rest[width + 1 :]


class IdentityCut:
    """Follows the stream and passes on what may be kept in a trace: whole frames, the identifier in them made zeros."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes:
        """What of the stream up to here may be written; a frame comes out when it is complete."""
        out = bytearray()
        self._buffer += data
        while (piece := cut(self._buffer)) is not None:
            del self._buffer[: piece.size]
            if piece.text is None:
                continue
            kept = bytearray()
            for letter, field in _fields(piece.text):
                kept += letter.encode("ascii")
                kept += (
                    b"?" if field is None else re.sub(r"\d" if letter == PATIENT else "$^", "0", field).encode("ascii")
                )
            check = piece.check
            if kept != piece.text and fits(piece.text, check):
                check = 255 - (sum(kept) & 0xFF)
            out += bytes((STX, *kept, ETX, check))
        return bytes(out)
