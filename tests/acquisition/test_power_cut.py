"""What was acknowledged is there after a power cut, whatever of the unsynced writes reached the disk (promise 1)."""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from acquisition.errors import AcquisitionError
from acquisition.journal import Journal
from acquisition.model import Numerics, Waveform, parse_line
from tests.acquisition.power_cut import Disk, Operation, operations
from tests.acquisition.power_cut_child import SINK, made, rejected

pytestmark = [pytest.mark.system, pytest.mark.timeout(24 * 3600)]

ROOT = Path(__file__).resolve().parents[2]
CUTS = int(os.environ.get("ECMO_DAQ_CUTS", "500"))
CUTS_IN_A_LIFE = 25
LIVES = 3
"""How often a disk is used again after a cut before the test takes a new one."""
GROUPS = 40
STEPS = (1_000_000_000, 1_800_000_000_000)
"""Nanoseconds between readings: all in one day file, which SQLite checkpoints; or a new file every 16 groups."""
PATIENCE_S = 90.0


@dataclass(frozen=True)
class Life:
    """A run of the journal on a disk between two cuts."""

    first: int
    step_ns: int
    how: str = "sound"


@pytest.fixture(autouse=True)
def fuse() -> None:
    """A machine without FUSE fails: a power cut that was not tried proves nothing."""
    if not (ctypes.util.find_library("fuse") or ctypes.util.find_library("fuse3")):
        pytest.fail("LIBFUSE ABSENT: nothing is proven about power cuts (make servers installs it)")
    if os.geteuid() and not (shutil.which("fusermount") or shutil.which("fusermount3")):
        pytest.fail("FUSERMOUNT ABSENT and not root: nothing is proven about power cuts")
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        pytest.fail(f"FUSE CANNOT BE USED: nothing is proven about power cuts: {error}")


@contextlib.contextmanager
def mounted(image: Path, tape: Path, mount: Path) -> Iterator[None]:
    mount.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.acquisition.taped_disk", str(mount), str(image), str(tape)]
    with subprocess.Popen(command, cwd=ROOT) as disk:
        try:
            until = time.monotonic() + PATIENCE_S
            while not os.path.ismount(mount):
                assert disk.poll() is None, "the disk could not be mounted"
                assert time.monotonic() < until
                time.sleep(0.01)
            yield
        finally:
            disk.send_signal(signal.SIGTERM)  # libfuse unmounts


def lived(life: Life, image: Path, scratch: Path) -> list[Operation]:
    """The tape of a run."""
    tape = scratch / "tape"
    with mounted(image, tape, scratch / "mount"):
        command = [sys.executable, "-m", "tests.acquisition.power_cut_child", str(scratch / "mount")]
        words = [str(life.first), str(GROUPS), str(life.step_ns), life.how]
        subprocess.run([*command, *words], cwd=ROOT, check=True, timeout=60)
    return operations(tape)


def cuts(tape: list[Operation], number: int, chance: Random) -> Iterator[tuple[dict[str, bytes], set[int]]]:
    """Disks after cuts at any instants of a run, each with the numbers that were acknowledged by then."""
    begin = tape.index(("say", b"mounted\n")) + 1
    places = sorted(chance.randint(begin, len(tape)) for _ in range(number))
    disk, played = Disk(), 0
    for place in places:
        for operation in tape[played:place]:
            disk.play(operation)
        played = place
        yield disk.cut(chance), {int(word) for word in disk.said.split()[1:]}


def write(files: dict[str, bytes], directory: Path) -> Path:
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


async def complaints(directory: Path, acknowledged: set[int], step_ns: int) -> list[str]:
    """What a journal after a cut breaks of its promises; it is empty of complaints and takes new readings."""
    try:
        async with Journal(directory, commit_interval_s=0.0005) as journal:
            found = [complaint async for complaint in _complaints(journal, acknowledged, step_ns)]
            return found + [f"set aside: {path.name}" for path in directory.glob("*.damaged-*")]
    except AcquisitionError as error:
        return [f"does not open: {error}"]


