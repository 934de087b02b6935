"""A scenario read from TOML: who the patient is and what is done, when; every mistake is told at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acquisition.errors import ConfigError
from acquisition.mistakes import nearest
from simulators.physiology import PHENOTYPES
from simulators.physiology.conditions import NUMBERS, POSITIVE, SWITCHES, WORDS, Conditions

LIBRARY = Path(__file__).parent / "scenarios"
DEVICES = ("pump", "gas", "flow", "mon", "philips", "ge", "vent", "infusion", "gases")
DRUGS = ("levosimendan",)
KEYS = frozenset({"title", "about", "duration", "seed", "truth_every", "patient", "clock", "event"})
UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)(?![a-z])\s*")


class ScenarioError(ConfigError):
    """A scenario cannot be used; the message has one line for each mistake."""


@dataclass(frozen=True, slots=True)
class DeviceTime:
    """How far a device's clock is from the truth.

    Attributes:
        ahead_s: At the beginning.
        drift_ppm: How much further it gets, millionths.
    """

    ahead_s: float = 0.0
    drift_ppm: float = 0.0


@dataclass(frozen=True, slots=True)
class Intervention:
    """Something that happens.

    Attributes:
        at_s: When, from the beginning.
        label: What one would write in the notes.
        conditions: New values by name of `Conditions`.
        over_s: How long the numbers among them take to get there.
        drug: Whose infusion begins.
        off: Devices that are switched off or unplugged.
        on: Devices that come back.
        clock_s: By how much somebody sets a device's clock forward.
    """

    at_s: float
    label: str
    conditions: Mapping[str, float | bool | str] = field(default_factory=dict)
    over_s: float = 0.0
    drug: str = ""
    off: tuple[str, ...] = ()
    on: tuple[str, ...] = ()
    clock_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario.

    Attributes:
        name: Of its file.
        title: In a few words.
        about: In a few sentences.
        duration_s: How long it lasts.
        phenotype: Of the patient.
        beginning: Conditions other than the usual at the beginning.
        interventions: In order of time.
        clocks: By device; a device that is not named has the right time.
        seed: Of everything that varies.
        truth_every_s: Time from one line of the ground truth to the next.
    """

    name: str
    title: str
    about: str
    duration_s: float
    phenotype: str
    beginning: Mapping[str, float | bool | str]
    interventions: tuple[Intervention, ...]
    clocks: Mapping[str, DeviceTime]
    seed: int
    truth_every_s: float

    def conditions(self) -> Conditions:
        """What holds at the beginning; a fresh object each time."""
        conditions = Conditions()
        for name, value in self.beginning.items():
            setattr(conditions, name, value)
        return conditions


def shipped() -> dict[str, Path]:
    """The library: name to file."""
    return {path.stem: path for path in sorted(LIBRARY.glob("*.toml"))}


def load_scenario(name: str) -> Scenario:
    """Reads a scenario of the library by its name, or any by its path.

    Raises:
        ScenarioError: there is none, or it has mistakes.
    """
    path = shipped().get(name, Path(name))
    if not path.is_file():
        have = ", ".join(shipped())
        raise ScenarioError([f"no scenario {name!r}; have {have}, or give the path of a TOML file"])
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError([f"{path}: not TOML: {error}"]) from error
    return parse_scenario(table, path.stem)


def parse_scenario(table: Mapping[str, Any], name: str) -> Scenario:
    """Makes a scenario of a table.

    Raises:
        ScenarioError: it has mistakes; all are told.
    """
    reader = _Reader(name)
    top = reader.table(
        "scenario", table, {"title", "about", "duration", "seed", "truth_every", "patient", "clock", "event"}
    )
    patient = dict(reader.table("patient", top.get("patient", {}), {"phenotype", *NUMBERS, *SWITCHES, *WORDS}))
    phenotype = reader.one_of("patient", "phenotype", patient.pop("phenotype", "P1"), PHENOTYPES)
    seed = top.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        reader.mistakes.append(f"scenario: seed = {seed!r} is not a whole number")
    clocks = {}
    for device, content in reader.table("clock", top.get("clock", {}), set(DEVICES)).items():
        place = f"clock.{device}"
        given = reader.table(place, content, {"ahead", "drift_ppm"})
        ahead = reader.duration(place, "ahead", given.get("ahead", "0 s"), signed=True)
        clocks[device] = DeviceTime(ahead, reader.number(place, "drift_ppm", given.get("drift_ppm", 0.0)))
    duration = reader.duration("scenario", "duration", top.get("duration"))
    events = top.get("event", [])
    interventions = [reader.intervention(number, event, duration) for number, event in enumerate(events, start=1)]
    scenario = Scenario(
        name=name,
        title=reader.text("scenario", "title", top.get("title")),
        about=reader.text("scenario", "about", top.get("about", "")).strip(),
        duration_s=duration,
        phenotype=phenotype,
        beginning=reader.conditions("patient", patient),
        interventions=tuple(sorted(interventions, key=lambda each: each.at_s)),
        clocks=clocks,
        seed=seed,
        truth_every_s=reader.duration("scenario", "truth_every", top.get("truth_every", "1 s")),
    )
    if reader.mistakes:
        raise ScenarioError([f"{name}: {mistake}" for mistake in reader.mistakes])
    return scenario


