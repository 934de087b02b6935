"""What a monitor sends, as far down as attribute lists; attributes that are not on the list are gone after this.

Source: PROTOCOLS.md sections 1.2, 1.5, 1.6 and 1.8. Patient demographics are not on the list, whatever object they come
with, and an answer about that object has no attributes at all (promise 9); the label of the bed is left out too.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from acquisition.errors import WireError
from acquisition.wire.intellivue import polls
from acquisition.wire.intellivue.fields import Fields

SYSTEM_MODEL, PRODUCTION, PROTOCOLS = 0x0928, 0x092D, 0xF101
LABEL, LABEL_TEXT, UNIT = 0x0924, 0x0927, 0x0996
NUMERIC, COMPOUND_NUMERIC = 0x0950, 0x094B
SAMPLES, COMPOUND_SAMPLES = 0x096E, 0x0967
ARRAY, SCALE, CALIBRATION, FIXED, PERIOD = 0x096D, 0x096F, 0x0964, 0x0A16, 0x098D
KEPT = frozenset({
    SYSTEM_MODEL, PRODUCTION, PROTOCOLS, LABEL, LABEL_TEXT, UNIT, NUMERIC, COMPOUND_NUMERIC, SAMPLES,
    COMPOUND_SAMPLES, ARRAY, SCALE, CALIBRATION, FIXED, PERIOD, polls.WAVE_LIST,
})  # fmt: skip
"""Attributes that anything here reads; the wire keeps no other."""

_DATA_OUT, _UDP = 5, 1
_NOMENCLATURE = b"\x00\x00\x01\x00"
_OTHER_ENDIAN = (b"\x00\xe1\x02\x00", b"\x00\x01\x00\x00")
"""The same beginnings with their bytes exchanged, in words and in the long word."""
_FIRST_PART, _MIDDLE_PART, _LAST_PART = 1, 2, 3


class Moment(NamedTuple):
    """The monitor's wall clock, in its own zone."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int


class Event(NamedTuple):
    """Something the monitor reports: that it is there, or that an association has its MDS object.

    Attributes:
        confirmed: The monitor waits for an answer.
        relative: Its running time, 1/8 ms modulo 2**32.
    """

    invoke: int
    confirmed: bool
    event: int
    relative: int
    attributes: dict[int, bytes]


class Object(NamedTuple):
    """What an answer says of one object; an object is known by its context and handle together."""

    context: int
    handle: int
    attributes: dict[int, bytes]


class Result(NamedTuple):
    """An answer to a poll, or one part of it.

    Attributes:
        sequence: Its number among the answers to an extended poll; None for a single poll.
        relative: The monitor's running time, 1/8 ms modulo 2**32.
        moment: The monitor's wall clock, if it has one.
        part: None for a whole answer, else the count that the monitor gives its parts.
        first: Nothing of this answer came before.
        last: Nothing of it follows.
    """

    invoke: int
    poll: int
    sequence: int | None
    relative: int
    moment: Moment | None
    part: int | None
    first: bool
    last: bool
    kind: int
    objects: tuple[Object, ...]


class WaveList(NamedTuple):
    """The labels of the waves that the monitor prefers to send."""

    invoke: int
    labels: tuple[int, ...]


class Refusal(NamedTuple):
    """The monitor does not do what was asked (ROER)."""

    invoke: int
    error: int


Message: TypeAlias = Event | Result | WaveList | Refusal


