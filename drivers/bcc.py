"""B. Braun Space infusion pumps behind a SpaceCom, over BCC: rates and doses of what the bed lists.

Source: B. Braun, Technical Interface Specification BCC 3.25/3.26, version 4; unverified on hardware. Sent are only the
questions ALIVE and MEM:GET, and ACK and NAK of what was answered. The name of a drug is used to find its channel and
goes nowhere else: it may be typed by hand, and in a blinded trial it unblinds. A pump given by its slot is read without
looking at the name at all; a study drug can be given in no other way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from acquisition.catalogue import Catalogue
from acquisition.driver import Driver, DriverOptions, Profile
from acquisition.errors import ConfigError, UnitError
from acquisition.model import EventKind, State
from acquisition.units import conversion
from acquisition.wire.bcc import ACK, ALIVE, ANY_BED, GET, NAK, IdentityCut, cut, frame_of, quadruples

NS_PER_S = 1_000_000_000
BEFORE_ACK_NS = 100_000_000
MAX_NAKS = 3
MAX_SILENCES = 3
PUMPS = "501"
"""What the address of a pump in a rack begins with."""
RATE, DOSE, DOSE_UNIT, DRUG, NOT_VALID = "INRT", "INDORT", "INDORTU", "INSOL", "_NV"
RATE_UNIT = "mL/h"
DOSE_UNITS: Mapping[str, str] = {
    "ug/kg/min": "ug/kg/min",
    "\u00b5g/kg/min": "ug/kg/min",
    "mcg/kg/min": "ug/kg/min",
    "mg/kg/min": "mg/kg/min",
    "ml/h": RATE_UNIT,
}
"""Dose units as pumps may write them, in small letters; the specification's list is not public with its spelling."""
STUDY = "study_drug_rate"


class BccOptions(DriverOptions):
    """Options of a rack of pumps.

    Attributes:
        slots: Address of a pump, such as 50111, to the channel it is at this bed, whatever runs in it.
        drugs: Beginning of a drug's name as the pump's library has it, to the channel it is.
        dose_units: Further spellings of dose units, to UCUM.
        every_s: Seconds from one question to the next.
        timeout_s: Longest wait for an answer.
        stuffing: Whether D and E are stuffed in what is sent, as in the SpaceCom's web page; answers say it themselves.
    """

    slots: dict[str, str] = Field(default_factory=dict)
    drugs: dict[str, str] = Field(default_factory=dict)
    dose_units: dict[str, str] = Field(default_factory=dict)
    every_s: float = Field(default=5.0, ge=1.0, le=3600)
    timeout_s: float = Field(default=2.0, ge=0.2, le=10)
    stuffing: bool = True

    @field_validator("slots")
    @classmethod
    def _addresses(cls, slots: dict[str, str]) -> dict[str, str]:
        if wrong := [slot for slot in slots if not (slot.isdigit() and slot.startswith(PUMPS))]:
            raise ValueError(f"{wrong} is no address of a pump, such as 50111")
        return slots

    @model_validator(mode="after")
    def _blinded(self) -> Self:
        if STUDY in self.drugs.values():
            raise ValueError(f"{STUDY} is given by its slot, never by the name of a drug: that would unblind it")
        if self.every_s <= self.timeout_s:
            raise ValueError("every_s must be longer than timeout_s")
        return self


