"""Lets damage through the door: opens frames, damages what is inside, seals them again, and renumbers answers."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from struct import pack, unpack_from
from typing import TypeAlias

from simulators import intellivue_pdu as pdu

Damage: TypeAlias = Callable[[bytes], bytes]

_DRI = re.compile(rb"\x7e([^\x7e]+)\x7e")
_DRI_ESCAPED = re.compile(rb"\x7d(.)", re.DOTALL)
_MEDIBUS = re.compile(rb"([\x01\x1b][^\x01\x1b\r]*)[0-9A-F]{2}\r")
_MIB = re.compile(rb"\xc0([^\xc0\xc1]+)\xc1")
_ENVELOPE = b"\xe1\x00\x00\x02"
_LINKED, _INVOKE, _GET, _ACTION = 5, 1, 3, 7
TAMED = 3
"""Most bytes that change within a frame whose lengths are to hold."""


def exchanged(data: bytes, chance: random.Random) -> bytes:
    """The bytes with a few of them exchanged for others and none lost or added, so that every length still holds."""
    changed = bytearray(data)
    for _ in range(chance.randrange(1, TAMED + 1) if changed else 0):
        place = chance.randrange(len(changed))
        changed[place] = chance.choice(
            (changed[place] ^ 1 << chance.randrange(8), chance.randrange(256), 0, 0xFF, 0x7F)
        )
    return bytes(changed)


def damaged_within(driver: str, piece: bytes, damage: Damage) -> bytes:
    """The piece with its frames damaged and their checksums right again; where frames have none, just damaged."""
    match driver:
        case "dri":
            return _DRI.sub(lambda found: _dri(found, damage), piece)
        case "medibus":
            return _MEDIBUS.sub(lambda found: _medibus(damage(found[1])), piece)
        case "intellivue" if piece.startswith(b"\xc0"):
            return _MIB.sub(lambda found: _mib(found, damage), piece)
    return damage(piece)


def _dri(found: re.Match[bytes], damage: Damage) -> bytes:
    inside = _DRI_ESCAPED.sub(lambda escaped: bytes((escaped[1][0] | 0x20,)), found[1])
    record = damage(inside[:-1])
    sealed = record + bytes((sum(record) % 256,))
    stuffed = b"".join(bytes((0x7D, byte & ~0x20)) if byte in (0x7D, 0x7E) else bytes((byte,)) for byte in sealed)
    return b"\x7e" + stuffed + b"\x7e"


def _medibus(message: bytes) -> bytes:
    return message + f"{sum(message) % 256:02X}\r".encode()


def _mib(found: re.Match[bytes], damage: Damage) -> bytes:
    message = pdu.opened(found[1])
    return found[0] if message is None else pdu.enveloped(damage(message))


Subject: TypeAlias = tuple[int, ...]


class Numbers:
    """Gives recorded answers of an IntelliVue monitor the numbers of the questions that are open now.

    Args:
        asked: What the driver asked when the answers were recorded.
    """

    def __init__(self, asked: Sequence[bytes]) -> None:
        self._recorded: dict[int, Subject] = {}
        self._open: dict[Subject, tuple[int, int]] = {}
        for frame in asked:
            if (question := _question(frame)) is not None:
                subject, invoke, _ = question
                self._recorded[invoke] = subject

    def heed(self, frames: Sequence[bytes]) -> None:
        """The driver asks these now."""
        for frame in frames:
            if (question := _question(frame)) is not None:
                subject, invoke, poll = question
                self._open[subject] = (invoke, poll)

    def fit(self, data: bytes) -> bytes:
        """The answer under the number of the question that it would answer now."""
        if data.startswith(b"\xc0"):
            message = pdu.opened(data[1:-1])
            return data if message is None else pdu.enveloped(self.fit(message))
        if not data.startswith(_ENVELOPE) or len(data) < 28 or data[4:6] == b"\x00\x01":
            return data
        at = 10 if data[5] == _LINKED else 8
        now = self._open.get(self._recorded.get(unpack_from(">H", data, at)[0], ()))
        if now is None:
            return data
        renumbered = bytearray(data)
        renumbered[at : at + 2] = pack(">H", now[0])
        if data[at + 3] == _ACTION:
            renumbered[at + 16 : at + 18] = pack(">H", now[1])
        return bytes(renumbered)


def _question(frame: bytes) -> tuple[Subject, int, int] | None:
    """What a frame asks, under which numbers; None if it asks nothing."""
    if frame.startswith(b"\xc0"):
        message = pdu.opened(frame[1:-1])
        return None if message is None else _question(message)
    if not frame.startswith(_ENVELOPE) or len(frame) < 28 or frame[5] != _INVOKE:
        return None
    invoke, command = unpack_from(">HH", frame, 8)
    if command == _GET:
        return (command,), invoke, 0
    action, _, poll, _, kind = unpack_from(">5H", frame, 24)
    return (action, kind), invoke, poll
