"""Days of a bed in minutes, with everything real but the speed of time: what grows must show."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from acquisition.clock import NS, ScaledClock
from acquisition.journal.reader import JournalReader
from acquisition.model import Numerics
from simulators.links import attached
from simulators.sim_pump_console import SimPumpConsole
from tests.system.beds import DATABASE, daemon, device, rows, until, v1_sink, write_config
from tests.system.servers import influxd

DAYS = float(os.environ.get("ECMO_DAQ_SOAK_DAYS", "0.2"))
SPEED = 1000
EVERY_S = 20
DAY_S = 86_400
pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(120 + 90 * DAYS)]


@dataclass(frozen=True)
class Use:
    """What this process holds: daemon and simulator."""

    memory: int
    files: int
    threads: int

    @classmethod
    def now(cls) -> Use:
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return cls(resident, len(os.listdir("/proc/self/fd")), threading.active_count())


async def test_memory_files_and_threads_stay_flat_over_days_with_an_outage_in_each(tmp_path: Path) -> None:
    pump = SimPumpConsole(lambda: {"ecmo_flow": 3.5, "ecmo_rpm": 3000.0})
    clock = ScaledClock(SPEED)
    start = clock.now()
    uses: list[Use] = []
    async with influxd(tmp_path / "influx", DATABASE) as server, attached(f"pty://{tmp_path}/pump", pump):
        config = write_config(
            tmp_path,
            device("pump", "modbus", f"serial://{tmp_path}/pump", 'profile = "sim_pump_console"',
                   f"options = {{ every_s = {EVERY_S}, timeout_s = 10 }}"),
            v1_sink(server),
        )  # fmt: skip
        async with daemon(config, clock):
            for part in range(1, 11):
                await asyncio.sleep(clock.seconds_until(start.mono_ns + round(DAYS * DAY_S * NS) * part // 10))
                if part % 2:
                    await server.stop()
                else:
                    await server.start()
                uses.append(Use.now())
            pump.muted = True

            sent: set[int] = set()

            async def complete() -> bool:
                sent.update(int(row[0]) for row in await rows(server, "SELECT sim_counter FROM numerics"))
                return kept() <= sent

            def kept() -> set[int]:
                reader = JournalReader(tmp_path / "journal")
                return {each.time_ns for each in reader.query(devices={"pump"}) if isinstance(each, Numerics)}

            await until(complete, 60)
            assert len(kept()) > 0.4 * DAYS * DAY_S / EVERY_S
    settled, after = uses[3], uses[-1]  # two outages have been seen by then
    assert after.memory - settled.memory < 12 << 20, uses
    assert after.files <= settled.files + 2, uses
    assert after.threads <= settled.threads + 1, uses
