"""The daemon's housekeeper: what it deletes by age, what it tells, and that nothing it has to tell gets lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from acquisition.clock import ManualClock
from acquisition.config import JournalConfig
from acquisition.errors import JournalError
from acquisition.journal import Journal
from acquisition.journal.dropping import Dropped
from acquisition.journal.schema import day_files
from acquisition.journal.store import Store
from acquisition.lanes import Progress
from acquisition.model import Event, EventKind
from acquisition.upkeep.housekeeping import CHECK_S, Housekeeper
from tests.acquisition.journal_observations import DAY_NS, QUICK, T0, everything, numerics
from tests.system.beds import until

DAYS = 5
TODAY = T0 + (DAYS - 1) * DAY_NS
YEARS = 14 * 365 * DAY_NS


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    """Five days, all of them delivered."""
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for number in range(DAYS):
            await journal.append([numerics(T0 + number * DAY_NS)])
        journal.commit("central", Progress(journal.last_seq))
        yield journal


def housekeeper(directory: Path, journal: Journal, clock: ManualClock, keep_days: int) -> Housekeeper:
    config = JournalConfig(directory=directory, min_free_gb=0, keep_days=keep_days)
    return Housekeeper(config, ["central"], journal, clock)


def days(directory: Path) -> list[str]:
    return [path.name[:10] for path in day_files(directory)]


async def told(journal: Journal) -> list[Event]:
    return [each for each in await everything(journal) if isinstance(each, Event)]


async def test_a_day_older_than_the_limit_goes_and_is_told(tmp_path: Path, journal: Journal) -> None:
    keeper = housekeeper(tmp_path, journal, ManualClock(TODAY), 3)
    running = asyncio.create_task(keeper.run())
    await until(lambda: "2026-01-01" not in days(tmp_path))

    async def is_told() -> bool:
        return bool(await told(journal))

    await until(is_told)
    running.cancel()
    assert days(tmp_path) == ["2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05"]
    (event,) = await told(journal)
    assert (event.event, event.device, event.detail["file"]) == (EventKind.RETENTION, "daemon", "2026-01-01.journal")
    assert keeper.health().dropped == 0, "every sink has it: it is no loss"


@pytest.mark.parametrize("written", [False, True])
async def test_a_clock_that_is_years_ahead_leaves_the_newest_days(
    tmp_path: Path, journal: Journal, *, written: bool
) -> None:
    clock = ManualClock(TODAY + YEARS)
    if written:  # a daemon writes with that clock at once, and its events are the newest data then
        await journal.append([numerics(clock.now().utc_ns)])
        journal.commit("central", Progress(journal.last_seq))
    keeper = housekeeper(tmp_path, journal, clock, 3)
    running = asyncio.create_task(keeper.run())
    await until(lambda: "2026-01-02" not in days(tmp_path))
    await asyncio.sleep(0.2)
    running.cancel()
    assert {"2026-01-04", "2026-01-05"} <= set(days(tmp_path))


async def test_an_event_that_the_disk_refuses_is_told_once_when_it_takes_it(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    keeper = housekeeper(tmp_path, journal, ManualClock(TODAY), 30)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", refuse)
        keeper.tell(TODAY, EventKind.DAEMON, "started", {})
        await journal.wait_for_refusal()
        assert keeper.health().refusal == "disk I/O error"
    running = asyncio.create_task(keeper.run())

    async def is_told() -> bool:
        return bool(await told(journal))

    await until(is_told)
    running.cancel()
    assert [each.text for each in await told(journal)] == ["started"]
    assert keeper.health().refusal == ""


async def test_a_disk_that_refuses_is_made_room_on_at_once_and_not_within_a_minute(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = 0

    async def tidy(*_: object) -> list[Dropped]:
        nonlocal rounds
        rounds += 1
        return []

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(journal, "tidy", tidy)
    running = asyncio.create_task(housekeeper(tmp_path, journal, ManualClock(TODAY), 30).run())
    await until(lambda: rounds == 1)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", refuse)
        with pytest.raises(JournalError):
            await journal.append([numerics(TODAY + 1)])
    async with asyncio.timeout(CHECK_S / 4):
        await until(lambda: rounds > 1)
    running.cancel()
