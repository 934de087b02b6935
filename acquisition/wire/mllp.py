"""MLLP, the envelope of HL7 v2 on TCP: start block 0B, message, end block 1C 0D (HL7 transport specification, MLLP)."""

from __future__ import annotations

from collections import Counter

START = 0x0B
END = 0x1C
CR = 0x0D
DEFAULT_MAX_BYTES = 4 << 20


def frame(message: bytes) -> bytes:
    """A message in its envelope."""
    return b"\x0b" + message + b"\x1c\r"


class Deframer:
    """Cuts whole messages from the front of a buffer that grows; each byte is looked at once.

    A sender that leaves the CR out is understood as soon as its next message begins. A start block inside a message
    means that the rest of that message never came. A message above the limit is dropped to its end.

    Args:
        max_bytes: The longest message that is kept.

    Attributes:
        lost: What was received and is in no message: `noise` bytes, `truncated` and `oversized` messages.
    """

    def __init__(self, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.lost: Counter[str] = Counter()
        self._max_bytes = max_bytes
        self._inside = False
        self._oversized = False
        self._scanned = 0

    def reset(self) -> None:
        """The link is new and its buffer empty."""
        self._inside = self._oversized = False
        self._scanned = 0

    def take(self, buffer: bytearray) -> list[bytes]:
        """The messages that are complete, without their envelopes; the buffer keeps what is not."""
        messages: list[bytes] = []
        while self._inside or self._enter(buffer):
            end = self._find_end(buffer)
            end -= self._start_over(buffer, end if end >= 0 else len(buffer))
            if end < 0:
                self._wait(buffer)
                break
            if self._oversized or end > self._max_bytes:
                self.lost["oversized"] += 1
            else:
                messages.append(bytes(buffer[:end]))
            del buffer[: end + 2 if buffer[end + 1] == CR else end + 1]
            self.reset()
        return messages

    def _enter(self, buffer: bytearray) -> bool:
        start = buffer.find(START)
        self.lost["noise"] += len(buffer) if start < 0 else start
        del buffer[: start + 1 if start >= 0 else len(buffer)]
        self._inside = start >= 0
        return self._inside

    def _find_end(self, buffer: bytearray) -> int:
        at = buffer.find(END, self._scanned)
        while 0 <= at < len(buffer) - 1 and buffer[at + 1] not in (CR, START):
            at = buffer.find(END, at + 1)
        return at if at < len(buffer) - 1 else -1

    def _start_over(self, buffer: bytearray, limit: int) -> int:
        """Drops messages that broke off before `limit`; returns how many bytes went."""
        broken = buffer.count(START, self._scanned, limit)
        if not broken:
            return 0
        self.lost["oversized"] += self._oversized
        self.lost["truncated"] += broken - self._oversized
        gone = buffer.rfind(START, self._scanned, limit) + 1
        del buffer[:gone]
        self._oversized = False
        self._scanned = 0
        return gone

    def _wait(self, buffer: bytearray) -> None:
        self._oversized = self._oversized or len(buffer) > self._max_bytes + 1
        if self._oversized:
            del buffer[:-1]
        # The last byte is looked at again: it may be the first half of an end block.
        self._scanned = max(0, len(buffer) - 1)
