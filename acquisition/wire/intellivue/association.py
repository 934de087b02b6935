"""Asking a monitor for an association, giving it back, and what the monitor says to that.

Source: PROTOCOLS.md sections 1.3 and 1.4; the presentation headers are the constant bytes of that document. The
request follows the layout of 1.3: the frame built there has one byte 80 too many in its presentation header, which no
ASN.1 reader could take. Refusals are known by their first byte alone, for no capture of one is published.
"""

from __future__ import annotations

from enum import IntEnum
from struct import pack
from typing import NamedTuple

from acquisition.errors import WireError
from acquisition.wire.intellivue.fields import Fields

TICKS_PER_S = 8000
TICK_NS = 125_000
MTU = 1400
MOST_ZEROS_AMISS = 2
"""Implementations in the field disagree by so many about the zeros that end these messages (1.3, 1.4)."""
NUMERICS = 0x80000000
WAVES = 0x08000000
"""Bits of the extended poll profile: numerics every second, and real-time sample arrays."""

_POLL_PROFILE = 0x0001
_POLL_PROFILE_EXT = 0xF001
_SESSION_DATA = bytes.fromhex("05 08 13 01 00 16 01 02 80 00 14 02 00 02")
_PRESENTATION = bytes.fromhex(
    "31 80 A0 80 80 01 01 00 00 A2 80 A0 03 00 00 01 A4 80 30 80 02 01 01 06 04 52 01 00 01"
    "30 80 06 02 51 01 00 00 00 00 30 80 02 01 02 06 0C 2A 86 48 CE 14 02 01 00 00 00 01 01"
    "30 80 06 0C 2A 86 48 CE 14 02 01 00 00 00 02 01 00 00 00 00 00 00 61 80 30 80 02 01 01 A0 80 60 80"
    "A1 80 06 0C 2A 86 48 CE 14 02 01 00 00 00 03 01 00 00 BE 80 28 80"
    "06 0C 2A 86 48 CE 14 02 01 00 00 00 01 01 02 01 02 81"
)
_TRAILER = bytes(16)
_ACCEPTED = (bytes.fromhex("BE 80 28 80 81"), bytes.fromhex("BE 80 28 80 02 01 02 81"))
"""What stands before the user information of an acceptance; implementations in the field look for these (1.4)."""

RELEASE = bytes.fromhex("09 18 C1 16 61 80 30 80 02 01 01 A0 80 62 80 80 01 00") + bytes(8)
RELEASED = bytes.fromhex("0A 18 C1 16 61 80 30 80 02 01 01 A0 80 63 80 80 01 00") + bytes(8)
_ABORT = (
    "19 2E 11 01 03 C1 29 A0 80 A0 80 30 80 02 01 01 06 02 51 01 00 00 00 00 61 80 30 80 02 01 01 A0 80 64 80 80 01 01"
)
ABORT = bytes.fromhex(_ABORT) + bytes(10)
"""With the ten zeros that its two lengths and its five open values ask for; 1.4 prints eight."""


class Kind(IntEnum):
    """First byte of a message about the association."""

    FINISH = 0x09
    DISCONNECT = 0x0A
    REFUSE = 0x0C
    REQUEST = 0x0D
    ACCEPT = 0x0E
    ABORT = 0x19


class Answer(NamedTuple):
    """What the monitor says about the association.

    Attributes:
        kind: Which message it is.
        period_ticks: Of an acceptance, the poll period it grants, in 1/8 ms.
        granted: Of an acceptance, bits of the extended poll profile; None if it does not tell.
    """

    kind: Kind
    period_ticks: int = 0
    granted: int | None = None


def request(period_ticks: int, options: int) -> bytes:
    """An association request.

    Args:
        period_ticks: Shortest time between two answers to an extended poll, 1/8 ms.
        options: Bits of the extended poll profile.
    """
    extension = pack(">HHHHIHH", 1, 12, _POLL_PROFILE_EXT, 8, options, 0, 0)
    profile = pack(">IIIIII", 0x80000000, period_ticks, MTU, MTU, 0xFFFFFFFF, 0x60000000) + extension
    information = pack(">IIIIIHH", 0x80000000, 0x40000000, 0, 0x80000000, 0x20000000, 0, 0)
    information += pack(">HHHH", 1, len(profile) + 4, _POLL_PROFILE, len(profile)) + profile
    presented = _PRESENTATION + bytes((len(information),)) + information + _TRAILER
    body = _SESSION_DATA + b"\xc1" + _length(len(presented)) + presented
    return bytes((Kind.REQUEST,)) + _length(len(body)) + body


def read(message: bytes) -> Answer | None:
    """What the monitor says about the association; None if the message is about something else.

    Raises:
        WireError: it is cut short or does not come out.
    """
    if not message or message[0] not in list(Kind):
        return None
    kind = Kind(message[0])
    if kind is Kind.ACCEPT:
        return _accept(message)
    fields = Fields(message, 1)
    length = _read_length(fields)
    fields.take(max(0, length - MOST_ZEROS_AMISS))
    if len(message) > length + 4 + MOST_ZEROS_AMISS:
        raise WireError("length")
    return Answer(kind)


def patience_ns(period_ns: int) -> int:
    """How long an association lives without a message, by the granted poll period (1.4)."""
    if period_ns <= 3_300_000_000:
        return 10_000_000_000
    return 3 * period_ns if period_ns <= 43_000_000_000 else 130_000_000_000


def _accept(message: bytes) -> Answer:
    begins = [at + len(mark) for mark in _ACCEPTED if (at := message.find(mark)) >= 0]
    if not begins:
        raise WireError("association")
    fields = Fields(message, min(begins))
    fields = fields.part(_read_asn_length(fields))
    fields.take(20)  # versions, functional units, system type, startup mode
    fields.attributes(())
    profile = fields.attributes((_POLL_PROFILE,)).get(_POLL_PROFILE)
    if profile is None:
        raise WireError("association")
    terms = Fields(profile)
    terms.take(4)
    period = terms.u32()
    terms.take(16)
    extension = terms.attributes((_POLL_PROFILE_EXT,)).get(_POLL_PROFILE_EXT)
    return Answer(Kind.ACCEPT, period, None if extension is None else Fields(extension).u32())


def _length(size: int) -> bytes:
    return bytes((size,)) if size < 0xFF else b"\xff" + size.to_bytes(2, "big")


def _read_length(fields: Fields) -> int:
    size = fields.u8()
    return fields.u16() if size == 0xFF else size


def _read_asn_length(fields: Fields) -> int:
    size = fields.u8()
    if size < 0x80:
        return size
    if size == 0x82:
        return fields.u16()
    raise WireError("association")
