"""Edwards haemodynamic monitor that prints its IFMout frame every two seconds, never asked.

Layout: field table and driver in public code (one author each, unverified on hardware). The check byte is 255 - sum of
the fields, a guess; order of the fields, padding, period and the identifier are our choice.
"""

from __future__ import annotations

import asyncio

from acquisition.clock import NS, Clock, SystemClock
from simulators.printing import print_for_ever
from simulators.readings import Readings

DEFAULT_LINK = "pty:///tmp/ecmo-vigilance"
PERIOD_NS = 2 * NS


class Vigilance:
    """The monitor.

    Args:
        readings: The present values by channel id; what is absent is shown as dashes.
        clock: Paces the frames.
    """

    def __init__(self, readings: Readings, clock: Clock | None = None) -> None:
        self._readings = readings
        self._clock = clock or SystemClock()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Prints frames until the link goes."""
        await print_for_ever(self.frame, PERIOD_NS, writer, self._clock)

    def frame(self) -> bytes:
        """The frame of this moment."""
        shown = self._readings()

        def tenths(channel: str) -> str:
            return f"{shown[channel]:04.1f}" if channel in shown else "--.-"

        def whole(channel: str) -> str:
            return f"{shown[channel]:3.0f}" if channel in shown else "---"

        fields = (
            f"N1234-5678-90C{tenths('co_td')}c--.-V{whole('svo2_pa')}H{whole('hr')}P{whole('abp_mean')}"
            f"p{whole('cvp')}B{tenths('temp_core')}R----F00M000 Q1"
        ).encode("ascii")
        return b"\x02" + fields + b"\x03" + bytes((~sum(fields) & 0xFF,))


def create(readings: Readings) -> Vigilance:
    """The device as the simulator command attaches it."""
    return Vigilance(readings)
