from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.catalogue import Catalogue
from acquisition.clock import NS
from acquisition.model import MISSING_COUNT, Event, EventKind, Numerics, Observation, Waveform
from acquisition.registry import build_driver
from acquisition.replay import Handing
from acquisition.session import Session
from acquisition.stamping import Stamper
from simulators.cli import devices
from simulators.memory_link import MemoryLink
from simulators.playing import players
from simulators.recordings import RecordedNumerics, RecordedWave, Recording, read_recording
from simulators.virtual_time import LoopClock, run

ABLE = players(devices())
OPTIONS: dict[str, dict[str, Any]] = {
    "dri": {"waves": ["ecg1", "invp1", "invp2", "pleth"], "channels": {"wf_ecg1": "wf_ecg_ii"}},
    "hl7": {},
    "intellivue": {"mode": "mib"},
}
RATES = {"dri": {"wf_ecg_ii": 300, "wf_abp": 100, "wf_cvp": 100, "wf_pleth": 100}}
"""Where a monitor samples at rates of its own, whatever is played."""
ATTACHED_S = 7
"""When the other end has certainly asked for everything."""


async def arrived(recording: Recording, protocol: str = "hl7") -> list[Observation]:
    """What the production driver makes of a recording that a simulated monitor plays."""
    clock = LoopClock()
    link = MemoryLink(ABLE[protocol].make(RecordedNumerics(recording, clock), recording.waves, clock))
    observed: list[Observation] = []
    driver = build_driver(protocol, None, OPTIONS[protocol], Catalogue.shipped(), ())
    keeper = Handing(observed.append, acknowledges=True)
    session = Session("mon", driver, link, clock, keeper, Stamper("mon", Catalogue.shipped()))
    running = asyncio.create_task(session.run())
    await asyncio.sleep(recording.seconds + ATTACHED_S)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return observed


def joined(observed: list[Observation], channel: str) -> tuple[NDArray[np.int64], NDArray[np.int32], float]:
    """Times and counts of a channel, and what a count stands for."""
    blocks = [each for each in observed if isinstance(each, Waveform) and each.channel == channel]
    times = [block.time_ns + block.period_ns * np.arange(block.counts.size) for block in blocks]
    return np.concatenate(times), np.concatenate([block.counts for block in blocks]), blocks[0].scale


