"""What the codes, units and sample arrays of IHE PCD-01 messages and their dialects mean for the catalogue.

Sources: IHE PCD Technical Framework vol. 2 (OBX-3, OBX-6: ISO/IEEE 11073-10101 codes); Philips Data Export over HL7
(MDIL codes, partition and term in hexadecimal); HL7 v2.6 chapter 7.14 (value type NA).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from acquisition.catalogue import Catalogue, Channel, ChannelKind
from acquisition.errors import UnitError
from acquisition.model import MISSING_COUNT, EventKind
from acquisition.units import MDC_UNITS, conversion, is_known

RATE = "MDC_ATTR_SAMP_RATE"
RESOLUTION = "MDC_ATTR_NU_MSMT_RES"
DATA_RANGE = "MDC_ATTR_DATA_RANGE"
INOP = "MDC_EVT_INOP"
FACETS = frozenset({RATE, RESOLUTION, DATA_RANGE, INOP})
"""Attributes of a waveform that have rows of their own; gateways disagree on their numbers, not on their names."""

ABSENT = frozenset({-999.0, -9999.0, -1000.0, -10000.0, 8388607.0, 32767.0, -99.9})
"""Numbers that monitors send for "no value" (XH80X, Mindray, Comen); true only where the catalogue's range has them."""
OFTEN_TRUE = frozenset({-100.0, -1.0})
"""Likewise, but not to be held against a channel whose range nobody knows."""
MOST_NAMES = 256
MOST_PLANS = 4096
MOST_PER_S = 100_000

FIRST_PRIVATE_TERM = 0xF000
"""Terms from here on in a partition belong to the vendor and are no 11073 codes."""

_SPELLINGS = {"mmHg": "mm[Hg]", "bpm": "{beat}/min", "degC": "Cel", "°C": "Cel", "cmH2O": "cm[H2O]"}
_MDC = re.compile(r"\d{1,10}", re.ASCII)
_TERM = re.compile(r"MDC_[A-Z0-9_]{1,64}")
_MDIL = re.compile(r"([0-9A-Fa-f]{4})-([0-9A-Fa-f]{4})", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d{1,17}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,2})?", re.ASCII)
_SAMPLE = re.compile(r"([+-]?)(\d{0,10})(?:\.(\d{0,9}))?", re.ASCII)
_LARGEST = 2**31 - 1


class Code(NamedTuple):
    """A coded value: identifier, text and coding system (HL7 data type CE or CWE)."""

    identifier: str
    text: str
    system: str

    @classmethod
    def of(cls, components: list[str]) -> Code:
        """From the components of a field; what is missing is empty."""
        identifier, text, system = (*components, "", "", "")[:3]
        return cls(identifier.strip(), text.strip(), system.strip())

    @property
    def mdc(self) -> int | None:
        """The 11073-10101 code in its context-free form; None for a private code or another system."""
        number = None
        if self.system == "MDIL":
            match = _MDIL.fullmatch(self.identifier)
            number = int(match[1], 16) * 65536 + int(match[2], 16) if match else None
        elif (self.system == "MDC" or _TERM.fullmatch(self.text)) and _MDC.fullmatch(self.identifier):
            number = int(self.identifier)
        if not number or number >= 1 << 32 or number % 65536 >= FIRST_PRIVATE_TERM:
            return None
        return number

    @property
    def ucum(self) -> str:
        """As a unit: the UCUM code, the code itself where none is known, or empty."""
        number = self.mdc
        if number is not None and number in MDC_UNITS:
            return MDC_UNITS[number]
        for spelling in (self.identifier, self.text):
            known = _SPELLINGS.get(spelling, spelling)
            if known and is_known(known):
                return known
        return (self.identifier or self.text)[:32]


class Plan(NamedTuple):
    """What is to be done with an OBX of a certain code and unit.

    Attributes:
        channel: Where the value goes; empty if nowhere.
        code: 11073 code by which the catalogue named the channel; None if the configuration did.
        alias: The catalogue knows the code as a second name of the channel.
        factor: value in the catalogue's unit = value as sent * factor + offset.
        offset: See `factor`.
        assumed: The message does not tell the unit; the catalogue's is taken.
        absent: Numbers that are no value.
        ambiguous: Numbers that may be none.
        problem: Why nothing can be done, as a counter's name.
    """

    channel: str = ""
    code: int | None = None
    alias: bool = False
    factor: float = 1.0
    offset: float = 0.0
    assumed: bool = False
    absent: frozenset[float] = ABSENT
    ambiguous: frozenset[float] = frozenset()
    problem: str = ""


class Tell(Protocol):
    """How the planner tells of a code or unit that it cannot place; `Driver.told` is one."""

    def __call__(self, event: EventKind, text: str, **detail: Any) -> None:
        """Tells it once."""
        ...


