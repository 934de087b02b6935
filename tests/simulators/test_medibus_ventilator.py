from __future__ import annotations

import asyncio
import contextlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acquisition.catalogue import Catalogue
from acquisition.clock import NS, ManualClock, ScaledClock
from acquisition.driver import Emission, Reading, Samples
from acquisition.model import Numerics, State, Waveform
from acquisition.replay import Handing
from acquisition.session import Session
from acquisition.stamping import Stamper
from acquisition.transports.url import open_link
from drivers.medibus import MedibusDriver
from simulators.links import attached
from simulators.medibus import CURVES, MedibusVentilator
from simulators.physiology import Patient
from tests.simulators.kept import Kept

T0 = 1_785_585_600 * NS
STEP_NS = NS // 50


class Wire:
    """Ventilator and driver on one clock, without a link between."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock(T0)
        self.device = MedibusVentilator(lambda: {"spo2": 97.0}, self.clock)
        self.driver = MedibusDriver.build(options, Catalogue.shipped())
        self.driver.start(0)

    def run(self, seconds: float) -> list[Emission]:
        end = self.clock.now().mono_ns + round(seconds * NS)
        while (now := self.clock.now().mono_ns) < end:
            for frame in self.driver.take_frames():
                self.device.hear(frame)
            self.clock.advance_to(now + STEP_NS)
            sent = self.device.due()
            if sent:
                self.driver.receive(sent, now + STEP_NS)
            self.driver.tick(now + STEP_NS)
        return self.driver.take_emissions()


def readings(emissions: list[Emission]) -> list[Reading]:
    return [each for each in emissions if isinstance(each, Reading)]


def test_what_the_ventilator_shows_is_what_the_driver_reads() -> None:
    wire = Wire()
    found = readings(wire.run(5))
    assert found[0].values == {
        "vent_fio2": 40.0, "medibus_78": 10.0, "medibus_7d": 24.0, "medibus_73": 14.0, "rr": 12.0, "spo2": 97.0,
    }  # fmt: skip
    assert found[0].states == {"etco2": State.UNAVAILABLE}
    assert found[0].device_time is not None
    assert (found[0].device_time.year, found[0].device_time.month, found[0].device_time.hour) == (2026, 8, 12)
    assert found[1].values == {"medibus_set_01": 40.0, "medibus_set_04": 0.45}
    assert wire.driver.identity["model"] == "SIM Evita"
    assert wire.driver.counters["frames_bad"] == 0
    assert 0x52 in wire.device.told


def test_curves_arrive_whole_at_their_rate_beside_the_values() -> None:
    wire = Wire(curves=["paw", "flow"])
    wire.run(2)
    emissions = wire.run(10)
    assert len(readings(emissions)) >= 9
    for name in CURVES:
        blocks = [each for each in emissions if isinstance(each, Samples) and each.channel == f"medibus_wf_{name}"]
        shown = np.concatenate([each.counts * each.scale + each.offset for each in blocks])
        _, _, _, middle, swing = CURVES[name]
        assert shown.size == pytest.approx(625, abs=40)
        assert (shown.min(), shown.max()) == (
            pytest.approx(middle - swing, abs=0.3),
            pytest.approx(middle + swing, abs=0.3),
        )
        assert np.abs(np.diff(shown)).max() < 0.03 * swing
        assert not any(each.after_gap for each in blocks[1:])


@pytest.mark.parametrize("fault", ["flip", "cut"])
def test_an_answer_damaged_on_the_line_is_not_used_and_the_next_ones_are(fault: str) -> None:
    wire = Wire()
    wire.run(5)
    setattr(wire.device, fault, True)
    emissions = wire.run(20)
    assert wire.driver.counters["frames_bad"] >= 1
    assert len(readings(emissions)) >= 5
    assert {each.values["vent_fio2"] for each in readings(emissions) if "vent_fio2" in each.values} == {40.0}


def test_a_ventilator_that_starts_again_or_late_is_found() -> None:
    wire = Wire(curves=["paw"])
    wire.device.deaf = True
    assert wire.run(20) == []
    wire.device.deaf = False
    assert readings(wire.run(5))
    wire.device.restart()
    emissions = wire.run(5)
    assert wire.device.asked.count(0x54) == 2
    assert [each for each in emissions if isinstance(each, Samples)][-1].after_gap is False


def test_it_waits_while_the_ventilator_asks_for_it() -> None:
    wire = Wire()
    wire.run(5)
    wire.device.suspend(True)
    wire.run(0.1)
    asked = len(wire.device.asked)
    wire.run(2)
    assert len(wire.device.asked) == asked
    wire.device.suspend(False)
    wire.run(2)
    assert len(wire.device.asked) > asked


def test_a_suspension_that_nobody_ends_is_taken_for_noise_after_ten_seconds() -> None:
    wire = Wire()
    wire.run(5)
    wire.device.suspend(True)
    wire.run(10)
    assert len(readings(wire.run(10))) >= 9


def test_what_an_old_ventilator_does_not_know_costs_the_rest_nothing() -> None:
    wire = Wire()
    wire.device.mute = frozenset({0x28, 0x29})
    wire.run(60)
    assert len(readings(wire.run(10))) >= 9


@pytest.mark.system
async def test_a_whole_session_reads_the_ventilator_over_a_pseudo_terminal(tmp_path: Path) -> None:
    clock, kept = ScaledClock(4.0), Kept()
    device = MedibusVentilator(Patient().numerics, clock)
    driver = MedibusDriver.build({"curves": ["paw"]}, Catalogue.shipped())
    async with attached(f"pty://{tmp_path}/ventilator", device) as link:
        transport = open_link(link, defaults=driver.link_defaults)
        keeper = Handing(kept.take, acknowledges=True)
        session = Session("vent", driver, transport, clock, keeper, Stamper("vent", Catalogue.shipped()))
        task = asyncio.create_task(session.run())
        try:
            await kept.until(lambda: sum(isinstance(each, Waveform) for each in kept) >= 6)
            await kept.until(lambda: sum(isinstance(each, Numerics) for each in kept) >= 6)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    measured = next(each for each in kept if isinstance(each, Numerics))
    assert measured.values["spo2"] == pytest.approx(97.0, abs=1.0)
    assert measured.device_time is not None
    waves = [each for each in kept if isinstance(each, Waveform)]
    assert all(after.time_ns == before.end_ns for before, after in pairwise(waves))
