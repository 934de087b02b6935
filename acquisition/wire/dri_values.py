"""What the sub-records of a DRI record mean: displayed values by group, blocks of waves; unverified on hardware.

Source: GE Healthcare, S/5 DRI Specification 8005313 (12th ed.): physiological database classes, invasive pressure
labels, special values, waveform types. Groups whose fields are not known to us are not read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acquisition.errors import WireError
from acquisition.model import MISSING_COUNT, State
from acquisition.wire.dri import Part

DISPLAYED = 1
LEAST_VALUE = -32000
PICCO_LEVEL = 11
SPECIAL = {
    -32767: State.INVALID,
    -32766: State.UNAVAILABLE,
    -32764: State.BELOW_RANGE,
    -32763: State.ABOVE_RANGE,
    -32762: State.SENSOR_ERROR,
}
"""Invalid, not updated, under range, over range, not calibrated; other numbers below `LEAST_VALUE` mean nothing."""

LABELS: Mapping[int, str] = {
    1: "art", 2: "cvp", 3: "pa", 4: "rap", 5: "rvp", 6: "lap", 7: "icp", 8: "abp",
    9: "p1", 10: "p2", 11: "p3", 12: "p4", 13: "p5", 14: "p6", 15: "sp", 16: "fem", 17: "uac", 18: "uvc", 19: "icp2",
    20: "p7", 21: "p8", 22: "femv",
}  # fmt: skip

_VALUES_SIZE = 278
_TIME = struct.Struct("<L")
_GROUP = struct.Struct("<LH")
_WAVE = struct.Struct("<hHH")
_EXISTS, _ACTIVE, _ZEROING = 1, 2, 4
_GAP, _LEAD_OFF = 1, 8


class Field(NamedTuple):
    """A 16-bit value of a group: value = raw / per."""

    name: str
    unit: str
    per: int = 1


class Group(NamedTuple):
    """A group of values of one module at one instant.

    Attributes:
        name: Which group; `plug<N>` for an invasive pressure.
        active: The measurement is on.
        label: What an invasive pressure is called, `p<N>` by its plug where it has no label; empty for other groups.
        values: Field to a number, or what the monitor says in place of it.
        beside: What it says beside every number.
    """

    name: str
    active: bool
    label: str
    values: tuple[tuple[Field, float | State], ...]
    beside: State | None = None


class Displayed(NamedTuple):
    """Displayed values of one class; `time` in Unix seconds."""

    time: int
    groups: tuple[Group, ...]


class Wave(NamedTuple):
    """A kind of wave; value = raw / per. `plug` is that of an invasive pressure, else 0."""

    name: str
    hertz: int
    unit: str
    per: int
    plug: int = 0


class Block(NamedTuple):
    """Samples of one wave, counts of shape (n,); `gap`: the monitor left samples out before them."""

    wave: Wave
    label: str
    counts: NDArray[np.int32]
    gap: bool
    lead_off: bool


_PRESSURE = (
    Field("sys", "mm[Hg]", 100),
    Field("dia", "mm[Hg]", 100),
    Field("mean", "mm[Hg]", 100),
    Field("pr", "/min"),
)
_SKIPPED = Field("", "")
_PICCO = (
    Field("cci", "L/min/m2", 1000), Field("cco", "L/min", 1000), Field("cfi", "/min", 100),
    Field("ci", "L/min/m2", 1000), Field("co", "L/min", 1000), Field("cpi", "W/m2", 1000), Field("cpo", "W", 1000),
    Field("dpmax", "mm[Hg]/s"), Field("elwi", "mL/kg", 10), Field("evlw", "mL"), Field("gedi", "mL/m2"),
    Field("gedv", "mL"), Field("gef", "%", 10), Field("itbi", "mL/m2"), Field("itbv", "mL"), Field("ppv", "%", 10),
    Field("pvpi", "1", 100), Field("sv", "mL", 10), Field("svi", "mL/m2", 10), Field("svr", "dyn.s/cm5"),
    Field("svri", "dyn.s.m2/cm5"), Field("svv", "%", 10), Field("tblood", "Cel", 100), Field("tinj", "Cel", 100),
)  # fmt: skip

_BASIC, _EXT1, _EXT3 = 0, 1, 3
_PLACES: Mapping[int, tuple[tuple[int, str, tuple[Field, ...]], ...]] = {
    _BASIC: (
        (0, "ecg", (Field("hr", "/min"),)),
        *((offset, f"plug{plug}", _PRESSURE) for plug, offset in ((1, 16), (2, 30), (3, 44), (4, 58))),
        *((offset, f"t{number}", (Field(f"t{number}", "Cel", 100),))
          for number, offset in ((1, 86), (2, 94), (3, 102), (4, 110))),
        (118, "spo2", (Field("spo2", "%", 100),)),
        (200, "co_wedge", (Field("co", "L/min", 1000), Field("blood_temp", "Cel", 100), _SKIPPED,
                           Field("pcwp", "mm[Hg]", 100))),
        (232, "svo2", (Field("svo2", "%", 100),)),
        *((offset, f"plug{plug}", _PRESSURE) for plug, offset in ((5, 240), (6, 254))),
    ),
    _EXT1: (
        *((offset, f"plug{plug}", _PRESSURE) for plug, offset in ((7, 78), (8, 92))),
        *((offset, f"t{number}", (Field(f"t{number}", "Cel", 100),)) for number, offset in ((5, 120), (6, 128))),
    ),
    _EXT3: ((142, "picco", _PICCO),),
}  # fmt: skip
"""Class to groups: offset within the 270 bytes of the class, name, fields after the group's header."""

