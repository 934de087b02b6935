from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from acquisition.journal.reader import JournalReader
from acquisition.model import Numerics
from simulators.alicat_mfc import AlicatMfc
from simulators.hl7_monitor import Hl7Monitor
from simulators.links import Device, attached
from simulators.sim_pump_console import SimPumpConsole
from tests.system.beds import consecutive, daemon, device, rows, until, v1_sink, write_config
from tests.system.servers import Server, free_port, influxd

pytestmark = pytest.mark.system

NS = 1_000_000_000
COUNTED = 'options = { channels = { "1^99ECMODAQSIM" = "sim_counter" } }'


class Bed:
    """Pump on a pseudo-terminal, sweep gas on Modbus TCP and monitor on MLLP, each with a counter of its readings.

    The gas controller has no register for one, so its flow is the counter: 0.01, 0.02, ... litres a minute.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pump = SimPumpConsole(lambda: {"ecmo_flow": 3.5, "ecmo_rpm": 3000.0})
        reads = itertools.count(1)
        self.gas = AlicatMfc(lambda: {"ecmo_sweep": next(reads) / 100}, tcp=True)
        self.monitor = Hl7Monitor(lambda: {"hr": 90.0, "abp_mean": 75.0}, counter=True, every_s=0.5)
        self.monitor_port = free_port()
        self.gas_port = free_port()

    async def up(self, stack: AsyncExitStack) -> None:
        """Attaches all three."""
        await stack.enter_async_context(attached(f"pty://{self.directory}/pump", self.pump))
        await stack.enter_async_context(attached(f"tcp-listen://127.0.0.1:{self.gas_port}", self.gas))
        await stack.enter_async_context(attached(f"tcp://127.0.0.1:{self.monitor_port}", self.monitor))

    def config(self, server: Server) -> Path:
        return write_config(
            self.directory,
            device("pump", "modbus", f"serial://{self.directory}/pump", 'profile = "sim_pump_console"'),
            device("gas", "modbus", f"tcp://127.0.0.1:{self.gas_port}", 'profile = "alicat_mfc"',
                   'options = { mode = "tcp", every_s = 0.5 }'),
            device("mon", "hl7", f"tcp-listen://127.0.0.1:{self.monitor_port}", COUNTED),
            v1_sink(server),
        )  # fmt: skip


async def counters(server: Server) -> Mapping[str, list[float]]:
    """What InfluxDB has of each device's counter; the point of a repeated delivery is the same point."""
    pump = await rows(server, "SELECT sim_counter FROM numerics WHERE device = 'pump'")
    gas = await rows(server, "SELECT ecmo_sweep FROM numerics WHERE device = 'gas'")
    mon = await rows(server, "SELECT sim_counter FROM numerics WHERE device = 'mon'")
    return {
        "pump": [row[1] for row in pump],
        "gas": [round(row[1] * 100) for row in gas],
        "mon": [row[1] for row in mon],
    }


async def seen(server: Server, name: str, at_least: int) -> bool:
    return len((await counters(server))[name]) >= at_least


async def test_while_influxdb_is_stopped_nothing_is_lost_and_everything_arrives_once(tmp_path: Path) -> None:
    async with influxd(tmp_path / "influxd", "ecmo") as server, AsyncExitStack() as stack:
        bed = Bed(tmp_path)
        await bed.up(stack)
        async with daemon(bed.config(server)) as running:
            await until(lambda: seen(server, "mon", 3))
            await server.stop()
            before = bed.pump.answered
            await until(lambda: bed.pump.answered >= before + 10 and running.forwarders[0].status.attempts >= 2)
            assert all(session.status.error == "" for session in running.sessions)
            await server.start()
            await until(lambda: running.forwarders[0].status.attempts == 0)
            bed.monitor.stop()
            bed.pump.muted = bed.gas.muted = True
            await until(lambda: bed.monitor.waiting == 0)
            expected = {"pump": bed.pump.counter, "gas": bed.gas.answered, "mon": bed.monitor.counted}

            async def all_there() -> bool:
                found = await counters(server)
                return all(len(found[name]) >= count for name, count in expected.items())

            await until(all_there)
        found = await counters(server)
        assert {name: len(values) for name, values in found.items()} == expected
        assert all(consecutive(values) for values in found.values())
        assert await rows(server, "SELECT * FROM events WHERE kind = 'gap'") == []


