from __future__ import annotations

import random
from pathlib import Path

import pytest

from acquisition.clock import ManualClock
from acquisition.config import JournalConfig
from acquisition.journal import Journal
from acquisition.journal.schema import day_files
from acquisition.lanes import Progress
from acquisition.model import Observation
from acquisition.upkeep.growth import MOST_HOURS
from acquisition.upkeep.housekeeping import Housekeeper
from tests.acquisition.journal_observations import DAY_NS, QUICK, T0, numerics, waveform

NS = 1_000_000_000


def day(number: int, blocks: int = 20) -> list[list[Observation]]:
    noise = random.Random(number)
    at = T0 + number * DAY_NS
    return [
        [
            waveform(at + n * 10 * NS, [noise.randrange(-(2**30), 2**30) for _ in range(2000)]),
            numerics(at + n * 10 * NS),
        ]
        for n in range(blocks)
    ]


@pytest.fixture
async def ends(tmp_path: Path) -> list[int]:
    """Last numbers of three days of equal size in the journal."""
    found = []
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for number in range(3):
            for group in day(number):
                await journal.append(group)
            found.append(journal.last_seq)
    return found


async def test_what_waits_for_a_sink_is_told_in_bytes_within_a_tenth(tmp_path: Path, ends: list[int]) -> None:
    sizes = [path.stat().st_size for path in day_files(tmp_path)]
    # What is merged lies twice on the disk until its log is emptied: here, and only here, as much as a file. Not yet.
    async with Journal(tmp_path, commit_interval_s=3600) as journal:
        waiting, had = journal.sink_bytes("central", journal.backlog("central"))
        assert waiting == pytest.approx(sum(sizes), rel=0.1)
        assert had == 0
        journal.commit("central", Progress(ends[0]))
        waiting, had = journal.sink_bytes("central", journal.backlog("central"))
        assert waiting == pytest.approx(sum(sizes[1:]), rel=0.1)
        assert had == sizes[0]
        journal.commit("central", Progress((ends[1] + ends[2]) // 2))
        waiting, had = journal.sink_bytes("central", journal.backlog("central"))
        assert waiting == pytest.approx(sizes[2] / 2, rel=0.1)
        assert had == sizes[0] + sizes[1]
        journal.commit("central", Progress(ends[2]))
        assert journal.sink_bytes("central", journal.backlog("central")).waiting == 0


async def test_an_empty_journal_and_a_damaged_one_owe_nothing_that_can_be_told(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        assert journal.sink_bytes("central", journal.backlog("central")) == (0, 0)
    (tmp_path / "2026-01-01.journal").write_bytes(b"rubbish" * 1000)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        assert journal.sink_bytes("central", journal.backlog("central")).waiting == 0


async def test_the_journal_tells_after_a_minute_how_long_its_room_lasts(tmp_path: Path) -> None:
    clock = ManualClock(utc_ns=T0)
    config = JournalConfig(directory=tmp_path, quota_gb=0.01, min_free_gb=0)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        keeper = Housekeeper(config, ["central"], journal, clock)
        before = keeper.health()
        assert before.hours_left is None
        for group in day(0):
            await journal.append(group)
        clock.advance_to(60 * NS)
        after = keeper.health()
        assert after.bytes_per_second is not None
        assert after.bytes_per_second == pytest.approx((after.size_bytes - before.size_bytes) / 60)
        assert after.room_bytes == 10_000_000 - after.size_bytes
        assert after.hours_left == pytest.approx(after.room_bytes / after.bytes_per_second / 3600)
        for minute in range(2, 65):
            clock.advance_to(minute * 60 * NS)
            quiet = keeper.health()
        assert quiet.hours_left == MOST_HOURS
