"""One step of the measurement of exports, in a process of its own, so that memory and caches are its own."""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from acquisition.archive import open_archive
from acquisition.archive.episodes.registry import Registry
from acquisition.archive.export.dataset import export
from acquisition.archive.export.request import Format, Request
from acquisition.archive.scope import of_bed
from acquisition.archive.source import JournalSource
from acquisition.clock import rfc3339
from acquisition.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.model import Numerics, Observation, Quality, Waveform

T0 = 1_767_225_600_000_000_000
S = 1_000_000_000
RATE, BLOCK_S = 250, 10
WAVES = ("wf_abp", "wf_cvp", "wf_pleth", "wf_ecg_ii")
NUMERICS = ("abp_sys", "abp_dia", "abp_mean", "hr", "spo2", "cvp", "rr", "etco2")


async def _fill(directory: Path, hours: int, *, waves: bool) -> None:
    chance = np.random.default_rng(1)
    shapes = [
        np.round(900 + 300 * np.sin(np.arange(RATE * BLOCK_S) / 30) + chance.normal(0, 1.5, RATE * BLOCK_S))
        .astype("<i4")
        .tobytes()
        for _ in range(16)
    ]
    good = dict.fromkeys(NUMERICS, Quality.GOOD)
    async with Journal(directory, commit_interval_s=0) as journal:
        for number, second in enumerate(range(0, 3600 * hours, BLOCK_S)):
            at = T0 + second * S
            group: list[Observation] = [
                Numerics(
                    device="mon", time_ns=at + each * S, quality=good,
                    values=dict.fromkeys(NUMERICS, 60.0 + (second + each) % 40),
                )
                for each in range(BLOCK_S)
            ]  # fmt: skip
            if waves:
                group += [
                    Waveform(device="mon", channel=name, time_ns=at, period_ns=S // RATE,
                             raw=shapes[(number + place) % len(shapes)], scale=0.1)
                    for place, name in enumerate(WAVES)
                ]  # fmt: skip
            await journal.append(group)


def _export(directory: Path, form: str) -> dict[str, float]:
    source = JournalSource(directory)
    out = directory.parent / f"{directory.name}-{form}"
    readings = JournalReader(directory).stat().readings
    samples = sum(count for channels in readings.values() for name, count in channels.items() if name in WAVES)
    start = time.perf_counter()
    export(source, Registry(), [of_bed("bed-1")], Request(Format(form)), out)
    return {"rate": samples / (time.perf_counter() - start), "mb": _megabytes()}


def _query(directory: Path, days: int) -> dict[str, float]:
    begin = T0 + days // 2 * 24 * 3600 * S
    start = time.perf_counter()
    archive = open_archive(directory)
    table = archive.query(
        ["abp_mean"], from_=rfc3339(begin), to=rfc3339(begin + 24 * 3600 * S), every="1m",
        aggregates=["mean", "median", "min", "max", "count"],
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if table.num_rows != 24 * 60:
        raise RuntimeError(f"{table.num_rows} rows")
    return {"seconds": seconds, "mb": _megabytes()}


def _command(directory: Path, days: int) -> dict[str, float]:
    begin = T0 + days // 2 * 24 * 3600 * S
    words = [
        "query", "--journal", str(directory), "--channels", "abp_mean", "--every", "1m",
        "--from", rfc3339(begin), "--to", rfc3339(begin + 24 * 3600 * S),
    ]  # fmt: skip
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "acquisition.cli", *words], check=True, stdout=subprocess.PIPE)
        seconds.append(time.perf_counter() - start)
        if done.stdout.count(b"\n") != 24 * 60 + 1:
            raise RuntimeError("this is no day of minutes")
    return {"seconds": statistics.median(seconds)}


def _megabytes() -> float:
    """The most it held at once. What getrusage tells begins with the process that started it (getrusage(2), NOTES)."""
    (most,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text("ascii"), re.MULTILINE)
    return int(most) / 1024


def main(step: str, directory: str, argument: str, kind: str = "") -> None:
    """Prints the figures as JSON."""
    figures: dict[str, float] = {}
    if step == "fill":
        asyncio.run(_fill(Path(directory), int(argument), waves=kind == "waves"))
    elif step == "export":
        figures = _export(Path(directory), argument)
    elif step == "command":
        figures = _command(Path(directory), int(argument))
    else:
        figures = _query(Path(directory), int(argument))
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
