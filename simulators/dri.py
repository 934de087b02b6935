"""Bedside monitor with a DRI computer interface: says nothing until asked, then sends displayed values and waves.

Layout: GE S/5 DRI Specification 8005313 and S/5 Computer Interface Specification M1017617 (12th editions): requests,
record header, basic class, invasive pressures, extension 3 with PiCCO, wave sub-records; level 11, little-endian.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from math import exp

import numpy as np

from acquisition.clock import NS, Clock, SystemClock
from acquisition.model import MISSING_COUNT
from simulators.readings import Readings
from simulators.wave_source import Resampled, WaveSource
from simulators.wrong_clock import Settable

DEFAULT_LINK = "pty:///tmp/ecmo-monitor"
PACKET_NS = NS // 4
SOURCE_HZ = 125
LEVEL = 11
ON = 0b11
INVALID = -32767
LEAST, MOST = -32000, 32767
FICTITIOUS = b"SIM-4711 FICTITIOUS PERSON"
NETWORK_RECORD = 5

WAVE_RATES = {1: 300, 2: 300, 3: 300, 4: 100, 5: 100, 6: 100, 7: 100, 8: 100}
PRESSURES = {
    # byte of the basic class: label, wave, the values shown
    16: (1, 4, ("abp_sys", "abp_dia", "abp_mean", "pr_abp")),
    30: (2, 5, ("", "", "cvp", "")),
    44: (11, 6, ("ecmo_p_pre", "ecmo_p_pre", "ecmo_p_pre", "")),
}
"""The arterial line, the central vein, and the circuit before the membrane on the socket that is still called P3."""

PLAYED = {"wf_ecg_ii": (1, 0.001), "wf_abp": (4, 0.01), "wf_cvp": (5, 0.01), "wf_pleth": (8, 0.0001)}
"""Channel to type of wave, and what a count of it stands for in the channel's unit: 1 uV, 0.01 mmHg, 0.01 %."""
CARRIES = frozenset({*PLAYED, "hr", "spo2", "temp_core", "co_td", "cvp", *PRESSURES[16][2]})
"""What of a recording it can send."""


