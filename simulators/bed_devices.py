"""The devices that stand at a simulated bed: what each is, what it hangs on, and its table in the daemon's file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from acquisition.clock import Clock
from simulators.alicat_mfc import AlicatMfc
from simulators.arterial_line import ArterialLine
from simulators.bcc import Bcc, Pump
from simulators.cdi500 import Cdi500
from simulators.dri import DriMonitor
from simulators.emtec_bioprott import EmtecBioprott
from simulators.hl7_monitor import Hl7Monitor
from simulators.intellivue import IntelliVue
from simulators.links import DatagramDevice, Device
from simulators.medibus import MedibusVentilator
from simulators.readings import Readings
from simulators.sim_pump_console import SimPumpConsole

MONITORED = ("abp_sys", "abp_dia", "abp_mean", "hr", "cvp", "spo2")
MOST_WAITING = 36_000
STUDY_PUMP = "50113"
STUDY_ML_PER_H = 4.2


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of device.

    Attributes:
        driver: Of the daemon.
        wire: `pty`, `tcp-listen`, `tcp` (it connects to the daemon) or `udp`.
        create: Makes one from what it shows and its clock.
        lines: Further lines of its `[[device]]` table.
        profile: Of the driver.
    """

    driver: str
    wire: str
    create: Callable[[Readings, Clock], Device | DatagramDevice]
    lines: tuple[str, ...] = ()
    profile: str = ""

    def url(self, directory: Path, name: str, port: Callable[[], int]) -> str:
        """Where it is attached (see `simulators.links.attached`)."""
        if self.wire == "pty":
            return f"pty://{directory / name}"
        if self.wire == "udp":
            return f"udp://127.0.0.1:{port()}?announce=127.0.0.1:{port()}"
        return f"{self.wire}://127.0.0.1:{port()}"

    def table(self, name: str, link: str) -> str:
        """Its table in the daemon's configuration."""
        head = ["", "[[device]]", f'id = "{name}"', f'driver = "{self.driver}"']
        profile = [f'profile = "{self.profile}"'] if self.profile else []
        return "\n".join([*head, *profile, f'link = "{link}"', *self.lines, ""])


def _monitor(readings: Readings, clock: Clock) -> Hl7Monitor:
    def monitored() -> Mapping[str, float]:
        values = readings()
        return {channel: values[channel] for channel in MONITORED if channel in values}

    waves = {"wf_abp": ArterialLine()}
    return Hl7Monitor(monitored, waves, counter=True, identity=True, clock=clock, most_waiting=MOST_WAITING)


def _infusions() -> dict[str, Pump]:
    return {
        "50111": Pump("Arterenol 4mg/50", 5.6, 0.1),
        "50112": Pump("Dobutamin 250mg/50", 6.3, 7.0),
        STUDY_PUMP: Pump("Studie A", 0.0),
    }


KINDS: Mapping[str, Kind] = {
    "pump": Kind("modbus", "pty", lambda readings, _: SimPumpConsole(readings), profile="sim_pump_console"),
    "gas": Kind(
        "modbus",
        "tcp-listen",
        lambda readings, _: AlicatMfc(readings, tcp=True),
        ('options = { mode = "tcp" }',),
        "alicat_mfc",
    ),
    "flow": Kind("delimited", "pty", EmtecBioprott, profile="emtec_bioprott"),
    "mon": Kind("hl7", "tcp", _monitor, ('options = { channels = { "1^99ECMODAQSIM" = "sim_counter" } }',)),
    "philips": Kind(
        "intellivue", "udp", lambda readings, clock: IntelliVue(readings, {"wf_abp": ArterialLine()}, clock=clock)
    ),
    "ge": Kind("dri", "pty", DriMonitor),
    "vent": Kind("medibus", "pty", MedibusVentilator),
    "infusion": Kind(
        "bcc",
        "tcp-listen",
        lambda readings, clock: Bcc(_infusions()),
        (
            "[device.options.drugs]",
            '"Arterenol" = "dose_norepinephrine"',
            '"Dobutamin" = "dose_dobutamine"',
            "[device.options.slots]",
            f'"{STUDY_PUMP}" = "study_drug_rate"',
        ),
    ),
    "gases": Kind("cdi500", "pty", Cdi500, ("options = { every_s = 1.0 }",)),
}
"""By the name that scenarios and the daemon's file give it."""