def read(message: bytes, unwanted: list[tuple[int, int]] | None = None) -> Message | None:
    """The meaning of a message of the data export; None for one that is of no use to a reader.

    Args:
        message: All of it.
        unwanted: Gets the places in it that nobody reads.

    Raises:
        WireError: it is no such message, is cut short, or its lengths do not come out.
    """
    if message[:4] not in (polls.ENVELOPE, _NOMENCLATURE):
        raise WireError("byte_order" if message[:4] in _OTHER_ENDIAN else "kind")
    fields = Fields(message, 4, unwanted=unwanted)
    operation = fields.u16()
    fields_of = fields.part(fields.u16())
    fields.finish()
    if operation == polls.ERROR:
        refusal = Refusal(fields_of.u16(), fields_of.u16())
        fields_of.part(fields_of.u16()).pass_over()
        fields_of.finish()
        return refusal
    part, place = None, 0
    if operation == polls.LINKED:
        place, part = fields_of.u8(), fields_of.u8()
        if place not in (_FIRST_PART, _MIDDLE_PART, _LAST_PART):
            raise WireError("kind")
    elif operation not in (polls.INVOKE, polls.RESULT):
        raise WireError("kind")
    invoke, command = fields_of.u16(), fields_of.u16()
    body = fields_of.part(fields_of.u16())
    fields_of.finish()
    body.take(6)
    if operation == polls.INVOKE:
        return _event(body, invoke, command)
    if command == polls.GET:
        return _wave_list(body, invoke)
    if command != polls.CONFIRMED_ACTION:
        body.pass_over()
        return None
    action = body.u16()
    answer = body.part(body.u16())
    body.finish()
    if action not in (polls.SINGLE, polls.EXTENDED):
        raise WireError("kind")
    return _result(answer, invoke, part, place, extended=action == polls.EXTENDED)


def export_port(value: bytes) -> int | None:
    """The UDP port on which a monitor exports data, out of the protocols that it supports.

    Raises:
        WireError: the attribute is of the wrong length.
    """
    fields = Fields(value)
    found = None
    for piece in fields.listed():
        application, transport, port, _ = piece.u16(), piece.u16(), piece.u16(), piece.u16()
        if (application, transport) == (_DATA_OUT, _UDP):
            found = port
    fields.finish()
    return found


def _event(body: Fields, invoke: int, command: int) -> Event | None:
    if command not in (polls.EVENT_REPORT, polls.CONFIRMED_EVENT_REPORT):
        raise WireError("kind")
    relative, event = body.u32(), body.u16()
    content = body.part(body.u16())
    body.finish()
    if event not in (polls.MDS_CREATE, polls.CONNECT_INDICATION):
        content.pass_over()
        return None
    if event == polls.MDS_CREATE:
        content.take(6)
    attributes = content.attributes(KEPT)
    content.finish()
    return Event(invoke, command == polls.CONFIRMED_EVENT_REPORT, event, relative, attributes)


def _wave_list(body: Fields, invoke: int) -> WaveList:
    value = body.attributes((polls.WAVE_LIST,)).get(polls.WAVE_LIST, b"\0\0\0\0")
    body.finish()
    listed = Fields(value)
    labels = tuple(piece.u32() for piece in listed.listed())
    listed.finish()
    return WaveList(invoke, labels)


def _result(answer: Fields, invoke: int, part: int | None, place: int, *, extended: bool) -> Result:
    poll = answer.u16()
    sequence = answer.u16() if extended else None
    relative = answer.u32()
    moment = _moment(answer.take(8))
    answer.u16()
    kind = answer.u16()
    answer.u16()
    kept = frozenset[int]() if kind == polls.DEMOGRAPHICS else KEPT
    objects = []
    for contexts in answer.listed():
        context = contexts.u16()
        objects += [Object(context, each.u16(), each.attributes(kept)) for each in contexts.listed()]
    answer.finish()
    first, last = part is None or place == _FIRST_PART, part is None or place == _LAST_PART
    return Result(invoke, poll, sequence, relative, moment, part, first, last, kind, tuple(objects))


def _moment(coded: bytes) -> Moment | None:
    """Binary-coded decimal digits; None where the monitor has no wall clock or says what is none."""
    text = coded.hex()
    if not text.isdecimal():
        return None
    moment = Moment(int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2)))
    fits = 1 <= moment.month <= 12 and 1 <= moment.day <= 31 and moment.hour < 24 and moment.minute < 60
    return moment if fits and moment.second < 60 and moment.year else None
