"""The monitor's end of IntelliVue data export in bytes: lists, numbers, events, answers, and the serial envelope.

Layout: *Philips IntelliVue Data Export Interface Programming Guide* (4535 642 59271) as in PROTOCOLS.md sections 1.2 to
1.11. Written without looking at the other end: a mistake made at both ends would pass every test.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack, unpack

MDS = 33
SINGLE, EXTENDED = 0x0C16, 0xF13B
FINISH, DISCONNECT, REFUSE, REQUEST, ACCEPT, ABORT = 0x09, 0x0A, 0x0C, 0x0D, 0x0E, 0x19
NO_NUMBER = 0x007FFFFF

_HEADER = (
    "31 80 A0 80 80 01 01 00 00 A2 80 A0 03 00 00 01 A5 80 30 80 80 01 00 81 02 51 01 00 00 30 80 80 01 00 81 0C"
    "2A 86 48 CE 14 02 01 00 00 00 02 01 00 00 00 00 61 80 30 80 02 01 01 A0 80 61 80 A1 80 06 0C 2A 86 48 CE 14 02 01"
    "00 00 00 03 01 00 00 A2 03 02 01 00 A3 05 A1 03 02 01 00 BE 80 28 80 02 01 02 81"
)
RELEASED = bytes.fromhex("0A18C116 61803080 020101A0 80638080 0100") + b"\0" * 8
ABORTED = (
    bytes.fromhex("192E1101 03C129A0 80A08030 80020101 06025101 00000000 61803080 020101A0 80648080 0101") + b"\0" * 10
)
REFUSED = bytes.fromhex("0C03C10101")
"""No capture of a refusal is published; the first byte says what it is, and the second how much follows."""


class Poll:
    """A poll as the monitor reads it.

    Attributes:
        seconds: How long an extended poll is answered; None for a single one.
    """

    def __init__(self, message: bytes) -> None:
        (self.invoke,) = unpack(">H", message[8:10])
        action, _, self.poll, _, self.kind, self.group = unpack(">6H", message[24:36])
        self.seconds: float | None = None
        if action == EXTENDED:
            (ticks,) = unpack(">I", message[44:48])
            self.seconds = ticks / 8000


def listed(items: Sequence[bytes]) -> bytes:
    """Count, length, items."""
    body = b"".join(items)
    return pack(">2H", len(items), len(body)) + body


def attribute(name: int, value: bytes) -> bytes:
    """Name, length, value."""
    return pack(">2H", name, len(value)) + value


def decimal(value: float | None, places: int = 1) -> bytes:
    """A FLOAT-Type with so many decimal places; None is "not a number"."""
    if value is None:
        return pack(">I", NO_NUMBER)
    mantissa = round(value * 10.0**places)
    return pack(">b", -places) + mantissa.to_bytes(3, "big", signed=True)


def text(words: str) -> bytes:
    """UTF-16 after its length."""
    coded = words.encode("utf-16-be")
    return pack(">H", len(coded)) + coded


def strings(*words: str) -> bytes:
    """ASCII strings, each ended by a zero and after its length."""
    return b"".join(pack(">H", len(word) + 1) + word.encode() + b"\0" for word in words)


def observed(term: int, bits: int, unit: int, value: float | None) -> bytes:
    """NU_VAL_OBS."""
    return pack(">3H", term, bits, unit) + decimal(value)


def digits(year: int, month: int, day: int, hour: int, minute: int, second: int) -> bytes:
    """AbsoluteTime, binary-coded decimal."""
    return bytes.fromhex(f"{year:04d}{month:02d}{day:02d}{hour:02d}{minute:02d}{second:02d}00")


def connect_indication(ticks: int, attributes: Sequence[bytes]) -> bytes:
    """Broadcast while nobody is associated."""
    content = listed(attributes)
    event = pack(">3HI2H", MDS + 2, 0, 0, ticks, 0x0D17, len(content)) + content
    return bytes.fromhex("00000100") + pack(">5H", 1, len(event) + 6, 0, 0, len(event)) + event


def mds_create(invoke: int, ticks: int, attributes: Sequence[bytes]) -> bytes:
    """Sent after an acceptance; waits for an answer."""
    content = pack(">3H", MDS, 0, 0) + listed(attributes)
    event = pack(">3HI2H", MDS, 0, 0, ticks, 0x0D06, len(content)) + content
    return _data(1, pack(">3H", invoke, 1, len(event)) + event)


def answer(
    asked: Poll, ticks: int, moment: bytes, objects: Sequence[bytes], sequence: int, part: tuple[int, int] | None
) -> bytes:
    """The answer to a poll, or one part of it.

    Args:
        asked: The poll.
        ticks: Running time, 1/8 ms.
        moment: Wall clock.
        objects: Handles with their attributes, of one context.
        sequence: Number of the answer, for an extended poll.
        part: Place (1 first, 2 between, 3 last) and count, of a linked answer.
    """
    number = pack(">2H", asked.poll, sequence) if asked.seconds is not None else pack(">H", asked.poll)
    found = [pack(">H", 0) + listed(objects)]
    body = number + pack(">I", ticks) + moment + pack(">3H", 1, asked.kind, asked.group) + listed(found)
    action = EXTENDED if asked.seconds is not None else SINGLE
    result = pack(">5H", MDS, 0, 0, action, len(body)) + body
    head = b"" if part is None else bytes(part)
    return _data(2 if part is None else 5, head + pack(">3H", asked.invoke, 7, len(result)) + result)


def wave_list(invoke: int, labels: Sequence[int]) -> bytes:
    """The answer to GET of the list of preferred waves."""
    value = listed([pack(">I", label) for label in labels])
    result = pack(">3H", MDS, 0, 0) + listed([attribute(0xF23A, value)])
    return _data(2, pack(">3H", invoke, 3, len(result)) + result)


def error(invoke: int, reason: int) -> bytes:
    """ROER."""
    return _data(3, pack(">3H", invoke, reason, 0))


def acceptance(period: int, options: int) -> bytes:
    """An association is granted, with a poll period in 1/8 ms and an extended poll profile."""
    extension = listed([attribute(0xF001, pack(">I2H", options, 0, 0))])
    profile = pack(">6I", 0x80000000, period, 1400, 1400, 0xFFFFFFFF, 0x60000000) + extension
    information = pack(">5I", 0x80000000, 0x40000000, 0, 0x00800000, 0x20000000) + listed([])
    information += listed([attribute(1, profile)])
    presented = bytes.fromhex(_HEADER) + bytes((len(information),)) + information + b"\0" * 16
    session = bytes.fromhex("0508130100160102800014020002")
    session += b"\xc1" + bytes((len(presented),)) + presented
    return bytes((ACCEPT, len(session))) + session


def wishes(message: bytes) -> tuple[int, int]:
    """Poll period in 1/8 ms and extended poll profile out of an association request."""
    at = message.index(bytes.fromhex("00010028"))
    _, period = unpack(">2I", message[at + 4 : at + 12])
    beyond = message.index(bytes.fromhex("F0010008"), at)
    return int(period), int.from_bytes(message[beyond + 4 : beyond + 8], "big")


def crc(data: bytes) -> int:
    """CRC-16/X.25, bit by bit."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x8408 if value & 1 else 0)
    return value ^ 0xFFFF


def enveloped(message: bytes) -> bytes:
    """A message as it leaves on the serial port, checksum escaped like the rest."""
    inside = b"\x11\x01" + pack(">H", len(message)) + message
    inside += pack("<H", crc(inside))
    stuffed = b"".join(bytes((0x7D, byte ^ 0x20)) if byte in (0xC0, 0xC1, 0x7D) else bytes((byte,)) for byte in inside)
    return b"\xc0" + stuffed + b"\xc1"


def opened(frame: bytes) -> bytes | None:
    """The message between two flags of the serial port; None if its checksum is wrong."""
    inside, flipped = bytearray(), False
    for byte in frame:
        if byte == 0x7D:
            flipped = True
            continue
        inside.append(byte ^ 0x20 if flipped else byte)
        flipped = False
    if len(inside) < 6 or pack("<H", crc(bytes(inside[:-2]))) != inside[-2:]:
        return None
    return bytes(inside[4:-2])


def _data(operation: int, body: bytes) -> bytes:
    return bytes.fromhex("E1000002") + pack(">2H", operation, len(body)) + body
