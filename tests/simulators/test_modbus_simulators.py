from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from acquisition.model import State
from simulators import alicat_mfc, leviflow, puralev, sim_pump_console
from simulators.alicat_mfc import AlicatMfc
from simulators.leviflow import Leviflow
from simulators.links import attached
from simulators.modbus_server import WRITES, Fault, ModbusServer, crc
from simulators.puralev import Puralev
from simulators.sim_pump_console import SimPumpConsole
from tests.drivers.modbus_bench import converse, shipped

VALUES = {
    "ecmo_flow": 3.852,
    "ecmo_rpm": 3125.0,
    "ecmo_rpm_set": 3150.0,
    "ecmo_p_drain": -61.3,
    "ecmo_p_pre": 248.7,
    "ecmo_p_post": 211.2,
    "ecmo_temp_ven": 36.52,
    "ecmo_temp_art": 36.97,
    "ecmo_svo2": 71.4,
    "ecmo_power": 10.6,
    "ecmo_sweep": 3.5,
}
PUMP = {channel: value for channel, value in VALUES.items() if channel != "ecmo_sweep"}


def pdu(address: int, count: int, function: int = 4) -> bytes:
    return struct.pack(">BHH", function, address, count)


def words(reply: bytes) -> list[int]:
    return list(struct.unpack(f">{reply[1] // 2}H", reply[2:]))


# The documented frames, as the device's end sees them: a second reading of the document, not the driver's.
@pytest.mark.parametrize(
    ("device", "request_frame", "reply_frame"),
    [
        (AlicatMfc(lambda: {"ecmo_sweep": 3.85}), "01 04 04 B8 00 02 F0 DE", "01 04 04 40 76 66 66 A4 14"),
        (
            Leviflow(lambda: {"ecmo_flow": 3.85, "ecmo_temp_art": 36.8}),
            "01 04 00 00 00 0A 70 0D",
            "01 04 14 00 00 01 81 00 00 00 00 00 00 00 00 0E 60 00 00 00 00 0F 0A 90 78",
        ),
    ],
)
def test_a_simulated_device_answers_with_the_documented_frame(
    device: ModbusServer, request_frame: str, reply_frame: str
) -> None:
    asked = bytes.fromhex(request_frame)
    assert crc(asked[:-2]) == asked[-2:]
    body = bytes((1,)) + device.answer(asked[1:-2])
    assert body + crc(body) == bytes.fromhex(reply_frame)


def test_the_simulated_drive_answers_with_the_documented_registers() -> None:
    drive = Puralev(lambda: {"ecmo_rpm": 3425.0, "ecmo_rpm_set": 3425.0})
    assert words(drive.answer(pdu(0x4000, 8))) == [2, 3425, 0, 3425, 0, 0, 0, 0]


def test_a_value_that_is_missing_or_does_not_fit_is_sent_as_no_value() -> None:
    console = SimPumpConsole(lambda: {"ecmo_flow": 40.0, "ecmo_rpm": -3.0})
    assert words(console.answer(pdu(100, 10))) == [0x8000, 0xFFFF, 0xFFFF, *[0x8000] * 7]


def test_a_probe_does_not_count_as_a_read_of_the_counter() -> None:
    console = SimPumpConsole(lambda: VALUES)
    console.answer(pdu(100, 1))
    assert console.counter == 0
    assert words(console.answer(pdu(110, 2))) == [0, 1]
    console.counter = 0xFFFF
    assert words(console.answer(pdu(110, 2))) == [1, 0]


def test_what_is_not_there_or_not_reading_is_refused() -> None:
    console = SimPumpConsole(lambda: VALUES)
    assert console.answer(pdu(99, 1)) == b"\x84\x02"
    assert console.answer(pdu(100, 0)) == b"\x84\x03"
    assert console.answer(pdu(100, 126)) == b"\x84\x03"
    assert console.answer(pdu(100, 1, function=3)) == b"\x83\x01"
    assert console.refused_writes == 0


@pytest.mark.parametrize("function", WRITES)
def test_a_write_is_refused_and_counted(function: int) -> None:
    console = SimPumpConsole(lambda: VALUES)
    assert console.answer(pdu(100, 1, function)) == bytes((function | 0x80, 1))
    assert console.refused_writes == 1


@pytest.mark.parametrize("module", [alicat_mfc, leviflow, puralev, sim_pump_console])
def test_every_device_can_be_made_and_has_a_place_of_its_own(module: Any) -> None:
    assert isinstance(module.create(lambda: VALUES), ModbusServer)
    links = [each.DEFAULT_LINK for each in (alicat_mfc, leviflow, puralev, sim_pump_console)]
    assert links.count(module.DEFAULT_LINK) == 1


