"""The life time of what belongs to no episode: what goes by itself, what never does, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from acquisition.archive.episodes.chain import Action
from acquisition.archive.episodes.file import read, replace
from acquisition.archive.episodes.registry import registry_path
from acquisition.archive.episodes.writing import Draft, record
from acquisition.clock import ManualClock
from acquisition.config import Config, JournalConfig
from acquisition.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.journal.schema import day_files, reading
from acquisition.lanes import Progress
from acquisition.model import Event, EventKind, Observation, Waveform
from acquisition.upkeep.episode_relay import EpisodeRelay
from acquisition.upkeep.housekeeping import Housekeeper
from acquisition.upkeep.unassigned import CHECK_NS, Told, Unassigned
from tests.acquisition.journal_observations import DAY_NS, QUICK, T0, alter, event, numerics, waveform
from tests.system.beds import until

HOUR = DAY_NS // 24
DAYS = 8
KEEP = 3
NOW = T0 + (DAYS - 1) * DAY_NS + 12 * HOUR
CUTOFF = T0 + (DAYS - 1 - KEEP) * DAY_NS
STAY = (T0 + DAY_NS + 6 * HOUR, T0 + 2 * DAY_NS + 6 * HOUR)


def config(directory: Path, *, bed: str = "bed-1", days: int | None = KEEP) -> Config:
    return Config(
        site={"site": "s", "bed": bed, "timezone": "UTC"},
        journal=JournalConfig(directory=directory),
        device=({"id": "mon", "driver": "hl7", "link": "tcp://127.0.0.1:1"},),
        episodes={"unassigned_keep_days": days},
    )


def enter(directory: Path, *, bed: str = "bed-1", devices: tuple[str, ...] = ()) -> Path:
    path = registry_path(directory)
    drafts = [
        Draft(Action.START, "LEV-03-012", {"from_ns": STAY[0], "bed": bed, "devices": devices}),
        Draft(Action.STOP, "LEV-03-012", {"to_ns": STAY[1]}),
    ]
    record(path, drafts, actor="op", now_ns=NOW)
    return path


@pytest.fixture
async def directory(tmp_path: Path) -> Path:
    """Eight days of a bed, hour by hour, and who was in it from the second morning to the third."""
    async with Journal(tmp_path / "journal", commit_interval_s=QUICK) as journal:
        for day in range(DAYS):
            hours = [at for hour in range(24) if (at := T0 + day * DAY_NS + hour * HOUR) <= NOW]
            await journal.append(
                [
                    each
                    for at in hours
                    for each in (numerics(at), numerics(at, 1, "pump"), waveform(at, [1] * 4), event(at, f"{at}"))
                ]
            )
        journal.commit("central", Progress(journal.last_seq))
    return tmp_path / "journal"


def times(directory: Path, device: str = "mon") -> set[int]:
    found: set[int] = set()
    for each in JournalReader(directory).query(devices=[device]):
        found.add(each.time_ns)
        assert not isinstance(each, Waveform) or len(each.raw) == 16
    return found


def all_times() -> set[int]:
    return {T0 + hour * HOUR for hour in range(DAYS * 24) if T0 + hour * HOUR <= NOW}


async def look(directory: Path, now: int = NOW, *, bed: str = "bed-1", days: int | None = KEEP) -> list[Told]:
    return await Unassigned(config(directory, bed=bed, days=days)).look(ManualClock(now).now(), [2**63 - 1])


async def test_whole_days_beyond_the_limit_go_and_no_reading_of_an_episode_nor_a_younger_one(directory: Path) -> None:
    enter(directory)
    told = await look(directory)
    left = {at for at in all_times() if at >= CUTOFF or STAY[0] <= at < STAY[1]}
    assert len(left) < len(all_times()) - 24
    assert times(directory) == times(directory, "pump") == left
    gone = len(all_times()) - len(left)
    assert sum(int(str(each.detail["points"])) for each in told) == gone * (1 + 4 + 1 + 1)
    assert told[0].text == "2026-01-01.journal: 168 points of no episode, older than 3 days, were deleted"
    assert told[0].detail["file"] == "2026-01-01.journal"
    assert JournalReader(directory).damaged == []


async def test_a_device_that_was_not_the_subjects_is_nobodys(directory: Path) -> None:
    enter(directory, devices=("pump",))
    await look(directory)
    assert times(directory, "pump") > times(directory)
    assert times(directory) == {at for at in all_times() if at >= CUTOFF}


async def test_without_a_life_time_nothing_goes(directory: Path) -> None:
    enter(directory)
    assert await look(directory, days=None) == []
    assert times(directory) == all_times()


async def test_what_a_sink_does_not_have_yet_stays_until_it_has(directory: Path) -> None:
    enter(directory)
    with reading(day_files(directory)[0]) as connection:
        assert connection is not None
        (first,) = connection.execute("SELECT max(seq) FROM block").fetchone()
    keeper = Unassigned(config(directory))
    clock = ManualClock(NOW)
    (told,) = await keeper.look(clock.now(), [2**63 - 1, first])
    assert told.detail["file"] == "2026-01-01.journal"
    assert min(times(directory)) == T0 + DAY_NS, "the second day is owed to the slower sink"
    clock.advance_to(CHECK_NS)
    assert len(await keeper.look(clock.now(), [2**63 - 1])) > 1
    assert min(times(directory)) == STAY[0]


@pytest.mark.parametrize("what", ["nothing", "an empty file", "a directory"])
async def test_without_a_registry_nothing_goes_and_it_is_said_once(directory: Path, what: str) -> None:
    path = registry_path(directory)
    path.parent.mkdir()
    if what == "an empty file":
        path.touch()
    elif what == "a directory":
        path.mkdir()
    keeper, clock = Unassigned(config(directory)), ManualClock(NOW)
    (told,) = await keeper.look(clock.now(), [])
    assert "there is no registry" in told.text
    clock.advance_to(CHECK_NS)
    assert await keeper.look(clock.now(), []) == []
    assert times(directory) == all_times()


async def test_a_registry_that_the_system_refuses_to_read_deletes_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = enter(directory), Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self == path:
            raise PermissionError(13, "Permission denied")
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    (told,) = await look(directory)
    assert "cannot be read: Permission denied" in told.text
    assert times(directory) == all_times()


async def test_a_damaged_registry_deletes_nothing(directory: Path) -> None:
    path = enter(directory)
    path.write_bytes(path.read_bytes().replace(b"bed-1", b"bed-2"))
    (told,) = await look(directory)
    assert "line 1 is damaged" in told.text
    assert times(directory) == all_times()


@pytest.mark.parametrize("how", ["an older copy", "another one"])
async def test_a_registry_that_lacks_what_was_told_before_deletes_nothing(directory: Path, how: str) -> None:
    path = enter(directory)
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        await EpisodeRelay(directory, journal).relay()
    if how == "an older copy":
        replace(path, read(path).entries[:1])
    else:
        path.unlink()
        enter(directory)
    (told,) = await look(directory)
    assert "the registry lacks entry" in told.text
    assert times(directory) == all_times()


async def test_a_bed_of_another_name_deletes_nothing(directory: Path) -> None:
    enter(directory)
    (told,) = await look(directory, bed="icu-1")
    assert "another name" in told.text
    assert times(directory) == all_times()


async def test_a_clock_that_is_years_ahead_leaves_the_newest_days(directory: Path) -> None:
    enter(directory)
    await look(directory, now=NOW + 3650 * DAY_NS)
    assert times(directory) >= {at for at in all_times() if at >= CUTOFF}


async def test_a_file_in_which_anything_cannot_be_read_stays_as_it_is(directory: Path) -> None:
    enter(directory)
    path = day_files(directory)[0]
    alter(path, "UPDATE block SET payload = x'00' WHERE seq = (SELECT min(seq) FROM block)")
    before = path.read_bytes()
    told = await look(directory)
    assert path.read_bytes() == before
    assert "2026-01-01.journal stays as it is" in told[-1].text
    assert told[0].detail["file"] == "2026-01-02.journal"


async def test_what_was_looked_at_is_not_written_again(directory: Path) -> None:
    enter(directory)
    keeper, clock = Unassigned(config(directory)), ManualClock(NOW)
    await keeper.look(clock.now(), [])
    before = [path.stat().st_ino for path in day_files(directory)]
    assert await keeper.look(clock.now(), []) == [], "not before the hour is over"
    clock.advance_to(CHECK_NS)
    assert await keeper.look(clock.now(), []) == []
    assert [path.stat().st_ino for path in day_files(directory)] == before


async def test_the_daemons_housekeeper_does_it_while_the_journal_is_written_and_tells_it_in_an_event(
    directory: Path,
) -> None:
    enter(directory)
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        settings = config(directory)
        limits = JournalConfig(directory=directory, min_free_gb=0)
        keeper = Housekeeper(limits, ["central"], journal, ManualClock(NOW), Unassigned(settings))
        running = asyncio.create_task(keeper.run())

        async def told() -> bool:
            return len(_told(JournalReader(directory).query(devices=["daemon"]))) == (CUTOFF - T0) // DAY_NS

        await journal.append([numerics(NOW + 1)])
        await until(told)
        running.cancel()
    assert min(times(directory)) == STAY[0]
    assert NOW + 1 in times(directory)
    assert keeper.health().dropped == 0, "every sink has it: it is no loss"


def _told(found: Iterable[Observation]) -> list[Event]:
    return [each for each in found if isinstance(each, Event) and each.event is EventKind.RETENTION]
