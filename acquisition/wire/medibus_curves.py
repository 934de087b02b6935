"""The real-time extension of Draeger MEDIBUS: which curves there are, and their samples; unverified on hardware.

Source: Draeger, RS 232 MEDIBUS Protocol Definition, revision 4.03, real-time part. Four streams at most are used: they
need no announcement of further ones. The interval is in microseconds, as the printed session shows; its text says ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acquisition.errors import WireError
from acquisition.model import MISSING_COUNT

MOST_CURVES = 4
BLOCK_US = 500_000
_RECORD = 23
_SYNC, _COMMAND = 0xD0, 0xC0
_CORRUPT = 0xF
_ENABLE_1_TO_4 = 0xC1
LONGEST_SET = 64
"""Bytes between two syncs: far more than four values and their commands."""
_LONGEST_US = 10_000_000


class Curve(NamedTuple):
    """A curve that the device offers: value = low + bin * (high - low) / last_bin."""

    code: str
    interval_us: int
    low: float
    high: float
    last_bin: int

    @property
    def scale(self) -> float:
        """Units per bin."""
        return (self.high - self.low) / self.last_bin


def offered(data: bytes) -> dict[str, Curve]:
    """The curves of a response to the request for the configuration, by code.

    Raises:
        WireError: these are no such records.
    """
    text = data.decode("ascii")
    if len(text) % _RECORD:
        raise WireError(f"{len(text)} characters are no whole records")
    curves = {}
    for at in range(0, len(text), _RECORD):
        record = text[at : at + _RECORD]
        try:
            curve = Curve(
                record[:2], int(record[2:10]), float(record[10:15]), float(record[15:20]), int(record[20:23], 16)
            )
        except ValueError as error:
            raise WireError(f"{record!r} is no curve: {error}") from None
        if not (0 < curve.interval_us <= _LONGEST_US and -1e5 < curve.low < curve.high < 1e5 and curve.last_bin > 0):
            raise WireError(f"{record!r} is no curve")
        curves[curve.code] = curve
    return curves


def configuration(codes: Iterable[str]) -> bytes:
    """Arguments that ask for these curves, every sample of each."""
    return "".join(f"{code}01" for code in codes).encode()


def enable(count: int) -> bytes:
    """Starts the first `count` streams; to be repeated, for nobody confirms it."""
    return bytes((_SYNC, _ENABLE_1_TO_4, _COMMAND | (1 << count) - 1, _COMMAND, _COMMAND))


class Block(NamedTuple):
    """Bins of one curve, shape (n,), `MISSING_COUNT` where there is none; `after_gap`: some were lost before them."""

    curve: Curve
    counts: NDArray[np.int32]
    after_gap: bool


class Streams:
    """Follows the real-time bytes: each sync begins a set of values, complete when the next one begins.

    Args:
        curves: Those that were agreed on, in their order.

    Attributes:
        flaws: Sets that could not be used.
    """

    def __init__(self, curves: Sequence[Curve]) -> None:
        self.curves = tuple(curves)
        self.flaws = 0
        self._set = bytearray()
        self._bins: list[list[int]] = [[] for _ in self.curves]
        self._broken = True
        # Where all have one pace, a value that is not in a set is missing; else it may not have been due.
        self._paced_alike = len({curve.interval_us for curve in self.curves}) == 1

    def take(self, byte: int) -> list[Block]:
        """Blocks that this byte completes; half a second each."""
        if byte & 0xF0 == _SYNC:
            one, self._set = self._set, bytearray((byte,))
            return self._gather(one) if one and self.curves else []
        if self._set:
            self._set.append(byte)
            if len(self._set) > LONGEST_SET:
                self._set.clear()
                return self._break()
        return []

    def rest(self) -> list[Block]:
        """What makes no whole block yet."""
        found = [
            Block(curve, _counts(bins, curve), self._broken)
            for curve, bins in zip(self.curves, self._bins, strict=True)
            if bins
        ]
        for bins in self._bins:
            bins.clear()
        self._broken = self._broken and not found
        return found

    def _gather(self, one: bytearray) -> list[Block]:
        values = _decoded(one)
        if values is None:
            return self._break()
        full = False
        for index, (curve, bins) in enumerate(zip(self.curves, self._bins, strict=True)):
            if index in values or (values and self._paced_alike):
                bins.append(values.get(index, MISSING_COUNT))
            full = full or len(bins) * curve.interval_us >= BLOCK_US
        return self.rest() if full else []

    def _break(self) -> list[Block]:
        found = self.rest()
        self.flaws += 1
        self._broken = True
        return found


def _counts(bins: list[int], curve: Curve) -> NDArray[np.int32]:
    counts = np.array(bins, dtype=np.int32)
    counts[counts > curve.last_bin] = MISSING_COUNT
    return counts


def _decoded(one: bytearray) -> dict[int, int] | None:
    streams = [stream for stream in range(MOST_CURVES) if one[0] >> stream & 1]
    commands = [byte for byte in one[1:] if byte >= _COMMAND]
    values = [byte & 0x3F for byte in one[1:] if byte < _COMMAND]
    odd = len(commands) % 2 or len(values) != 2 * len(streams) or any(byte & 0xF0 != _COMMAND for byte in commands)
    if odd or any(byte & 0x0F == _CORRUPT for byte in commands[::2]):
        return None
    bins = (low | high << 6 for low, high in zip(values[::2], values[1::2], strict=True))
    return dict(zip(streams, bins, strict=True))
