"""A disk that answers EIO: it is told in words, nothing ends, nothing is acknowledged that the disk does not hold."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from acquisition.daemon import Daemon
from acquisition.errors import JournalError
from acquisition.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.model import Numerics
from simulators.hl7_monitor import Hl7Monitor
from simulators.links import attached
from simulators.sim_pump_console import SimPumpConsole
from tests.acquisition.journal_observations import QUICK, T0, numerics, waveform
from tests.acquisition.scripted_influx import scripted_influx
from tests.system.beds import daemon, device, until, write_config
from tests.system.servers import free_port

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
SECOND = 1_000_000_000
COUNTED = 'options = { channels = { "1^99ECMODAQSIM" = "sim_counter" } }'


@dataclass
class Disk:
    """A disk that fails while it is told to."""

    mount: Path
    faults: Path
    after_cut: Path

    def fails(self, *what: str) -> None:
        """What fails from now on; nothing, if there are no words."""
        fresh = self.faults.with_suffix(".new")
        fresh.write_text(" ".join(what), encoding="ascii")
        fresh.replace(self.faults)

    def cut(self) -> Path:
        """What would be there if the power went now."""
        self.fails("cut")
        shutil.disk_usage(self.mount)
        self.fails()
        return self.after_cut


@contextlib.contextmanager
def mounted(where: Path) -> Iterator[Disk]:
    disk = Disk(where / "journal", where / "faults", where / "after-cut")
    disk.mount.mkdir()
    command = [
        sys.executable,
        "-m",
        "tests.acquisition.failing_disk",
        *map(str, (disk.mount, disk.faults, disk.after_cut)),
    ]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            for _ in range(1000):
                if os.path.ismount(disk.mount):
                    break
                assert process.poll() is None, "the disk could not be mounted"
                time.sleep(0.01)
            yield disk
        finally:
            disk.fails()
            process.send_signal(signal.SIGTERM)  # libfuse unmounts
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                subprocess.run(["umount", "-l", str(disk.mount)], check=False)
                process.kill()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if not (ctypes.util.find_library("fuse") or ctypes.util.find_library("fuse3")):
        pytest.fail("LIBFUSE ABSENT: nothing is proven about I/O errors (make servers installs it)")
    if os.geteuid() and not (shutil.which("fusermount") or shutil.which("fusermount3")):
        pytest.fail("FUSERMOUNT ABSENT and not root: nothing is proven about I/O errors")
    with mounted(tmp_path) as disk:
        yield disk


@dataclass
class Appended:
    """Numbers, each appended once, and what became of them."""

    safe: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    async def one(self, journal: Journal) -> bool:
        number = len(self.safe) + len(self.refused)
        now = T0 + number * SECOND
        try:
            await journal.append([numerics(now, float(number)), waveform(now, [number] * 2000)], [("mon", str(number))])
        except JournalError:
            self.refused.append(number)
            await asyncio.sleep(0.01)
            return False
        self.safe.append(number)
        return True

    async def until(self, journal: Journal, *, safe: bool, times: int) -> None:
        async with asyncio.timeout(90):
            while times:
                times -= await self.one(journal) is safe


def numbers(directory: Path) -> list[int]:
    reader = JournalReader(directory)
    found = [int(each.values["abp_mean"]) for each in reader.query() if isinstance(each, Numerics)]
    assert reader.damaged == []
    return found


@pytest.mark.parametrize("what", [("sync",), ("write",), ("write", "sync"), ("read", "write", "sync")], ids=" ".join)
async def test_what_is_acknowledged_around_an_io_error_is_what_the_disk_holds(tmp_path: Path, what: tuple[str]) -> None:
    appended = Appended()
    with mounted(tmp_path) as disk:
        async with Journal(disk.mount, commit_interval_s=QUICK) as journal:
            for _ in range(4):
                await appended.until(journal, safe=True, times=10)
                disk.fails(*what)
                await appended.until(journal, safe=False, times=3)
                assert journal.refusal == "disk I/O error"
                disk.fails()
            await appended.until(journal, safe=True, times=10)
            assert journal.refusal == ""
            assert journal.damaged == []
            after_cut = numbers(disk.cut())
        closed = numbers(disk.mount)
    for found in (after_cut, closed):
        assert set(appended.safe) <= set(found)
        assert found == sorted(set(found)), "nothing twice"


def counts(directory: Path, name: str) -> list[int]:
    found = JournalReader(directory).query(devices={name}, kinds={"numerics"})
    return [int(each.values["sim_counter"]) for each in found if isinstance(each, Numerics)]


def problems(running: Daemon) -> str:
    return "\n".join(running.latest.problems()) if running.latest else ""


@pytest.mark.parametrize("what", [("sync",), ("write",)], ids=" ".join)
async def test_a_bed_lives_through_io_errors_and_no_message_is_acknowledged_that_the_disk_does_not_hold(
    tmp_path: Path, disk: Disk, what: tuple[str]
) -> None:
    pump = SimPumpConsole(lambda: {"ecmo_flow": 3.5, "ecmo_rpm": 3000.0})
    monitor = Hl7Monitor(lambda: {"hr": 90.0}, counter=True, every_s=0.2)
    port, link = free_port(), tmp_path / "pump"
    config = write_config(
        tmp_path,
        '[status]\nfile = "status.json"\n',
        device("pump", "modbus", f"serial://{link}", 'profile = "sim_pump_console"'),
        device("mon", "hl7", f"tcp-listen://127.0.0.1:{port}", COUNTED),
        commit_ms=20,
    )
    async with (
        attached(f"pty://{link}", pump),
        attached(f"tcp://127.0.0.1:{port}", monitor),
        daemon(config) as running,
    ):
        await until(lambda: pump.counter >= 5 and monitor.acknowledged >= 5)
        disk.fails(*what)
        await until(lambda: "nothing can be stored: disk I/O error" in problems(running))
        await until(lambda: running.sessions[0].status.lost >= 5)
        acknowledged = monitor.acknowledged
        await asyncio.sleep(1.0)
        assert monitor.acknowledged == acknowledged
        assert monitor.waiting >= 1
        disk.fails()
        await until(lambda: running.latest is not None and not running.latest.journal.refusal)
        await until(lambda: monitor.acknowledged >= acknowledged + 5)
        monitor.stop()
        await until(lambda: monitor.waiting == 0)
        assert not [service for service in running._supervisor.services if service.restarts]
        after_cut = disk.cut()
    for directory in (after_cut, disk.mount):
        assert counts(directory, "mon") == list(range(1, monitor.counted + 1))
        assert JournalReader(directory).stat().damaged == ()


async def test_while_nothing_can_be_read_a_sink_waits_in_words_and_then_gets_everything_once(
    tmp_path: Path, disk: Disk
) -> None:
    pump = SimPumpConsole(lambda: {"ecmo_flow": 3.5, "ecmo_rpm": 3000.0})
    link = tmp_path / "pump"
    async with scripted_influx() as server, attached(f"pty://{link}", pump):
        config = write_config(
            tmp_path,
            '[status]\nfile = "status.json"\n',
            device("pump", "modbus", f"serial://{link}", 'profile = "sim_pump_console"'),
            f'\n[[sink]]\nid = "central"\ntype = "influxdb_v1"\nurl = "{server.url}"\ndatabase = "ecmo"\n',
            commit_ms=20,
        )

        def sent() -> list[int]:
            points = [dict(point.fields) for each in server.requests for point in each.points]
            return [int(point["sim_counter"]) for point in points if "sim_counter" in point]

        async with daemon(config) as running:
            await until(lambda: len(sent()) >= 5)
            disk.fails("read")
            await until(lambda: "sink central: the journal cannot be read: disk I/O error" in problems(running))
            asked = pump.counter
            await until(lambda: pump.counter >= asked + 5)
            disk.fails()
            asked = pump.counter
            await until(lambda: max(sent()) > asked)
            await until(lambda: "sink central" not in problems(running))
            assert not [service for service in running._supervisor.services if service.restarts]
        found = sent()
        assert found == sorted(set(found))
        assert set(counts(disk.mount, "pump")) >= set(found)
