"""Reads big-endian numbers and counted lists from bytes, and insists that every length comes out exactly."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from struct import Struct

from acquisition.errors import WireError

_U16 = Struct(">H")
_U32 = Struct(">I")


class Fields:
    """Goes through a piece of a message once.

    Args:
        data: The whole message.
        start: Where the piece begins.
        end: Where it ends; the end of the message by default.
        unwanted: Gets the places that nobody reads: attributes that are not on a list, and what is passed over.
    """

    __slots__ = ("_at", "_data", "_end", "_unwanted")

    def __init__(
        self, data: bytes, start: int = 0, end: int | None = None, unwanted: list[tuple[int, int]] | None = None
    ) -> None:
        self._data = data
        self._at = start
        self._end = len(data) if end is None else end
        self._unwanted = [] if unwanted is None else unwanted

    def u8(self) -> int:
        """The next byte.

        Raises:
            WireError: there is none.
        """
        return self._data[self._step(1)]

    def u16(self) -> int:
        """The next two bytes.

        Raises:
            WireError: there are not as many.
        """
        return int(_U16.unpack_from(self._data, self._step(2))[0])

    def u32(self) -> int:
        """The next four bytes.

        Raises:
            WireError: there are not as many.
        """
        return int(_U32.unpack_from(self._data, self._step(4))[0])

    def take(self, size: int) -> bytes:
        """The next `size` bytes.

        Raises:
            WireError: there are not as many.
        """
        start = self._step(size)
        return self._data[start : start + size]

    def part(self, size: int) -> Fields:
        """The next `size` bytes as a piece of their own.

        Raises:
            WireError: there are not as many.
        """
        start = self._step(size)
        return Fields(self._data, start, start + size, self._unwanted)

    def listed(self) -> Iterator[Fields]:
        """The piece of a list, once for each of its elements; the list begins with its count and its length in bytes.

        Raises:
            WireError: the elements do not fill the list exactly.
        """
        count = self.u16()
        piece = self.part(self.u16())
        for _ in range(count):
            yield piece
        piece.finish()

    def attributes(self, wanted: Collection[int]) -> dict[int, bytes]:
        """An attribute list: id and value of those that are wanted; the others are gone.

        Raises:
            WireError: the list does not come out, or has an attribute twice.
        """
        found: dict[int, bytes] = {}
        for piece in self.listed():
            name = piece.u16()
            value = piece.part(piece.u16())
            if name not in wanted:
                value.pass_over()
            elif name in found:
                raise WireError("length")
            else:
                found[name] = value.rest()
        return found

    def rest(self) -> bytes:
        """What is left of the piece."""
        return self.take(self._end - self._at)

    def pass_over(self) -> None:
        """Nobody reads what is left of the piece."""
        self._unwanted.append((self._at, self._end))
        self._at = self._end

    def finish(self) -> None:
        """Nothing may be left.

        Raises:
            WireError: something is.
        """
        if self._at != self._end:
            raise WireError("length")

    def _step(self, size: int) -> int:
        start = self._at
        if start + size > self._end:
            raise WireError("truncated")
        self._at = start + size
        return start
