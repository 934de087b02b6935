"""Terumo CDI 500 inline blood-gas monitor in packet mode, reporting by itself.

Layout: CDI 500 manual pp. 136-155 and pyCDI (NIH, public domain). The two characters after each code and the bytes that
the checksum covers are in neither source: here they are blanks, and everything between STX and the checksum.
"""

from __future__ import annotations

import asyncio

from acquisition.clock import NS, Clock, SystemClock
from simulators.printing import print_for_ever
from simulators.readings import Readings
from simulators.wrong_clock import Settable

DEFAULT_LINK = "pty:///tmp/ecmo-cdi500"
PERIOD_NS = NS
NIBBLES = (0x00, 0xCD, 0xD9, 0x14, 0xF1, 0x3C, 0x28, 0xE5, 0xA1, 0x6C, 0x78, 0xB5, 0x50, 0x9D, 0x89, 0x44)
SHOWN = {0x03: "ecmo_temp_art", 0x04: "ecmo_so2_post", 0x0C: "ecmo_temp_ven", 0x0D: "ecmo_svo2"}
SHOWN |= {0x10: "ecmo_hct", 0x11: "ecmo_hb"}


class Cdi500(Settable):
    """The monitor.

    Args:
        readings: The present values by channel id; what is absent is shown as dashes.
        clock: Paces the reports and sets the time in them.
        period_ns: From one report to the next.
    """

    def __init__(self, readings: Readings, clock: Clock | None = None, period_ns: int = PERIOD_NS) -> None:
        self._readings = readings
        self._clock = clock or SystemClock()
        self._period = period_ns
        self._sequence = 0x20

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Reports until the link goes."""
        await print_for_ever(self.report, self._period, writer, self._clock)

    def report(self) -> bytes:
        """The packet of this moment."""
        shown = self._readings()
        second = self._clock.now().utc_ns // NS % 86_400
        data = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}\t"
        for code in range(0x12):
            value = shown.get(SHOWN.get(code, ""))
            data += f"{code:02X}  {'---' if value is None else f'{value:.1f}'}\t"
        return self.packet("A0", data)

    def packet(self, kind: str, data: str) -> bytes:
        """A packet of the monitor with the next sequence number."""
        length = 1 + 1 + 2 + 4 + len(kind) + len(data) + 2 + 1
        body = f"X{self._sequence:02X}{length:04X}{kind}{data}".encode("ascii")
        self._sequence = (self._sequence + 1) & 0xFF
        crc = 0
        for byte in body:
            for nibble in (byte & 0x0F, byte >> 4):
                crc = crc >> 4 ^ NIBBLES[(crc ^ nibble) & 0x0F]
        return b"\x02" + body + f"{crc:02X}".encode("ascii") + b"\x03\r\n"


def create(readings: Readings) -> Cdi500:
    """The device as the simulator command attaches it."""
    return Cdi500(readings)
