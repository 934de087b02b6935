"""Patient monitors and gateways that send HL7 v2 over MLLP: ORU^R01 / W01, IHE PCD-01 numerics and NA waveforms.

Unverified on hardware. The acknowledgement leaves only after the journal has the message. Sources: HL7 v2.6 chapters 2
and 7; IHE PCD Technical Framework vol. 2, transaction PCD-01 and OBX-8 flags; GE B40 and Mindray gateway guides for
dialects.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import Field, field_validator

from acquisition.catalogue import Catalogue
from acquisition.driver import Driver, DriverOptions, Profile, Samples, WallTime
from acquisition.errors import ConfigError, WireError
from acquisition.model import MISSING_COUNT, State
from acquisition.wire import hl7, mllp
from acquisition.wire.pcd01 import FACETS, INOP, RATE, RESOLUTION, Code, Plan, Planner, number, numeric_array, period_of

TRIGGERS = frozenset({"", "R01", "W01"})
WITHDRAWN = frozenset({"D", "W"})
NOT_OBTAINED = frozenset({"X", "N"})
INSTEAD = {"INV": State.INVALID, "NAV": State.UNAVAILABLE}
BESIDE = {"DEMO": State.DEMO, "TEST": State.DEMO, "CALIB": State.CALIBRATING, "QUES": State.QUESTIONABLE}
LEAST_INOP = 32767
_EUI64 = re.compile(r"(?<![0-9A-Z])[0-9A-F]{16}(?![0-9A-Z])")
_UNKEYED = "unkeyed-"


class Hl7Options(DriverOptions):
    """Settings of one HL7 source.

    Attributes:
        channels: Code (`150033`), or code and coding system (`1007^99VENDOR`), to channel, before the catalogue's own.
        bed: Take only what PV1-3 places in this bed; the rest is acknowledged, counted and not used.
        max_message_bytes: Longer messages are dropped and counted.
        sentinels: Further numbers that this source sends for "no value".
    """

    channels: dict[str, str] = Field(default_factory=dict)
    bed: str | None = None
    max_message_bytes: int = Field(mllp.DEFAULT_MAX_BYTES, ge=1024, le=mllp.DEFAULT_MAX_BYTES)
    sentinels: tuple[float, ...] = ()


class Hl7Profile(Profile):
    """A dialect: what a maker's gateways say differently from IHE PCD-01.

    Attributes:
        channels: As in the options, which go before it.
        sentinels: Numbers that it sends for "no value", besides those that are known of others.
        charset: Of messages that do not declare one in MSH-18, by its name in HL7 table 0211.
    """

    channels: dict[str, str] = Field(default_factory=dict)
    sentinels: tuple[float, ...] = ()
    charset: str = ""

    @field_validator("charset")
    @classmethod
    def _known(cls, charset: str) -> str:
        if charset and not hl7.is_charset(charset):
            raise ValueError(f"{charset!r} is no name of table 0211 that is read here, such as 8859/1")
        return charset


Row = list[str]
"""An OBX, its fields by their HL7 number."""
Facets = dict[str, Row]
"""Rows that tell of a waveform, by the attribute's name."""


@dataclass(slots=True)
class Group:
    """What a message says of one instant."""

    time: WallTime | None
    rows: list[tuple[Plan, float | None, State | None]] = field(default_factory=list)
    waves: list[tuple[Row, Facets]] = field(default_factory=list)


