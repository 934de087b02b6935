"""What was acknowledged is there after SIGKILL (promise 1)."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from acquisition.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.journal.schema import day_files
from acquisition.model import Numerics, Waveform
from tests.acquisition.journal_observations import everything

ROOT = Path(__file__).resolve().parents[2]
KILLS = 24


def append_and_be_killed(directory: Path, first: int, after: int) -> list[int]:
    """The acknowledged numbers of a process that is killed once it has acknowledged `after` of them."""
    command = [sys.executable, "-m", "tests.acquisition.journal_child", str(directory), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout is not None
        heard = [child.stdout.readline() for _ in range(after)]
        child.kill()
        heard += child.stdout.read().splitlines(keepends=True)
    assert child.returncode == -signal.SIGKILL
    return [int(line) for line in heard if line.endswith(b"\n")]


@pytest.mark.system
@pytest.mark.timeout(180)
async def test_nothing_that_was_acknowledged_is_missing_after_a_kill(tmp_path: Path) -> None:
    chance = random.Random(20260101)
    acknowledged: set[int] = set()
    for _ in range(KILLS):
        first = max(acknowledged, default=-1) + 1000
        acknowledged |= set(append_and_be_killed(tmp_path, first, chance.randrange(1, 60)))
        found = list(JournalReader(tmp_path).query())
        assert acknowledged <= {int(each.values["abp_mean"]) for each in found if isinstance(each, Numerics)}
        assert acknowledged <= {int(each.counts[0]) for each in found if isinstance(each, Waveform)}
    assert len(acknowledged) > KILLS

    seqs = []
    for path in day_files(tmp_path):
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        seqs += [seq for (seq,) in connection.execute("SELECT seq FROM block ORDER BY seq")]
        connection.close()
    assert len(day_files(tmp_path)) > KILLS
    assert seqs == sorted(set(seqs))

    async with Journal(tmp_path) as journal:
        assert journal.damaged == []
        forwarded = await everything(journal)
        numbers = [int(each.values["abp_mean"]) for each in forwarded if isinstance(each, Numerics)]
        assert numbers == sorted(set(numbers))
        assert acknowledged <= set(numbers)
        assert int(journal.keys("mon")[-1]) == numbers[-1]
        assert journal.stat().points == 3 * len(numbers)
