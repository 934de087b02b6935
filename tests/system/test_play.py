from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest

from acquisition.journal.reader import JournalReader
from acquisition.model import Waveform
from simulators.recordings import read_recording
from tests.system.beds import daemon, device, until, write_config
from tests.system.servers import free_port

pytestmark = pytest.mark.system


async def test_the_command_plays_a_real_recording_into_the_journal_of_a_daemon(
    shared_data: Path, tmp_path: Path
) -> None:
    record = shared_data / "mimic3-s00001" / "3975656_0012"
    wave = read_recording(record).waves["wf_abp"]
    port = free_port()
    config = write_config(tmp_path, device("mon", "hl7", f"tcp-listen://127.0.0.1:{port}", "gap_after_s = 30"))
    async with daemon(config):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "simulators.cli", "play", str(record), "--as", "hl7",
            "--link", f"tcp://127.0.0.1:{port}", "--speed", "10", stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await until(lambda: process.returncode is not None)
        assert process.returncode == 0
    stored = JournalReader(tmp_path / "journal").query(devices={"mon"}, channels={"wf_abp"})
    counts = [each.counts for each in stored if isinstance(each, Waveform)]
    assert np.array_equal(np.concatenate(counts), wave.counts)