async def _complaints(journal: Journal, acknowledged: set[int], step_ns: int) -> AsyncIterator[str]:
    if journal.damaged:
        yield f"called damaged: {journal.damaged}"
    batch = await journal.read(0, 1_000_000)
    if batch.damaged:
        yield f"unreadable: {batch.damaged}"
    found = [each for each in batch.observations if isinstance(each, Numerics)]
    numbers = [int(each.values["abp_mean"]) for each in found]
    if missing := acknowledged - set(numbers):
        yield f"acknowledged and missing: {sorted(missing)}"
    if numbers != sorted(set(numbers)):
        yield f"twice or out of order: {numbers}"
    if found != [made(number, step_ns)[0] for number in numbers]:
        yield "numerics changed"
    if [each for each in batch.observations if isinstance(each, Waveform)] != [made(n, step_ns)[1] for n in numbers]:
        yield "waveforms missing or changed"
    keys = [int(key) for key in journal.keys("mon")]
    if keys != numbers[len(numbers) - len(keys) :] or bool(keys) != bool(numbers):
        yield f"keys {keys} and readings {numbers}"
    cursor, last = journal.progress(SINK).cursor, journal.last_seq
    if cursor > last:
        yield f"cursor {cursor} is beyond {last}"
    to_send = (await journal.read(cursor, 1_000_000)).observations
    kept = [parse_line(each.line) for each in journal.quarantined(SINK)]
    if not all(each in kept or each in to_send for each in found if rejected(int(each.values["abp_mean"]))):
        yield "the cursor passed what was rejected and not kept"
    new = made(max([*acknowledged, *numbers], default=0) + 500, step_ns)
    await journal.append(new)
    if (await journal.read(last, 1_000_000)).observations != new:
        yield "what is new is not read"


async def first_complaints(life: Life, scratch: Path, seed: int, number: int = CUTS_IN_A_LIFE) -> list[str]:
    """Lives once on a new disk; what was wrong at each cut."""
    image = write({}, scratch / "image")
    return [
        complaint
        for index, (files, acknowledged) in enumerate(cuts(lived(life, image, scratch), number, Random(seed)))
        for complaint in await complaints(write(files, scratch / f"cut-{index}"), acknowledged, life.step_ns)
    ]


@pytest.mark.parametrize("step_ns", STEPS)
async def test_nothing_that_was_acknowledged_is_missing_after_a_power_cut(tmp_path: Path, step_ns: int) -> None:
    chance = Random(20260101 + step_ns)
    done = 0
    while done < CUTS / len(STEPS):
        image, first = write({}, tmp_path / f"new-{done}"), 1
        for _ in range(LIVES):
            tape = lived(Life(first, step_ns), image, tmp_path)
            survivors = []
            for files, acknowledged in cuts(tape, CUTS_IN_A_LIFE, chance):
                directory = write(files, tmp_path / f"cut-{done}")
                assert await complaints(directory, acknowledged, step_ns) == []
                shutil.rmtree(directory)
                survivors.append((files, acknowledged))
                done += 1
            files, acknowledged = chance.choice(survivors)
            image = write(files, tmp_path / f"image-{done}")
            first = max(acknowledged, default=first) + 1000  # after what is there, acknowledged or not
            assert survivors[-1][1], "nothing was acknowledged: this proves nothing"


async def test_the_model_would_notice_a_journal_that_does_not_sync(tmp_path: Path) -> None:
    found = await first_complaints(Life(1, STEPS[0], "off"), tmp_path, 1)
    assert any(complaint.startswith("acknowledged and missing") for complaint in found)


async def test_the_model_would_notice_a_journal_that_acknowledges_before_it_commits(tmp_path: Path) -> None:
    found = await first_complaints(Life(1, STEPS[0], "early"), tmp_path, 1)
    assert any(complaint.startswith("acknowledged and missing") for complaint in found)


async def test_a_cut_in_the_model_loses_what_was_not_synced_and_keeps_what_was(tmp_path: Path) -> None:
    tape = lived(Life(1, STEPS[0]), write({}, tmp_path / "image"), tmp_path)
    disk = Disk()
    for operation in tape:
        disk.play(operation)
    safe, whole = Disk(disk.contents, disk.names).cut(Random(1)), tmp_path / "whole"
    assert {name.partition("-")[0] for name in safe} >= {"2026", "cursors.db"}
    assert await complaints(write(safe, whole), set(range(1, 1 + 3 * GROUPS)), STEPS[0]) == []