class Planner:
    """Finds for codes and units what is to be done with them, and remembers it; bounded.

    Args:
        catalogue: To map codes and convert units.
        channels: Code, or code and coding system (`1007^99VENDOR`), to channel; before the catalogue's own.
        sentinels: Further numbers that this source sends for "no value".
        tell: Called once for each code or unit that cannot be placed.
    """

    def __init__(self, catalogue: Catalogue, channels: Mapping[str, str], sentinels: Iterable[float], tell: Tell):
        self._catalogue = catalogue
        self._channels = channels
        self._sentinels = frozenset(sentinels)
        self._tell = tell
        self._plans: dict[tuple[Code, Code, bool], Plan] = {}
        self._unmapped: dict[str, str] = {}
        self._told: set[tuple[str, str]] = set()

    def plan(self, name: Code, unit: Code, *, wave: bool) -> Plan:
        """What to do with a row of this OBX-3 and OBX-6; a waveform's channel is never a numeric's."""
        key = (name, unit, wave)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            plan = self._plans[key] = self._make(name, unit, wave=wave)
        return plan

    def unmapped(self, code: int, unit: str = "") -> str:
        """The name under which a code is kept that has no channel; empty when there are too many."""
        name = f"mdc_{code}"
        if name not in self._unmapped:
            if len(self._unmapped) >= MOST_NAMES:
                return ""
            self._tell(EventKind.UNMAPPED, f"11073 code {code} has no channel; kept as {name}", code=code, unit=unit)
        self._unmapped[name] = self._unmapped.get(name) or unit
        return name

    def _make(self, name: Code, unit: Code, *, wave: bool) -> Plan:
        code, ucum = name.mdc, unit.ucum
        channel = self._configured(name, wave=wave)
        if channel is not None:
            return self._measured(Plan(channel.id), channel.unit, channel.hard, ucum)
        if code is None:
            return Plan(problem="code")
        channel = self._catalogue.of_monitor(code, wave=wave)
        if channel is not None:
            alias = channel.mdc is None or channel.mdc.code != code
            return self._measured(Plan(channel.id, code, alias), channel.unit, channel.hard, ucum)
        kept = self.unmapped(code, ucum)
        # What has no unit in the catalogue stays in the unit that it first came in.
        return self._measured(Plan(kept, code), self._unmapped[kept], None, ucum) if kept else Plan(problem="unmapped")

    def _configured(self, name: Code, *, wave: bool) -> Channel | None:
        for key in (f"{name.identifier}^{name.system}", name.identifier, str(name.mdc)):
            channel = self._catalogue.get(self._channels.get(key, ""))
            if channel is not None and (channel.kind is ChannelKind.WAVEFORM) is wave:
                return channel
        return None

    def _measured(self, plan: Plan, target: str, hard: tuple[float, float] | None, ucum: str) -> Plan:
        try:
            factor, offset = conversion(ucum, target) if ucum else (1.0, 0.0)
        except UnitError as error:
            if len(self._told) < MOST_NAMES and (plan.channel, ucum) not in self._told:
                self._told.add((plan.channel, ucum))
                self._tell(EventKind.REJECT, f"{plan.channel}: {error}", channel=plan.channel, unit=ucum)
            return Plan(problem="unit")
        low, high = hard or (0.0, 0.0)
        true = {raw for raw in ABSENT | OFTEN_TRUE if hard and low <= raw * factor + offset <= high}
        return plan._replace(
            factor=factor,
            offset=offset,
            assumed=not ucum and target not in ("", "1"),
            absent=(ABSENT | OFTEN_TRUE if hard else ABSENT) - true | self._sentinels,
            ambiguous=frozenset() if hard else OFTEN_TRUE,
        )


def number(text: str) -> float | None:
    """The value of an NM field; None if it is not a finite decimal number."""
    return float(text) if _NUMBER.fullmatch(text) else None


def period_of(rate: str, unit: Code) -> int | None:
    """Nanoseconds between the samples of a waveform of this rate; None if it is no rate."""
    value = number(rate)
    try:
        factor, _ = conversion(unit.ucum or "Hz", "Hz")
    except UnitError:
        return None
    if value is None or not 0 < value * factor <= MOST_PER_S:
        return None
    return round(1_000_000_000 / (value * factor))


def numeric_array(text: str, separator: str) -> tuple[NDArray[np.int32], int, int]:
    """The samples of an NA field as whole numbers, exactly as the device printed them.

    Returns:
        Counts of shape (n,), `MISSING_COUNT` where there is no number; how many decimal places one count stands for
        (value = count / 10**decimals); how many samples were neither empty nor a number.
    """
    parts = text.split(separator)
    if "." not in text and "_" not in text:
        try:
            whole = np.array(list(map(int, parts)), dtype=np.int64)
        except (ValueError, OverflowError):
            pass  # an odd sample among them: the slow way finds it
        else:
            if np.abs(whole).max() <= _LARGEST:
                return whole.astype(np.int32), 0, 0
    return _odd_array(parts)


def _odd_array(parts: list[str]) -> tuple[NDArray[np.int32], int, int]:
    matches = [_SAMPLE.fullmatch(part.strip()) for part in parts]
    found = [match if match and (match[2] or match[3]) else None for match in matches]
    decimals = max((len(match[3] or "") for match in found if match), default=0)
    digits = (f"{match[1]}{match[2]}{(match[3] or '').ljust(decimals, '0')}" if match else "" for match in found)
    values = [int(each) if each else None for each in digits]
    largest = max((abs(value) for value in values if value is not None), default=0)
    while decimals and largest > _LARGEST:
        # More digits than a count can hold: the last ones go.
        values = [None if value is None else round(value / 10) for value in values]
        largest, decimals = largest // 10, decimals - 1
    usable = [value if value is not None and abs(value) <= _LARGEST else None for value in values]
    odd = sum(1 for value, part in zip(usable, parts, strict=True) if value is None and part.strip())
    counts = [MISSING_COUNT if value is None else value for value in usable]
    return np.array(counts, dtype=np.int32), decimals, odd