WAVES: Mapping[int, Wave] = {
    **{kind: Wave(f"ecg{kind}", 300, "uV", 1) for kind in (1, 2, 3)},
    **{kind: Wave(f"invp{plug}", 100, "mm[Hg]", 100, plug)
       for plug, kind in enumerate((4, 5, 6, 7, 16, 17, 36, 37), start=1)},
    8: Wave("pleth", 100, "%", 100),
    9: Wave("co2", 25, "%", 100), 10: Wave("o2", 25, "%", 100), 12: Wave("aa", 25, "%", 100),
    13: Wave("awp", 25, "cm[H2O]", 10), 14: Wave("flow", 25, "L/min", 10), 23: Wave("volume", 25, "mL", 1),
}  # fmt: skip

UNITS: Mapping[str, str] = {
    **{field.name: field.unit for groups in _PLACES.values() for _, group, fields in groups for field in fields
       if field.name and not group.startswith("plug")},
    **{f"{label}_{field.name}": field.unit for label in LABELS.values() for field in _PRESSURE},
    **{f"wf_{wave.name}": wave.unit for wave in WAVES.values() if not wave.plug},
    **{f"wf_{label}": "mm[Hg]" for label in LABELS.values()},
}  # fmt: skip
"""What can be measured, by our name, and its unit."""


def displayed(part: Part, level: int) -> Displayed | None:
    """The displayed values of a sub-record; None if it is a trend or of a class that is not read.

    Raises:
        WireError: it is too short.
    """
    if part.kind != DISPLAYED:
        return None
    if len(part.data) < _VALUES_SIZE:
        raise WireError(f"displayed values of {len(part.data)} bytes")
    places = _PLACES.get(part.data[_VALUES_SIZE - 1] & 0x0F, ())
    found = (
        _group(part.data, _TIME.size + offset, name, fields)
        for offset, name, fields in places
        if name != "picco" or level >= PICCO_LEVEL
    )
    return Displayed(_TIME.unpack_from(part.data)[0], tuple(group for group in found if group is not None))


def _group(data: bytes, offset: int, name: str, fields: tuple[Field, ...]) -> Group | None:
    status, label = _GROUP.unpack_from(data, offset)
    if not status & _EXISTS:
        return None
    raws = struct.unpack_from(f"<{len(fields)}h", data, offset + _GROUP.size)
    values = tuple(
        (field, raw / field.per if raw >= LEAST_VALUE else SPECIAL.get(raw, State.INVALID))
        for field, raw in zip(fields, raws, strict=True)
        if field is not _SKIPPED
    )
    if not name.startswith("plug"):
        return Group(name, bool(status & _ACTIVE), "", values)
    beside = State.CALIBRATING if status & _ZEROING else None
    return Group(name, bool(status & _ACTIVE), LABELS.get(label, name.replace("plug", "p")), values, beside)


def block(part: Part) -> Block | None:
    """The samples of a sub-record; None for a kind of wave that is not known.

    Raises:
        WireError: it has fewer samples than it says.
    """
    wave = WAVES.get(part.kind)
    if wave is None:
        return None
    if len(part.data) < _WAVE.size:
        raise WireError("a wave without header")
    count, status, label = _WAVE.unpack_from(part.data)
    if not 0 <= count <= (len(part.data) - _WAVE.size) // 2:
        raise WireError(f"{count} samples in {len(part.data)} bytes")
    counts = np.frombuffer(part.data, "<i2", count, _WAVE.size).astype(np.int32)
    counts[counts <= LEAST_VALUE] = MISSING_COUNT
    named = LABELS.get(label, f"p{wave.plug}") if wave.plug else wave.name
    return Block(wave, named, counts, bool(status & _GAP), bool(status & _LEAD_OFF))
