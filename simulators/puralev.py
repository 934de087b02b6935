"""Levitronix PuraLev i30 pump drive, Modbus RTU: laboratory and animal circuits.

Layout: public code of one author, input registers from 0x4000: state (1 off, 2 speed control, 4 error), actual speed,
actual process value x 0.01, set speed, set process value x 0.01, error, warning, message, driver temperature; 0x4011
supply voltage x 0.1. Unverified on hardware; that an absent speed is an error of the drive is our choice.
"""

from __future__ import annotations

from simulators.modbus_server import ModbusServer, Registers
from simulators.readings import Readings

DEFAULT_LINK = "pty:///tmp/ecmo-puralev"
OFF, SPEED_CONTROL, ERROR = 1, 2, 4
BASE = 0x4000
SET_SPEED = BASE + 3
DRIVER_TEMPERATURE_C = 41
SUPPLY_TENTHS_OF_VOLT = 240


class Puralev(ModbusServer):
    """The drive.

    Args:
        readings: The present values by channel id: `ecmo_rpm` and `ecmo_rpm_set`.
        unit: Its Modbus address.
        tcp: Reached through a gateway to Modbus TCP.
    """

    channels = ("ecmo_rpm", "ecmo_rpm_set")

    def __init__(self, readings: Readings, *, unit: int = 1, tcp: bool = False) -> None:
        super().__init__(self._map, SET_SPEED, unit=unit, tcp=tcp)
        self._readings = readings

    def _map(self, wanted: range) -> Registers:
        values = self._readings()
        speed, wanted_speed = values.get("ecmo_rpm"), values.get("ecmo_rpm_set", 0.0)
        state = ERROR if speed is None else SPEED_CONTROL if wanted_speed > 0 else OFF
        content = (state, round(speed or 0.0), 0, round(wanted_speed), 0, 0, 0, 0, DRIVER_TEMPERATURE_C)
        return {BASE + 0x11: SUPPLY_TENTHS_OF_VOLT, **dict(enumerate(content, start=BASE))}


def create(readings: Readings) -> Puralev:
    """The device as the simulator command attaches it."""
    return Puralev(readings)
