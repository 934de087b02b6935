"""em-tec BioProTT FlowTrack SL clamp-on flow meter: ten lines a second, never asked.

Layout: em-tec manual D101-704, p. 32, Table 15. The padding inside the columns is our choice; the manual prints the
widths and not the alignment.
"""

from __future__ import annotations

import asyncio
from collections import deque

from acquisition.clock import NS, Clock, SystemClock
from simulators.printing import print_for_ever
from simulators.readings import Readings

DEFAULT_LINK = "pty:///tmp/ecmo-flow"
PERIOD_NS = NS // 10
LIMIT = 999_999
BLANK_FLOW = "-" * 7


class EmtecBioprott:
    """The sensor on the return line.

    Args:
        readings: The present values by channel id; without `ecmo_flow` the sensor is disconnected.
        clock: Paces the lines.
    """

    def __init__(self, readings: Readings, clock: Clock | None = None) -> None:
        self._readings = readings
        self._clock = clock or SystemClock()
        self._flows: deque[float] = deque(maxlen=100)
        self.error = 0
        self.calibration = 1.0
        self.table = 1

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Streams lines until the link goes."""
        await print_for_ever(self.line, PERIOD_NS, writer, self._clock)

    def line(self) -> bytes:
        """The next line; each call is one tenth of a second of flow."""
        flow = self._readings().get("ecmo_flow")
        table_bits = (self.table - 1) << 2
        if flow is None:
            self._flows.clear()
            fields = [f"{self.error:02X}", "E0", "---", "----", BLANK_FLOW, BLANK_FLOW, BLANK_FLOW, f"{'+35':>6}"]
        else:
            self._flows.append(flow * 1000 * self.calibration)
            means = (_mean(self._flows, count) for count in (1, 10, 100))
            status = f"{0x40 | table_bits:02X}"
            fields = [f"{self.error:02X}", status, "100", f"{self.calibration:.2f}", *means, f"{'+41':>6}"]
        return (" ".join(fields) + " \r\n").encode("ascii")


def _mean(flows: deque[float], count: int) -> str:
    last = list(flows)[-count:]
    flow = round(sum(last) / len(last))
    if abs(flow) > LIMIT:
        return ("^" if flow > 0 else "v") * 7
    return f"{flow:>7}"


def create(readings: Readings) -> EmtecBioprott:
    """The device as the simulator command attaches it."""
    return EmtecBioprott(readings)
