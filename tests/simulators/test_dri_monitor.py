from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acquisition.catalogue import Catalogue
from acquisition.clock import NS, ManualClock, ScaledClock
from acquisition.driver import Emission, Reading, Samples
from acquisition.model import Event, EventKind, GapCause, Numerics, Observation, State, Waveform
from acquisition.replay import Handing, record_link, replay
from acquisition.session import Session
from acquisition.stamping import Stamper
from acquisition.trace import read_trace
from acquisition.transports.url import open_link
from drivers.dri import DriDriver
from simulators.dri import FICTITIOUS, DriMonitor
from simulators.links import attached
from simulators.physiology import Patient
from tests.simulators.kept import Kept

SHOWN = {
    "hr": 96.0, "abp_sys": 84.5, "abp_dia": 61.25, "abp_mean": 70.0, "cvp": -1.5, "ecmo_p_pre": 205.0, "spo2": 97.0,
    "temp_core": 36.6, "co_td": 4.35,
}  # fmt: skip
T0 = 1_785_585_600 * NS


class Wire:
    """Monitor and driver on one clock, without a link between."""

    def __init__(self, shown: dict[str, float] | None = None, **options: Any) -> None:
        self.clock = ManualClock(T0)
        self.monitor = DriMonitor(lambda: SHOWN if shown is None else shown, self.clock)
        self.driver = DriDriver.build(options, Catalogue.shipped())
        self.driver.start(0)
        self.received = b""

    def run(self, seconds: float) -> list[Emission]:
        end = self.clock.now().mono_ns + round(seconds * NS)
        while (now := self.clock.now().mono_ns) < end:
            for frame in self.driver.take_frames():
                self.monitor.hear(frame)
            sent = self.monitor.due()
            self.received += sent
            self.driver.receive(sent, now)
            self.driver.tick(now)
            self.clock.advance_to(now + NS // 20)
        return self.driver.take_emissions()


def readings(emissions: list[Emission]) -> list[Reading]:
    return [each for each in emissions if isinstance(each, Reading)]


def blocks(emissions: list[Emission], channel: str) -> list[Samples]:
    return [each for each in emissions if isinstance(each, Samples) and each.channel == channel]


def test_what_the_monitor_shows_is_what_the_driver_reads() -> None:
    wire = Wire()
    found = readings(wire.run(11))
    assert len(found) == wire.monitor.values_sent == 3
    values = dict(found[0].values)
    assert values.pop("dri_p3_mean") == values.pop("dri_p3_sys") == values.pop("dri_p3_dia") == 205.0
    assert values.pop("pr_abp") == 96.0
    assert values.pop("dri_t1") == 36.6
    assert values == {name: value for name, value in SHOWN.items() if name not in ("ecmo_p_pre", "temp_core")}
    assert wire.driver.counters["frames_bad"] == 0


def test_waves_have_their_rates_and_follow_the_patient() -> None:
    wire = Wire()
    wire.monitor.extend([50.0 + 0.4 * index for index in range(520)])
    emissions = wire.run(4.05)
    pressure, heart = blocks(emissions, "wf_abp"), blocks(emissions, "dri_wf_ecg1")
    assert sum(each.counts.size for each in pressure) == 400
    assert sum(each.counts.size for each in heart) == 1200
    assert np.diff(np.concatenate([each.counts for each in pressure])).tolist() == [50] * 399
    assert max(int(each.counts.max()) for each in heart) > 900


def test_it_says_nothing_until_asked_and_nothing_after_it_was_told_to_stop() -> None:
    wire = Wire()
    assert wire.monitor.due() == b""
    wire.run(6)
    wire.driver.stop(0)
    for frame in wire.driver.take_frames():
        wire.monitor.hear(frame)
    wire.clock.advance_to(60 * NS)
    assert wire.monitor.due() == b""
    assert wire.monitor.requests == [(0, True), (1, True), (0, False), (1, False)]


def test_a_monitor_that_stalls_is_asked_again_and_its_first_block_tells_of_the_gap() -> None:
    wire = Wire()
    wire.run(6)
    wire.monitor.stalled = True
    emissions = wire.run(8)
    assert wire.driver.counters["asked_again"] == 1
    assert [each.after_gap for each in blocks(emissions, "wf_abp")[:2]] == [True, False]
    assert not wire.monitor.stalled


def test_a_monitor_that_is_switched_on_late_is_found() -> None:
    wire = Wire()
    wire.monitor.deaf = True
    assert wire.run(30) == []
    wire.monitor.deaf = False
    assert readings(wire.run(15))


@pytest.mark.parametrize("fault", ["flip", "cut"])
def test_a_frame_damaged_on_the_line_costs_itself_alone(fault: str) -> None:
    wire = Wire()
    wire.run(6)
    setattr(wire.monitor, fault, True)
    emissions = wire.run(1)
    assert wire.driver.counters["frames_bad"] == 1
    assert len(blocks(emissions, "wf_abp")) == 3


def test_zeroing_and_missing_values_arrive_as_states() -> None:
    shown = {name: value for name, value in SHOWN.items() if name != "spo2"}
    wire = Wire(shown)
    wire.monitor.zeroing = True
    (found,) = readings(wire.run(1))
    assert found.states["spo2"] is State.INVALID
    assert found.states["abp_mean"] is State.CALIBRATING


def test_a_patient_that_nobody_asked_for_stays_on_the_wire() -> None:
    wire = Wire()
    wire.monitor.tell_patient = True
    emissions = wire.run(6)
    assert FICTITIOUS in wire.received
    assert readings(emissions)
    assert wire.driver.counters["ignored_records"] > 5
    assert "FICTITIOUS" not in repr(emissions) + repr(vars(wire.driver))


@contextlib.asynccontextmanager
async def watched(link: str, clock: ScaledClock) -> AsyncIterator[Kept]:
    kept = Kept()
    driver = DriDriver.build({}, Catalogue.shipped())
    transport = open_link(link, defaults=driver.link_defaults)
    keeper = Handing(kept.take, acknowledges=True)
    session = Session("mon", driver, transport, clock, keeper, Stamper("mon", Catalogue.shipped()))
    task = asyncio.create_task(session.run())
    try:
        yield kept
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.system
@pytest.mark.parametrize("scheme", ["pty", "tcp-listen"])
async def test_a_whole_session_reads_the_monitor_and_survives_its_stall(tmp_path: Path, scheme: str) -> None:
    patient, clock = Patient(), ScaledClock(10.0)
    patient.advance(1.0)
    monitor = DriMonitor(patient.numerics, clock)
    monitor.extend(patient.take_abp())
    url = f"pty://{tmp_path}/monitor" if scheme == "pty" else "tcp-listen://127.0.0.1:0"
    async with attached(url, monitor) as link, watched(link, clock) as kept:
        await kept.until(lambda: sum(isinstance(each, Numerics) for each in kept) >= 3)
        monitor.stalled = True
        before = len(kept)
        await kept.until(lambda: len(kept) > before + 40)
    numerics = [each for each in kept if isinstance(each, Numerics)]
    assert numerics[0].values["abp_mean"] == pytest.approx(patient.numerics()["abp_mean"], abs=0.006)
    assert numerics[0].device_time is not None
    assert {each.channel for each in kept if isinstance(each, Waveform)} == {
        "wf_abp", "wf_cvp", "dri_wf_ecg1", "dri_wf_p3",
    }  # fmt: skip
    waves = [each for each in kept if isinstance(each, Waveform) and each.channel == "wf_abp"]
    assert all(after.time_ns >= before.end_ns for before, after in pairwise(waves))
    gaps = [each for each in kept if isinstance(each, Event) and each.event is EventKind.GAP]
    assert [gap.detail["cause"] for gap in gaps if gap.detail.get("channel") == "wf_abp"]
    assert {gap.detail["cause"] for gap in gaps} <= {GapCause.NO_BYTES.value, GapCause.BLOCKS_MISSING.value}
    assert monitor.requests[:2] == [(0, True), (1, True)]
    assert (1, True) in monitor.requests[2:]


@pytest.mark.system
async def test_a_patient_that_nobody_asked_for_is_in_no_recording(tmp_path: Path) -> None:
    monitor, trace = DriMonitor(lambda: SHOWN), tmp_path / "monitor.trace"
    monitor.tell_patient = True
    async with attached(f"pty://{tmp_path}/monitor", monitor) as link:
        assert await record_link(link, trace, "dri", None, {}, 2.0) > 4
    received = b"".join(piece.data for piece in read_trace(trace)[1] if piece.direction == "<")
    assert received.count(b"\x7e") > 8
    assert b"FICTITIOUS" not in received
    kept: list[Observation] = []
    assert (await replay(trace, DriDriver.build({}, Catalogue.shipped()), kept.append)).damage is None
    assert any(isinstance(each, Numerics) for each in kept)
    assert any(isinstance(each, Waveform) for each in kept)
