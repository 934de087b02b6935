"""Cuts the patient's identity out of a raw HL7 stream before anything is written: what is not on the list goes.

Source of the list: promise 9 of the design; fields that carry identity: HL7 v2.6 chapter 3 (PID, NK1, PV1), chapter 7.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping

from acquisition.errors import WireError
from acquisition.wire.hl7 import Delimiters, delimiters_of
from acquisition.wire.mllp import CR, END, START

MAX_SEGMENT_BYTES = 4 << 20
REFUSED = b"?"
"""Stands where an odd number or unit was, so that a reader does not take it for a missing one."""

SEGMENTS = frozenset(
    b"MSH MSA ERR EVN PID PD1 NK1 NTE PV1 PV2 ORC OBR OBX MRG GT1 IN1 IN2 AL1 DG1 ROL PRT TQ1 SPM FHS BHS FTS BTS DSC"
    .split()
)  # fmt: skip

# What begins a message, even one without its envelope. Four bytes at least, so that a binary protocol never meets it.
_BEGINNING = re.compile(
    rb"\x0b(?:MSH|[A-Z][A-Z0-9]{2}\|)"
    rb"|MSH[!-/:-@\[-`{-~]"
    rb"|(?:PID|PD1|NK1|NTE|PV1|PV2|ORC|OBR|OBX|EVN|MRG|GT1|IN1|IN2|FHS|BHS)\|"
)
_OVERLAP = 4
_BREAK = re.compile(rb"[\r\n\x0b\x1c]")
_EUI64 = re.compile(rb"(?<![0-9A-Za-z])[0-9A-Fa-f]{16}(?![0-9A-Za-z])")
_CONTROL_ID = re.compile(rb"[0-9A-Za-z_.:-]{0,64}")
_NUMERIC = re.compile(rb"[0-9.+eE-]{0,40}|\"\"")
_NUMERIC_BYTES = b"0123456789.+-eE"

Cut = Callable[[bytes, bytes, bytes], bytes]
"""Takes a field, the component and the repetition separator; gives what may stay."""


class Redactor:
    """Follows one direction of one link and passes on what may be kept; bytes that are no HL7 pass unchanged.

    Where the stream is split makes no difference to what comes out.
    """

    def __init__(self) -> None:
        self._tail = b""
        self._inside = False
        self._delimiters = Delimiters()
        self._head = b""
        self._pending = bytearray()
        self._scanned = 0
        self._too_long = False

    def feed(self, data: bytes) -> bytes:
        """What of the stream up to here may be written; a segment comes out when it is complete."""
        out = bytearray()
        self._pending += data
        while self._pending and (self._within(out) if self._inside else self._between(out)):
            pass
        return bytes(out)

    def _between(self, out: bytearray) -> bool:
        window = self._tail + self._pending
        match = _BEGINNING.search(window)
        passed = len(self._pending) if match is None else match.end() - len(self._tail)
        out += self._pending[:passed]
        del self._pending[:passed]
        if match is None:
            self._tail = bytes(window[-_OVERLAP:])
            return False
        self._inside, self._tail = True, b""
        self._head = match[0].lstrip(b"\x0b")
        self._delimiters = Delimiters()
        return True

    def _within(self, out: bytearray) -> bool:
        match = _BREAK.search(self._pending, self._scanned)
        if match is None:
            self._wait()
            return False
        at = match.start()
        byte = self._pending[at]
        if byte == END:
            if at + 1 == len(self._pending):
                self._scanned = at
                return False
            if self._pending[at + 1] not in (CR, START):
                self._scanned = at + 1
                return True
        self._finish_segment(out, at)
        if byte == START:
            self._inside = False
            return True
        ends = byte == END
        length = 2 if ends and self._pending[1] == CR else 1
        out += self._pending[:length]
        del self._pending[:length]
        self._inside = not ends
        return True

    def _wait(self) -> None:
        if len(self._pending) > MAX_SEGMENT_BYTES:
            self._too_long = True
        if self._too_long:
            self._pending.clear()
        self._scanned = len(self._pending)

    def _finish_segment(self, out: bytearray, end: int) -> None:
        too_long = self._too_long or end > MAX_SEGMENT_BYTES
        segment = self._head + (b"" if too_long else bytes(self._pending[:end]))
        # The head, a segment's name and perhaps its separator, has left already.
        out += self._cut(segment)[len(self._head) :]
        del self._pending[:end]
        self._head, self._scanned, self._too_long = b"", 0, False

    def _cut(self, segment: bytes) -> bytes:
        if self._head.startswith(b"MSH"):
            try:
                self._delimiters = delimiters_of(segment[:16].decode("latin-1"))
            except WireError:
                return b"MSH"
        separator = self._delimiters.field.encode()
        fields = segment.split(separator)
        name = fields[0]
        if name not in SEGMENTS:
            return b""
        if name == b"MSH":
            fields.insert(1, b"")
            fields[2:3] = [field[: len(Delimiters())] for field in fields[2:3]]
        kept = self._keep(name, fields)
        return separator.join(kept[:1] + kept[2:] if name == b"MSH" else kept)

    def _keep(self, name: bytes, fields: list[bytes]) -> list[bytes]:
        component, repetition = self._delimiters.component.encode(), self._delimiters.repetition.encode()
        rules: Mapping[int, Cut] = _RULES.get(name, {})
        kept = [name]
        last = 0
        for number, value in enumerate(fields[1:], start=1):
            rule = rules.get(number)
            if name == b"OBX" and number == 5:
                rule = _OBX_5.get(fields[2])
            stays = rule(value, component, repetition) if rule and value else b""
            kept.append(stays)
            last = number if stays else last
        return kept[: last + 1]


def _matching(pattern: bytes) -> Cut:
    compiled = re.compile(pattern)

    def cut(value: bytes, component: bytes, repetition: bytes) -> bytes:
        return value if compiled.fullmatch(value) else b""

    return cut


def _each(*patterns: bytes, otherwise: bytes = b"") -> Cut:
    """The leading components, each only if it has the form it should have."""
    compiled = [re.compile(pattern) for pattern in patterns]

    def cut(value: bytes, component: bytes, repetition: bytes) -> bytes:
        parts = zip(compiled, (part.strip() for part in value.split(component)), strict=False)
        kept = [part if not part or pattern.fullmatch(part) else otherwise for pattern, part in parts]
        return component.join(kept).rstrip(component)

    return cut


def _repetitions(pattern: bytes) -> Cut:
    compiled = re.compile(pattern)

    def cut(value: bytes, component: bytes, repetition: bytes) -> bytes:
        return repetition.join(part for part in value.split(repetition) if compiled.fullmatch(part))

    return cut


def _device(value: bytes, component: bytes, repetition: bytes) -> bytes:
    match = _EUI64.search(value)
    return component + match[0] + component + b"EUI-64" if match else b""


def _bed(value: bytes, component: bytes, repetition: bytes) -> bytes:
    parts = value.split(component)
    return component * 2 + parts[2][:64] if len(parts) > 2 and parts[2] else b""


def _control_id(value: bytes, component: bytes, repetition: bytes) -> bytes:
    """Whatever it was, two messages stay apart and a repetition stays one."""
    return value if _CONTROL_ID.fullmatch(value) else hashlib.blake2b(value, digest_size=8).hexdigest().encode()


def _number(value: bytes, component: bytes, repetition: bytes) -> bytes:
    return value.strip() if _NUMERIC.fullmatch(value.strip()) else REFUSED


def _samples(value: bytes, component: bytes, repetition: bytes) -> bytes:
    if not value.translate(None, _NUMERIC_BYTES + component):
        return value
    return component.join(_number(part, component, repetition) for part in value.split(component))


_ANY_ENCODING = _matching(rb"[!-/:-@\[-`{-~]{1,5}")
_TIME = _matching(rb"\d{4,14}(?:\.\d{1,12})?(?:[+-]\d{4})?")
_SHORT = _matching(rb"[A-Z]{1,2}")
_CHARSET = rb"ASCII|UNICODE(?: UTF-8)?|8859/\d{1,2}|GB 18030-2000|ISO IR\d{1,3}"
_SYSTEM = rb"[0-9A-Za-z_.-]{1,32}"
_TERM = rb"MDC_[A-Z0-9_]{1,64}"
_UNIT = rb"[0-9A-Za-z%/\[\]{}.*()_'-]{1,24}|\xc2?\xb0C"
_OBX_5: Mapping[bytes, Cut] = {b"NM": _number, b"NA": _samples, b"NR": _samples}
_RULES: Mapping[bytes, Mapping[int, Cut]] = {
    b"MSH": {
        2: _ANY_ENCODING,
        3: _device,
        7: _TIME,
        9: _each(rb"[A-Z0-9]{3}", rb"[A-Z0-9]{3}", rb"[A-Z0-9_]{3,7}"),
        10: _control_id,
        11: _SHORT,
        12: _matching(rb"[0-9.]{1,8}"),
        15: _SHORT,
        16: _SHORT,
        18: _repetitions(_CHARSET),
    },
    b"MSA": {1: _SHORT, 2: _control_id},
    b"PV1": {3: _bed},
    b"OBR": {1: _matching(rb"\d{1,6}"), 4: _each(rb"\d{1,12}"), 7: _TIME, 8: _TIME},
    b"OBX": {
        1: _matching(rb"\d{1,6}"),
        2: _matching(rb"[A-Z]{2,3}"),
        3: _each(_SYSTEM, _TERM, _SYSTEM),
        4: _matching(rb"[0-9A-Za-z_.-]{1,64}"),
        6: _each(_UNIT, rb"|".join((_TERM, _UNIT)), _SYSTEM, otherwise=REFUSED),
        8: _repetitions(rb"[A-Z<>]{1,5}"),
        11: _matching(rb"[A-Z]"),
        14: _TIME,
        18: _device,
    },
}
"""Fields that stay, by segment; of every other segment only the name does."""