async def test_what_the_journal_had_before_a_sigkill_is_in_influxdb_and_the_gap_has_its_cause(tmp_path: Path) -> None:
    async with influxd(tmp_path / "influxd", "ecmo") as server, AsyncExitStack() as stack:
        bed = Bed(tmp_path)
        await bed.up(stack)
        config = bed.config(server)
        first = await start_daemon(config)
        await until(lambda: bed.monitor.acknowledged >= 6)
        await server.stop()  # so that the kill meets a backlog
        await until(lambda: bed.monitor.acknowledged >= 12 and bed.pump.counter >= 15)
        first.kill()
        await first.wait()
        acknowledged = bed.monitor.acknowledged
        kept = JournalReader(tmp_path / "journal").query(devices={"pump"}, channels={"sim_counter"})
        durable = {reading.values["sim_counter"] for reading in kept if isinstance(reading, Numerics)}
        assert len(durable) >= 10
        await asyncio.sleep(6)  # longer than the silence that counts as a gap
        await server.start()
        second = await start_daemon(config)
        try:
            await until(lambda: bed.monitor.acknowledged >= acknowledged + 14)
            bed.monitor.stop()
            await until(lambda: bed.monitor.waiting == 0)
            await until(lambda: seen(server, "mon", bed.monitor.counted))
        finally:
            second.send_signal(signal.SIGTERM)
            assert await second.wait() == 0
        found = await counters(server)
        # The monitor waits for acknowledgements, so it lost nothing at all, and nothing came twice.
        assert sorted(found["mon"]) == list(range(1, bed.monitor.counted + 1))
        # A polled device may lose the last commit interval; what the journal had is there, and there once.
        assert durable <= set(found["pump"])
        assert len(set(found["pump"])) == len(found["pump"])
        gaps = await rows(server, "SELECT device, detail FROM events WHERE kind = 'gap'")
        causes = {row[1]: json.loads(row[2])["cause"] for row in gaps}
        assert causes == {"pump": "daemon_down", "gas": "daemon_down", "mon": "daemon_down"}
        told = await rows(server, "SELECT text FROM events WHERE kind = 'daemon'")
        assert any("did not end cleanly" in row[1] for row in told)


async def start_daemon(config: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "acquisition.cli", "run", "--config", str(config), stderr=asyncio.subprocess.DEVNULL
    )


@pytest.mark.parametrize("missing", ["pump", "gas", "mon"])
async def test_a_device_that_disappears_and_returns_never_pauses_the_others(tmp_path: Path, missing: str) -> None:
    async with influxd(tmp_path / "influxd", "ecmo") as server, AsyncExitStack() as stack:
        bed = Bed(tmp_path)
        links: dict[str, tuple[str, Device]] = {
            "pump": (f"pty://{tmp_path}/pump", bed.pump),
            "gas": (f"tcp-listen://127.0.0.1:{bed.gas_port}", bed.gas),
            "mon": (f"tcp://127.0.0.1:{bed.monitor_port}", bed.monitor),
        }
        for name, (url, simulator) in links.items():
            if name != missing:
                await stack.enter_async_context(attached(url, simulator))
        async with daemon(bed.config(server)):
            async with attached(*links[missing]):
                for name in links:
                    await until(partial(seen, server, name, 3))
            await asyncio.sleep(6)
            before = len((await counters(server))[missing])
            async with attached(*links[missing]):
                await until(lambda: seen(server, missing, before + 3))

                async def gap_told() -> bool:
                    return bool(await rows(server, "SELECT detail FROM events WHERE kind = 'gap'"))

                await until(gap_told)
        gaps = await rows(server, "SELECT device, detail FROM events WHERE kind = 'gap'")
        assert {row[1] for row in gaps} == {missing}
        assert all(json.loads(row[2])["cause"] in ("link_lost", "port_absent") for row in gaps)
        for name in links:
            if name == missing:
                continue
            column = "ecmo_sweep" if name == "gas" else "sim_counter"
            times = sorted(
                row[0] for row in await rows(server, f"SELECT {column} FROM numerics WHERE device = '{name}'")
            )
            assert max(after - before for before, after in itertools.pairwise(times)) < 2 * NS


async def test_a_device_that_falls_silent_on_an_open_link_is_a_gap_and_harms_nobody(tmp_path: Path) -> None:
    async with influxd(tmp_path / "influxd", "ecmo") as server, AsyncExitStack() as stack:
        bed = Bed(tmp_path)
        await bed.up(stack)
        async with daemon(bed.config(server)):
            await until(lambda: seen(server, "pump", 3))
            bed.pump.muted = True
            await asyncio.sleep(6)
            bed.pump.muted = False
            await until(lambda: seen(server, "pump", 8))
        (gap,) = await rows(server, "SELECT device, detail FROM events WHERE kind = 'gap'")
        assert (gap[1], json.loads(gap[2])["cause"]) == ("pump", "cable_or_no_bytes")
        found = await counters(server)
        assert consecutive(found["gas"])
        assert consecutive(found["mon"])
