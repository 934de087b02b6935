"""Checksums by the names that profiles use; each is the smallest statement of its rule, with its check value.

Sources: Modbus over Serial Line V1.02 (crc16_modbus); CRC catalogue names of the others. Which device uses which is
said in its profile or driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from operator import xor


class ChecksumName(StrEnum):
    """What `checksum = { kind = ... }` takes."""

    XOR = "xor"
    SUM8 = "sum8"
    SUM8_COMPLEMENT = "sum8_complement"
    SUM8_NEGATIVE = "sum8_negative"
    SUM16 = "sum16"
    CRC8_CDI = "crc8_cdi"
    CRC16_MODBUS = "crc16_modbus"
    CRC16_XMODEM = "crc16_xmodem"
    CRC16_X25 = "crc16_x25"


@dataclass(frozen=True, slots=True)
class Checksum:
    """One rule.

    Attributes:
        size: Bytes of the result.
        of: The rule itself.
    """

    size: int
    of: Callable[[bytes], int]


def _reflected(polynomial: int) -> tuple[int, ...]:
    """The table of a CRC that takes the lowest bit first."""

    def entry(byte: int) -> int:
        for _ in range(8):
            byte = byte >> 1 ^ (polynomial if byte & 1 else 0)
        return byte

    return tuple(entry(byte) for byte in range(256))


_MODBUS, _X25, _CDI = _reflected(0xA001), _reflected(0x8408), _reflected(0xA1)


def _low_first(table: tuple[int, ...], data: Iterable[int], start: int) -> int:
    for byte in data:
        start = start >> 8 ^ table[(start ^ byte) & 0xFF]
    return start


def _xmodem(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return crc


CHECKSUMS: Mapping[ChecksumName, Checksum] = {
    ChecksumName.XOR: Checksum(1, lambda data: reduce(xor, data, 0)),
    ChecksumName.SUM8: Checksum(1, lambda data: sum(data) & 0xFF),
    ChecksumName.SUM8_COMPLEMENT: Checksum(1, lambda data: 255 - (sum(data) & 0xFF)),
    ChecksumName.SUM8_NEGATIVE: Checksum(1, lambda data: -sum(data) & 0xFF),
    ChecksumName.SUM16: Checksum(2, lambda data: sum(data) & 0xFFFF),
    ChecksumName.CRC8_CDI: Checksum(1, lambda data: _low_first(_CDI, data, 0)),
    ChecksumName.CRC16_MODBUS: Checksum(2, lambda data: _low_first(_MODBUS, data, 0xFFFF)),
    ChecksumName.CRC16_XMODEM: Checksum(2, _xmodem),
    ChecksumName.CRC16_X25: Checksum(2, lambda data: _low_first(_X25, data, 0xFFFF) ^ 0xFFFF),
}
"""Of "123456789": sum8 DD, crc8_cdi 2A, crc16_modbus 4B37, crc16_xmodem 31C3, crc16_x25 906E."""
