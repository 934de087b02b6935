"""A synthetic ECMO run of days for pictures and tests of the report: journal, registry and configuration of a bed.

The patient is simulated for two seconds of every five minutes; what lies between is interpolated with noise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acquisition.archive.episodes.chain import Action
from acquisition.archive.episodes.registry import registry_path
from acquisition.archive.episodes.snapshot import snapshot
from acquisition.archive.episodes.writing import Draft, record
from acquisition.catalogue import Catalogue
from acquisition.clock import from_rfc3339
from acquisition.journal import Journal
from acquisition.model import Event, EventKind, Numerics, Observation, Quality, Waveform
from simulators.physiology import Patient

S = 1_000_000_000
HOUR = 3600 * S
START = from_rfc3339("2026-10-24T06:00:00Z")
SUBJECT = "LEV-03-012"
GRAIN_S = 300
PERIOD_S = 20
PART_S = 7200
WAVE_HZ = 25
PUMP = ("ecmo_flow", "ecmo_rpm", "ecmo_p_drain", "ecmo_p_pre", "ecmo_p_post", "ecmo_power", "ecmo_temp_art")
MONITOR = ("abp_sys", "abp_dia", "abp_mean", "hr", "cvp", "spo2", "rr", "temp_core")
GAS = ("ecmo_sweep", "ecmo_fdo2")
NOISE = {
    "ecmo_flow": 0.03, "ecmo_rpm": 2.0, "ecmo_p_drain": 1.5, "ecmo_p_pre": 2.0, "ecmo_p_post": 2.0, "ecmo_power": 0.1,
    "ecmo_temp_art": 0.03, "abp_sys": 2.5, "abp_dia": 1.5, "abp_mean": 1.8, "hr": 1.5, "cvp": 0.6, "spo2": 0.4,
    "rr": 0.6, "temp_core": 0.02, "ecmo_sweep": 0.01, "ecmo_fdo2": 0.1,
}  # fmt: skip


class Outage(NamedTuple):
    """Hours since the start of the stay in which devices gave nothing."""

    begin: float
    end: float
    devices: tuple[str, ...]
    cause: str


ALL = ("gas", "monitor", "pump")
OUTAGES = (
    Outage(9.2, 9.6, ("monitor",), "link_lost"),
    Outage(31.0, 32.1, ("gas", "monitor"), "cable_or_no_bytes"),
    Outage(37.4, 37.6, ALL, "host_reboot"),
    Outage(50.3, 50.45, ("pump",), "framing_errors"),
    Outage(58.2, 61.9, ("monitor",), "link_lost"),
    Outage(66.0, 66.05, ALL, "daemon_down"),
)
BEGINS_H = 1.6
"""When the first device was plugged in; the run began half an hour after the stay."""


def speed(hour: float) -> tuple[float, float]:
    """Pump speed and contractility at an hour of the stay."""
    trials = [(46.0, 1.0), (70.0, 1.35)]
    for begin, _ in trials:
        for after, rpm in ((0.75, 1560.0), (0.5, 1650.0), (0.25, 1650.0), (0.0, 2290.0)):
            if after <= hour - begin < 1.0 and hour - begin >= after:
                return rpm, _strength(hour)
    if hour < 26:
        return 3300.0, _strength(hour)
    return (3000.0 if hour < 56 else 2700.0 if hour < 74 else 2300.0), _strength(hour)


def _strength(hour: float) -> float:
    return 0.6 + 0.7 * float(np.clip((hour - 22) / 40, 0, 1)) + 0.5 * float(np.clip((hour - 52) / 24, 0, 1))


def signals(hours: float) -> dict[str, NDArray[np.float64]]:
    """Channel to its value at every GRAIN_S."""
    patient = Patient("P1", rpm=3300, seed=7)
    rows: list[Mapping[str, float]] = []
    rough = np.random.default_rng(3)
    for at in range(0, round(hours * 3600) + GRAIN_S, GRAIN_S):
        hour = at / 3600
        now = patient.conditions
        now.rpm, now.contractility = speed(hour)
        now.resistance = 1.0 + 0.12 * np.sin(hour / 24 * 2 * np.pi) + 0.06 * np.sin(hour * 1.9)
        now.volume = -220.0 if 40 < hour < 41.5 else 0.0
        now.oxygenator = 1.0 + max(0.0, (hour - 20) / 70)
        now.sweep = 4.0 if hour < 30 else 3.0
        patient.advance(2.0)
        steady = {"rr": 14.0 + rough.normal(0, 0.4)}
        rows.append({**patient.numerics(), **steady})
    return {name: np.array([row[name] for row in rows]) for name in NOISE}


def observations(hours: float) -> Iterator[list[Observation]]:
    """What the bed recorded, two hours at a time."""
    rough = np.random.default_rng(11)
    grain = signals(hours)
    grid = np.arange(next(iter(grain.values())).size) * GRAIN_S
    opened = {device: [each for each in OUTAGES if device in each.devices] for device in ALL}
    yield [_started(BEGINS_H)]
    for begin in range(round(BEGINS_H * 3600), round(hours * 3600), PART_S):
        seconds = np.arange(begin, begin + PART_S, PERIOD_S)
        values = {
            name: np.interp(seconds, grid, part) + rough.normal(0, NOISE[name], seconds.size)
            for name, part in grain.items()
        }
        found: list[Observation] = []
        for device, channels in (("pump", PUMP), ("monitor", MONITOR), ("gas", GAS)):
            for place, second in enumerate(seconds.tolist()):
                hour = second / 3600
                if any(each.begin <= hour < each.end for each in opened[device]) or (device == "gas" and hour < 3.2):
                    continue
                row = {name: round(float(values[name][place]), 2) for name in channels}
                if device == "monitor":
                    row["abp_sys"] = max(row["abp_sys"], row["abp_dia"])
                    row["pp_num"] = round(row["abp_sys"] - row["abp_dia"], 2)
                    if second % 1800 == 0:
                        row["nibp_mean"] = round(row["abp_mean"] + 3)
                judged = dict.fromkeys(row, Quality.GOOD)
                found.append(Numerics(device=device, time_ns=START + second * S, values=row, quality=judged))
        found += _waves(begin, values, opened["monitor"], rough)
        found += _told(begin)
        yield found


def _waves(
    begin: int, values: Mapping[str, NDArray[np.float64]], outages: list[Outage], rough: np.random.Generator
) -> Iterator[Observation]:
    """Arterial pressure as beats between the diastole and systole of the minute."""
    for block in range(PART_S // 10):
        second = begin + block * 10
        if any(each.begin <= second / 3600 < each.end for each in outages):
            continue
        low, high, rate = (float(values[name][block * 10 // PERIOD_S]) for name in ("abp_dia", "abp_sys", "hr"))
        phase = (second + np.arange(10 * WAVE_HZ) / WAVE_HZ) * rate / 60 % 1
        shape = np.where(phase < 0.16, np.sin(phase / 0.32 * np.pi), np.exp(-(phase - 0.16) * 3.2))
        shape += 0.12 * np.exp(-(((phase - 0.42) / 0.05) ** 2))
        counts = np.round((low + (high - low) * shape + rough.normal(0, 0.4, shape.size)) * 10).astype("<i4")
        yield Waveform(
            device="monitor", channel="wf_abp", time_ns=START + second * S, period_ns=S // WAVE_HZ,
            raw=counts.tobytes(), scale=0.1,
        )  # fmt: skip


def _started(hour: float) -> Event:
    at = START + round(hour * HOUR)
    return Event(
        device="daemon", time_ns=at, event=EventKind.DAEMON, text="started",
        detail={"start_ns": at, "version": "0.1.0", "boot_id": "b"},
    )  # fmt: skip


def _told(begin: int) -> Iterator[Observation]:
    """Events of these two hours."""
    first, last = begin / 3600, (begin + PART_S) / 3600
    for outage in OUTAGES:
        if first <= outage.end < last:
            end = START + round(outage.end * HOUR)
            detail = {"cause": outage.cause, "from_ns": START + round(outage.begin * HOUR) - PERIOD_S * S, "to_ns": end}
            for device in outage.devices:
                yield Event(device=device, time_ns=end, event=EventKind.GAP, text="no readings", detail=detail)
            if outage.cause in ("host_reboot", "daemon_down"):
                yield _started(outage.end)
    for second in range(begin, begin + PART_S, 3600):
        # The monitor is set back an hour when summer time ends, some hours late.
        ahead = 41.3 + second / 3600 * 0.03 - (3600 if second > 26.9 * 3600 else 0)
        detail = {"ahead_ns": round(ahead * S), "drift_ppm": 8.3, "uncertainty_ns": S // 2}
        at = START + second * S + 7
        yield Event(device="monitor", time_ns=at, event=EventKind.CLOCK, text="ahead", detail=detail)
    if first <= 26.9 < last:
        step = {"by_ns": -3600 * S, "like_summer_time": True}
        at = START + round(26.9 * HOUR)
        yield Event(device="monitor", time_ns=at, event=EventKind.CLOCK, text="set", detail=step)


async def make_run(directory: Path, hours: float = 80.0) -> Path:
    """The configuration of the bed; its journal and the registry lie beside it."""
    around: list[Observation] = []
    echoes = [hour for hour in (20.0, 46.9, 70.9) if hour < hours - 1]
    async with Journal(directory / "journal", commit_interval_s=0.001) as journal:
        for part in observations(hours):
            await journal.append(part)
            around += [each for each in part if any(abs(each.time_ns - START - h * HOUR) < HOUR / 4 for h in echoes)]
    drafts = [
        Draft(Action.START, SUBJECT, {"from_ns": START, "bed": "bed-17"}),
        Draft(Action.CONSENT, SUBJECT, {"from_ns": START + HOUR, "state": "emergency"}),
        Draft(Action.RUN_START, SUBJECT, {"from_ns": START + HOUR // 2, "configuration": "fem-fem"}),
        Draft(
            Action.COVARIATE_START, SUBJECT,
            {"from_ns": START + 5 * HOUR, "name": "unloading_device", "value": "iabp"},
        ),
        Draft(Action.RANDOMISE, SUBJECT, {"time_ns": START + 22 * HOUR}),
        Draft(Action.CONSENT, SUBJECT, {"from_ns": START + 30 * HOUR, "state": "surrogate"}),
        Draft(Action.RUN_EVENT, SUBJECT, {"time_ns": START + 54 * HOUR, "what": "oxygenator_change"}),
        *(_echo(number, hour, around) for number, hour in enumerate(echoes)),
        Draft(Action.RUN_STOP, SUBJECT, {"to_ns": START + round(hours * HOUR), "why": "weaned"}),
        Draft(Action.STOP, SUBJECT, {"to_ns": START + round((hours + 1) * HOUR)}),
    ]  # fmt: skip
    record(registry_path(directory / "journal"), drafts, actor="cra", now_ns=START + round((hours + 20) * HOUR))
    return _config(directory)


def _echo(number: int, hour: float, around: list[Observation]) -> Draft:
    at = START + round(hour * HOUR)
    frozen = json.loads(json.dumps(snapshot(around, at, Catalogue.shipped())))
    values = {"lvef": (12.0, 19.0, 26.0)[number], "lvot_vti": 6.0 + 3 * number, "tdsa": 4.0 + number}
    data = {"time_ns": at, "uncertainty_ns": 60 * S, "values": values, "snapshot": frozen}
    return Draft(Action.ECHO, SUBJECT, data)


def _config(directory: Path) -> Path:
    config = directory / "bed.toml"
    devices = (
        f'\n[[device]]\nid = "{name}"\ndriver = "hl7"\nlink = "tcp-listen://127.0.0.1:{2575 + at}"\n'
        for at, name in enumerate(("monitor", "pump", "gas"))
    )
    place = '[site]\nsite = "paris-03"\nbed = "bed-17"\ntimezone = "Europe/Paris"\n'
    journal = f'\n[journal]\ndirectory = "{directory}/journal"\n'
    config.write_text(place + journal + "".join(devices), encoding="utf-8")
    return config
