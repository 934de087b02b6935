"""Frames, requests and records of the DRI computer interface (GE Datex-Ohmeda S/5, CARESCAPE); unverified on hardware.

Sources: GE Healthcare, S/5 Computer Interface Specification M1017617 (12th ed.): framing, requests; S/5 DRI
Specification 8005313 (12th ed.): record header and sub-records. Byte order is little-endian, structures are packed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from acquisition.errors import WireError

FLAG, ESCAPE, LIFTED = 0x7E, 0x7D, 0x20
MAX_RECORD = 0x7FFF
"""The length of a record is a signed 16-bit number."""
MAX_RAW = 2 * (MAX_RECORD + 1)
LEVELS = range(2, 12)
"""Levels that the documents describe."""
END_OF_LIST = 0xFF
STAND_IN = b"\x7e\x00\x7e"
"""Too short for a frame; stands in a trace where bytes were that may not be kept."""
MOST_WAVES = 7
"""Types of one request, so that its end mark has room."""

_HEADER = struct.Struct("<hBBHLBBHh")
_DESCRIPTOR = struct.Struct("<hB")
_DESCRIPTORS = 8
HEADER_SIZE = _HEADER.size + _DESCRIPTORS * _DESCRIPTOR.size


class Main(IntEnum):
    """Main types of records that are read; the content of any other, whatever it tells of a patient, is dropped."""

    PHDB = 0
    WAVE = 1


class Deny(IntEnum):
    """Bits of a request for displayed values that say which classes come."""

    BASIC = 1
    EXT1 = 2
    EXT2 = 4
    EXT3 = 8


class Part(NamedTuple):
    """A sub-record: its type, and its bytes up to the next one or the end."""

    kind: int
    data: bytes


class Record(NamedTuple):
    """A record; `time` is in Unix seconds, `main` any number, `parts` empty unless it is one of `Main`."""

    level: int
    plug: int
    time: int
    main: int
    parts: tuple[Part, ...]


class Flaw(NamedTuple):
    """What stood where a frame should be: why it is not used, and how many bytes it was."""

    reason: str
    size: int


class Deframer:
    """Cuts a stream at its flags; bytes before the first flag belong to a frame whose beginning was not seen."""

    def __init__(self) -> None:
        self._searched = 0
        self._headless = True

    def reset(self) -> None:
        """The stream was interrupted and the buffer is empty."""
        self._searched, self._headless = 0, True

    def take(self, buffer: bytearray) -> Iterator[bytes | Flaw]:
        """The record in every whole frame, checksum verified, or what is wrong with it, in the order of the stream.

        What is used or useless is dropped from `buffer`.
        """
        while (end := buffer.find(FLAG, self._searched)) >= 0:
            raw = bytes(buffer[:end])
            del buffer[: end + 1]
            headless, self._searched, self._headless = self._headless, 0, False
            if raw:
                yield Flaw("headless", len(raw)) if headless else _content(raw)
        self._searched = len(buffer)
        if len(buffer) > MAX_RAW:
            yield Flaw("headless" if self._headless else "oversized", len(buffer))
            buffer.clear()
            self.reset()


def _content(raw: bytes) -> bytes | Flaw:
    if ESCAPE in raw:
        first, *rest = raw.split(bytes((ESCAPE,)))
        if any(part[:1] not in (b"\x5e", b"\x5d") for part in rest):
            return Flaw("escape", len(raw))
        raw = first + b"".join(bytes((part[0] | LIFTED,)) + part[1:] for part in rest)
    content = raw[:-1]
    if sum(content) & 0xFF != raw[-1]:
        return Flaw("checksum", len(raw))
    if len(content) < HEADER_SIZE or int.from_bytes(content[:2], "little") != len(content):
        return Flaw("length", len(raw))
    return content


def frame(content: bytes) -> bytes:
    """The record with its checksum between flags."""
    body = content + bytes((sum(content) & 0xFF,))
    body = body.replace(b"\x7d", b"\x7d\x5d").replace(b"\x7e", b"\x7d\x5e")
    return b"\x7e" + body + b"\x7e"


def parse(content: bytes) -> Record:
    """The record that a frame carries.

    Raises:
        WireError: its list of sub-records leads outside of it, or is not in order.
    """
    _, _, level, plug, time, _, _, _, main = _HEADER.unpack_from(content)
    if main not in (Main.PHDB, Main.WAVE):
        return Record(level, plug, time, main, ())
    body = content[HEADER_SIZE:]
    found: list[tuple[int, int]] = []
    for offset, kind in _DESCRIPTOR.iter_unpack(content[_HEADER.size : HEADER_SIZE]):
        if kind == END_OF_LIST:
            break
        if not (found[-1][0] if found else -1) < offset < len(body):
            raise WireError(f"sub-record at {offset} of a record with {len(body)} bytes")
        found.append((offset, kind))
    ends = [offset for offset, _ in found[1:]] + [len(body)]
    parts = (Part(kind, body[offset:end]) for (offset, kind), end in zip(found, ends, strict=False))
    return Record(level, plug, time, main, tuple(parts))


class Cut:
    """Passes on what of a stream may be written to a trace: whole frames of the types that are read.

    Of other records the header stays; for what is no sound frame, which could be part of one, a stand-in is written.
    """

    def __init__(self) -> None:
        self._deframer = Deframer()
        self._pending = bytearray()

    def feed(self, data: bytes) -> bytes:
        """The frames that are complete with these bytes."""
        self._pending += data
        return b"".join(_kept(piece) for piece in self._deframer.take(self._pending))


def _kept(piece: bytes | Flaw) -> bytes:
    if isinstance(piece, Flaw):
        return STAND_IN
    *head, main = _HEADER.unpack_from(piece)
    if main in (Main.PHDB, Main.WAVE):
        return frame(piece)
    nothing = _DESCRIPTOR.pack(0, END_OF_LIST).ljust(HEADER_SIZE - _HEADER.size, b"\0")
    return frame(_HEADER.pack(HEADER_SIZE, *head[1:], main) + nothing)


def displayed_request(every_s: int, classes: int) -> bytes:
    """Asks for displayed values every so many seconds, 5 at least; 0 stops them.

    Args:
        every_s: Seconds from one record to the next.
        classes: Bits of `Deny`.
    """
    return values_request(1, every_s, classes)


def values_request(kind: int, every_s: int, classes: int) -> bytes:
    """Asks for values: displayed (1), 10-s trend (2) or 60-s trend (3)."""
    return _request(Main.PHDB, struct.pack("<BhLh", kind, every_s, classes, 0))


def wave_request(kinds: Iterable[int]) -> bytes:
    """Asks for waves, `MOST_WAVES` at most; for none, to stop them all."""
    types = bytes(kinds)
    if len(types) > MOST_WAVES:
        raise ValueError(f"{len(types)} waves in one request; {MOST_WAVES} have room")
    content = struct.pack("<hh8s16shh", not types, 0, types + bytes((END_OF_LIST,)), b"", 0, 0)
    return _request(Main.WAVE, content)


def _request(main: Main, body: bytes) -> bytes:
    size = HEADER_SIZE + len(body)
    descriptors = _DESCRIPTOR.pack(0, 0) + _DESCRIPTOR.pack(0, END_OF_LIST)
    head = _HEADER.pack(size, 0, 0, 0, 0, 0, 0, 0, main) + descriptors
    return frame(head.ljust(HEADER_SIZE, b"\0") + body)


def civil(seconds: int) -> tuple[int, int, int, int, int, int]:
    """Year, month, day, hour, minute, second in UTC of Unix seconds."""
    text = str(np.datetime64(seconds, "s"))
    year, month, day = (int(part) for part in text[:10].split("-"))
    return year, month, day, int(text[11:13]), int(text[14:16]), int(text[17:19])
