from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from acquisition.journal.reader import JournalReader
from acquisition.model import Waveform
from tests.processes import all_said

pytestmark = pytest.mark.system


async def demo(scratch: Path, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "acquisition.cli", "demo", *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "120", "TMPDIR": str(scratch)},
    )  # fmt: skip


def simulators(scratch: Path) -> set[str]:
    """Processes of simulated beds that are there and descend from the demo with this directory."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"simulators.cli" in words and b"bed" in words and f"TMPDIR={scratch}".encode() in variables:
                found.add(entry.name)
    return found


async def test_the_demo_shows_readings_and_ends_by_itself_with_everything_stored(tmp_path: Path) -> None:
    process = await demo(tmp_path, "--seconds", "8", "--keep", str(tmp_path / "kept"))
    told, _ = await all_said(process)
    assert process.returncode == 0, told
    for words in ("ecmo_flow", "ecmo_sweep", "abp_mean", "wf_abp", "L/min", "every reading the devices sent is stored"):
        assert words in told
    assert "lost" not in told
    samples = sum(
        block.counts.size
        for block in JournalReader(tmp_path / "kept" / "journal").query(channels={"wf_abp"})
        if isinstance(block, Waveform)
    )
    assert samples >= 5 * 125


async def test_ctrl_c_ends_the_demo_in_order_and_leaves_no_process(tmp_path: Path) -> None:
    process = await demo(tmp_path)
    assert process.stdout is not None
    async with asyncio.timeout(120):
        while b"abp_mean" not in await process.stdout.readline():
            pass
    assert simulators(tmp_path)
    process.send_signal(signal.SIGINT)
    told, _ = await all_said(process)
    assert process.returncode == 0, told
    assert "every reading the devices sent is stored" in told
    assert "Traceback" not in told
    assert not simulators(tmp_path)
