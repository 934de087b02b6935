"""Every request that may ever be sent to a monitor, and whether a frame is one of them; none of them changes anything.

Source: PROTOCOLS.md sections 1.5 to 1.7. The SET of a wave list is left out on purpose: it would tell the monitor what
to do (promise 10). Patient demographics (object 42) are never asked for (promise 9).
"""

from __future__ import annotations

from struct import pack, unpack_from

from acquisition.wire.intellivue.association import ABORT, RELEASE, RELEASED, TICKS_PER_S

ENVELOPE = b"\xe1\x00\x00\x02"
INVOKE, RESULT, ERROR, LINKED = 1, 2, 3, 5
EVENT_REPORT, CONFIRMED_EVENT_REPORT, GET, CONFIRMED_ACTION = 0, 1, 3, 7
SINGLE, EXTENDED = 0x0C16, 0xF13B
MDS_CREATE = 0x0D06
CONNECT_INDICATION = 0x0D17
NUMERICS, WAVES, MDS, DEMOGRAPHICS = 6, 9, 33, 42
VALUES, PRODUCT, LABELS, EVERYTHING = 0x0803, 0x080C, 0x0811, 0
"""Attribute groups: observed values, what the device is, what does not change, all there is."""
PUSH_S = 600
"""How long the monitor keeps answering one extended poll."""
WAVE_LIST = 0xF23A

_PUSH = 0xF13E


def single(invoke: int, poll: int, kind: int, group: int) -> bytes:
    """Asks once for a group of attributes of every object of a kind."""
    return _action(invoke, SINGLE, pack(">HHHH", poll, 1, kind, group))


def extended(invoke: int, poll: int, kind: int, group: int) -> bytes:
    """Asks for a group of attributes again and again for `PUSH_S` seconds."""
    body = pack(">HHHHHHHHI", poll, 1, kind, group, 1, 8, _PUSH, 4, PUSH_S * TICKS_PER_S)
    return _action(invoke, EXTENDED, body)


def wave_list(invoke: int) -> bytes:
    """Asks which waves the monitor prefers to send."""
    return _invoke(invoke, GET, pack(">HHHIHHH", MDS, 0, 0, 0, 1, 2, WAVE_LIST))


def created(invoke: int, relative: int) -> bytes:
    """The answer to the MDS create event, without which the monitor sends nothing."""
    body = pack(">HHHIHH", MDS, 0, 0, relative, MDS_CREATE, 0)
    return ENVELOPE + pack(">HHHHH", RESULT, len(body) + 6, invoke, CONFIRMED_EVENT_REPORT, len(body)) + body


ASKED = (
    (single, MDS, PRODUCT),
    (single, NUMERICS, LABELS),
    (extended, NUMERICS, VALUES),
    (extended, WAVES, EVERYTHING),
)
"""The polls that there are."""


def is_listed(frame: bytes, association_request: bytes) -> bool:
    """Whether a frame is one of the requests of this module, or of the association and its end."""
    if frame in (association_request, RELEASE, RELEASED, ABORT):
        return True
    if len(frame) < 24 or not frame.startswith(ENVELOPE):
        return False
    invoke = unpack_from(">H", frame, 8)[0]
    if frame == wave_list(invoke) or frame == created(invoke, unpack_from(">I", frame, 20)[0]):
        return True
    poll = unpack_from(">H", frame, 28)[0] if len(frame) >= 30 else 0
    return any(frame == make(invoke, poll, kind, group) for make, kind, group in ASKED)


def _action(invoke: int, action: int, body: bytes) -> bytes:
    return _invoke(invoke, CONFIRMED_ACTION, pack(">HHHIHH", MDS, 0, 0, 0, action, len(body)) + body)


def _invoke(invoke: int, command: int, body: bytes) -> bytes:
    return ENVELOPE + pack(">HHHHH", INVOKE, len(body) + 6, invoke, command, len(body)) + body
