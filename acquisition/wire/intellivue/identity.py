"""Cuts out of a raw recording what could tell who the patient is: what nobody reads is not written (promise 9).

Attributes keep their id and length and lose their value, unless they are on the list of `messages`; a message that
cannot be read keeps its head. So a recording replays to the same observations, and its damages are still damages.
"""

from __future__ import annotations

from acquisition.errors import WireError
from acquisition.wire.intellivue import association, framing, messages

HEAD = 24
"""Envelope, kind of operation, number of the question, object: nothing of a patient."""


class Cut:
    """Follows what a monitor says.

    Args:
        mib: It comes over the RS-232 port, split anywhere; else each piece is a message.
    """

    def __init__(self, *, mib: bool) -> None:
        self._mib = mib
        self._pending = bytearray()

    def feed(self, data: bytes) -> bytes:
        """What may be written of it; a frame of the RS-232 port comes out when it is complete."""
        if not self._mib:
            return cut(data)
        out = bytearray()
        self._pending += data
        while self._pending:
            begin = self._pending.find(framing.BEGIN)
            if begin != 0:
                noise = len(self._pending) if begin < 0 else begin
                out += bytes(noise)
                del self._pending[:noise]
                continue
            ends = [at for mark in (framing.BEGIN, framing.END) if (at := self._pending.find(mark, 1)) > 0]
            if not ends and len(self._pending) <= framing.MAX_FRAME:
                break
            out += self._next(min(ends, default=len(self._pending)))
        return bytes(out)

    def _next(self, end: int) -> bytes:
        """Takes what stands before `end`, and the end with it if it is that of the frame."""
        whole = end < len(self._pending) and self._pending[end] == framing.END
        wire = bytes(self._pending[: end + whole])
        del self._pending[: end + whole]
        message = framing.unframe(wire) if whole else None
        if message is not None:
            return framing.frame(cut(message))
        return bytes((framing.BEGIN,)) + bytes(max(0, len(wire) - 1 - whole)) + wire[len(wire) - whole :]


def cut(message: bytes) -> bytes:
    """One message without what nobody reads of it."""
    try:
        if association.read(message) is not None:
            return message
        unwanted: list[tuple[int, int]] = []
        messages.read(message, unwanted)
    except WireError:
        return message[:HEAD] + bytes(max(0, len(message) - HEAD))
    kept = bytearray(message)
    for start, end in unwanted:
        kept[start:end] = bytes(end - start)
    return bytes(kept)
