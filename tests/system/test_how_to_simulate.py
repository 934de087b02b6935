from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.catalogue import Catalogue
from acquisition.journal.reader import JournalReader
from acquisition.model import Waveform
from acquisition.registry import build_driver
from acquisition.replay import replay
from simulators.truth import read_truth
from tests.processes import all_said
from tests.system.beds import until

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "simulate-a-bed.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```sh\n(.+?)\n```", PAGE)
MODULES = {"ecmo-sim": "simulators.cli", "ecmo-daq": "acquisition.cli"}


async def start(line: str, directory: Path) -> asyncio.subprocess.Process:
    program, *words = line.split()
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", MODULES[program], *words, cwd=directory, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


async def finished(line: str, directory: Path, code: int = 0) -> str:
    process = await start(line, directory)
    told, _ = await all_said(process)
    assert process.returncode == code, told
    return told


async def ended(process: asyncio.subprocess.Process) -> str:
    process.send_signal(signal.SIGTERM)
    told, _ = await all_said(process)
    assert process.returncode == 0, told
    return told


@pytest.mark.timeout(400)  # a weaning trial, and beds that end in order
async def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    listing, weaning, days, bed, run, some, faulty, heard, ward, own, play, record = COMMANDS
    assert "weaning" in await finished(listing, tmp_path)
    assert (await finished(weaning, tmp_path)).splitlines()[-1] == "truth/weaning.truth.jsonl.zst"

    long = await start(days, tmp_path)
    await asyncio.sleep(3)  # of its eight minutes
    assert "of 120; STOPPED" in await ended(long)
    assert next(read_truth(tmp_path / "truth" / "levoecmo-five-days.truth.jsonl.zst"))["phenotype"] == "P1"

    living = await start(bed, tmp_path)
    await until((tmp_path / "bed" / "bed.toml").exists)
    recording = await start(run, tmp_path)

    def arrived() -> bool:
        journal = tmp_path / "bed" / "journal"
        if not any(journal.glob("*.journal")):
            return False
        devices = {row.device for row in JournalReader(journal).query(kinds={"numerics"})}
        return {"pump", "gas", "flow", "mon", "philips", "ge", "vent", "infusion", "gases"} <= devices

    await until(arrived)
    await ended(recording)
    await ended(living)

    for line, path in ((some, "small/bed.toml"), (ward, "ward/bed-02/bed.toml")):
        process = await start(line, tmp_path)
        await until((tmp_path / path).exists)
        await ended(process)

    faulty, heard = (line.replace("///tmp", f"//{tmp_path}") for line in (faulty, heard))
    misbehaving = await start(faulty, tmp_path)
    await until((tmp_path / "pump").exists)
    await finished(heard, tmp_path)
    await ended(misbehaving)
    faults = [json.loads(line) for line in (tmp_path / "faults.jsonl").read_text().splitlines()]
    assert 2 <= len(faults) <= 12
    assert {fault["fault"] for fault in faults} <= {"drop", "flip", "late"}
    assert {fault["d"] for fault in faults} <= {"<", ">"}
    assert "no fault 'dorp'" in await finished("ecmo-sim cdi500 --faults dorp", tmp_path, code=2)

    (tmp_path / "mine.toml").write_text(re.findall(r"```toml\n(.+?)```", PAGE, re.DOTALL)[0])
    assert (await finished(own, tmp_path)).splitlines()[-1] == "truth/mine.truth.jsonl.zst"
    events = [line["event"] for line in read_truth(tmp_path / "truth" / "mine.truth.jsonl.zst") if "event" in line]
    assert events == ["bleeding", "slower, and the monitor is unplugged"]

    play, record = (line.replace("///tmp", f"//{tmp_path}") for line in (play, record))
    (head,) = re.findall(r"```csv\n(.+?)\n```", PAGE, re.DOTALL)
    rows = [f"{n / 125:.3f},{80 + n % 40},0.001" for n in range(3, 6 * 125)]
    (tmp_path / "arterial.csv").write_text("\n".join([head, *rows]) + "\n")
    playing = await start(play, tmp_path)
    await until((tmp_path / "monitor").exists)
    await finished(record, tmp_path)
    assert "left out: airway" in (await all_said(playing))[0]
    assert playing.returncode == 0
    shown: list[NDArray[np.int32]] = []
    await replay(
        tmp_path / "monitor.trace",
        build_driver("dri", None, {}, Catalogue.shipped(), ()),
        lambda each: shown.append(each.counts) if isinstance(each, Waveform) else None,
    )
    assert np.concatenate(shown).size == 6 * 100
