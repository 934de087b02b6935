"""HL7 v2 in vertical-bar form: messages into segments and fields, escapes, times, and acknowledgements.

Source: HL7 v2.6 chapter 2 (encoding rules 2.5 to 2.7, processing rules 2.9, MSH and MSA 2.14); table 0211 for
character sets. Damaged messages are common: every function takes any text, and only `parse` refuses one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from acquisition.errors import WireError

_CHARSETS = {
    "ASCII": "ascii",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "GB 18030-2000": "gb18030",
    **{f"8859/{part}": f"iso8859-{part}" for part in (*range(1, 10), 15)},
}
_TIME = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,9})\d*)?)?)?)?)?)?(?:([+-])(\d\d)(\d\d))?",
    re.ASCII,
)
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ACKNOWLEDGEMENT = re.compile(
    rb"\x0bMSH(.)[^\r\x0b\x1c]*\1ACK[^\r\x0b\x1c]*\rMSA\1[AC][AER]\1[^\r\x0b\x1c]*\r\x1c\r", re.DOTALL
)


class Delimiters(NamedTuple):
    """MSH-1 and the characters of MSH-2."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"


class Timestamp(NamedTuple):
    """A time as it was written; without an offset it means the zone of whoever wrote it."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    nanosecond: int
    offset_minutes: int | None


@dataclass(frozen=True, slots=True)
class Message:
    """A message cut into fields.

    Attributes:
        delimiters: As the message declares them.
        segments: Fields by their HL7 number, the segment's name at 0; MSH included, so that `segments[0][9]` is MSH-9.
        encoding: The codec that the bytes were read with.
    """

    delimiters: Delimiters
    segments: list[list[str]]
    encoding: str

    def header(self, number: int) -> str:
        """A field of MSH; empty where there is none."""
        return field(self.segments[0], number)

    def components(self, value: str) -> list[str]:
        """The components of a field, escapes resolved."""
        parts = value.split(self.delimiters.component)
        if self.delimiters.escape in value:
            return [unescape(part, self.delimiters) for part in parts]
        return parts


def field(segment: list[str], number: int) -> str:
    """A field of a segment; empty where there is none."""
    return segment[number] if number < len(segment) else ""


def is_charset(name: str) -> bool:
    """Whether a name of table 0211 is one that is read here."""
    return name.strip().upper() in _CHARSETS


def parse(data: bytes, charset: str = "") -> Message:
    """Cuts a message, without its envelope, into segments and fields.

    Args:
        data: The message.
        charset: Of table 0211, where the message declares none.

    Raises:
        WireError: it does not begin with an MSH segment whose delimiters can be told.
    """
    text, encoding = _decode(data.lstrip(b" \t\r\n\xef\xbb\xbf"), charset)
    if "\n" in text:
        text = text.replace("\r\n", "\r").replace("\n", "\r")
    delimiters = delimiters_of(text)
    separator = delimiters.field
    segments = [line.split(separator) for line in text.split("\r") if line]
    segments[0].insert(1, separator)
    return Message(delimiters, segments, encoding)


def delimiters_of(text: str) -> Delimiters:
    """The delimiters that the beginning of a message declares.

    Raises:
        WireError: it is no MSH segment, or they cannot be told.
    """
    separator = text[3:4]
    if not text.startswith("MSH") or not _is_delimiter(separator):
        raise WireError("no MSH segment")
    declared = text[4:9].split(separator)[0].split("\r")[0]
    if len(set(declared + separator)) != len(declared) + 1 or not all(map(_is_delimiter, declared)):
        raise WireError("MSH-2 does not tell the delimiters")
    standard = Delimiters()
    if len(declared) == 3:
        # A gateway that lost its backslash sends ^~& (seen with a GE B1X5): the third is the subcomponent separator.
        return Delimiters(separator, declared[0], declared[1], standard.escape, declared[2])
    return Delimiters(separator, *declared[:4], *standard[1 + len(declared[:4]) :])


def _is_delimiter(character: str) -> bool:
    return len(character) == 1 and " " < character <= "~" and not character.isalnum()


def _decode(data: bytes, charset: str) -> tuple[str, str]:
    if data.isascii():
        return data.decode("ascii"), "ascii"
    header = data.split(b"\r", 1)[0].split(b"\n", 1)[0].decode("latin-1")
    fields = header.split(header[3:4] or "|")
    declared = (fields[17].strip() if len(fields) > 17 else "") or charset
    names = declared.strip().upper().split(fields[1][1:2] or "~") if declared else []
    for encoding in (*(_CHARSETS[name] for name in names if name in _CHARSETS), "utf-8"):
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "latin-1"


def unescape(text: str, delimiters: Delimiters) -> str:
    r"""Resolves `\F\ \S\ \T\ \R\ \E\ \Xhh..\`; any other escape is formatting and vanishes (chapter 2.7)."""
    parts = text.split(delimiters.escape)
    if len(parts) < 3:
        return text
    plain = {
        "F": delimiters.field,
        "S": delimiters.component,
        "T": delimiters.subcomponent,
        "R": delimiters.repetition,
        "E": delimiters.escape,
    }
    out = [parts[0]]
    at = 1
    while at + 1 < len(parts):
        code = parts[at]
        out += plain.get(code, _hexadecimal(code)), parts[at + 1]
        at += 2
    if at < len(parts):
        out += delimiters.escape, parts[at]
    return "".join(out)


def _hexadecimal(code: str) -> str:
    try:
        return bytes.fromhex(code[1:]).decode("latin-1") if code.startswith("X") else ""
    except ValueError:
        return ""


def parse_time(text: str) -> Timestamp | None:
    """A time of the form `YYYY[MM[DD[HH[MM[SS[.S+]]]]]][+-ZZZZ]`; None if it is none or no such date exists."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day = int(match[1]), int(match[2] or 1), int(match[3] or 1)
    hour, minute, second = (int(group or 0) for group in match.group(4, 5, 6))
    if year < 1 or not 1 <= month <= 12 or not 1 <= day <= _DAYS[month - 1]:
        return None
    if month == 2 and day == 29 and (year % 4 or (year % 100 == 0 and year % 400)):
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    offset = None
    if match[8]:
        ahead_hours, ahead_minutes = int(match[9]), int(match[10])
        if ahead_hours > 23 or ahead_minutes > 59:
            return None
        offset = (ahead_hours * 60 + ahead_minutes) * (-1 if match[8] == "-" else 1)
    return Timestamp(year, month, day, hour, minute, second, int((match[7] or "").ljust(9, "0")), offset)


class Times:
    """The times of one message; MSH-7 lends its zone to those that have none (chapter 2.14.9.7).

    Args:
        of_message: MSH-7.
    """

    def __init__(self, of_message: str) -> None:
        self._of_message = of_message
        self._zone: int | None = None
        self._known: dict[str, Timestamp | None] = {}
        stamp = self._parse(of_message)
        self._zone = stamp.offset_minutes if stamp else None

    def of(self, observation: str, order: str) -> tuple[str, str, Timestamp | None]:
        """Which field tells the time of an OBX, its text, and the time: OBX-14, else OBR-7, else MSH-7."""
        for source, text in (("obx", observation), ("obr", order), ("msh", self._of_message)):
            stamp = self._parse(text) if text else None
            if stamp is not None:
                return source, text, stamp
        return "none", "", None

    def _parse(self, text: str) -> Timestamp | None:
        if text not in self._known:
            # A date alone is no time of observation.
            stamp = parse_time(text) if text[:12].isdigit() and len(text) >= 12 else None
            if stamp and stamp.offset_minutes is None:
                stamp = stamp._replace(offset_minutes=self._zone)
            self._known[text] = stamp
        return self._known[text]


def acknowledgement(message: Message, outcome: str = "A") -> bytes | None:
    """The acknowledgement that a message asks for in MSH-15 and MSH-16, without its envelope.

    MSH-7 echoes the request's, so that equal input gives equal output; MSH-10 likewise.

    Args:
        message: The request.
        outcome: `A` accepted, `E` an error of ours, `R` of a kind we do not take.

    Returns:
        None where the sender wants no answer.
    """
    accept, application = message.header(15).strip().upper(), message.header(16).strip().upper()
    wanted = ("AL", "SU") if outcome == "A" else ("AL", "ER")
    if application in wanted or not (accept or application):
        code = "A" + outcome
    elif accept in wanted:
        code = "C" + outcome
    else:
        return None
    separator, component, repetition, escape, subcomponent = message.delimiters
    trigger = message.header(9).partition(component)[2].partition(component)[0]
    fields = [
        f"MSH{separator}{component}{repetition}{escape}{subcomponent}",
        *(message.header(number) for number in (5, 6, 3, 4, 7)),
        "",
        component.join(("ACK", trigger, "ACK")) if trigger else "ACK",
        message.header(10),
        message.header(11) or "P",
        message.header(12) or "2.6",
    ]
    lines = separator.join(fields), separator.join(("MSA", code, message.header(10)))
    return "".join(f"{_printable(line)}\r" for line in lines).encode(message.encoding, "replace")


def _printable(text: str) -> str:
    return "".join(character for character in text if character >= " ")


def is_acknowledgement(framed: bytes) -> bool:
    """Whether these bytes are one acknowledgement in its MLLP envelope and nothing else."""
    return _ACKNOWLEDGEMENT.fullmatch(framed) is not None
