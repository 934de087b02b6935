"""What `ecmo-daq status` says when the disk that its file is on is full, or can no longer be written to."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from acquisition.health import Health
from simulators.links import attached
from simulators.sim_pump_console import SimPumpConsole
from tests.processes import all_said
from tests.system.beds import daemon, device, until, write_config
from tests.system.small_disks import ext4, fail_for_good, fill, tmpfs

pytestmark = pytest.mark.system


@pytest.fixture
async def config(tmp_path: Path) -> AsyncIterator[Path]:
    link = f"{tmp_path}/pump"
    pump = device("pump", "modbus", f"serial://{link}", 'profile = "sim_pump_console"')
    async with attached(f"pty://{link}", SimPumpConsole(lambda: {"ecmo_flow": 3.5, "ecmo_rpm": 3000.0})):
        yield write_config(tmp_path, pump, commit_ms=20)


async def status(config: Path, *options: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "acquisition.cli", "status", "--config", str(config), *options),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"COLUMNS": "120"},
    )
    out, _ = await all_said(process)
    return process.returncode, out


@pytest.mark.parametrize(
    "make", [lambda where: tmpfs(where, 4096), lambda where: ext4(where, 16)], ids=["tmpfs", "ext4"]
)
async def test_on_a_full_disk_the_status_beside_the_journal_says_so_and_is_fresh(
    config: Path, tmp_path: Path, make: Any
) -> None:
    with make(tmp_path / "journal") as where:
        async with daemon(config) as running:
            assert running.config.status_file == where / "status.json"
            await until(
                lambda: (where / "status.json").exists() and running.sessions[0].status.last_reading_ns is not None
            )
            fill(where)
            await until(lambda: running.sessions[0].status.lost >= 5)
            await asyncio.sleep(1.5)
            code, out = await status(config, "--json")
        told = json.loads(out)
        assert code == 1
        assert not told["stale"]
        assert told["age_s"] < 5
        assert any("nothing can be stored" in problem for problem in told["problems"])
        assert Health.read(where / "status.json").journal.refusal


async def test_a_status_that_can_no_longer_be_written_is_shown_with_its_age_and_never_as_fresh(
    config: Path, tmp_path: Path
) -> None:
    with ext4(tmp_path / "journal", 16) as where:
        async with daemon(config) as running:
            await until(lambda: (where / "status.json").exists() and running.latest is not None)
            fail_for_good(where)
            assert running.latest is not None
            before = Health.read(where / "status.json").time_ns
            await until(lambda: running.latest is not None and running.latest.time_ns > before + 11_000_000_000)
            code, out = await status(config)
            assert Health.read(where / "status.json").time_ns < running.latest.time_ns - 9_000_000_000
    assert code == 1
    assert "all of this is 1" in out
    assert "cannot write there" in " ".join(out.split())
