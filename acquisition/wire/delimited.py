"""Lines of columns, as most small devices send them: cut lines out of a stream, fields out of a line."""

from __future__ import annotations

from typing import NamedTuple

BLANK = " "
DECIMAL = r"[+-]?[0-9]+(\.[0-9]+)?"
"""A number as instruments print it: no exponent, no thousands mark, no digits but ASCII."""


class Piece(NamedTuple):
    """What stands at the front of the buffer.

    Attributes:
        size: Bytes to drop from the buffer, terminator included.
        line: The line without terminator; None if it must not be used.
        flaw: Why not: `headless` (its beginning was not seen) or `overlong`.
    """

    size: int
    line: bytes | None
    flaw: str = ""


class LineCutter:
    """Cuts a stream at its terminator; a line whose beginning was not seen is never given out.

    Work stays linear in the bytes received, and the caller's buffer never keeps more than `max_line` bytes and a
    terminator if it drops what each `Piece` says.

    Args:
        terminator: What ends a line.
        max_line: Longest line, in bytes without the terminator.
    """

    def __init__(self, terminator: bytes, max_line: int) -> None:
        self._terminator = terminator
        self._max_line = max_line
        self._searched = 0
        self._headless = True

    def reset(self, *, at_boundary: bool = False) -> None:
        """The stream was interrupted and the buffer is empty.

        Args:
            at_boundary: The next byte is known to begin a line.
        """
        self._searched = 0
        self._headless = not at_boundary

    def next(self, buffer: bytearray) -> Piece | None:
        """The piece at the front of `buffer`, to be dropped from it before the next call; None means not yet."""
        end = buffer.find(self._terminator, self._searched)
        overlap = len(self._terminator) - 1
        if end < 0:
            if len(buffer) <= self._max_line + overlap:
                self._searched = max(0, len(buffer) - overlap)
                return None
            flaw = "headless" if self._headless else "overlong"
            self._searched, self._headless = 0, True
            return Piece(len(buffer) - overlap, None, flaw)
        self._searched = 0
        size = end + len(self._terminator)
        if self._headless:
            self._headless = False
            return Piece(size, None, "headless")
        if end > self._max_line:
            return Piece(size, None, "overlong")
        return Piece(size, bytes(buffer[:end]))


def split_fields(text: str, separator: str) -> list[str]:
    """The fields of a line.

    Args:
        text: The line.
        separator: A blank stands for any run of blanks, so fixed columns may be padded; any other string separates
            exactly, and blanks around a field are padding.
    """
    if separator == BLANK:
        return [field for field in text.split(BLANK) if field]
    return [field.strip(BLANK) for field in text.split(separator)]


def is_run(field: str, mark: str) -> bool:
    """Whether the field is `mark`, or filled with it where it is a single character (`-------`, `--.-`)."""
    filled = len(mark) == 1 and field.startswith(mark) and field.endswith(mark)
    return field == mark or (filled and field.replace(".", "", 1).strip(mark) == "")
