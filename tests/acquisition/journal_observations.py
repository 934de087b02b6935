"""Observations for tests of the journal."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from acquisition.journal import Journal
from acquisition.model import Event, EventKind, Numerics, Observation, Quality, Waveform

DAY_NS = 86_400_000_000_000
T0 = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z."""
QUICK = 0.001
NEVER_NS = 10**18
"""As age from which blocks are merged."""


def numerics(time_ns: int, value: float = 1.0, device: str = "mon", channel: str = "abp_mean") -> Numerics:
    return Numerics(device=device, time_ns=time_ns, values={channel: value}, quality={channel: Quality.GOOD})


def waveform(
    time_ns: int, counts: list[int], device: str = "mon", channel: str = "wf_abp", period_ns: int = 2_000_000
) -> Waveform:
    raw = np.array(counts, dtype="<i4").tobytes()
    return Waveform(device=device, channel=channel, time_ns=time_ns, period_ns=period_ns, raw=raw, scale=0.1)


def event(time_ns: int, text: str = "x", device: str = "mon") -> Event:
    return Event(device=device, time_ns=time_ns, event=EventKind.ALARM, text=text)


async def everything(journal: Journal, after: int = 0) -> list[Observation]:
    """All observations after a cursor, read in small batches."""
    found: list[Observation] = []
    while journal.last_seq > after:
        batch = await journal.read(after, 7)
        found += batch.observations
        assert batch.last_seq > after
        after = batch.last_seq
    return found


def alter(path: Path, sql: str) -> None:
    """Changes a day file behind the journal's back."""
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()
