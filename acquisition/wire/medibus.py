"""Messages and records of Draeger MEDIBUS: commands, responses, measured data, settings; unverified on hardware.

Source: Draeger, RS 232 MEDIBUS Protocol Definition, revision 4.03: message form, checksum, flow control, records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from acquisition.errors import WireError
from acquisition.model import State

ESC, SOH, CR = 0x1B, 0x01, 0x0D
FAST = 0x80
"""Bytes from here on belong to the real-time stream, wherever they stand."""
LONGEST = 3845

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)
_CODE = re.compile(r"[0-9A-F]{2}", re.ASCII)
_TIME = re.compile(r"(\d\d):(\d\d):(\d\d)(\d\d)-(.{3})-(\d\d)", re.ASCII)
_IDENTITY = re.compile(r"([0-9A-Za-z]{4})'([ -~]{0,40}?)'([0-9]{2}\.[0-9]{2}):([0-9]{2}\.[0-9]{2})")
_MONTHS = {
    "JAN": 1, "FEB": 2, "MAR": 3, "APR": 4, "MAY": 5, "JUN": 6, "JUL": 7, "AUG": 8, "SEP": 9, "OCT": 10, "NOV": 11,
    "DEC": 12, "MRZ": 3, "MAI": 5, "OKT": 10, "DEZ": 12,
}  # fmt: skip
_FIRST_YEAR = 70
"""Two digits from here on are of the last century."""


class Command(IntEnum):
    """Commands that are asked or answered; those that set anything at the patient do not exist here."""

    REFUSED = 0x15
    MEASURED = 0x24
    DATE = 0x28
    SETTINGS = 0x29
    MEASURED_2 = 0x2B
    NOP = 0x30
    TIME_CHANGED = 0x49
    INITIALISE = 0x51
    IDENTIFY = 0x52
    CURVES = 0x53
    CONFIGURE_CURVES = 0x54
    STOP = 0x55
    CURVES_CHANGED = 0x56


class Flow(IntEnum):
    """Flow control, the reverse of XON and XOFF."""

    SUSPEND = 0x11
    RESUME = 0x13
    ABORT = 0x18


class Message(NamedTuple):
    """A command (or else a response) whose checksum is right."""

    is_command: bool
    code: int
    data: bytes


class Flaw(NamedTuple):
    """What stood where a message should be: why it is not used, and how many bytes it was."""

    reason: str
    size: int


class Deframer:
    """Takes a stream apart; keeps an unfinished message, bounded."""

    def __init__(self) -> None:
        self._open: bytearray | None = None

    def reset(self) -> None:
        """The stream was interrupted."""
        self._open = None

    def take(self, data: bytes) -> Iterator[Message | Flaw | Flow | int]:
        """Messages, what is wrong with them, flow control, and the bytes of the real-time stream, in their order."""
        for byte in data:
            if byte >= FAST:
                yield byte
            elif byte in (ESC, SOH):
                if self._open is not None:
                    yield Flaw("broken_off", len(self._open))
                self._open = bytearray((byte,))
            elif byte in (Flow.SUSPEND, Flow.RESUME, Flow.ABORT):
                if byte == Flow.ABORT:
                    self._open = None
                yield Flow(byte)
            elif self._open is None:
                yield Flaw("noise", 1)
            elif byte == CR:
                whole, self._open = bytes(self._open), None
                yield _message(whole)
            else:
                self._open.append(byte)
                if len(self._open) > LONGEST:
                    yield Flaw("oversized", len(self._open))
                    self._open = None


def _message(whole: bytes) -> Message | Flaw:
    if len(whole) < 4 or whole[-2:] != checksum(whole[:-2]):
        return Flaw("checksum", len(whole))
    return Message(whole[0] == ESC, whole[1], whole[2:-2])


def checksum(body: bytes) -> bytes:
    """Two hexadecimal digits of the sum."""
    return b"%02X" % (sum(body) & 0xFF)


def command(code: int, arguments: bytes = b"") -> bytes:
    """A command as it is sent."""
    body = bytes((ESC, code)) + arguments
    return body + checksum(body) + b"\r"


def response(code: int, data: bytes = b"") -> bytes:
    """A response as it is sent."""
    body = bytes((SOH, code)) + data
    return body + checksum(body) + b"\r"


def measured(data: bytes) -> dict[str, float | State]:
    """Code to value of measured data.

    Raises:
        WireError: these are no such records.
    """
    return _records(data, 4)


def settings(data: bytes) -> dict[str, float | State]:
    """Code to value of settings.

    Raises:
        WireError: these are no such records.
    """
    return _records(data, 5)


def _records(data: bytes, width: int) -> dict[str, float | State]:
    text = data.decode("ascii")
    if len(text) % (2 + width):
        raise WireError(f"{len(text)} characters are no whole records")
    found: dict[str, float | State] = {}
    for at in range(0, len(text), 2 + width):
        code, shown = text[at : at + 2], text[at + 2 : at + 2 + width].strip(" ")
        if not _CODE.fullmatch(code) or code in found:
            raise WireError(f"{code!r} is no code, or there twice")
        if _NUMBER.fullmatch(shown):
            found[code] = float(shown)
        else:
            found[code] = State.INVALID if shown else State.UNAVAILABLE
    return found


def date(data: bytes) -> tuple[int, int, int, int, int, int] | None:
    """Year, month, day, hour, minute, second of a response to `DATE`; None if it is none that we understand."""
    match = _TIME.fullmatch(data.decode("ascii"))
    month = _MONTHS.get(match[5].upper()) if match else None
    if match is None or month is None:
        return None
    hour, minute, second, day, year = (int(match[group]) for group in (1, 2, 3, 4, 6))
    return year + (1900 if year >= _FIRST_YEAR else 2000), month, day, hour, minute, second


def identity(data: bytes) -> dict[str, str]:
    """Model, Draeger's number for it and revisions of a response to `IDENTIFY`; empty if it tells none."""
    match = _IDENTITY.fullmatch(data.decode("ascii"))
    if match is None:
        return {}
    return {"model": match[2].strip(), "device_id": match[1], "firmware": match[3], "protocol": match[4]}
