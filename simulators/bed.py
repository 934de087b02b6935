"""One simulated bed: all devices of one patient, who lives through a scenario, on real wires; and the daemon's file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

from acquisition.clock import NS, ScaledClock
from simulators.arterial_line import shown, shown_wave
from simulators.bcc import Bcc
from simulators.bed_devices import KINDS, MONITORED, STUDY_ML_PER_H, STUDY_PUMP
from simulators.hl7_monitor import Hl7Monitor
from simulators.life import Life
from simulators.links import DatagramDevice, Device, attached
from simulators.modbus_server import ModbusServer
from simulators.scenario import DeviceTime, Scenario
from simulators.truth import TruthWriter
from simulators.wrong_clock import WrongClock

TICK_S = 0.02
FLUSH_S = 1.0
QUIET_S = 1.0
"""Longer than any answer is under way."""
MOST_QUIET = 10
COMMIT_MS, LEAST_COMMIT_MS = 200, 20
"""The journal's usual; a monitor says one thing at a time, so that at a high speed it must be answered sooner."""
AHEAD_S, DRIFT_PPM = (-150.0, 30.0), (-30.0, 30.0)
"""How wrong the clocks of a ward are, from and to (clinical reference, 7.1)."""

HEAD = """\
# A simulated bed, written by ecmo-sim: ecmo-daq run --config {path}

[site]
site = "simulated"
bed = "{bed}"
timezone = "UTC"

[journal]
directory = "journal"
min_free_gb = 0
commit_interval_ms = {commit_ms}
"""


class Bed:
    """A patient, and the devices that are switched on.

    Args:
        scenario: What the patient lives through.
        directory: For pseudo-terminals, `bed.toml` and `truth.jsonl`.
        names: Devices, keys of `KINDS`.
        speed: How much faster than real everything at this bed is.

    Attributes:
        clock: Of everything at this bed.
        life: The patient's.
        devices: Those that are on, by name.
        links: What the daemon opens, by name.
    """

    def __init__(self, scenario: Scenario, directory: Path, names: Iterable[str], speed: float = 1.0) -> None:
        self.life = Life(scenario)
        self.devices: dict[str, Device | DatagramDevice] = {}
        self.links: dict[str, str] = {}
        self._directory = directory
        self.clock = ScaledClock(speed)
        self._commit_ms = max(LEAST_COMMIT_MS, min(COMMIT_MS, round(COMMIT_MS / speed)))
        self._clocks = {name: WrongClock(self.clock, time_of(scenario, name)) for name in names}
        self._urls = {name: KINDS[name].url(directory, name, free_port) for name in self._clocks}
        self._plugs: dict[str, contextlib.AsyncExitStack] = {}
        self._values: dict[str, float] = {}
        self._look()

    @property
    def config(self) -> Path:
        """The daemon's file."""
        return self._directory / "bed.toml"

    @property
    def truth(self) -> Path:
        """What was true."""
        return self._directory / "truth.jsonl"

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """Switches all devices on for the length of the block, and writes the daemon's file."""
        try:
            for name in self._clocks:
                await self._switch_on(name)
            tables = (KINDS[name].table(name, link) for name, link in self.links.items())
            head = HEAD.format(path=self.config, bed=self._directory.name, commit_ms=self._commit_ms)
            self.config.write_text(head + "".join(tables), encoding="utf-8")
            yield
        finally:
            for name in list(self._plugs):
                await self._switch_off(name)

    async def live(self) -> None:
        """Lets the patient live at the clock's pace, for ever; what was true is written down."""
        start = self.clock.now()
        with TruthWriter(self.truth, self.life, start.utc_ns) as truth:
            flushed = 0.0
            while True:
                truth.live_until((self.clock.now().mono_ns - start.mono_ns) / NS)
                if self.life.time_s >= flushed + FLUSH_S:
                    truth.flush()
                    flushed = self.life.time_s
                self._look()
                await self._switch()
                await asyncio.sleep(TICK_S)

    async def fall_silent(self) -> None:
        """Stops the devices in order: nothing new is said, and what was said is answered."""
        monitors = [device for device in self.devices.values() if isinstance(device, Hl7Monitor)]
        for device in self.devices.values():
            if isinstance(device, ModbusServer):
                device.muted = True
        for monitor in monitors:
            monitor.stop()
        for _ in range(MOST_QUIET):
            await asyncio.sleep(QUIET_S)
            if not any(monitor.waiting for monitor in monitors):
                return

    def sent(self) -> dict[str, dict[str, int]]:
        """Values and samples put on the wire and answered, by device and channel, of devices that can tell."""
        told: dict[str, dict[str, int]] = {}
        for name, device in self.devices.items():
            if isinstance(device, ModbusServer):
                told[name] = dict.fromkeys(device.channels, device.answered)
            elif isinstance(device, Hl7Monitor):
                reports = device.acknowledged // 2  # one of numerics and one of waves each second
                told[name] = dict.fromkeys((*MONITORED, "sim_counter"), reports)
                told[name]["wf_abp"] = reports * 125
        return told

    def _look(self) -> None:
        patient = self.life.patient
        line = patient.conditions.line
        self._values = shown(patient.numerics(), line)
        pressures = shown_wave(patient.take_abp(), line)
        for name, device in self.devices.items():
            hear = getattr(device, "extend", None)
            if hear is not None:
                hear(pressures)
            if isinstance(device, Bcc):
                device.pumps[STUDY_PUMP].rate = STUDY_ML_PER_H if patient.infusing else 0.0
            self._clocks[name].set_s = self.life.clock_set_s.get(name, 0.0)

    async def _switch(self) -> None:
        for name in self._clocks:
            if name in self.life.off and name in self._plugs:
                await self._switch_off(name)
            elif name not in self.life.off and name not in self._plugs:
                await self._switch_on(name)

    async def _switch_on(self, name: str) -> None:
        kind = KINDS[name]
        device = kind.create(lambda: self._values, self._clocks[name])
        plug = contextlib.AsyncExitStack()
        link = await plug.enter_async_context(attached(self._urls[name], device))
        self.links[name] = link.replace("udp://0.0.0.0:", "udp://127.0.0.1:")
        self.devices[name], self._plugs[name] = device, plug

    async def _switch_off(self, name: str) -> None:
        del self.devices[name]
        await self._plugs.pop(name).aclose()


async def run_bed(scenario: Scenario, directory: Path, names: Iterable[str], speed: float, *, until_eof: bool) -> None:
    """Runs a bed until cancelled.

    Prints one line of JSON with the links when all is up, and one with what was sent when it was told to stop.

    Args:
        scenario: What happens.
        directory: Where everything goes; made if need be.
        names: Devices.
        speed: How much faster than real the patient and the devices live.
        until_eof: When stopped, leave the wires up until standard input closes, so that the other end can stop first.
    """
    directory.mkdir(parents=True, exist_ok=True)
    bed = Bed(scenario, directory.resolve(), names, speed)
    async with bed.up():
        _print(bed.links)
        try:
            await bed.live()
        except asyncio.CancelledError:
            await bed.fall_silent()
            _print(bed.sent())
            if until_eof:
                await asyncio.to_thread(sys.stdin.read)


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def time_of(scenario: Scenario, name: str) -> DeviceTime:
    """A device's clock: what the scenario says, else as wrong as clocks are."""
    chance = random.Random(f"{scenario.seed} {name}")
    return scenario.clocks.get(name) or DeviceTime(
        round(chance.uniform(*AHEAD_S), 1), round(chance.uniform(*DRIFT_PPM))
    )


def _print(line: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
