"""Levitronix LEVIFLOW LFSC-iX flow converter, Modbus RTU, sensor with full scale in L/min.

Layout: register map in the public code of the NIH project OpenSourcePerfusionSystem: input registers 0 status bits
(0 bubble, 1 measurement error, 2 reverse flow), 1 flow x 0.01, 2-3 volume, 6 temperature x 0.01, 8-9 flow x 0.001 (or
signal strength: the source says both). Unverified on hardware. That a reverse flow is negative, and the word order of
the double registers, are our choice.
"""

from __future__ import annotations

from simulators.modbus_server import ModbusServer, Registers
from simulators.readings import Readings

DEFAULT_LINK = "pty:///tmp/ecmo-leviflow"
MEASUREMENT_ERROR = 1 << 1
REVERSE_FLOW = 1 << 2
TEMPERATURE = 6


class Leviflow(ModbusServer):
    """The converter with a sensor on the arterial line.

    Args:
        readings: The present values by channel id: `ecmo_flow` in L/min; without it the sensor cannot measure.
        unit: Its Modbus address.
        tcp: Reached through a gateway to Modbus TCP.
    """

    channels = ("ecmo_flow",)

    def __init__(self, readings: Readings, *, unit: int = 1, tcp: bool = False) -> None:
        super().__init__(self._map, TEMPERATURE, unit=unit, tcp=tcp)
        self._readings = readings

    def _map(self, wanted: range) -> Registers:
        values = self._readings()
        flow = values.get("ecmo_flow")
        status = MEASUREMENT_ERROR if flow is None else REVERSE_FLOW if flow < 0 else 0
        registers = dict.fromkeys(range(10), 0)
        registers[0] = status
        registers[1] = round((flow or 0.0) * 100) & 0xFFFF
        registers[TEMPERATURE] = round(values.get("ecmo_temp_art", 0.0) * 100) & 0xFFFF
        registers[8], registers[9] = divmod(round((flow or 0.0) * 1000) & 0xFFFFFFFF, 0x10000)
        return registers


def create(readings: Readings) -> Leviflow:
    """The device as the simulator command attaches it."""
    return Leviflow(readings)
