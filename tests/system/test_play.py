from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest

from acquisition.clock import ScaledClock
from acquisition.journal.reader import JournalReader
from acquisition.model import Waveform
from simulators.recordings import read_recording
from tests.processes import all_said
from tests.system.beds import daemon, device, write_config
from tests.system.servers import free_port

pytestmark = pytest.mark.system

SPEED = 10.0
RECORD = "mimic3-s00001/3975656_0013"


@pytest.mark.parametrize(("protocol", "rate_hz"), [("hl7", 125), ("dri", 100), ("intellivue", 125)])
async def test_the_command_plays_a_real_recording_over_a_wire_into_the_journal_of_a_daemon(
    shared_data: Path, tmp_path: Path, protocol: str, rate_hz: int
) -> None:
    recorded = read_recording(shared_data / RECORD).waves["wf_abp"]
    here = {
        "hl7": f"tcp://127.0.0.1:{free_port()}",
        "dri": f"pty://{tmp_path}/mon",
        "intellivue": f"udp://127.0.0.1:{free_port()}",
    }[protocol]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators.cli", "play", str(shared_data / RECORD), "--as", protocol,
        "--link", here, "--speed", f"{SPEED:g}", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    told = (await process.stdout.readline()).decode().strip().replace("0.0.0.0", "127.0.0.1")
    config = write_config(tmp_path, device("mon", protocol, told, "gap_after_s = 30"), commit_ms=20)
    async with daemon(config, ScaledClock(SPEED)):
        _, complained = await all_said(process)
    assert process.returncode == 0, told + complained
    assert complained.splitlines()[0] == "left out: V"
    stored = JournalReader(tmp_path / "journal").query(devices={"mon"}, channels={"wf_abp"})
    blocks = [each for each in stored if isinstance(each, Waveform)]
    values = np.concatenate([each.samples for each in blocks])
    pressures = recorded.counts * recorded.resolution
    expected = np.interp(
        np.arange(recorded.counts.size * rate_hz // 125) * 125 / rate_hz, np.arange(pressures.size), pressures
    )
    assert np.isnan(values[expected.size :]).all()
    assert np.abs(values[: expected.size] - expected).max() <= blocks[0].scale * 0.5001
    assert {int(each.period_ns) for each in blocks} == {10**9 // rate_hz}
