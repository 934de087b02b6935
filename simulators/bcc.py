"""B. Braun SpaceCom with a rack of infusion pumps, answering BCC questions over TCP or a serial line.

Layout: B. Braun, Technical Interface Specification BCC 3.25/3.26, version 4. A pump runs what the present values say of
its channel, and where they say nothing what it was set to: no patient makes its own infusion.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from simulators.readings import Readings

DEFAULT_LINK = "tcp-listen://127.0.0.1:4001"
SOH, ACK, NAK = b"\x01", b"\x06", b"\x15"
ACK_WITHIN_S = 3.0
MOST_TRIES = 3


@dataclass
class Pump:
    """One pump of the rack.

    Attributes:
        drug: As in its library.
        rate: mL/h; None for a value that is not valid.
        dose: In `unit`; None if no dose is set.
        channel: Whose present value it runs at, if there is one: its dose, or its rate if it has no dose.
    """

    drug: str
    rate: float | None
    dose: float | None = None
    unit: str = "\u00b5g/kg/min"
    channel: str = ""


class Bcc:
    """The SpaceCom.

    Args:
        pumps: By address.
        bed: What it calls itself.
        stuffing: Whether D and E are stuffed.
        readings: Present values by channel id.
    """

    def __init__(
        self, pumps: Mapping[str, Pump], bed: str = "7", *, stuffing: bool = True, readings: Readings = dict
    ) -> None:
        self.pumps = dict(pumps)
        self._readings = readings
        self.bed = bed
        self.blocks = 1
        self._stuffing = stuffing

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers until the link goes."""
        begun = b""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                question = begun + await reader.readuntil(b"\x04")
                blocks = self.answers(question[max(0, question.rfind(SOH)) :])
                begun = await self._say(blocks, reader, writer)

    async def _say(self, blocks: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Sends each block until it is acknowledged; returns the beginning of a question that came instead."""
        for block in blocks:
            for _ in range(MOST_TRIES):
                writer.write(block)
                await writer.drain()
                try:
                    reply = await asyncio.wait_for(reader.readexactly(1), ACK_WITHIN_S)
                except TimeoutError:
                    continue
                if reply == SOH:
                    return reply
                if reply == ACK:
                    break
        return b""

    def answers(self, question: bytes) -> list[bytes]:
        """The blocks that answer a question."""
        if question == self.encode("1", "ADMIN:ALIVE", last=True):
            return [self.encode(self.bed, "ADMIN:ALIVE", last=True)]
        if question == self.encode(self.bed, "MEM:GET", last=True):
            said = [f"{''.join(each)}\x1e" for each in self._quadruples()]
            size = -(-len(said) // self.blocks)
            parts = ["".join(said[at : at + size]) for at in range(0, len(said), size)]
            return [self.encode(self.bed, part, last=part is parts[-1]) for part in parts]
        return []

    def encode(self, bed: str, text: str, *, last: bool) -> bytes:
        """One block."""
        content = (bed + "/1/1>" + text).encode("latin-1")
        summed = bytearray(b"\x01" + str(len(content) + 14).zfill(5).encode() + b"\x02" + content)
        summed.append(0x03 if last else 0x17)
        whole = bytes(summed) + str(sum(summed) & 0xFF).zfill(5).encode() + b"\x04"
        if not self._stuffing:
            return whole
        out = bytearray()
        for byte in whole:
            out += {0x44: b"EX", 0x45: b"EE", 0x64: b"ex", 0x65: b"ee"}.get(byte, bytes((byte,)))
        return bytes(out)

    def _quadruples(self) -> list[str]:
        said = ["214,1,GNACK,0"]
        present = self._readings()
        for address, pump in self.pumps.items():
            now = present.get(pump.channel)
            if now is not None:
                pump = replace(pump, rate=now) if pump.dose is None else replace(pump, dose=now)
            said.append(f"214,{address},INSOL,{pump.drug}")
            said.append(f"214,{address},INRT,{'_NV' if pump.rate is None else f'{pump.rate:.2f}'}")
            said.append(f"214,{address},INVI,1.4")
            if pump.dose is not None:
                said.append(f"214,{address},INDORT,{pump.dose:.3f}")
                said.append(f"214,{address},INDORTU,{pump.unit}")
        return said


def create(readings: Readings) -> Bcc:
    """The device as the simulator command attaches it."""
    return Bcc(
        {
            "50111": Pump("Arterenol 4mg/50", 5.6, 0.1, channel="dose_norepinephrine"),
            "50112": Pump("Dobutamin 250mg/50", 6.3, 7.0, channel="dose_dobutamine"),
            "50113": Pump("Studie A", 4.2, channel="study_drug_rate"),
        },
        readings=readings,
    )
