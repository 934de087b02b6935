"""Masimo pulse oximeter that prints its "ASCII 1" line once a second, never asked.

Layout: Masimo Rad-87 operator's manual p. 93, and masimo-radical-7.spec of mdpnp. Widths and the codes of alarm and
exception are our choice; the sources show neither.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from acquisition.clock import NS, Clock, SystemClock
from simulators.printing import print_for_ever
from simulators.readings import Readings
from simulators.wrong_clock import Settable

DEFAULT_LINK = "pty:///tmp/ecmo-oximeter"
PERIOD_NS = NS


class MasimoAscii1(Settable):
    """The oximeter.

    Args:
        readings: The present values by channel id; without `spo2` the sensor is off.
        clock: Paces the lines and sets the instrument's clock.
    """

    def __init__(self, readings: Readings, clock: Clock | None = None) -> None:
        self._readings = readings
        self._clock = clock or SystemClock()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Prints lines until the link goes."""
        await print_for_ever(self.line, PERIOD_NS, writer, self._clock)

    def line(self) -> bytes:
        """The line of this second."""
        shown = self._readings()
        stamp = datetime.fromtimestamp(self._clock.now().utc_ns // NS, UTC).strftime("%m/%d/%y %H:%M:%S")
        saturation, pulse = shown.get("spo2"), shown.get("hr")
        fields = (
            "SN=0000012345",
            f"SPO2={'---' if saturation is None else f'{saturation:03.0f}'}%",
            f"BPM={'---' if saturation is None or pulse is None else f'{pulse:03.0f}'}",
            f"PI={'--.--' if saturation is None else '01.20'}%",
            "SPCO=--.-%",
            "SPMET=--.-%",
            "DESAT=--",
            "PIDELTA=+--",
            "PVI=---",
            "ALARM=0000",
            "EXC=000000" if saturation is not None else "EXC=000002",
        )
        return (" ".join((stamp, *fields)) + "\r\n").encode("ascii")


def create(readings: Readings) -> MasimoAscii1:
    """The device as the simulator command attaches it."""
    return MasimoAscii1(readings)
