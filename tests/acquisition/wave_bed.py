"""A bed with waves at 250 Hz for tests of the formats of waves, its export, and what the journal has of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acquisition.archive.chunk import Window
from acquisition.archive.episodes.registry import Registry
from acquisition.archive.export.dataset import export
from acquisition.archive.export.request import Format, Request
from acquisition.archive.scope import of_bed
from acquisition.archive.source import JournalSource
from acquisition.journal import Journal
from acquisition.model import MISSING_COUNT, Observation, Waveform
from tests.acquisition.journal_observations import T0

S = 1_000_000_000
ALL = Window(None, 0, 2**63 - 1)


def wave(
    at: int, counts: NDArray[np.int32], scale: float = 0.1, offset: float = 0.0, channel: str = "wf_abp"
) -> Waveform:
    raw = counts.astype("<i4").tobytes()
    return Waveform(device="mon", channel=channel, time_ns=at, period_ns=4_000_000, raw=raw, scale=scale, offset=offset)


def bed(length_s: int = 7200, pause: tuple[int, int] = (3000, 4800)) -> list[Observation]:
    """Waves with a break, a missing second after ten minutes, and for five minutes a second channel."""
    chance = np.random.default_rng(3)
    found: list[Observation] = []
    for at in range(0, length_s, 60):
        if pause[0] <= at < pause[1]:
            continue
        counts = np.round(900 + 300 * np.sin(np.arange(15_000) / 25) + chance.normal(0, 2, 15_000)).astype(np.int32)
        if at == 600:
            counts[250:500] = MISSING_COUNT
        found.append(wave(T0 + at * S, counts))
        if at < 300:
            found.append(wave(T0 + at * S, counts * 100, scale=1 / 3, offset=0.25, channel="wf_ecg_ii"))
    return found


async def exported(directory: Path, form: Format, observations: list[Observation]) -> tuple[Path, JournalSource]:
    async with Journal(directory / "journal", commit_interval_s=0.001) as journal:
        for each in observations:
            await journal.append([each])
    source = JournalSource(directory / "journal")
    export(source, Registry(), [of_bed("bed-1")], Request(form), directory / "set")
    return directory / "set", source


def truth(source: JournalSource, channel: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    chunks = list(source.waves(ALL, channels=[channel]))
    return np.concatenate([each.time_ns for each in chunks]), np.concatenate([each.values for each in chunks])
