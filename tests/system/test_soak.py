"""Days of a bed in minutes: everything is real but the speed of time and the devices; what grows must show."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.clock import NS, Instant, ScaledClock, SystemClock
from acquisition.health import Health
from acquisition.journal.reader import JournalReader
from acquisition.model import Numerics
from simulators import hl7_monitor
from simulators.hl7_monitor import Hl7Monitor
from simulators.links import attached
from simulators.sim_pump_console import SimPumpConsole
from tests.system.beds import DATABASE, device, rows, until, v1_sink, write_config
from tests.system.servers import Server, free_port, influxd, mosquitto

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "ecmo-daq.service"
DAYS = float(os.environ.get("ECMO_DAQ_SOAK_DAYS", "0.2"))
SPEED = 1200
POLL_S, REPORT_S = 30, 600
"""A report waits for a real commit, two of them every half second here: more than the bed could take would be lost."""
KEEP_DAYS = 2
DAY_S = 86_400
PARTS = 30
"""Every third of them without a server."""
SLACK_BYTES = (4 if DAYS >= 6 else 12) << 20
"""From a third of the run to its end. In fewer days it still warms up: no merged range has been remembered, for one."""
pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(400 + 90 * DAYS)]


@dataclass(frozen=True)
class Use:
    """What the daemon's process holds at one moment of the run."""

    day: float
    memory: int
    files: int
    threads: int

    @classmethod
    def of(cls, pid: int, day: float) -> Use:
        process = Path("/proc") / str(pid)
        resident = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return cls(day, resident, len(os.listdir(process / "fd")), len(os.listdir(process / "task")))

    def __str__(self) -> str:
        return f"day {self.day:5.2f}: {self.memory / 1e6:6.1f} MB, {self.files} files, {self.threads} threads"


class SlowWave:
    """A pressure as a wave, one sample a second: 30 days of it are what a bed has in six hours."""

    rate_hz = 1.0
    resolution = 0.1

    def take(self, n: int) -> NDArray[np.int32]:
        return np.full(n, 800, dtype=np.int32)


@asynccontextmanager
async def fast_daemon(config: Path, start: Instant, log: Path) -> AsyncIterator[int]:
    """The daemon's process, by its number, on a clock that is fast since `start`; it must end well when told to."""
    words = [str(config), str(SPEED), str(start.utc_ns), str(start.mono_ns)]
    heap = dict(re.findall(r"(MALLOC_\w+)=(\S+)", UNIT.read_text()))  # as it is when it is a service
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("soak_daemon.py")), *words,
            stderr=stderr, env={**os.environ, **heap},
        )  # fmt: skip
    try:
        yield process.pid
        assert process.returncode is None, log.read_text()[-2000:]
        process.terminate()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def kept(journal: Path) -> set[int]:
    return {each.time_ns for each in JournalReader(journal).query(devices={"pump"}) if isinstance(each, Numerics)}


async def sent(server: Server, field: str, name: str) -> set[int]:
    """One column of a device in InfluxDB; `time` is always the first."""
    found = await rows(server, f"SELECT sim_counter FROM numerics WHERE device = '{name}'")
    return {int(row[0 if field == "time" else 1]) for row in found}


async def test_memory_files_and_threads_stay_flat_over_days_of_polls_reports_outages_and_deletion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hl7_monitor, "ACK_TIMEOUT_NS", 10 * SPEED * NS)  # the journal commits in real time
    pump = SimPumpConsole(lambda: {"ecmo_flow": 3.5, "ecmo_rpm": 3000.0})
    start = SystemClock().now()
    clock = ScaledClock(SPEED, start=start)
    monitor = Hl7Monitor(
        lambda: {"hr": 90.0, "abp_mean": 70.0}, {"wf_abp": SlowWave()}, every_s=REPORT_S, clock=clock, counter=True
    )
    port, journal, status = free_port(), tmp_path / "journal", tmp_path / "status.json"
    uses: list[Use] = []
    async with (
        influxd(tmp_path / "influx", DATABASE) as server,
        mosquitto(tmp_path / "mosquitto") as broker,
        attached(f"pty://{tmp_path}/pump", pump),
        attached(f"tcp://127.0.0.1:{port}", monitor),
    ):
        config = write_config(
            tmp_path,
            f"keep_days = {KEEP_DAYS}\n",
            f'[status]\nfile = "{status}"\n',
            device("pump", "modbus", f"serial://{tmp_path}/pump", "gap_after_s = 3600.0",
                   'profile = "sim_pump_console"',
                   f'record = {{ file = "{tmp_path}/traces/pump.trace.zst", file_mb = 0.2, quota_mb = 1.0 }}',
                   f"options = {{ every_s = {POLL_S}, timeout_s = 10 }}"),
            device("mon", "hl7", f"tcp-listen://127.0.0.1:{port}", "gap_after_s = 3600.0",
                   'options = { channels = { "1^99ECMODAQSIM" = "sim_counter" } }'),
            v1_sink(server),
            f'\n[[sink]]\nid = "broker"\ntype = "mqtt"\nhost = "127.0.0.1"\nport = {broker.port}\n',
            commit_ms=50,
        )  # fmt: skip
        (tmp_path / "traces").mkdir()
        begun_ns = clock.now().mono_ns
        async with fast_daemon(config, start, tmp_path / "log") as pid:
            for part in range(1, PARTS + 1):
                await asyncio.sleep(clock.seconds_until(begun_ns + round(DAYS * DAY_S * NS) * part // PARTS))
                if part % 3 == 1:
                    await server.stop()
                elif part % 3 == 2:
                    await server.start()
                uses.append(Use.of(pid, DAYS * part / PARTS))
                print(uses[-1], flush=True)
            pump.muted = True
            monitor.stop()
            await until(lambda: monitor.waiting == 0, 120)

            async def complete() -> bool:
                reports = await sent(server, "value", "mon")
                return reports >= set(range(1, monitor.counted + 1)) and kept(journal) <= await sent(
                    server, "time", "pump"
                )

            await until(complete, 180)
            print(Use.of(pid, DAYS), f"{monitor.counted} reports, {pump.counter} polls", flush=True)
        health = Health.read(status)
    assert monitor.dropped == 0
    assert monitor.counted > 0.8 * DAYS * DAY_S / REPORT_S
    assert pump.counter > 0.4 * DAYS * DAY_S / POLL_S
    assert health.restarts == {}
    assert [each.quarantined for each in health.sinks] == [0, 0]
    assert sum(each.stat().st_size for each in (tmp_path / "traces").iterdir()) < 1_500_000
    days = {each.name[:10] for each in journal.iterdir() if each.name[:2] == "20"}
    assert len(days) <= max(DAYS, 1) + 1
    assert DAYS < 2 * KEEP_DAYS or len(days) < DAYS / 2
    settled, after = uses[len(uses) // 3], uses[-1]  # several outages have been seen by then
    table = "\n".join(map(str, uses))
    assert after.memory - settled.memory < SLACK_BYTES, table
    # Files are opened for a moment to be read, and a thread for a look: what stays is the middle of ten looks.
    middle, late = uses[len(uses) // 3 : 2 * len(uses) // 3], uses[2 * len(uses) // 3 :]
    assert median(each.files for each in late) <= median(each.files for each in middle) + 2, table
    assert median(each.threads for each in late) <= median(each.threads for each in middle) + 1, table
