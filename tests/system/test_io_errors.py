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

from acquisition.errors import JournalError
from acquisition.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.model import Numerics
from tests.acquisition.journal_observations import QUICK, T0, numerics, waveform

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
        except JournalError as error:
            assert "disk I/O error" in str(error)
            self.refused.append(number)
            await asyncio.sleep(0.01)
            return False
        self.safe.append(number)
        return True

    async def until(self, journal: Journal, *, safe: bool, times: int) -> None:
        async with asyncio.timeout(20):
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
