"""One simulated bed: pump console on a pseudo-terminal, sweep gas on Modbus TCP, monitor on MLLP, one patient."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulators.alicat_mfc import AlicatMfc
from simulators.hl7_monitor import Hl7Monitor
from simulators.links import attached
from simulators.physiology import Patient
from simulators.sim_pump_console import SimPumpConsole

STEP_S = 0.05
QUIET_S = 1.0
"""Longer than any answer is under way."""
MOST_QUIET = 10
RESOLUTION = 0.1
MONITOR_CHANNELS = ("abp_sys", "abp_dia", "abp_mean", "hr", "cvp", "spo2")


class ArterialLine:
    """The patient's arterial pressure as the monitor samples it: 125 Hz, 0.1 mmHg."""

    rate_hz = 125.0
    resolution = RESOLUTION

    def __init__(self) -> None:
        self._waiting: list[float] = []

    def extend(self, pressures: list[float]) -> None:
        """More of the pressure, mmHg."""
        self._waiting += pressures

    def take(self, n: int) -> NDArray[np.int32]:
        """The next `n` samples as counts; the last one is held if the patient is late."""
        while len(self._waiting) < n:
            self._waiting.append(self._waiting[-1] if self._waiting else 0.0)
        taken, self._waiting = self._waiting[:n], self._waiting[n:]
        return np.round(np.array(taken) / RESOLUTION).astype(np.int32)


class Bed:
    """One patient and the three devices that watch over them.

    Args:
        phenotype: Of the patient, P0 to P3.

    Attributes:
        arterial_line: Feeds the monitor's pressure wave.
    """

    def __init__(self, phenotype: str = "P1") -> None:
        self.patient = Patient(phenotype)
        self.arterial_line = ArterialLine()
        self.pump = SimPumpConsole(self.patient.numerics)
        self.gas = AlicatMfc(self.patient.numerics, tcp=True)
        self.monitor = Hl7Monitor(
            self._on_the_monitor, {"wf_abp": self.arterial_line}, counter=True, identity=True, most_waiting=36_000
        )

    async def live(self) -> None:
        """Lets the patient live in real time, for ever."""
        loop = asyncio.get_running_loop()
        start, lived = loop.time(), 0.0
        while True:
            self.patient.advance(STEP_S)
            self.arterial_line.extend(self.patient.take_abp())
            lived += STEP_S
            await asyncio.sleep(max(0.0, start + lived - loop.time()))

    async def fall_silent(self) -> None:
        """Stops the devices in order: nothing new is said, and what was said is answered."""
        self.pump.muted = self.gas.muted = True
        self.monitor.stop()
        for _ in range(MOST_QUIET):
            await asyncio.sleep(QUIET_S)
            if not self.monitor.waiting:
                return

    def sent(self) -> dict[str, dict[str, int]]:
        """Values and samples put on the wire and answered, by device and channel."""
        reports = self.monitor.acknowledged // 2  # one of numerics and one of waves each second
        monitor = dict.fromkeys((*MONITOR_CHANNELS, "sim_counter"), reports)
        monitor["wf_abp"] = round(reports * self.arterial_line.rate_hz)
        return {
            "pump": dict.fromkeys(self.pump.channels, self.pump.answered),
            "gas": dict.fromkeys(self.gas.channels, self.gas.answered),
            "mon": monitor,
        }

    def _on_the_monitor(self) -> Mapping[str, float]:
        numerics = self.patient.numerics()
        return {channel: numerics[channel] for channel in MONITOR_CHANNELS}


async def run_bed(directory: Path, monitor: str, phenotype: str) -> None:
    """Runs a bed until cancelled.

    Prints one line of JSON with the links of pump and gas when all is up; one with what was sent when it was told to
    stop; and leaves the wires up until its standard input closes, so that the other end can stop first.
    """
    bed = Bed(phenotype)
    async with contextlib.AsyncExitStack() as stack:
        links = {
            "pump": await stack.enter_async_context(attached(f"pty://{directory / 'pump'}", bed.pump)),
            "gas": await stack.enter_async_context(attached("tcp-listen://127.0.0.1:0", bed.gas)),
        }
        await stack.enter_async_context(attached(monitor, bed.monitor))
        _print(links)
        try:
            await bed.live()
        except asyncio.CancelledError:
            await bed.fall_silent()
            _print(bed.sent())
            await asyncio.to_thread(sys.stdin.read)


def _print(line: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
