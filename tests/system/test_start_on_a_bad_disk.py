"""A start on a disk that is full, read-only or not ours to write to: it says so, and what is stored is sent."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from acquisition.daemon import Daemon
from acquisition.errors import JournalError
from acquisition.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.journal.tidying import RESERVE
from acquisition.lanes import Progress
from acquisition.model import Event, EventKind, Numerics
from simulators.links import attached
from simulators.sim_pump_console import SimPumpConsole
from tests.acquisition.journal_observations import DAY_NS, QUICK, T0, everything, numerics
from tests.acquisition.scripted_influx import scripted_influx
from tests.system.beds import daemon, device, until, write_config
from tests.system.small_disks import ext4, fail_for_good, fill

pytestmark = pytest.mark.system

STORED = 20
NOBODY = 65534


async def stored(directory: Path) -> None:
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        for number in range(STORED):
            await journal.append([numerics(T0 + number * 1_000_000_000, float(number))])
        journal.commit("central", Progress(5))


def problems(running: Daemon) -> str:
    return "\n".join(running.latest.problems()) if running.latest else ""


async def test_a_journal_on_a_full_disk_opens_with_its_cursors_and_takes_readings_when_there_is_space(
    small_disk: Path,
) -> None:
    await stored(small_disk)
    ballast = fill(small_disk)
    async with Journal(small_disk, commit_interval_s=QUICK) as journal:
        assert len(await everything(journal)) == STORED
        assert journal.progress("central").cursor == 5
        journal.commit("central", Progress(10))
        ballast.unlink()
        await journal.append([numerics(T0 + DAY_NS)])
    async with Journal(small_disk, commit_interval_s=QUICK) as journal:
        assert journal.damaged == []
        assert len(await everything(journal)) == STORED + 1
        assert journal.progress("central").cursor == 10


async def test_a_journal_that_crashed_opens_on_a_full_disk_if_it_has_its_reserve_and_else_says_why_not(
    tmp_path: Path, small_disk: Path
) -> None:
    async with Journal(tmp_path / "before", commit_interval_s=QUICK) as journal:
        for number in range(STORED):
            await journal.append([numerics(T0 + number * 1_000_000_000, float(number))])
        for path in (tmp_path / "before").iterdir():
            if not path.name.endswith("-shm"):
                shutil.copy(path, small_disk)
    (small_disk / RESERVE).write_bytes(bytes(1 << 20))
    fill(small_disk)
    (small_disk / RESERVE).rename(small_disk / "elsewhere")
    with pytest.raises(JournalError, match="the disk is full"):
        await Journal(small_disk).__aenter__()
    (small_disk / "elsewhere").rename(small_disk / RESERVE)
    async with Journal(small_disk, commit_interval_s=QUICK) as journal:
        assert len(await everything(journal)) == STORED
        await journal.append([numerics(T0 + DAY_NS)])
        assert len(await everything(journal)) == STORED + 1


async def test_a_daemon_that_starts_on_a_full_disk_says_so_sends_what_is_stored_and_stores_when_there_is_space(
    tmp_path: Path, small_disk: Path
) -> None:
    await stored(small_disk)
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
        ballast = fill(small_disk)
        async with daemon(config) as running:
            await until(lambda: sum(len(each.points) for each in server.requests) >= STORED - 5)
            await until(lambda: "nothing can be stored" in problems(running) and "full" in problems(running))
            await until(lambda: bool(running.sessions) and running.sessions[0].status.lost >= 3)
            ballast.unlink()
            await until(lambda: running.latest is not None and not running.latest.journal.refusal)
            asked = pump.counter
            await until(lambda: pump.counter >= asked + 5)
            assert not [service for service in running._supervisor.services if service.restarts]
    found = list(JournalReader(small_disk).query())
    counts = [int(each.values["sim_counter"]) for each in found if isinstance(each, Numerics) and each.device == "pump"]
    assert len(counts) >= 5
    assert counts == list(range(counts[0], counts[0] + len(counts)))
    starts = [each for each in found if isinstance(each, Event) and each.event is EventKind.DAEMON]
    assert [each.text for each in starts] == ["started; the disk did not take it"]


def ended(config: Path, user: int | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "acquisition.cli", "run", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, user=user, env=dict(os.environ))


async def test_a_start_on_a_read_only_file_system_ends_with_one_and_says_why(tmp_path: Path) -> None:
    with ext4(tmp_path / "journal", 16) as where:
        await stored(where)
        fail_for_good(where)
        done = await asyncio.to_thread(ended, write_config(tmp_path, device("pump", "hl7", "tcp://127.0.0.1:9")))
        assert done.returncode == 1
        assert "the journal cannot be opened" in done.stderr
        assert "Read-only file system" in done.stderr
        assert "Traceback" not in done.stderr
        assert len(list(JournalReader(where).query())) == STORED


async def test_a_start_where_we_may_not_write_ends_with_one_and_says_why(tmp_path: Path) -> None:
    await stored(tmp_path / "journal")
    for path in (tmp_path, *tmp_path.parents):
        if stat.S_IMODE(path.stat().st_mode) == 0o700:  # pytest's own
            path.chmod(0o755)
    config = write_config(tmp_path, device("pump", "hl7", "tcp://127.0.0.1:9"))
    done = await asyncio.to_thread(ended, config, NOBODY)
    assert done.returncode == 1
    assert "the journal cannot be opened" in done.stderr
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr
