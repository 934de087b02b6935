"""A bed with a subject for tests of query and export: a journal of some hours, and the registry beside it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import numpy as np

from acquisition.archive.episodes.chain import Action
from acquisition.archive.episodes.registry import registry_path
from acquisition.archive.episodes.snapshot import snapshot
from acquisition.archive.episodes.writing import Draft, record
from acquisition.catalogue import Catalogue
from acquisition.journal import Journal
from acquisition.model import Event, EventKind, Numerics, Observation, Quality, State, Waveform

S = 1_000_000_000
HOUR = 3600 * S
T0 = 1_773_475_200_000_000_000 + 8 * HOUR
"""2026-03-14T16:00:00Z, when the data begins."""
RUN = T0 - HOUR
RANDOMISED = T0 + HOUR
HOURS = 3
ECHO = T0 + 2 * HOUR
SERIAL = "SN4711-0815"
SUBJECT = "LEV-03-012"
SECRETS = (
    SUBJECT, "03-012", "site-paris", "bed-17", "monitor-17", "pump-17", "2026-03", "14-MAR", "14.03", "Dr Muster",
    "jmuster", "sn4711-0815", "levosimendan", "study_drug", "inf_rate", str(T0)[:6], str(RANDOMISED)[:6],
)  # fmt: skip
"""What must be nowhere in a pseudonymous data set."""
_made_once: Path | None = None
"""The bed that every other one is a copy of."""


def observations() -> list[Observation]:
    """Three hours: numerics each 10 s, a wave at 10 Hz with a break, a state, three qualities, and the study drug."""
    found: list[Observation] = []
    for second in range(0, HOURS * 3600, 10):
        at = T0 + second * S
        quality = list(Quality)[second // 10 % 3]
        values = {"abp_mean": 70.0 + second % 70 / 8, "hr": 90.0, "study_drug_rate": 1.5, "inf_rate": 2.5}
        states = {"spo2": State.NOT_CONNECTED} if second % 600 == 0 else {}
        if not states:
            values["spo2"] = 97.0
        judged = {name: quality if name == "abp_mean" else Quality.GOOD for name in values}
        if not 4000 < second < 4300:
            found.append(Numerics(device="monitor-17", time_ns=at, values=values, states=states, quality=judged))
            counts = np.round(900 + 300 * np.sin(np.arange(100) / 3 + second)).astype("<i4")
            found.append(
                Waveform(device="monitor-17", channel="wf_abp", time_ns=at, period_ns=S // 10, raw=counts.tobytes(),
                         scale=0.1)
            )  # fmt: skip
        found.append(
            Numerics(device="pump-17", time_ns=at + 5, values={"ecmo_flow": 3.5 - second / 9000},
                     quality={"ecmo_flow": Quality.GOOD})
        )  # fmt: skip
    end = T0 + 4300 * S
    gap = {"cause": "link_lost", "from_ns": T0 + 4000 * S, "to_ns": end}
    found.append(Event(device="monitor-17", time_ns=end, event=EventKind.GAP, text="no readings: bed-17", detail=gap))
    drift = {"ahead_ns": -2 * S, "drift_ppm": 12.5, "uncertainty_ns": S // 2}
    found.append(Event(device="monitor-17", time_ns=T0 + HOUR, event=EventKind.CLOCK, text="behind", detail=drift))
    said = {"make": "Philips", "model": "MX800", "serial": SERIAL, "firmware": "M.04.02", "eui64": f"00-{SERIAL}"}
    for at, identity in ((T0 - 3 * HOUR, said), (T0 + 4301 * S, {**said, "firmware": "M.05.00"})):
        text = f"the device says it is a Philips MX800, serial {SERIAL}"
        identified = {"identity": identity}
        found.append(Event(device="monitor-17", time_ns=at, event=EventKind.IDENTITY, text=text, detail=identified))
    for at, steered in ((T0 - 3 * HOUR, True), (T0 + 2 * HOUR, False)):
        kernel = {"synchronised": steered, "estimated_error_ns": 1_500_000, "max_error_ns": 20_000_000}
        text = "the system clock is" + " not" * (not steered) + " synchronised"
        found.append(Event(device="daemon", time_ns=at, event=EventKind.CLOCK, text=text, detail=kernel))
    started = {"start_ns": T0, "version": "0.1.0", "boot_id": "b"}
    found.append(Event(device="daemon", time_ns=T0, event=EventKind.DAEMON, text="started 2026-03-14", detail=started))
    alarm = "levosimendan: syringe nearly empty"
    found.append(Event(device="pump-17", time_ns=T0 + 60 * S, event=EventKind.ALARM, text=alarm))
    found.append(Event(device="pump-17", time_ns=T0 + 61 * S, event=EventKind.ALARM, text="Dr Muster, bed-17"))
    return found


async def make_bed(directory: Path) -> Path:
    """The journal's directory; the registry and a configuration `bed.toml` lie beside it."""
    if _made_once is None:
        await _make_once()
    shutil.copytree(str(_made_once), directory, dirs_exist_ok=True)
    write_config(directory)
    return directory / "journal"


async def _make_once() -> None:
    """A hundred tests of a run each want one of their own, and making it takes longer than asking it does."""
    global _made_once
    directory = Path(tempfile.mkdtemp(prefix="ecmo-daq-bed-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    everything = observations()
    async with Journal(directory / "journal", commit_interval_s=0.001) as journal:
        for at in range(0, len(everything), 500):
            await journal.append(everything[at : at + 500])
        journal.quarantine("central", everything[0], "field type conflict: bed=bed-17")
    drafts = [
        Draft(Action.START, SUBJECT, {"from_ns": T0 - 2 * HOUR, "bed": "bed-17"}),
        Draft(Action.RUN_START, SUBJECT, {"from_ns": RUN, "configuration": "fem-fem"}),
        Draft(Action.RANDOMISE, SUBJECT, {"time_ns": RANDOMISED}),
        Draft(Action.CONSENT, SUBJECT, {"from_ns": RUN, "state": "emergency"}),
        Draft(Action.NOTE, SUBJECT, {"time_ns": T0, "text": "seen by Dr Muster"}),
        Draft(Action.NOTE, SUBJECT, {"time_ns": T0 + HOUR, "text": "tolerates it well"}),
        Draft(Action.RUN_STOP, SUBJECT, {"to_ns": T0 + HOURS * HOUR, "why": "weaned"}),
        Draft(Action.STOP, SUBJECT, {"to_ns": T0 + HOURS * HOUR}),
        Draft(Action.ECHO, SUBJECT, {
            "time_ns": ECHO, "uncertainty_ns": 60 * S, "values": {"lvef": 35.0, "lvot_vti": 11.0},
            "snapshot": snapshot(everything, ECHO, Catalogue.shipped()),
        }),
    ]  # fmt: skip
    record(registry_path(directory / "journal"), drafts, actor="jmuster", now_ns=T0 + 9 * HOUR)
    _made_once = directory


def write_config(directory: Path) -> None:
    """The configuration of the bed whose journal is in this directory."""
    (directory / "bed.toml").write_text(
        f"""
[site]
site = "site-paris"
bed = "bed-17"
timezone = "Europe/Paris"
[journal]
directory = "{directory}/journal"
[[device]]
id = "monitor-17"
driver = "hl7"
link = "tcp-listen://127.0.0.1:2575"
""",
        encoding="utf-8",
    )