def write_csv(path: Path, rate_hz: float, **signals: list[float | None]) -> Path:
    rows = zip(*signals.values(), strict=True)
    lines = [",".join(["seconds", *signals])]
    lines += [
        ",".join([f"{n / rate_hz:.6f}", *("" if v is None else f"{v}" for v in row)]) for n, row in enumerate(rows)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def as_sampled_by(protocol: str, channel: str, wave: RecordedWave) -> NDArray[np.float64]:
    """The recorded wave in its unit where that monitor looks at it; NaN where there is none."""
    values = np.where(wave.counts == MISSING_COUNT, np.nan, wave.counts * wave.resolution)
    rate_hz = RATES.get(protocol, {}).get(channel)
    if rate_hz is None:
        return values
    length = (values.size - 1) * rate_hz // int(wave.rate_hz) + 1
    places = np.arange(length) * wave.rate_hz / rate_hz
    return np.interp(places, np.arange(values.size), values)


@pytest.mark.parametrize("protocol", ABLE)
@pytest.mark.parametrize(
    ("record", "channel"),
    [
        ("mimic-03700181/03700181", "wf_abp"),
        ("mimic3-s00001/3975656_0013", "wf_abp"),
        ("mimic3-s00001/3975656_0013", "wf_ecg_ii"),
    ],
)
def test_a_real_wave_comes_out_of_each_monitors_protocol_equal_at_its_resolution(
    shared_data: Path, protocol: str, record: str, channel: str
) -> None:
    recording = read_recording(shared_data / record)
    recording.waves = {channel: recording.waves[channel]}
    wave = recording.waves[channel]
    wave.counts = wave.counts[: 30 * 125]
    observed = run(arrived(recording, protocol))
    times, counts, scale = joined(observed, channel)
    expected = as_sampled_by(protocol, channel, wave)
    offset = next(each.offset for each in observed if isinstance(each, Waveform))
    there = ~np.isnan(expected)
    assert np.array_equal(counts[: expected.size] != MISSING_COUNT, there)
    assert (counts[expected.size :] == MISSING_COUNT).all()  # the last block of a monitor is filled up
    assert np.abs(counts[: expected.size] * scale + offset - expected)[there].max() <= scale * (0.5 + 1e-6)
    assert set(np.diff(times).tolist()) == {NS // RATES.get(protocol, {}).get(channel, 125)}
    assert not [each for each in observed if isinstance(each, Event) and each.event is EventKind.GAP]


@pytest.mark.parametrize("protocol", ["hl7", "intellivue"])
def test_where_a_monitor_samples_as_the_recording_did_the_very_counts_come_back(
    shared_data: Path, protocol: str
) -> None:
    recording = read_recording(shared_data / "mimic-03700181/03700181")
    wave = recording.waves["wf_abp"]
    wave.counts = wave.counts[: 30 * 125]
    observed = run(arrived(recording, protocol))
    _, counts, scale = joined(observed, "wf_abp")
    offset = next(each.offset for each in observed if isinstance(each, Waveform))
    back = np.round((counts[: wave.counts.size] * scale + offset) / wave.resolution)
    assert np.array_equal(back, wave.counts)


def test_numerics_of_a_real_patient_arrive_and_absent_ones_do_not(shared_data: Path) -> None:
    recording = read_recording(shared_data / "mimic3-s00001" / "s00001-2896-10-10-00-31n")
    recording.series = {channel: values[:20] for channel, values in recording.series.items()}
    observed = [each for each in run(arrived(recording)) if isinstance(each, Numerics)]
    said = recording.series["hr"]
    heard = {each.values.get("hr") for each in observed}
    assert heard - {None} == {round(float(value), 1) for value in said if not np.isnan(value)}


@pytest.mark.parametrize("protocol", ABLE)
def test_numerics_of_a_csv_arrive_at_their_times_in_each_protocol(tmp_path: Path, protocol: str) -> None:
    rates: list[float | None] = [80.0 + n for n in range(30)]
    rates[10:20] = [None] * 10
    recording = read_recording(write_csv(tmp_path / "a.csv", 1, hr=rates, abp_mean=[60.5] * 30))
    observed = [each for each in run(arrived(recording, protocol)) if isinstance(each, Numerics)]
    begun = observed[0].time_ns - (NS if protocol == "hl7" else 0)  # its first report is of the first second
    for each in observed:
        heard, second = each.values.get("hr"), (each.time_ns - begun) / NS
        around = {rates[min(max(0, int(second + shift)), 29)] for shift in (-0.3, 0.1)}
        assert heard in around, (second, heard, around)
    assert {each.values["abp_mean"] for each in observed} == {60.5}
    assert len(observed) >= (6 if protocol == "dri" else 29)


@pytest.mark.parametrize("protocol", ABLE)
@pytest.mark.parametrize("rate_hz", [100, 125, 360])
def test_a_wave_of_a_csv_is_played_at_any_rate_with_its_missing_samples_missing(
    tmp_path: Path, protocol: str, rate_hz: int
) -> None:
    samples: list[float | None] = [80 + 20 * float(np.sin(6 * n / rate_hz)) for n in range(8 * rate_hz)]
    samples[3 * rate_hz : 3 * rate_hz + 10] = [None] * 10
    recording = read_recording(write_csv(tmp_path / "a.csv", rate_hz, wf_abp=samples))
    observed = run(arrived(recording, protocol))
    times, counts, scale = joined(observed, "wf_abp")
    offset = next(each.offset for each in observed if isinstance(each, Waveform))
    seconds = (times - times[0]) / NS
    there = counts != MISSING_COUNT
    error = counts * scale + offset - (80 + 20 * np.sin(6 * seconds))
    bent = 20 * 6**2 / (8 * rate_hz**2)  # how far a straight line between two samples may lie beside the curve
    assert np.abs(error[there]).max() <= scale / 2 + bent + 0.0005 + 2e-5
    lost = seconds[~there & (seconds < 7.9)]
    assert 3 - 1 / rate_hz <= lost.min() <= 3 + 1 / rate_hz
    assert lost.size == pytest.approx(11 / rate_hz * NS / (times[1] - times[0]), abs=2)


def test_what_a_monitor_has_no_word_for_is_left_out_and_nothing_at_all_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", 125, wf_abp=[1.0, 2.0, 3.0], wf_fancy=[1.0, 2.0, 3.0])
    for protocol, monitor in ABLE.items():
        recording = read_recording(path)
        recording.keep(monitor.carries)
        assert (list(recording.waves), recording.left_out) == (["wf_abp"], ("wf_fancy",)), protocol
        with pytest.raises(ValueError, match="none of wf_fancy"):
            read_recording(write_csv(tmp_path / "b.csv", 125, wf_fancy=[1.0, 2.0])).keep(monitor.carries)


def test_a_monitor_that_plays_sends_no_wave_that_the_recording_does_not_have(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", 125, wf_abp=[80.0] * 500)
    for protocol in ABLE:
        observed = run(arrived(read_recording(path), protocol))
        assert {each.channel for each in observed if isinstance(each, Waveform)} == {"wf_abp"}, protocol


@pytest.mark.parametrize("protocol", ["dri", "intellivue"])
def test_a_recording_begins_when_it_is_asked_for(tmp_path: Path, protocol: str) -> None:
    async def later() -> list[Observation]:
        await asyncio.sleep(1000)
        return await arrived(recording, protocol)

    recording = read_recording(write_csv(tmp_path / "a.csv", 125, wf_abp=[float(n) for n in range(60, 260)]))
    _, counts, scale = joined(run(later()), "wf_abp")
    assert counts[0] * scale == pytest.approx(60.0 + (50.0 if protocol == "intellivue" else 0.0))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seconds,Fancy\n0,1\n0.008,2\n", "no channel is known for Fancy"),
        ("seconds,wf_abp\n0,1\n0.008,2\n0.1,3\n", "evenly spaced"),
        ("seconds,wf_abp\n0,x\n1,2\n", "could not convert"),
        ("seconds,wf_abp\n0,1\n", "two samples"),
        ("", "two samples"),
        ("seconds\n0\n1\n", "two samples"),
        ("seconds,wf_abp\n0,1\n,2\n0.016,3\n", "evenly spaced"),
        ("seconds,wf_abp\n0,1\n0.008\n", "line 3: 1 cells; the first line has 2"),
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