class DriMonitor(Settable):
    """The monitor.

    Args:
        readings: Present values by channel id; one that is missing is shown as invalid.
        clock: Paces and dates what is sent.
        waves: Sources of samples by channel id, in place of the patient's; then no other wave is sent.

    Attributes:
        deaf: Does not hear requests: not yet switched on.
        stalled: Has stopped sending, as after a blocked handshake; asking again ends it.
        flip: Turns a bit of the next frame.
        cut: Breaks the next frame off in the middle.
        tell_patient: Also sends a record that nobody asked for, with an invented patient.
        zeroing: The arterial line is being zeroed.
        requests: What was asked, oldest first: main type and whether it begins something.
        values_sent: Sets of displayed values put on the wire.
    """

    def __init__(
        self, readings: Readings, clock: Clock | None = None, waves: Mapping[str, WaveSource] | None = None
    ) -> None:
        self.deaf = self.stalled = self.flip = self.cut = self.tell_patient = self.zeroing = False
        self.requests: list[tuple[int, bool]] = []
        self.values_sent = 0
        self._readings = readings
        self._clock = clock or SystemClock()
        self._sources = None if waves is None else {
            PLAYED[name][0]: Resampled(wave, WAVE_RATES[PLAYED[name][0]], PLAYED[name][1])
            for name, wave in waves.items()
        }  # fmt: skip
        self._heard = bytearray()
        self._every_ns = 0
        self._values_due = 0
        self._waves: tuple[int, ...] = ()
        self._waves_due = 0
        self._left_out = False
        self._position = 0
        self._record = 0
        self._pressure: list[float] = []
        self._quarters = 0

    def extend(self, pressures: Iterable[float]) -> None:
        """More of the arterial pressure, mmHg at 125 Hz."""
        self._pressure += pressures

    def stop(self) -> None:
        """Sends nothing more."""
        self._every_ns, self._waves = 0, ()

    @property
    def waiting(self) -> int:
        """Always 0: what was measured leaves at once, and nobody says whether it arrived."""
        return 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers requests and sends what is due until the link goes."""
        self._every_ns, self._waves = 0, ()
        listening = asyncio.create_task(self._listen(reader))
        try:
            while not listening.done():
                writer.write(self.due())
                await writer.drain()
                await asyncio.wait([listening], timeout=max(0.001, self._clock.seconds_until(self._next())))
        finally:
            listening.cancel()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(4096):
            self.hear(data)

    # -- what is asked -----------------------------------------------------------------------------------------------

    def hear(self, data: bytes) -> None:
        """Bytes from the computer."""
        self._heard += data
        while (end := self._heard.find(0x7E, 1)) >= 0:
            piece, self._heard = bytes(self._heard[1:end]), self._heard[end:]
            body = piece.replace(b"\x7d\x5e", b"\x7e").replace(b"\x7d\x5d", b"\x7d")
            if len(body) > 41 and sum(body[:-1]) % 256 == body[-1] and not self.deaf:
                self._asked(body[:-1])

    def _asked(self, record: bytes) -> None:
        now = self._clock.now().mono_ns
        main = int.from_bytes(record[14:16], "little")
        asked = record[40:]
        if main == 0 and len(asked) == 9 and asked[0] == 1:
            self._every_ns = int.from_bytes(asked[1:3], "little", signed=True) * NS
            self._values_due = now
            self.requests.append((0, self._every_ns > 0))
        elif main == 1 and len(asked) == 32:
            begins = asked[0:2] == b"\0\0"
            self._waves = tuple(asked[4 : 4 + asked[4:12].index(0xFF)]) if begins else ()
            self._waves_due = now + PACKET_NS
            self.requests.append((1, begins))
        self.stalled = False

    # -- what is sent ------------------------------------------------------------------------------------------------

    def due(self) -> bytes:
        """What is to be sent now."""
        now = self._clock.now().mono_ns
        out = b""
        while self._waves and now >= self._waves_due:
            self._waves_due += PACKET_NS
            out += self._said(self._wave_record())
        if self._every_ns and now >= self._values_due:
            self._values_due += self._every_ns
            out += self._said(self._values_record())
        if self.tell_patient and out:
            out += self._said(self._framed(NETWORK_RECORD, [(1, FICTITIOUS)]))
        return out

    def _next(self) -> int:
        wishes = [self._waves_due] if self._waves else []
        wishes += [self._values_due] if self._every_ns else []
        return min([*wishes, self._clock.now().mono_ns + NS // 20])

    def _said(self, frame: bytes) -> bytes:
        if self.stalled:
            self._left_out = True
            return b""
        if self.flip:
            self.flip = False
            return frame[:50] + bytes((frame[50] ^ 0x01,)) + frame[51:]
        if self.cut:
            self.cut = False
            return frame[: len(frame) // 2]
        return frame

    def _values_record(self) -> bytes:
        self.values_sent += not self.stalled
        readings = self._readings()
        values = {"pr_abp": readings.get("hr"), **readings}
        basic, ext3 = bytearray(270), bytearray(270)
        _group(basic, 0, 0, [values.get("hr")])
        for place, (label, _, channels) in PRESSURES.items():
            numbers = [_times(values.get(channel), 100) for channel in channels[:3]] + [values.get(channels[3])]
            if any(number is not None for number in numbers[:3]):  # else nothing is plugged in
                _group(basic, place, label, numbers, ON | (4 if self.zeroing and label == 1 else 0))
        _group(basic, 86, 0, [_times(values.get("temp_core"), 100)])
        _group(basic, 118, 0, [_times(values.get("spo2"), 100), values.get("hr"), None, None])
        flow = values.get("co_td")
        _group(ext3, 142, 0, [None] * 4 + [_times(flow, 1000)] + [None] * 19)
        now = (self._clock.now().utc_ns // NS).to_bytes(4, "little")
        parts = [(1, now + content + bytes((0, 0, 0, kind))) for kind, content in ((0, bytes(basic)), (3, bytes(ext3)))]
        return self._framed(0, parts)

    def _wave_record(self) -> bytes:
        gap, self._left_out = self._left_out and not self.stalled, self._left_out and self.stalled
        labels = {wave: label for label, wave, _ in PRESSURES.values()}
        parts = []
        for wave in self._waves:
            counts = self._samples(wave) if wave in WAVE_RATES else []
            if counts:
                head = len(counts).to_bytes(2, "little") + bytes((gap, 0)) + labels.get(wave, 0).to_bytes(2, "little")
                parts.append((wave, head + b"".join(_word(count) for count in counts)))
        self._position += 1
        del self._pressure[: max(0, len(self._pressure) - 5 * SOURCE_HZ)]
        return self._framed(1, parts)

    def _samples(self, wave: int) -> list[int]:
        rate = WAVE_RATES[wave]
        count = rate * PACKET_NS // NS
        if self._sources is not None:
            source = self._sources.get(wave)
            taken = np.empty(0) if source is None else source.take(count)
            shown = np.where(taken == MISSING_COUNT, INVALID, np.clip(taken, LEAST + 1, MOST))
            return [int(count) for count in shown]
        values = self._readings()
        if wave == 4 and self._pressure:
            return [round(100 * self._next_pressure()) for _ in range(count)]
        if wave in (1, 2, 3):
            beat_s = 60.0 / values.get("hr", 60.0)
            begin_s = self._position * PACKET_NS / NS
            since = ((begin_s + index / rate) % beat_s - 0.1 for index in range(count))
            return [round(1000 * exp(-((at / 0.012) ** 2))) for at in since]
        channels = next((shown for _, each, shown in PRESSURES.values() if each == wave), ("", "", "", ""))
        level = values.get(channels[2])
        return [INVALID if level is None else round(100 * level)] * count

    def _next_pressure(self) -> float:
        """The arterial pressure 10 ms later: five quarters of a sample of its source; held where the source is late."""
        skipped, quarters = divmod(self._quarters, 4)
        del self._pressure[: min(skipped, len(self._pressure) - 1)]
        self._quarters = quarters + 5
        first, second, *_ = *self._pressure[:2], self._pressure[-1]
        return first + (second - first) * quarters / 4

    def _framed(self, main: int, parts: list[tuple[int, bytes]]) -> bytes:
        self._record += 1
        offset, table, body = 0, b"", b""
        for kind, content in parts[:8]:
            table += offset.to_bytes(2, "little") + bytes((kind,))
            body += content
            offset += len(content)
        if len(parts) < 8:
            table += b"\0\0\xff"
        head = (40 + len(body)).to_bytes(2, "little") + bytes((self._record % 256, LEVEL, 0, 0))
        head += (self._clock.now().utc_ns // NS).to_bytes(4, "little") + bytes(4) + main.to_bytes(2, "little")
        record = head + table.ljust(24, b"\0") + body
        sent = bytearray()
        for byte in record + bytes((sum(record) % 256,)):
            sent += bytes((0x7D, byte - 0x20)) if byte in (0x7D, 0x7E) else bytes((byte,))
        return b"\x7e" + sent + b"\x7e"


def create(readings: Readings) -> DriMonitor:
    """The device as the simulator command attaches it."""
    return DriMonitor(readings)


def play(numerics: Readings, waves: Mapping[str, WaveSource], clock: Clock) -> DriMonitor:
    """The device as `ecmo-sim play` attaches it: from when it is first asked, each wave at the monitor's own rate."""
    return DriMonitor(numerics, clock, waves)


def _times(value: float | None, factor: int) -> float | None:
    return None if value is None else value * factor


def _word(value: float | None) -> bytes:
    number = INVALID if value is None else max(LEAST, min(MOST, round(value)))
    return (number if value != INVALID else INVALID).to_bytes(2, "little", signed=True)


def _group(content: bytearray, place: int, label: int, values: list[float | None], status: int = ON) -> None:
    """Writes a group: status, label, values."""
    words = b"".join(_word(value) for value in values)
    group = status.to_bytes(4, "little") + label.to_bytes(2, "little") + words
    content[place : place + len(group)] = group
