"""What the journal takes on disk as the daemon leaves it: appended as monitors send, one group every 200 ms."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import wfdb
from numpy.typing import NDArray

from acquisition.journal.journal import Journal
from acquisition.journal.schema import day_file
from acquisition.model import Numerics, Observation, Quality, Waveform
from benchmarks.result import Result

NS = 1_000_000_000
DAY_NS = 86_400 * NS
T0 = 1_767_225_600 * NS
INTERVAL_NS = NS // 5
PASSES = 3
"""How often the recordings are played, so that the last minute, which leaves free pages, weighs little, as in a day."""
CHANNELS = 40
NUMERICS_S = 3600
RECORDS = (
    "mimic-03700181/03700181", "mimic3-s00001/3975656_0012", "mimic3-s00001/3975656_0013", "mimic3-s00001/3975656_0015",
)  # fmt: skip
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

Group = list[Observation]


def measure() -> list[Result]:
    """Real waves in pieces of two sizes, and numerics of forty channels once a second."""
    results = []
    if DATA.is_dir():
        for piece_ms in (256, 1000):
            size, samples = asyncio.run(_size(_waves(piece_ms * NS // 1000)))
            what = f"disk, real waves, sent every {piece_ms} ms"
            results.append(Result(what, size / samples, "byte/sample", "at most 1.0"))
    size, numerics = asyncio.run(_size(_numerics()))
    what = f"disk, {CHANNELS} numerics at 1 Hz"
    return [*results, Result(what, size / (numerics * CHANNELS), "byte/value", "at most 4")]


async def _size(groups: Iterator[Group]) -> tuple[int, int]:
    """Bytes of the file of a day that is over, and points in it."""
    points = 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with Journal(directory, commit_interval_s=0.0) as journal:
            for group in groups:
                await journal.append(group)
                points += sum(len(one.raw) // 4 if isinstance(one, Waveform) else 1 for one in group)
            await journal.append([Numerics(device="mon", time_ns=T0 + DAY_NS, values={"hr": 1.0})])
        return day_file(directory, "2026-01-01").stat().st_size, points


def _waves(piece_ns: int) -> Iterator[Group]:
    """The recordings one after the other; each monitor sends a piece of every channel at once, a group takes 200 ms."""
    begin = T0
    for _ in range(PASSES):
        for record in RECORDS:
            signals = list(_signals(record))
            frames = min(counts.size * period_ns for _, counts, period_ns, _ in signals) // piece_ns
            due: dict[int, Group] = {}
            for number in range(frames):
                group = due.setdefault(((number + 1) * piece_ns - 1) // INTERVAL_NS, [])
                for channel, counts, period_ns, scale in signals:
                    size = piece_ns // period_ns
                    raw = counts[number * size : (number + 1) * size].tobytes()
                    group.append(
                        Waveform(device="mon", channel=channel, time_ns=begin + number * piece_ns, period_ns=period_ns,
                                 raw=raw, scale=scale)
                    )  # fmt: skip
            yield from due.values()
            begin += frames * piece_ns


def _signals(record: str) -> Iterator[tuple[str, NDArray[np.int32], int, float]]:
    """Channel, counts, period and scale."""
    found = wfdb.rdrecord(str(DATA / record), physical=False, smooth_frames=False)
    for name, counts, frame, gain in zip(
        found.sig_name, found.e_d_signal, found.samps_per_frame, found.adc_gain, strict=True
    ):
        yield f"wf_{name.lower()}", counts.astype("<i4"), round(NS / found.fs / frame), 1 / gain


def _numerics() -> Iterator[Group]:
    """Random walks about which a monitor hovers, at its resolution: half in whole units, half in tenths."""
    chance = np.random.default_rng(1)
    level = 70 + np.cumsum(chance.normal(0, 0.3, (NUMERICS_S, CHANNELS)), axis=0)
    seen = level + chance.normal(0, 0.5, level.shape)
    rounded = np.where(np.arange(CHANNELS) % 2, np.round(seen, 1), np.round(seen))
    names = [f"channel_{number}" for number in range(CHANNELS)]
    quality = dict.fromkeys(names, Quality.GOOD)
    for second, row in enumerate(rounded.tolist()):
        now = T0 + second * NS + int(chance.normal(0, 3e6)) + 50_000_000
        values = dict(zip(names, row, strict=True))
        yield [Numerics(device="mon", time_ns=now, values=values, quality=quality)]