class BccDriver(Driver):
    """Asks a SpaceCom for everything it has, and keeps the listed pumps' rates and doses."""

    Options = BccOptions
    max_buffer: ClassVar[int] = 1 << 17

    def __init__(self, options: DriverOptions, catalogue: Catalogue, profile: Profile | None = None) -> None:
        super().__init__(options, catalogue, profile)
        self._options = options if isinstance(options, BccOptions) else BccOptions()
        self._units = _units({*self._options.slots.values(), *self._options.drugs.values()}, catalogue)
        self._drugs = {name.casefold(): channel for name, channel in self._options.drugs.items()}
        self._dose_units = {name.casefold(): unit for name, unit in {**DOSE_UNITS, **self._options.dose_units}.items()}
        self._every = round(self._options.every_s * NS_PER_S)
        self._timeout = round(self._options.timeout_s * NS_PER_S)
        self.identity = {"make": "B. Braun", "model": "Space"}
        self.link_defaults = "baud=9600&parity=none"
        self._bed = ""
        self._slot = 0
        self._listening = False
        self._reply: int | None = None
        self._naks = self._silences = 0
        self._texts: list[str] = []
        self._told: dict[str, str] = {}

    @property
    def period_ns(self) -> int:
        """Nanoseconds from one question to the next."""
        return self._every

    def trace_cut(self) -> IdentityCut:
        """Keeps in a trace only what is known to be no identity."""
        return IdentityCut()

    def may_send(self, frame: bytes) -> bool:
        """The two questions, and the answers to answers."""
        asked = [self._question(ANY_BED, ALIVE), *([self._question(self._bed, GET)] if self._bed else [])]
        return frame in (bytes((ACK,)), bytes((NAK,)), *asked)

    def on_start(self, now: int) -> None:
        """Who is there is asked again, after a silence in which an earlier answer may end."""
        self._bed = ""
        self._told.clear()
        self._silences = 0
        self._forget()
        self._slot = now + self._timeout
        self.call_me_at(self._slot)

    def on_timer(self, now: int) -> None:
        """It is time to acknowledge or to ask, or an answer is overdue."""
        if self._reply is not None:
            self._answer(self._reply, now)
        elif self._listening:
            self.counters["timeout"] += 1
            self._silences += 1
            self._give_up(now)
        else:
            self.skip(len(self.buffer), "unfinished")
            missed = (now - self._slot) // self._every
            self.counters["slots_missed"] += missed
            self._slot += (missed + 1) * self._every
            self._listening = True
            self.send(self._question(self._bed, GET) if self._bed else self._question(ANY_BED, ALIVE))
            self.call_me_at(now + self._timeout)

    def on_data(self, now: int) -> None:
        """Cuts the buffer into blocks and uses those that were asked for."""
        while (piece := cut(self.buffer)) is not None:
            if piece.block is None:
                if piece.flaw:
                    self.reject(piece.flaw)
                self.skip(piece.size)
                if piece.flaw == "checksum" and self._listening and self._reply is None:
                    self._then(NAK, now)
                continue
            del self.buffer[: piece.size]
            if not self._listening or self._reply is not None:
                self.reject("late")
                continue
            if self._bed and piece.block.bed != self._bed:
                self.reject("other_bed")
                continue
            self._silences = 0
            self._texts.append(piece.block.text)
            self._then(ACK, now)
            self._listening = piece.block.more
            if not piece.block.more:
                self._finish(piece.block.bed)

    def _question(self, bed: str, text: str) -> bytes:
        return frame_of(bed, text, stuffed=self._options.stuffing)

    def _then(self, reply: int, now: int) -> None:
        self._reply = reply
        self.call_me_at(now + BEFORE_ACK_NS)

    def _answer(self, reply: int, now: int) -> None:
        self._reply = None
        self._naks += reply == NAK
        if self._naks > MAX_NAKS:
            self._give_up(now)
            return
        self.send(bytes((reply,)))
        self.call_me_at(now + self._timeout if self._listening else max(self._slot, now))

    def _give_up(self, now: int) -> None:
        """Leaves the line in silence for a period; what comes in it is late and not used."""
        self._forget()
        if self._silences >= MAX_SILENCES:
            self._bed = ""
        self._slot = max(self._slot, now) + self._every
        self.call_me_at(self._slot)

    def _forget(self) -> None:
        self._listening = False
        self._reply = None
        self._naks = 0
        self._texts = []

    def _finish(self, bed: str) -> None:
        texts, self._texts, self._naks = self._texts, [], 0
        if not self._bed:
            self._bed = bed
            self.counters["frames_good"] += 1
            return
        said_of_all = quadruples(texts)
        if said_of_all is None:
            self.reject("seam")
            return
        pumps: dict[str, dict[str, str]] = {}
        for address, parameter, value in said_of_all:
            if address.isdigit() and address.startswith(PUMPS):
                pumps.setdefault(address, {})[parameter] = value
        values: dict[str, float] = {}
        states: dict[str, State] = {}
        running: dict[str, list[str]] = {}
        for address, said in sorted(pumps.items()):
            channel = self._options.slots.get(address) or self._channel_of(said.get(DRUG, ""))
            if channel is None:
                self._tell(address, "", "runs nothing that the bed lists", EventKind.UNMAPPED)
                continue
            running.setdefault(channel, []).append(address)
            found = self._value(channel, address, said)
            if isinstance(found, State):
                states[channel] = found
            else:
                values[channel] = float(f"{values.get(channel, 0.0) + found:.12g}")
        for channel, addresses in running.items():
            together = ", their sum is kept" if len(addresses) > 1 else ""
            self._tell(channel, channel, f"is given by pump {', '.join(addresses)}{together}", EventKind.STATE)
            if channel in states:
                values.pop(channel, None)  # a sum without one of its parts is no dose
        if values or states:
            self.measured(values, states)
        else:
            self.counters["frames_good"] += 1

    def _channel_of(self, drug: str) -> str | None:
        name = drug.casefold()
        return next((channel for known, channel in self._drugs.items() if name.startswith(known)), None)

    def _value(self, channel: str, address: str, said: Mapping[str, str]) -> float | State:
        target = self._units[channel]
        parameter = RATE if target == RATE_UNIT else DOSE
        text = said.get(parameter)
        if text is None or f"{parameter}{NOT_VALID}" in said or text.endswith(NOT_VALID):
            return State.UNAVAILABLE if text is None and f"{parameter}{NOT_VALID}" not in said else State.INVALID
        unit = RATE_UNIT if parameter == RATE else self._dose_units.get(said.get(DOSE_UNIT, "").casefold())
        try:
            if unit is None:
                raise UnitError("unknown")
            factor, _ = conversion(unit, target)
            number = float(text)
        except UnitError:
            self._tell(address, channel, "has a dose unit that the bed does not list", EventKind.UNMAPPED)
            return State.UNAVAILABLE
        except ValueError:
            return State.INVALID
        return number * factor if math.isfinite(number) else State.INVALID

    def _tell(self, subject: str, channel: str, text: str, kind: EventKind) -> None:
        if self._told.get(subject) != text:
            self._told[subject] = text
            what = subject if subject == channel else f"pump {subject}"
            self.told(kind, f"{what} {text}", subject=subject, **({"channel": channel} if channel else {}))


def _units(channels: set[str], catalogue: Catalogue) -> dict[str, str]:
    """The unit of each channel.

    Raises:
        ConfigError: with every channel that does not exist or is neither rate nor dose.
    """
    problems = []
    for channel in sorted(channels):
        if channel not in catalogue:
            problems.append(f"channel {channel!r} is not in the catalogue")
        elif catalogue.unit(channel) not in (RATE_UNIT, *DOSE_UNITS.values()):
            problems.append(f"channel {channel!r} is neither a rate in {RATE_UNIT} nor a dose")
    if problems:
        raise ConfigError(problems)
    return {channel: catalogue.unit(channel) for channel in channels}