class _Reader:
    """Reads tables and collects the mistakes; what is wrong comes out as something harmless."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mistakes: list[str] = []

    def table(self, place: str, content: object, known: Collection[str]) -> dict[str, Any]:
        if not isinstance(content, dict):
            self.mistakes.append(f"{place}: is not a table")
            return {}
        for key in content.keys() - set(known):
            self.mistakes.append(f"{place}: unknown key {key!r}{nearest(key, known)}")
        return {key: value for key, value in content.items() if key in known}

    def text(self, place: str, key: str, value: object) -> str:
        if not isinstance(value, str):
            self.mistakes.append(f"{place}: {key} is missing or not a text")
            return ""
        return value

    def one_of(self, place: str, key: str, value: object, allowed: Collection[str]) -> str:
        if value not in allowed:
            self.mistakes.append(f"{place}: unknown {key} {value!r}{nearest(str(value), allowed)}")
        return str(value)

    def number(self, place: str, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.mistakes.append(f"{place}: {key} = {value!r} is not a number")
            return 1.0
        if key in POSITIVE and value <= 0:
            self.mistakes.append(f"{place}: {key} = {value} must be above 0")
        elif key in NUMBERS and key != "volume" and value < 0:
            self.mistakes.append(f"{place}: {key} = {value} must not be below 0")
        return float(value)

    def duration(self, place: str, key: str, value: object, *, signed: bool = False) -> float:
        text = value.strip() if isinstance(value, str) else ""
        sign = -1.0 if signed and text.startswith("-") else 1.0
        text = text.removeprefix("-") if signed else text
        parts = list(_PART.finditer(text))
        if not parts or "".join(part[0] for part in parts) != text:
            self.mistakes.append(f'{place}: {key} = {value!r} is not a time such as "90 s" or "1 h 30 min"')
            return 1.0
        return sign * sum(float(part[1]) * UNITS_S[part[2]] for part in parts)

    def conditions(self, place: str, given: Mapping[str, Any]) -> dict[str, float | bool | str]:
        read: dict[str, float | bool | str] = {}
        for key, value in given.items():
            if key in WORDS:
                read[key] = self.one_of(place, key, value, WORDS[key])
            elif key in SWITCHES:
                if not isinstance(value, bool):
                    self.mistakes.append(f"{place}: {key} = {value!r} is neither true nor false")
                read[key] = bool(value)
            else:
                read[key] = self.number(place, key, value)
        return read

    def devices(self, place: str, key: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            self.mistakes.append(f"{place}: {key} is not a list of devices")
            return ()
        return tuple(self.one_of(place, key, each, DEVICES) for each in value)

    def intervention(self, number: int, event: object, duration_s: float) -> Intervention:
        place = f"event {number}"
        known = {"at", "label", "set", "over", "drug", "off", "on", "clock"}
        given = self.table(place, event, known)
        at = self.duration(place, "at", given.get("at"))
        if at > duration_s:
            self.mistakes.append(f"{place}: at = {given['at']!r} is after the end of the scenario")
        changed = self.table(f"{place}.set", given.get("set", {}), {*NUMBERS, *SWITCHES, *WORDS})
        clock = self.table(f"{place}.clock", given.get("clock", {}), set(DEVICES))
        return Intervention(
            at_s=at,
            label=self.text(place, "label", given.get("label")),
            conditions=self.conditions(f"{place}.set", changed),
            over_s=self.duration(place, "over", given.get("over", "0 s")),
            drug=self.one_of(place, "drug", given["drug"], DRUGS) if "drug" in given else "",
            off=self.devices(place, "off", given.get("off", [])),
            on=self.devices(place, "on", given.get("on", [])),
            clock_s={name: self.duration(place, f"clock.{name}", by, signed=True) for name, by in clock.items()},
        )