class Hl7Driver(Driver):
    """Listens; says nothing but acknowledgements.

    Raises:
        ConfigError: an option names a channel that does not exist.
    """

    Options: ClassVar[type[DriverOptions]] = Hl7Options
    ProfileType: ClassVar[type[Profile] | None] = Hl7Profile
    profile_optional: ClassVar[bool] = True
    max_buffer: ClassVar[int] = mllp.DEFAULT_MAX_BYTES + 4096

    def __init__(self, options: DriverOptions, catalogue: Catalogue, profile: Profile | None = None) -> None:
        super().__init__(options, catalogue, profile)
        settings = Hl7Options.model_validate(options.model_dump())
        dialect = profile if isinstance(profile, Hl7Profile) else Hl7Profile(name="", source="")
        channels = {**dialect.channels, **settings.channels}
        strangers = sorted(name for name in channels.values() if name not in catalogue)
        if strangers:
            raise ConfigError([f"channels: {name!r} is not in the catalogue" for name in strangers])
        self._bed = settings.bed
        self._deframer = mllp.Deframer(settings.max_message_bytes)
        self._planner = Planner(catalogue, channels, (*dialect.sentinels, *settings.sentinels), self.told)
        self._charset = dialect.charset
        self._unkeyed = 0

    def on_start(self, now: int) -> None:
        """A new connection begins outside any message."""
        self._deframer.reset()

    def on_data(self, now: int) -> None:
        """Takes every whole message."""
        for message in self._deframer.take(self.buffer):
            self._take(message, now)
        lost = self._deframer.lost
        self.counters["bytes_noise"] += lost.pop("noise", 0)
        for reason in [reason for reason, count in lost.items() if count]:
            self.reject(reason, lost.pop(reason))

    def may_send(self, frame: bytes) -> bool:
        """Acknowledgements only."""
        return hl7.is_acknowledgement(frame)

    def remember(self, keys: Iterable[str]) -> None:
        """Messages that cannot be recognised when they come again are not remembered."""
        super().remember(key for key in keys if not key.startswith(_UNKEYED))

    # -- messages ----------------------------------------------------------------------------------------------------

    def _take(self, raw: bytes, now: int) -> None:
        try:
            message = hl7.parse(raw, self._charset)
        except WireError:
            self.reject("message")
            return
        kind, trigger = (*(part.strip() for part in message.components(message.header(9))), "", "")[:2]
        if kind == "ACK":
            self.counters["ignored_ack"] += 1
        elif kind == "ADT":
            self.counters["ignored_adt"] += 1
            self._answer(message, "A")
        elif kind != "ORU" or trigger not in TRIGGERS:
            self.reject("message_type")
            self._answer(message, "R" if kind else "E")
        elif self._bed is None and sum(segment[0] == "PID" for segment in message.segments) > 1:
            # Without a bed to choose by, the readings of two patients would become one series.
            self.reject("several_patients")
            self._answer(message, "R")
        else:
            reply = hl7.acknowledgement(message)
            if self.acknowledge(self._key(message, raw, now), None if reply is None else mllp.frame(reply)):
                self._emit(message)

    def _answer(self, message: hl7.Message, outcome: str) -> None:
        reply = hl7.acknowledgement(message, outcome)
        if reply is not None:
            self.send(mllp.frame(reply))

    def _key(self, message: hl7.Message, raw: bytes, now: int) -> str:
        if message.header(10) and hl7.parse_time(message.header(7)):
            return hashlib.blake2b(raw, digest_size=16).hexdigest()
        self._unkeyed += 1
        return f"{_UNKEYED}{now}-{self._unkeyed}"

    def _emit(self, message: hl7.Message) -> None:
        self._identify(message.header(3))
        for group in self._groups(message):
            owners: dict[str, int | None] = {}
            self._emit_numerics(group, owners)
            for row, facets in group.waves:
                self._emit_wave(message, row, facets, group.time, owners)

    def _identify(self, text: str) -> None:
        match = _EUI64.search(text.upper())
        if match:
            self.identity["eui64"] = match[0]

    def _groups(self, message: hl7.Message) -> Iterable[Group]:
        """The rows that are ours, one group for each time of observation (OBX-14, else OBR-7, else MSH-7)."""
        times = hl7.Times(message.header(7))
        groups: dict[str, Group] = {}
        facets: dict[str, Facets] = {}
        order_time = ""
        ours = taken = self._bed is None
        for row in message.segments:
            if row[0] == "OBX" and ours:
                row += [""] * (19 - len(row))
                source, text, stamp = times.of(row[14], order_time)
                group = groups.get(text)
                if group is None:
                    group = groups[text] = Group(WallTime(*stamp) if stamp else None)
                    self.counters[f"time_{source}"] += 1
                self._sort_in(message, row, group, facets)
            elif row[0] == "OBR":
                order_time, facets = hl7.field(row, 7), {}
            elif row[0] == "PID":
                ours = self._bed is None
            elif row[0] == "PV1" and self._bed is not None:
                location = (*message.components(hl7.field(row, 3)), "", "", "")
                ours = location[2].strip() == self._bed
                taken = taken or ours
        self.counters["other_bed"] += not taken
        return groups.values()

    def _sort_in(self, message: hl7.Message, row: Row, group: Group, facets: dict[str, Facets]) -> None:
        kind = row[2]
        if kind == "NA":
            group.waves.append((row, facets.setdefault(_owner(row), {})))
        elif kind not in ("NM", "NR"):
            self.counters["obx_other"] += 1
        elif "MDC_" in row[3] and Code.of(message.components(row[3])).text in FACETS:
            known = facets.setdefault(_owner(row), {}).setdefault(Code.of(message.components(row[3])).text, row)
            if known[5:7] != row[5:7]:
                known[5] = ""  # told twice and differently: nobody can say which waveform is meant
        elif kind == "NM" and row[11] in WITHDRAWN:
            self.counters["obx_withdrawn"] += 1
        elif kind == "NM":
            plan = self._plan(message, row[3], row[6], wave=False)
            if plan.channel:
                group.rows.append((plan, *self._judge(plan, row, message.delimiters.repetition)))
                if row[18] and "eui64" not in self.identity:
                    self._identify(row[18])

    def _plan(self, message: hl7.Message, name: str, unit: str, *, wave: bool) -> Plan:
        code, of_unit = Code.of(message.components(name)), Code.of(message.components(unit))
        plan = self._planner.plan(code, of_unit, wave=wave)
        if plan.problem:
            self.counters[f"rejected_{plan.problem}"] += 1
        return plan

    # -- numerics ----------------------------------------------------------------------------------------------------

    def _judge(self, plan: Plan, row: Row, repetition: str) -> tuple[float | None, State | None]:
        """The value and the state of an NM row; one of them at least."""
        text, flags = row[5].strip(), row[8].split(repetition)
        if row[11] in NOT_OBTAINED or text in ("", '""'):
            return None, State.UNAVAILABLE
        for flag in flags:
            if flag in INSTEAD:
                return None, INSTEAD[flag]
        value = number(text)
        if value is None:
            self.counters["rejected_number"] += 1
            return None, State.INVALID
        if value in plan.absent:
            return None, State.INVALID
        state = next((BESIDE[flag] for flag in flags if flag in BESIDE), None)
        if state is None and (plan.assumed or value in plan.ambiguous):
            state = State.QUESTIONABLE
        return value * plan.factor + plan.offset, state

    def _emit_numerics(self, group: Group, owners: dict[str, int | None]) -> None:
        readings: list[tuple[dict[str, float], dict[str, State]]] = []
        seen: Counter[str] = Counter()
        for plan, value, state in sorted(group.rows, key=lambda row: row[0].alias):
            channel = self._name(plan, owners)
            if not channel:
                continue
            if seen[channel] == len(readings):
                readings.append(({}, {}))
            values, states = readings[seen[channel]]
            seen[channel] += 1
            if value is not None:
                values[channel] = value
            if state is not None:
                states[channel] = state
        for values, states in readings:
            self.measured(values, states, group.time)

    def _name(self, plan: Plan, owners: dict[str, int | None]) -> str:
        """The channel of a row; if another code has it in this group, the row keeps its own number instead."""
        if plan.code is None or owners.setdefault(plan.channel, plan.code) == plan.code:
            return plan.channel
        return self._planner.unmapped(plan.code)

    # -- waveforms ---------------------------------------------------------------------------------------------------

    def _emit_wave(
        self, message: hl7.Message, row: Row, facets: Facets, start: WallTime | None, owners: dict[str, int | None]
    ) -> None:
        flags = set(row[8].split(message.delimiters.repetition))
        plan = self._plan(message, row[3], row[6] or _field(facets, RESOLUTION, 6), wave=True)
        channel = self._name(plan, owners) if plan.channel else ""
        if not channel:
            return
        rate_unit = Code.of(message.components(_field(facets, RATE, 6)))
        period_ns = period_of(_field(facets, RATE, 5), rate_unit)
        resolution = number(_field(facets, RESOLUTION, 5) or "1")
        if period_ns is None or not resolution or not row[5]:
            self.reject("waveform")
            return
        counts, decimals, odd = numeric_array(row[5], message.delimiters.component)
        self.counters["rejected_samples"] += odd
        inop = number(_field(facets, INOP, 5))
        if inop is not None and abs(inop) >= LEAST_INOP:
            counts[counts == round(inop * 10**decimals)] = MISSING_COUNT
        self.sampled(
            Samples(
                channel,
                counts,
                period_ns,
                scale=resolution / 10**decimals * plan.factor,
                offset=plan.offset,
                start=start,
                doubtful=plan.assumed or row[11] in NOT_OBTAINED or not flags.isdisjoint({*BESIDE, *INSTEAD}),
            )
        )


def _owner(row: Row) -> str:
    """The metric that a row is of or tells about: a facet is one level below it in OBX-4."""
    return ".".join(row[4].split(".")[:4])


def _field(facets: Facets, name: str, of_row: int) -> str:
    return facets[name][of_row].strip() if name in facets else ""
