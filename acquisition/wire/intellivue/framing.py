"""The envelope on the RS-232 (MIB) port: C0, header, user data, checksum, C1; those three bytes escaped between.

Source: PROTOCOLS.md section 1.11. The checksum is CRC-16/X.25, sent low byte first, and escaped like all the rest.
"""

from __future__ import annotations

from collections import Counter

BEGIN, END, ESCAPE, FLIP = 0xC0, 0xC1, 0x7D, 0x20
HEADER = b"\x11\x01"
MAX_FRAME = 1 << 14
"""Longest frame that is waited for; ours asks the monitor to stay below 1400 bytes."""


def _table() -> tuple[int, ...]:
    rows = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ 0x8408 if value & 1 else value >> 1
        rows.append(value)
    return tuple(rows)


_TABLE = _table()


def checksum(data: bytes) -> int:
    """CRC-16/X.25 of the unescaped bytes: polynomial 8408 reflected, from FFFF, inverted at the end."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFF


def escaped(data: bytes) -> bytes:
    """The bytes as they stand between the flags."""
    for byte in (ESCAPE, BEGIN, END):
        data = data.replace(bytes((byte,)), bytes((ESCAPE, byte ^ FLIP)))
    return data


def frame(payload: bytes) -> bytes:
    """A message in its envelope."""
    body = HEADER + len(payload).to_bytes(2, "big") + payload
    return bytes((BEGIN,)) + escaped(body + checksum(body).to_bytes(2, "little")) + bytes((END,))


def unframe(wire: bytes) -> bytes | None:
    """The message of exactly one whole frame; None if the bytes are anything else."""
    lost: Counter[str] = Counter()
    inside = wire[1:-1]
    if len(wire) < 2 or wire[0] != BEGIN or wire[-1] != END or BEGIN in inside or END in inside:
        return None
    return _payload(inside, lost)


class Deframer:
    """Cuts whole frames from the front of a buffer that grows; where it is split makes no difference.

    A beginning inside a frame means that the rest of that frame never came. A frame that ends in an escape was given
    up by its sender.

    Attributes:
        lost: What was received and is in no message: bytes of `noise`, frames by the reason why they are not used.
    """

    def __init__(self) -> None:
        self.lost: Counter[str] = Counter()
        self._scanned = 0

    def reset(self) -> None:
        """The link is new and its buffer empty."""
        self._scanned = 0

    def take(self, buffer: bytearray) -> list[bytes]:
        """The messages that are complete, without their envelopes; the buffer keeps what is not."""
        found: list[bytes] = []
        while self._enter(buffer):
            end = buffer.find(END, self._scanned)
            again = buffer.rfind(BEGIN, 1, end if end >= 0 else len(buffer))
            if again >= 0:
                self.lost["truncated"] += buffer.count(BEGIN, 0, again)
                del buffer[:again]
                self._scanned = 1
                continue
            if end < 0:
                self._scanned = len(buffer)
                if len(buffer) > MAX_FRAME:
                    self.lost["oversized"] += 1
                    buffer.clear()
                break
            payload = _payload(bytes(buffer[1:end]), self.lost)
            del buffer[: end + 1]
            self._scanned = 0
            if payload is not None:
                found.append(payload)
        return found

    def _enter(self, buffer: bytearray) -> bool:
        start = buffer.find(BEGIN)
        noise = len(buffer) if start < 0 else start
        if noise:
            self.lost["noise"] += noise
            del buffer[:noise]
            self._scanned = 0
        self._scanned = max(self._scanned, 1)
        return start >= 0


def _payload(inside: bytes, lost: Counter[str]) -> bytes | None:
    """The message between two flags, or None and the reason counted."""
    if inside.endswith(bytes((ESCAPE,))):
        lost["aborted"] += 1
        return None
    first, *others = inside.split(bytes((ESCAPE,)))
    if any(not other for other in others):
        lost["escape"] += 1
        return None
    body = first + b"".join(bytes((other[0] ^ FLIP,)) + other[1:] for other in others)
    if len(body) < len(HEADER) + 4 or checksum(body[:-2]).to_bytes(2, "little") != body[-2:]:
        lost["checksum"] += 1
    elif body[:2] != HEADER or int.from_bytes(body[2:4], "big") != len(body) - 6:
        lost["header"] += 1
    else:
        return body[4:-2]
    return None
