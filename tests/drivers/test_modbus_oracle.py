from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU, FramerSocket, FramerType
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.register_message import ReadInputRegistersResponse
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from acquisition.driver import Reading
from acquisition.wire.modbus import Framing, Read, RtuFraming, TcpFraming
from tests.drivers.modbus_bench import build, converse

FLOW = {"function": 4, "address": 100, "type": "i16", "channel": "ecmo_flow", "unit": "mL/min"}
RPM = {"function": 4, "address": 101, "channel": "ecmo_rpm", "unit": "{rev}/min"}
SWEEP = {"function": 4, "address": 102, "type": "f32", "channel": "ecmo_sweep", "unit": "L/min"}
RPM_SET = {"function": 3, "address": 300, "channel": "ecmo_rpm_set", "unit": "{rev}/min"}
COUNTER = {"function": 1, "address": 2, "type": "bool", "channel": "sim_counter", "unit": "1"}

FRAMINGS: list[tuple[Framing, Callable[[DecodePDU], FramerRTU | FramerSocket]]] = [
    (RtuFraming(), FramerRTU),
    (TcpFraming(), FramerSocket),
]


@asynccontextmanager
async def pymodbus_server(framer: FramerType, requests: list[ModbusPDU]) -> AsyncIterator[str]:
    def seen(sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if not sending:
            requests.append(pdu)
        return pdu

    blocks = (
        [SimData(0, values=[False, True, True, False] * 4, datatype=DataType.BITS)],
        [SimData(0, values=[False] * 16, datatype=DataType.BITS)],
        [SimData(300, values=[3100, 0], datatype=DataType.REGISTERS)],
        [SimData(100, values=[0x10000 - 412, 3000, 0x4076, 0x6666], datatype=DataType.REGISTERS)],
    )
    server: Any = ModbusTcpServer(SimDevice(1, blocks), framer=framer, address=("127.0.0.1", 0), trace_pdu=seen)
    await server.serve_forever(background=True)
    try:
        yield f"tcp://127.0.0.1:{server.transport.sockets[0].getsockname()[1]}"
    finally:
        await server.shutdown()


@pytest.mark.system
@pytest.mark.parametrize(("mode", "framer"), [("tcp", FramerType.SOCKET), ("rtu_over_tcp", FramerType.RTU)])
async def test_pymodbus_own_server_is_read_and_only_ever_read(mode: str, framer: FramerType) -> None:
    driver = build(FLOW, RPM, SWEEP, RPM_SET, COUNTER, options={"mode": mode, "every_s": 0.1})
    requests: list[ModbusPDU] = []

    def enough(readings: list[Reading]) -> bool:
        return len(readings) >= 9

    async with pymodbus_server(framer, requests) as link:
        readings = await converse(driver, link, enough)
    merged = {channel: value for reading in readings for channel, value in reading.values.items()}
    assert merged == {
        "ecmo_flow": -0.412,
        "ecmo_rpm": 3000.0,
        "ecmo_sweep": 3.85,
        "ecmo_rpm_set": 3100.0,
        "sim_counter": 1.0,
    }
    assert driver.counters["timeout"] == driver.counters["rejected_late"] == driver.counters["bytes_noise"] == 0
    assert {request.function_code for request in requests} <= {1, 3, 4}


@pytest.mark.system
@pytest.mark.parametrize(("mode", "framer"), [("tcp", FramerType.SOCKET), ("rtu_over_tcp", FramerType.RTU)])
async def test_what_pymodbus_own_server_refuses_is_counted(mode: str, framer: FramerType) -> None:
    driver = build(FLOW, RPM | {"address": 200}, options={"mode": mode})
    async with pymodbus_server(framer, []) as link:
        await converse(driver, link, lambda readings: driver.counters["exception_2"] > 0)
    assert driver.counters["timeout"] == 0


@pytest.mark.parametrize(("ours", "framer"), FRAMINGS, ids=["rtu", "tcp"])
@given(
    unit=st.integers(1, 247),
    function=st.sampled_from([1, 2, 3, 4]),
    address=st.integers(0, 0xFFFF),
    count=st.integers(1, 125),
    transaction=st.integers(0, 0xFFFF),
)
def test_pymodbus_reads_our_requests_as_we_meant_them(
    ours: Framing,
    framer: Callable[[DecodePDU], FramerRTU | FramerSocket],
    unit: int,
    function: int,
    address: int,
    count: int,
    transaction: int,
) -> None:
    frame = ours.encode(Read(unit, function, address, count), transaction)
    used, pdu = framer(DecodePDU(True)).handleFrame(frame, 0, 0)
    assert used == len(frame)
    assert pdu is not None
    assert (pdu.dev_id, pdu.function_code, pdu.address, pdu.count) == (unit, function, address, count)


@pytest.mark.parametrize(("ours", "framer"), FRAMINGS, ids=["rtu", "tcp"])
@given(
    unit=st.integers(1, 247),
    words=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=125),
    transaction=st.integers(0, 0xFFFF),
)
def test_we_read_pymodbus_replies_as_they_were_meant(
    ours: Framing,
    framer: Callable[[DecodePDU], FramerRTU | FramerSocket],
    unit: int,
    words: list[int],
    transaction: int,
) -> None:
    response = ReadInputRegistersResponse(dev_id=unit, transaction_id=transaction, registers=words)
    frame = framer(DecodePDU(False)).buildFrame(response)
    read = Read(unit, 4, 0, len(words))
    reply = ours.find(bytearray(frame), read, transaction)
    assert reply is not None
    assert read.words(reply.data) == words
