from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.catalogue import Catalogue
from acquisition.model import MISSING_COUNT, Numerics, Observation, Waveform
from acquisition.registry import build_driver
from acquisition.replay import Handing
from acquisition.session import Session
from acquisition.stamping import Stamper
from simulators.cli import devices
from simulators.memory_link import MemoryLink
from simulators.playing import players
from simulators.recordings import RecordedNumerics, Recording, read_recording
from simulators.virtual_time import LoopClock, run


async def arrived(recording: Recording, protocol: str = "hl7") -> list[Observation]:
    """What the production driver makes of a recording that a simulated monitor plays."""
    clock = LoopClock()
    make = players(devices())[protocol]
    link = MemoryLink(make(RecordedNumerics(recording, clock), recording.waves, clock))
    observed: list[Observation] = []
    driver = build_driver(protocol, None, {}, Catalogue.shipped(), ())
    keeper = Handing(observed.append, acknowledges=True)
    session = Session("mon", driver, link, clock, keeper, Stamper("mon", Catalogue.shipped()))
    running = asyncio.create_task(session.run())
    await asyncio.sleep(recording.seconds + 2)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return observed


def joined(observed: list[Observation], channel: str) -> tuple[NDArray[np.int64], NDArray[np.int32], float]:
    """Times and counts of a channel, and what a count stands for."""
    blocks = [each for each in observed if isinstance(each, Waveform) and each.channel == channel]
    times = [block.time_ns + block.period_ns * np.arange(block.counts.size) for block in blocks]
    return np.concatenate(times), np.concatenate([block.counts for block in blocks]), blocks[0].scale


@pytest.mark.parametrize(
    ("record", "channel"),
    [
        ("mimic-03700181/03700181", "wf_abp"),
        ("mimic3-s00001/3975656_0013", "wf_abp"),
        ("mimic3-s00001/3975656_0013", "wf_ecg_ii"),
    ],
)
def test_a_real_wave_comes_out_of_the_monitors_protocol_sample_by_sample(
    shared_data: Path, record: str, channel: str
) -> None:
    recording = read_recording(shared_data / record)
    wave = recording.waves[channel]
    times, counts, scale = joined(run(arrived(recording)), channel)
    assert scale == pytest.approx(wave.resolution, rel=1e-12)
    assert np.array_equal(counts, wave.counts)
    assert set(np.diff(times).tolist()) == {round(1e9 / wave.rate_hz)}


def test_numerics_of_a_real_patient_arrive_and_absent_ones_do_not(shared_data: Path) -> None:
    recording = read_recording(shared_data / "mimic3-s00001" / "s00001-2896-10-10-00-31n")
    recording.series = {channel: values[:20] for channel, values in recording.series.items()}
    observed = [each for each in run(arrived(recording)) if isinstance(each, Numerics)]
    said = recording.series["hr"]
    heard = {each.values.get("hr") for each in observed}
    assert heard - {None} == {round(float(value), 1) for value in said if not np.isnan(value)}


def write_csv(path: Path, rate_hz: float, **signals: list[float | None]) -> Path:
    rows = zip(*signals.values(), strict=True)
    lines = [",".join(["seconds", *signals])]
    lines += [
        ",".join([f"{n / rate_hz:.6f}", *("" if v is None else f"{v}" for v in row)]) for n, row in enumerate(rows)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_csv_is_played_with_its_missing_samples_missing(tmp_path: Path) -> None:
    samples: list[float | None] = [80 + 20 * float(np.sin(n / 20)) for n in range(1000)]
    samples[300:310] = [None] * 10
    recording = read_recording(write_csv(tmp_path / "a.csv", 125, wf_abp=samples))
    times, counts, scale = joined(run(arrived(recording)), "wf_abp")
    assert np.flatnonzero(counts == MISSING_COUNT).tolist() == list(range(300, 310))
    there = [number for number, value in enumerate(samples) if value is not None]
    assert np.abs(counts[there] * scale - np.array([samples[n] for n in there], dtype=float)).max() <= scale / 2 + 1e-9
    assert set(np.diff(times).tolist()) == {8_000_000}


def test_a_slow_csv_is_numerics(tmp_path: Path) -> None:
    recording = read_recording(write_csv(tmp_path / "a.csv", 1, hr=[80, 81, None, 83, 84], abp_mean=[60] * 5))
    observed = [each for each in run(arrived(recording)) if isinstance(each, Numerics)]
    assert [each.values.get("hr") for each in observed[:4]] == [81.0, None, 83.0, 84.0]
    assert {each.values["abp_mean"] for each in observed} == {60.0}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seconds,Fancy\n0,1\n0.008,2\n", "no channel is known for Fancy"),
        ("seconds,wf_abp\n0,1\n0.008,2\n0.1,3\n", "evenly spaced"),
        ("seconds,wf_abp\n0,x\n1,2\n", "could not convert"),
        ("seconds,wf_abp\n0,1\n", "two samples"),
    ],
)
def test_what_cannot_be_played_is_refused_with_the_reason(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=told):
        read_recording(path)


def test_a_signal_can_be_given_a_channel(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", 125, Fancy=[1.0, 2.0, 3.0])
    assert list(read_recording(path, {"Fancy": "wf_cvp"}).waves) == ["wf_cvp"]
