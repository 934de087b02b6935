"""B. Braun SpaceCom with a rack of infusion pumps, answering BCC questions over TCP or a serial line.

Layout: B. Braun, Technical Interface Specification BCC 3.25/3.26, version 4. The pumps run what the list says, whatever
the patient does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

DEFAULT_LINK = "tcp-listen://127.0.0.1:4001"
ACK, NAK = b"\x06", b"\x15"
ACK_WITHIN_S = 3.0

Readings = Callable[[], Mapping[str, float]]


@dataclass
class Pump:
    """One pump of the rack.

    Attributes:
        drug: As in its library.
        rate: mL/h; None for a value that is not valid.
        dose: In `unit`; None if no dose is set.
    """

    drug: str
    rate: float | None
    dose: float | None = None
    unit: str = "\u00b5g/kg/min"


class Bcc:
    """The SpaceCom.

    Args:
        pumps: By address.
        bed: What it calls itself.
        stuffing: Whether D and E are stuffed.
    """

    def __init__(self, pumps: Mapping[str, Pump], bed: str = "7", *, stuffing: bool = True) -> None:
        self.pumps = dict(pumps)
        self.bed = bed
        self.blocks = 1
        self._stuffing = stuffing

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers until the link goes."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                question = await reader.readuntil(b"\x04")
                for block in self.answers(question[question.rindex(b"\x01") :]):
                    for _ in range(3):
                        writer.write(block)
                        await writer.drain()
                        with contextlib.suppress(TimeoutError):
                            if await asyncio.wait_for(reader.readexactly(1), ACK_WITHIN_S) == ACK:
                                break

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
        for address, pump in self.pumps.items():
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
            "50111": Pump("Arterenol 4mg/50", 5.6, 0.1),
            "50112": Pump("Dobutamin 250mg/50", 6.3, 7.0),
            "50113": Pump("Studie A", 4.2),
        }
    )
