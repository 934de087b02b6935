"""A pump console of our own invention, dialect SIM-PUMP: input registers from 100. No maker's console speaks it.

| register | content | unit | no value |
|---|---|---|---|
| 100 | blood flow, signed | mL/min | -32768 |
| 101, 102 | speed, set speed, unsigned | 1/min | 65535 |
| 103, 104, 105 | drainage, pre-membrane, post-membrane pressure, signed | 0.1 mmHg | -32768 |
| 106, 107 | venous, arterial blood temperature, signed | 0.01 degrees C | -32768 |
| 108 | venous saturation, signed | 0.1 % | -32768 |
| 109 | motor power, signed | 0.1 W | -32768 |
| 110, 111 | reads of this counter so far, high word first | 1 | |
"""

from __future__ import annotations

from simulators.faults import FaultKind
from simulators.modbus_server import ModbusServer, Registers, signed
from simulators.readings import Readings

DEFAULT_LINK = "pty:///tmp/ecmo-pump"

_SIGNED = {
    100: ("ecmo_flow", 0.001),
    103: ("ecmo_p_drain", 0.1),
    104: ("ecmo_p_pre", 0.1),
    105: ("ecmo_p_post", 0.1),
    106: ("ecmo_temp_ven", 0.01),
    107: ("ecmo_temp_art", 0.01),
    108: ("ecmo_svo2", 0.1),
    109: ("ecmo_power", 0.1),
}
_SPEEDS = {101: "ecmo_rpm", 102: "ecmo_rpm_set"}
_COUNTER = 110


class SimPumpConsole(ModbusServer):
    """The console.

    Attributes:
        counter: How often register 110 was read: what the other end has must be each number exactly once.

    Args:
        readings: The present values by channel id; one that is missing is sent as "no value".
        unit: Its Modbus address.
        tcp: Speaks Modbus TCP.
    """

    channels = (*(channel for channel, _ in _SIGNED.values()), *_SPEEDS.values(), "sim_counter")

    def __init__(self, readings: Readings, *, unit: int = 1, tcp: bool = False) -> None:
        super().__init__(self._map, _COUNTER, unit=unit, tcp=tcp)
        self.counter = 0
        self._readings = readings

    def provoke(self, kind: FaultKind) -> bool:
        """As any unit; besides, its counter rolls over."""
        if kind is FaultKind.ROLL_OVER:
            self.counter = 0xFFFFFFFF
            return True
        return super().provoke(kind)

    def _map(self, wanted: range) -> Registers:
        if _COUNTER in wanted:
            self.counter += 1
        values = self._readings()
        registers = {address: signed(values.get(channel), step) for address, (channel, step) in _SIGNED.items()}
        for address, channel in _SPEEDS.items():
            speed = values.get(channel)
            registers[address] = 0xFFFF if speed is None or not 0 <= speed < 0xFFFF else round(speed)
        registers[_COUNTER], registers[_COUNTER + 1] = divmod(self.counter & 0xFFFFFFFF, 0x10000)
        return registers


def create(readings: Readings) -> SimPumpConsole:
    """The device as the simulator command attaches it."""
    return SimPumpConsole(readings)
