"""Xenios iLA activve console that answers the question for measured data, and none else.

Layout: public driver code of the project icuInterface (one author, unverified on hardware): frame, reply B2, fields 1
to 29. Limits are our choice.
"""

from __future__ import annotations

import asyncio

from simulators.readings import Readings

DEFAULT_LINK = "pty:///tmp/ecmo-xenios"
QUESTION = bytes((0xA2, 0x00, 0x00, 0x5D))


class Xenios:
    """The console; P1 is at the drainage, P2 before and P3 behind the membrane, T1 in the return line.

    Args:
        readings: The present values by channel id.
    """

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers until the link goes."""
        heard = b""
        while data := await reader.read(256):
            heard += data
            while QUESTION in heard:
                heard = heard.partition(QUESTION)[2]
                writer.write(self.reply())
                await writer.drain()
            heard = heard[-3:]

    def reply(self) -> bytes:
        """The answer with what is measured now."""
        now = self._readings()
        rpm, flow = now.get("ecmo_rpm", 0.0), now.get("ecmo_flow", 0.0) * 1000
        data = b""
        for value in (rpm, now.get("ecmo_rpm_set", rpm), 0, 4500, 0):
            data += _signed(value)
        data += bytes((0, 0))
        for value in (flow, flow, 0, 8000):
            data += _signed(value)
        for channel in ("ecmo_p_drain", "ecmo_p_pre", "ecmo_p_post", ""):
            data += _signed(now.get(channel, 0.0))
        data += _signed(-300) * 4 + _signed(500) * 4
        for channel in ("ecmo_temp_art", "ecmo_temp_ven"):
            data += _signed(now.get(channel, 0.0) * 10)
        data += _signed(100) * 2 + _signed(420) * 2
        frame = bytes((0xB2, len(data) >> 8, len(data) & 0xFF)) + data
        return frame + bytes(((sum(frame) & 0xFF) ^ 0xFF,))


def _signed(value: float) -> bytes:
    """Two bytes, high one first, of the nearest whole number."""
    whole = round(value) & 0xFFFF
    return bytes((whole >> 8, whole & 0xFF))


def create(readings: Readings) -> Xenios:
    """The device as the simulator command attaches it."""
    return Xenios(readings)
