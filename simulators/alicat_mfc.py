"""Alicat mass-flow controller in the sweep gas line, Modbus RTU.

Layout: Alicat input registers, PDU addresses, each a 32-bit float with the high word first: 1202 pressure, 1204
temperature, 1206 volumetric flow, 1208 mass flow, 1210 setpoint. Unverified on hardware; that a flow without a value
is "not a number" is our choice.
"""

from __future__ import annotations

import math
import struct

from simulators.modbus_server import ModbusServer, Registers
from simulators.readings import Readings

DEFAULT_LINK = "pty:///tmp/ecmo-sweep"
MASS_FLOW = 1208
PRESSURE_PSIA = 14.7
TEMPERATURE_C = 25.0


class AlicatMfc(ModbusServer):
    """The controller.

    Args:
        readings: The present values by channel id; the mass flow is `ecmo_sweep` in L/min.
        unit: Its Modbus address.
        tcp: Reached through a gateway to Modbus TCP.
    """

    channels = ("ecmo_sweep",)

    def __init__(self, readings: Readings, *, unit: int = 1, tcp: bool = False) -> None:
        super().__init__(self._map, MASS_FLOW, unit=unit, tcp=tcp)
        self._readings = readings

    def _map(self, wanted: range) -> Registers:
        flow = self._readings().get("ecmo_sweep", math.nan)
        floats = (PRESSURE_PSIA, TEMPERATURE_C, flow, flow, flow)
        words = struct.unpack(">10H", struct.pack(">5f", *floats))
        return dict(enumerate(words, start=1202))


def create(readings: Readings) -> AlicatMfc:
    """The device as the simulator command attaches it."""
    return AlicatMfc(readings)