@pytest.mark.system
@pytest.mark.parametrize(
    ("profile", "make", "options", "expected"),
    [
        ("sim_pump_console", SimPumpConsole, {}, PUMP),
        ("alicat_mfc", AlicatMfc, {}, {"ecmo_sweep": 3.5}),
        (
            "leviflow",
            Leviflow,
            {"channels": {"temperature": "ecmo_temp_art"}},
            {"ecmo_flow": 3.85, "ecmo_temp_art": 36.97},
        ),
        ("puralev", Puralev, {}, {"ecmo_rpm": 3125.0, "ecmo_rpm_set": 3150.0}),
    ],
)
@pytest.mark.parametrize("wire", ["pty", "rtu_over_tcp", "tcp"])
async def test_the_driver_reads_what_the_simulated_device_was_given(
    profile: str,
    make: Callable[..., ModbusServer],
    options: Mapping[str, Any],
    expected: Mapping[str, float],
    wire: str,
    tmp_path: Path,
) -> None:
    device = make(lambda: VALUES, tcp=wire == "tcp")
    url = f"pty://{tmp_path / 'line'}" if wire == "pty" else "tcp-listen://127.0.0.1:0"
    mode = "rtu" if wire == "pty" else wire
    driver = shipped(profile, mode=mode, every_s=0.05, **options)
    async with attached(url, device) as link:
        readings = await converse(driver, link, lambda readings: len(readings) >= 4)
    for reading in readings:
        assert {k: v for k, v in reading.values.items() if k != "sim_counter"} == pytest.approx(expected, abs=1e-9)
        assert set(reading.values) == set(device.channels) | set(expected)
    assert device.refused_writes == 0
    assert device.answered == len(readings)


@pytest.mark.system
@pytest.mark.parametrize("wire", ["pty", "tcp"])
async def test_each_read_of_a_troubled_console_is_there_once_or_not_at_all(wire: str, tmp_path: Path) -> None:
    tcp = wire == "tcp"
    console = SimPumpConsole(lambda: VALUES, tcp=tcp)
    noise = b"" if tcp else b"\x01\x04\xff"
    console.faults.extend(
        [
            Fault(),
            Fault(),
            Fault(copies=2),
            Fault(delay_s=0.15),
            Fault(),
            Fault(before=noise),
            Fault(unit=9),
            Fault(copies=0),
            Fault(),
            Fault(exception=6),
            Fault(copies=1 if tcp else 2, corrupt=not tcp),
            Fault(keep=None if tcp else 11),
        ]
    )
    driver = shipped("sim_pump_console", mode="tcp" if tcp else "rtu", every_s=0.05, timeout_s=0.1)
    url = "tcp-listen://127.0.0.1:0" if tcp else f"pty://{tmp_path / 'line'}"
    async with attached(url, console) as link:
        readings = await converse(driver, link, lambda readings: not console.faults and len(readings) >= 8)
    counts = [reading.values["sim_counter"] for reading in readings]
    assert counts == sorted(set(counts))
    assert max(counts) <= console.counter
    assert driver.counters["timeout"] >= 3
    assert driver.counters["rejected_late"] >= 2
    assert driver.counters["exception_6"] == 1


@pytest.mark.system
async def test_a_device_without_values_says_so(tmp_path: Path) -> None:
    driver = shipped("sim_pump_console", every_s=0.05)
    async with attached(f"pty://{tmp_path / 'line'}", SimPumpConsole(dict)) as link:
        (first, *_) = await converse(driver, link, lambda readings: len(readings) >= 1)
    assert dict(first.values) == {"sim_counter": 1.0}
    assert set(first.states) == set(PUMP)
    assert set(first.states.values()) == {State.INVALID}


@pytest.mark.system
async def test_a_muted_device_hears_and_does_nothing() -> None:
    console = SimPumpConsole(lambda: VALUES, tcp=True)
    console.muted = True
    driver = shipped("sim_pump_console", mode="tcp", every_s=0.05, timeout_s=0.05)
    async with attached("tcp-listen://127.0.0.1:0", console) as link:
        await converse(driver, link, lambda readings: driver.counters["timeout"] >= 2)
    assert (console.counter, console.answered) == (0, 0)


@pytest.mark.system
async def test_what_is_no_header_of_modbus_tcp_ends_the_connection() -> None:
    async with attached("tcp-listen://127.0.0.1:0", SimPumpConsole(lambda: VALUES, tcp=True)) as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(link.rpartition(":")[2]))
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        writer.close()
