"""Scenarios of the library to their end, in virtual time: what was read is what was true, to the last hour."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from acquisition.catalogue import Catalogue
from acquisition.model import Event, EventKind, Numerics, Observation, Waveform
from acquisition.registry import build_driver
from acquisition.replay import Handing
from acquisition.session import Session
from acquisition.stamping import Stamper
from simulators.arterial_line import shown, shown_wave
from simulators.bed_devices import KINDS
from simulators.dri import DriMonitor
from simulators.hl7_monitor import Hl7Monitor
from simulators.life import Life
from simulators.memory_link import MemoryLink
from simulators.scenario import load_scenario
from simulators.truth import TruthWriter, read_truth
from simulators.virtual_time import STARTED_NS, LoopClock, run

pytestmark = [pytest.mark.system, pytest.mark.timeout(7200)]

SCENARIOS = os.environ.get("ECMO_DAQ_SCENARIOS", "pump-stop device-swap").split()
OPTIONS: Mapping[str, Mapping[str, Any]] = {"mon": {"channels": {"1^99ECMODAQSIM": "sim_counter"}}}
EVERY_S = {"pump": 0.5, "mon": 1.0, "ge": 5.0}
ALWAYS = {"pump": "ecmo_flow", "mon": "abp_mean", "ge": "abp_mean"}
"""What is in each reading; a pressure without pulse has no systole."""
RESOLUTION = {
    "ecmo_rpm": 0.5, "ecmo_rpm_set": 0.5, "ecmo_flow": 0.0005, "ecmo_temp_ven": 0.005, "ecmo_temp_art": 0.005,
}  # fmt: skip
"""Half of a step of the device; of all others half of a tenth, but for whole beats a minute."""
MORE = {"hr": 0.5, "spo2": 0.5}
TICK_S = 0.25
NOT_TRUE = frozenset({"sim_counter", "pulse_pressure"})


class Unplugged:
    """What stands at the end of a link while a device is switched off."""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()


class Device:
    """One device of the bed with its session; compares each reading with what was true when it was taken.

    Attributes:
        read: Values by channel.
        wrong: The first values that were never true, with what was.
        off_s: How long it was switched off, and came back.
        outages: How often.
        samples: Of the arterial pressure, and their sum.
    """

    def __init__(self, name: str, truths: Callable[[], list[Mapping[str, float]]]) -> None:
        self.name = name
        self.read = Counter[str]()
        self.wrong: list[tuple[int, str, float, list[float]]] = []
        self.gaps: list[Event] = []
        self.samples, self.total = 0, 0.0
        self.off_s, self.outages = 0.0, 0
        self._truths = truths
        self._ends: dict[str, int] = {}

    def take(self, observation: Observation) -> None:
        if isinstance(observation, Event):
            if observation.event is EventKind.GAP and "channel" not in observation.detail:
                self.gaps.append(observation)
        elif isinstance(observation, Waveform):
            channel = observation.channel
            assert observation.time_ns > self._ends.get(channel, 0) - observation.period_ns
            self._ends[channel] = observation.end_ns
            if channel == "wf_abp":
                self.samples += observation.counts.size
                self.total += float(observation.samples.sum())
        else:
            self._compare(observation)

    def _compare(self, reading: Numerics) -> None:
        truths = self._truths()
        for channel, value in reading.values.items():
            if channel in NOT_TRUE or channel not in truths[0]:
                continue
            self.read[channel] += 1
            near = [truth[channel] for truth in truths if channel in truth]
            step = MORE.get(channel) or RESOLUTION.get(channel, 0.05)
            if min((abs(value - each) for each in near), default=step + 1) > step + 1e-6 and len(self.wrong) < 20:
                self.wrong.append((reading.time_ns, channel, value, near))


async def lived(name: str, path: Path) -> tuple[Life, dict[str, Device]]:
    """Lets pump, monitor and second monitor be read while the patient lives through the scenario."""
    life = Life(load_scenario(name))
    seen: list[Mapping[str, float]] = [shown(life.patient.numerics(), "ok")] * 2
    found, links, running = dict[str, Device](), dict[str, MemoryLink](), list[asyncio.Task[None]]()

    def plugged(kind: str) -> Any:
        return KINDS[kind].create(lambda: seen[-1], LoopClock())

    for kind in EVERY_S:
        found[kind] = Device(kind, lambda: seen)
        links[kind] = MemoryLink(plugged(kind))
        driver = build_driver(
            KINDS[kind].driver, KINDS[kind].profile or None, OPTIONS.get(kind, {}), Catalogue.shipped(), ()
        )
        keeper = Handing(found[kind].take, acknowledges=True)
        session = Session(kind, driver, links[kind], LoopClock(), keeper, Stamper(kind, Catalogue.shipped()))
        running.append(asyncio.create_task(session.run()))
    loop = asyncio.get_running_loop()
    with TruthWriter(path, life, STARTED_NS) as truth:
        while not life.over:
            truth.live_until(loop.time())
            line = life.patient.conditions.line
            seen[:] = [seen[-1], shown(life.patient.numerics(), line)]
            pressures = shown_wave(life.patient.take_abp(), line)
            for kind, link in links.items():
                was_off, off = isinstance(link.device, Unplugged), kind in life.off
                if off is not was_off:
                    link.device = Unplugged() if off else plugged(kind)
                    link.hang_up("the device was switched")
                    found[kind].outages += was_off
                found[kind].off_s += TICK_S * off
                if isinstance(link.device, Hl7Monitor | DriMonitor):
                    link.device.extend(pressures)
            await asyncio.sleep(min(TICK_S, max(0.0, life.scenario.duration_s - loop.time())))
    assert not [task.exception() for task in running if task.done()]
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    return life, found


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_read_to_its_end_as_it_was(name: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl.zst"
    life, devices = run(lived(name, path))
    scenario = life.scenario
    header, *lines = read_truth(path)
    assert header["scenario"] == name
    assert [(line["event"], line["t"]) for line in lines if "event" in line] == [
        (each.label, each.at_s) for each in scenario.interventions
    ]
    states = [line for line in lines if "values" in line]
    assert states[-1]["t"] == scenario.duration_s
    assert len(states) == int(scenario.duration_s / scenario.truth_every_s) + 1
    for kind, device in devices.items():
        assert device.wrong == [], kind
        assert len(device.gaps) == device.outages, (kind, device.gaps)
        on_s = scenario.duration_s - device.off_s
        assert device.read[ALWAYS[kind]] >= 0.999 * on_s / EVERY_S[kind] - 3 * (1 + device.outages), kind
    means = [state["values"]["abp_mean"] for state in states]
    for kind, rate in (("mon", 125), ("ge", 100)):
        device = devices[kind]
        on_s = scenario.duration_s - device.off_s
        assert device.samples == pytest.approx(rate * on_s, abs=3 * rate * (1 + device.outages))
        assert device.total / device.samples == pytest.approx(sum(means) / len(means), abs=0.5)
