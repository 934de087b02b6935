"""Ventilator that speaks MEDIBUS: answers commands, asks who its partner is, sends curves when they are enabled.

Layout: Draeger RS 232 MEDIBUS Protocol Definition 4.03: messages and checksum, records of measured data (2 + 4
characters), settings (2 + 5), time, identification, and the real-time configuration (23 characters) and samples.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from math import pi, sin

from acquisition.clock import NS, Clock, SystemClock
from simulators.readings import Readings
from simulators.wrong_clock import Settable

DEFAULT_LINK = "pty:///tmp/ecmo-ventilator"
IDENTITY = "8210'SIM Evita'04.21:04.03"
INTERVAL_US = 16_000
CURVES = {"00": (-10, 100, 0x370, 10.0, 14.0), "01": (-180, 180, 0xB40, 0.0, 30.0)}
"""Code to lowest, highest, last bin, middle and swing of what is shown: airway pressure in mbar, flow in L/min."""
VENTILATION = {"F0": "40", "78": "10", "7D": "24", "73": "14", "D6": "12"}
NOP_NS = 2 * NS


class MedibusVentilator(Settable):
    """The ventilator.

    Args:
        readings: Present values by channel id; of these it shows `spo2` and `etco2`.
        clock: Paces and dates what is sent.

    Attributes:
        deaf: Hears nothing: switched off.
        flip: Turns a bit of the next answer.
        cut: Breaks the next answer off in the middle.
        mute: Commands that it does not know and does not answer.
        asked: Codes of the commands it heard.
        told: Codes of the answers it got to its own commands.
    """

    def __init__(self, readings: Readings, clock: Clock | None = None) -> None:
        self.deaf = self.flip = self.cut = False
        self.mute: frozenset[int] = frozenset()
        self.asked: list[int] = []
        self.told: list[int] = []
        self._readings = readings
        self._clock = clock or SystemClock()
        self._heard = bytearray()
        self._out = bytearray()
        self._enabling = b""
        self._curves: list[str] = []
        self._running = 0
        self._sample = 0
        self._sampled = 0
        self._spoken = 0

    def restart(self) -> None:
        """Forgets its partner and calls it, as after being switched on."""
        self._curves, self._running = [], 0
        self._out += _framed(0x1B, 0x51)

    def suspend(self, on: bool) -> None:
        """Asks its partner to be silent, or to go on: DC1 and DC3, the reverse of XON and XOFF."""
        self._out += b"\x11" if on else b"\x13"

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talks until the link goes."""
        listening = asyncio.create_task(self._listen(reader))
        try:
            while not listening.done():
                writer.write(self.due())
                await writer.drain()
                await asyncio.wait([listening], timeout=max(0.002, self._clock.seconds_until(self._now() + NS // 20)))
        finally:
            listening.cancel()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(4096):
            self.hear(data)

    def _now(self) -> int:
        return self._clock.now().mono_ns

    def hear(self, data: bytes) -> None:
        """Bytes from the computer."""
        if self.deaf:
            return
        for byte in data:
            if byte < 0x80:
                self._heard.append(byte)
            else:
                self._enabling = b"" if byte & 0xF0 == 0xD0 else self._enabling + bytes((byte,))
                if len(self._enabling) == 2 and self._enabling[0] == 0xC1:
                    self._sampled = self._sampled if self._running else self._now()
                    self._running = byte & 0x0F
        while (end := self._heard.find(b"\r")) >= 0:
            message, self._heard = bytes(self._heard[:end]), self._heard[end + 1 :]
            if message[0] == 0x01:
                self.told.append(message[1])
            elif int(message[-2:], 16) != sum(message[:-2]) % 256:
                self._out += b"\x01\x1516\r"
            elif message[1] not in self.mute:
                self._asked(message[1], message[2:-2])

    def _asked(self, code: int, arguments: bytes) -> None:
        self.asked.append(code)
        answer = _framed(0x01, code, self._answer(code, arguments))
        if self.flip:
            self.flip = False
            answer = answer[:2] + bytes((answer[2] ^ 1,)) + answer[3:]
        if self.cut:
            self.cut = False
            answer = answer[: len(answer) // 2]
        self._out += answer
        self._spoken = self._now()
        if code == 0x51:
            self._out += _framed(0x1B, 0x52)

    def _answer(self, code: int, arguments: bytes) -> str:
        if code == 0x24:
            shown = dict(VENTILATION)
            values = self._readings()
            for name, channel in (("EB", "spo2"), ("E6", "etco2")):
                shown[name] = f"{values[channel]:.0f}" if channel in values else ""
            return "".join(f"{name}{text:^4}" for name, text in shown.items())
        if code == 0x28:
            return f"{datetime.fromtimestamp(self._clock.now().utc_ns // NS, UTC):%H:%M:%S%d-%b-%y}".upper()
        if code == 0x29:
            return f"01{'40.0':>5}04{'0.450':>5}"
        if code == 0x52:
            return IDENTITY
        if code == 0x53:
            return "".join(
                f"{name}{INTERVAL_US:>8}{low:>5}{high:>5}{last:03X}" for name, (low, high, last, _, _) in CURVES.items()
            )
        if code == 0x54:
            text = arguments.decode()
            self._curves = [text[at : at + 2] for at in range(0, len(text), 4)]
        return ""

    def due(self) -> bytes:
        """What is to be sent now."""
        now = self._now()
        out, self._out = bytes(self._out), bytearray()
        if self.deaf:
            return b""
        if self._running and self._curves:
            while self._sampled + INTERVAL_US * 1000 <= now:
                self._sampled += INTERVAL_US * 1000
                out += self._set()
        elif now - self._spoken >= NOP_NS and self.asked:
            self._spoken = now
            out += _framed(0x1B, 0x30)
        return out

    def _set(self) -> bytes:
        self._sample += 1
        out = bytes((0xD0 | self._running,))
        for name in self._curves:
            low, high, last, middle, swing = CURVES[name]
            shown = middle + swing * sin(2 * pi * self._sample * INTERVAL_US / 5e6)
            bin_ = round((shown - low) * last / (high - low))
            out += bytes((0x80 | bin_ & 0x3F, 0x80 | bin_ >> 6))
        return out


def create(readings: Readings) -> MedibusVentilator:
    """The device as the simulator command attaches it."""
    return MedibusVentilator(readings)


def _framed(begin: int, code: int, text: str = "") -> bytes:
    body = bytes((begin, code)) + text.encode("ascii")
    return body + f"{sum(body) % 256:02X}\r".encode()
