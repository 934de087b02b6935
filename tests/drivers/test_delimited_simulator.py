from __future__ import annotations

import asyncio
import os
import tomllib
from pathlib import Path

import pytest

from acquisition.catalogue import Catalogue, shipped_config
from acquisition.clock import NS, ScaledClock
from acquisition.driver import Reading
from acquisition.model import State
from drivers.delimited import DelimitedDriver
from simulators.emtec_bioprott import EmtecBioprott
from simulators.links import attached


def driver() -> DelimitedDriver:
    profile = tomllib.loads((shipped_config() / "devices" / "emtec_bioprott.toml").read_text(encoding="utf-8"))
    started = DelimitedDriver.build({}, Catalogue.shipped(), profile)
    started.start(0)
    return started


def flows(reader: DelimitedDriver) -> list[float | State]:
    found = [emission for emission in reader.take_emissions() if isinstance(emission, Reading)]
    return [reading.states.get("ecmo_flow") or reading.values["ecmo_flow"] for reading in found]


def test_the_driver_reads_what_the_simulator_means() -> None:
    present: dict[str, float] = {}
    device, reader = EmtecBioprott(lambda: present), driver()
    wire = device.line()
    for flow in (3.54, -0.295, 0.0, 1200.0, -1200.0):
        present["ecmo_flow"] = flow
        wire += device.line()
    present.clear()
    reader.receive(wire + device.line(), 0)
    off, high, low = State.NOT_CONNECTED, State.ABOVE_RANGE, State.BELOW_RANGE
    assert flows(reader) == [3.54, -0.295, 0.0, high, low, off]
    assert reader.counters["frames_bad"] == 0


def test_each_line_has_the_mean_of_the_last_tenth_second_ten_seconds() -> None:
    values = iter([4.0] * 90 + [2.0] * 11)
    device = EmtecBioprott(lambda: {"ecmo_flow": next(values)})
    lines = [device.line().split() for _ in range(101)]
    assert lines[89][4:7] == [b"4000", b"4000", b"4000"]
    assert lines[90][4:7] == [b"2000", b"3800", b"3978"]
    assert lines[100][4:7] == [b"2000", b"2000", b"3780"]


@pytest.mark.system
async def test_the_simulator_streams_ten_lines_a_second_over_a_pseudo_terminal(tmp_path: Path) -> None:
    clock = ScaledClock(10.0)
    device = EmtecBioprott(lambda: {"ecmo_flow": 3.54}, clock)
    received = bytearray()
    async with attached(f"pty://{tmp_path}/flow", device) as link:
        port = os.open(link.removeprefix("serial://"), os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
        loop, began = asyncio.get_running_loop(), clock.now().mono_ns
        enough = loop.create_future()

        def take() -> None:
            received.extend(os.read(port, 4096))
            if received.count(b"\n") >= 21 and not enough.done():
                enough.set_result(clock.now().mono_ns)

        loop.add_reader(port, take)
        ended = await asyncio.wait_for(enough, 45)
        loop.remove_reader(port)
        os.close(port)
    reader = driver()
    reader.receive(bytes(received), 0)
    assert set(flows(reader)) == {3.54}
    assert 1.8 * NS < ended - began < 4 * NS
