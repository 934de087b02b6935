"""Frames of the DRI computer interface: those printed in M1017617 (12th ed.), and others built from 8005313 by hand."""

from __future__ import annotations

DISPLAYED_10_S = bytes.fromhex(
    "7e 31 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 ff 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
    "00 00 00 01 0a 00 0e 00 00 00 00 00 49 7e"
)
STOP_DISPLAYED = DISPLAYED_10_S[:41] + bytes.fromhex("010000000000000000317e")
TREND_60_S = DISPLAYED_10_S[:41] + bytes.fromhex("033c000e00000000007d5d7e")
ECG1 = bytes.fromhex("7e4800" + "00" * 12 + "0100" + "0000000000ff" + "00" * 18 + "0000000001ff" + "00" * 26 + "487e")
INVP1_INVP2 = bytes.fromhex(
    "7E48000000000000000000000000000100000000 0000FF" + "00" * 18 + "0000 0000 0405FF" + "00" * 25 + "507E"
)
WAVE = bytes.fromhex(
    "7E 42 00 01 0A 00 00 C0 DF 6D 6A 00 00 00 00 01 00 00 00 04 00 00 FF" + "00" * 18 + "0A 00 01 00 01 00"
    "40 1F A4 1F 08 20 6C 20 D0 20 34 21 98 21 FC 21 60 22 C4 22 2C 7E"
)
"""INVP1 labelled ART, ten samples from 80.00 to 89.00 mmHg, gap bit set."""
TIME = bytes.fromhex("C0DF6D6A")
"""2026-08-01 12:00:00 UTC."""
ECG_72 = "03 00 00 00 00 00 48 00"
ART_120_80_93 = "03 00 00 00 01 00 E0 2E 40 1F 54 24 48 00"
CVP_8 = "03 00 00 00 02 00 01 80 01 80 20 03 01 80"
T1_36_7 = "03 00 00 00 00 00 56 0E"
PLACES = {
    "ecg": 0, "p1": 16, "p2": 30, "p3": 44, "p4": 58, "t1": 86, "spo2": 118, "co_wedge": 200, "svo2": 232, "p5": 240,
    "p6": 254,
}  # fmt: skip


def framed(record: bytes) -> bytes:
    body = record + bytes((sum(record) % 256,))
    return b"\x7e" + body.replace(b"\x7d", b"\x7d\x5d").replace(b"\x7e", b"\x7d\x5e") + b"\x7e"


def record(main: int, *parts: tuple[int, bytes], level: int = 11) -> bytes:
    table, offset = b"", 0
    for kind, content in parts:
        table += offset.to_bytes(2, "little") + bytes((kind,))
        offset += len(content)
    if len(parts) < 8:
        table += b"\0\0\xff"
    head = (40 + offset).to_bytes(2, "little") + bytes((1, level, 0, 0)) + TIME + bytes(4) + bytes((main, 0))
    return head + table.ljust(24, b"\0") + b"".join(content for _, content in parts)


def values(groups: dict[int, str], of_class: int = 0, kind: int = 1) -> tuple[int, bytes]:
    content = bytearray(270)
    for place, text in groups.items():
        group = bytes.fromhex(text)
        content[place : place + len(group)] = group
    return kind, TIME + content + bytes((0, 0, 0, of_class))


def basic(level: int = 11, **groups: str) -> bytes:
    return framed(record(0, values({PLACES[name]: text for name, text in groups.items()}), level=level))


def words(*numbers: int) -> str:
    return b"".join(number.to_bytes(2, "little", signed=True) for number in numbers).hex()


def wave(kind: int, label: int, samples: list[int], status: int = 0) -> tuple[int, bytes]:
    return kind, bytes.fromhex(words(len(samples), status, label, *samples))


MONITOR = basic(level=10, ecg=ECG_72, p1=ART_120_80_93, p2=CVP_8, t1=T1_36_7)
