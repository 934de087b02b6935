"""One patient and every device that can be simulated, each on a wire of the kind it has at a real bed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import Iterator, Mapping
from math import pi
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulators import bcc, medibus
from simulators.alicat_mfc import AlicatMfc
from simulators.cdi500 import Cdi500
from simulators.dri import DriMonitor
from simulators.emtec_bioprott import EmtecBioprott
from simulators.hl7_monitor import Hl7Monitor
from simulators.intellivue import IntelliVue
from simulators.leviflow import Leviflow
from simulators.links import DatagramDevice, Device, attached
from simulators.masimo_ascii1 import MasimoAscii1
from simulators.physiology import Patient
from simulators.puralev import Puralev
from simulators.sim_pump_console import SimPumpConsole
from simulators.vigilance import Vigilance
from simulators.xenios import Xenios

STEP_S = 0.05
CONFIG = "bed.toml"
HEAD = '[site]\nsite = "simulation"\nbed = "whole-bed"\ntimezone = "UTC"\n\n[journal]\ndirectory = "journal"\n'
SHOWN = {
    # wave: middle, swing, a second, resolution, in the unit of the catalogue
    "wf_abp": (85.0, 25.0, 1.2, 0.1),
    "wf_cvp": (8.0, 3.0, 1.2, 0.1),
    "wf_pleth": (0.5, 0.4, 1.2, 0.001),
    "wf_ecg_ii": (0.0, 1.0, 1.2, 0.005),
}
DRUGS = (
    "[device.options.drugs]\n"
    '"Arterenol" = "dose_norepinephrine"\n"Dobutamin" = "dose_dobutamine"\n'
    '[device.options.slots]\n"50113" = "study_drug_rate"\n'
)


class Place(NamedTuple):
    """A device at the bed: its wire, what is on it, and what the daemon must be told besides the link."""

    wire: str
    device: Device | DatagramDevice
    driver: str
    rest: str = ""


class Swing:
    """A wave that rises and falls evenly, for ever and without a missing sample.

    Args:
        middle: Of its values.
        swing: From there to the highest.
        per_s: How often a second.
        resolution: What one count stands for.
    """

    rate_hz = 125.0

    def __init__(self, middle: float, swing: float, per_s: float, resolution: float) -> None:
        self.resolution = resolution
        self._middle, self._swing, self._turn = middle, swing, 2 * pi * per_s / self.rate_hz
        self._taken = 0

    def take(self, n: int) -> NDArray[np.int32]:
        """The next `n` samples as counts."""
        at = np.arange(self._taken, self._taken + n)
        self._taken += n
        values = self._middle + self._swing * np.sin(self._turn * at)
        counts: NDArray[np.int32] = np.round(values / self.resolution).astype(np.int32)
        return counts


def places(directory: Path, patient: Patient) -> Mapping[str, Place]:
    """Every device of the bed by its id; pseudo-terminals are linked from `directory`."""
    shown = patient.numerics
    screens = [{name: Swing(*shape) for name, shape in SHOWN.items()} for _ in range(2)]
    udp, mllp = _free_port(socket.SOCK_DGRAM), _free_port(socket.SOCK_STREAM)
    found = {
        "pump": Place("", SimPumpConsole(shown), "modbus", 'profile = "sim_pump_console"'),
        "sweep": Place(
            "tcp-listen", AlicatMfc(shown, tcp=True), "modbus",
            'profile = "alicat_mfc"\n[device.options]\nmode = "tcp"',
        ),
        "flow_inline": Place("tcp-listen", Leviflow(shown), "modbus", 'profile = "leviflow"'),
        "drive": Place("", Puralev(shown), "modbus", 'profile = "puralev"'),
        "flow": Place("", EmtecBioprott(shown), "delimited", 'profile = "emtec_bioprott"'),
        "oximeter": Place("", MasimoAscii1(shown), "delimited", 'profile = "masimo_ascii1"'),
        "console": Place("", Xenios(shown), "binary", 'profile = "xenios"'),
        "blood_gas": Place("", Cdi500(shown), "cdi500"),
        "syringes": Place("tcp-listen", bcc.create(shown), "bcc", DRUGS),
        "output": Place("", Vigilance(shown), "vigilance"),
        "ventilator": Place(
            "", medibus.MedibusVentilator(shown), "medibus", '[device.options]\ncurves = ["paw", "flow"]'
        ),
        "ge": Place(
            "", DriMonitor(shown), "dri", '[device.options]\nwaves = ["ecg1", "invp1", "invp2", "invp3"]'
        ),
        "philips": Place(f"udp://127.0.0.1:0?announce=127.0.0.1:{udp}", IntelliVue(shown, screens[0]), "intellivue"),
        "gateway": Place(
            f"tcp://127.0.0.1:{mllp}", Hl7Monitor(shown, screens[1], identity=True), "hl7", 'profile = "hl7_generic"'
        ),
    }  # fmt: skip
    wires = {"": "pty://{directory}/{name}", "tcp-listen": "tcp-listen://127.0.0.1:0"}
    return {
        name: place._replace(wire=wires.get(place.wire, place.wire).format(directory=directory, name=name))
        for name, place in found.items()
    }


async def run_whole_bed(directory: Path, phenotype: str) -> None:
    """Runs every device until cancelled; when all are up, writes the daemon's configuration and prints its path."""
    patient = Patient(phenotype)
    bed = places(directory, patient)
    async with contextlib.AsyncExitStack() as stack:
        tables = [HEAD]
        for name, place in bed.items():
            link = await stack.enter_async_context(attached(place.wire, place.device))
            tables += _table(name, place, link)
        config = directory / CONFIG
        config.write_text("\n".join(tables), encoding="utf-8")
        sys.stdout.write(f"{config}\n")
        sys.stdout.flush()
        await _live(patient, bed)


async def _live(patient: Patient, bed: Mapping[str, Place]) -> None:
    loop = asyncio.get_running_loop()
    start, lived = loop.time(), 0.0
    monitor = bed["ge"].device
    while True:
        patient.advance(STEP_S)
        pressures = patient.take_abp()
        if isinstance(monitor, DriMonitor):
            monitor.extend(pressures)
        lived += STEP_S
        await asyncio.sleep(max(0.0, start + lived - loop.time()))


def _table(name: str, place: Place, link: str) -> Iterator[str]:
    yield from ("", "[[device]]", f'id = "{name}"', f'driver = "{place.driver}"', f"link = {json.dumps(link)}")
    yield place.rest


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
