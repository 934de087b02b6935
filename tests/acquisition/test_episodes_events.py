from __future__ import annotations

import json
from pathlib import Path

import pytest

from acquisition.archive.episodes.chain import Action
from acquisition.archive.episodes.events import event_of, registries, untold
from acquisition.archive.episodes.file import read, replace
from acquisition.archive.episodes.registry import Registry, registry_path
from acquisition.archive.episodes.writing import Draft, record
from acquisition.archive.opened import registry_in
from acquisition.archive.source import JournalSource
from acquisition.errors import ConfigError, EpisodeError
from acquisition.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.model import Event, json_line, parse_line
from acquisition.upkeep.episode_relay import EpisodeRelay

T0 = 1_790_000_000_000_000_000
H = 3_600_000_000_000


def enter(path: Path, subject: str = "LEV-03-012", bed: str = "b1") -> None:
    drafts = [
        Draft(Action.START, subject, {"from_ns": T0, "bed": bed}),
        Draft(Action.NOTE, subject, {"time_ns": T0 + 5, "text": 'é "quoted" \\ and\nlines'}),
    ]
    record(path, drafts, actor="op", now_ns=T0 + H)


def in_journal(directory: Path) -> list[Event]:
    events = JournalReader(directory).query(kinds=("event",))
    return [each for each in events if isinstance(each, Event)]


async def test_each_entry_reaches_the_journal_once_also_when_made_while_the_daemon_was_off(tmp_path: Path) -> None:
    directory, path = tmp_path / "journal", registry_path(tmp_path / "journal")
    enter(path)
    async with Journal(directory, commit_interval_s=0.02) as journal:
        relay = EpisodeRelay(directory, journal)
        assert await relay.relay() == 2
        assert await relay.relay() == 0
        enter(path, "LEV-03-013", "b2")
        assert await relay.relay() == 2
    enter(path, "LEV-03-014", "b3")
    async with Journal(directory, commit_interval_s=0.02) as journal:
        assert await EpisodeRelay(directory, journal).relay() == 2
    events = in_journal(directory)
    assert [event.detail["entry"]["number"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert len({event.time_ns for event in events}) == 6


async def test_the_registry_is_rebuilt_from_events_alone(tmp_path: Path) -> None:
    directory, path = tmp_path / "journal", registry_path(tmp_path / "journal")
    enter(path)
    async with Journal(directory, commit_interval_s=0.02) as journal:
        await EpisodeRelay(directory, journal).relay()
    (rebuilt,) = registries(in_journal(directory)).values()
    assert rebuilt.entries == Registry.open(path).entries
    assert rebuilt.stay("LEV-03-012") == Registry.open(path).stay("LEV-03-012")


async def test_entries_that_vanished_from_the_file_are_missed(tmp_path: Path) -> None:
    directory, path = tmp_path / "journal", registry_path(tmp_path / "journal")
    enter(path)
    async with Journal(directory, commit_interval_s=0.02) as journal:
        relay = EpisodeRelay(directory, journal)
        await relay.relay()
        replace(path, read(path).entries[:1])
        with pytest.raises(EpisodeError, match="the last entries are gone"):
            await relay.relay()


def test_events_of_several_registries_are_told_apart(tmp_path: Path) -> None:
    events = []
    for bed in ("b1", "b2"):
        enter(tmp_path / bed, f"LEV-03-01{bed[1]}", bed)
        events += untold(Registry.open(tmp_path / bed).entries, (), "daemon")
    found = registries(events)
    assert sorted(registry.subjects() for registry in found.values()) == [("LEV-03-011",), ("LEV-03-012",)]


def test_a_changed_event_and_a_missing_one_are_found(tmp_path: Path) -> None:
    enter(tmp_path / "f")
    entries = Registry.open(tmp_path / "f").entries
    events = untold(entries, (), "daemon")
    with pytest.raises(EpisodeError, match="entry 1 is missing"):
        registries(events[1:])
    changed = json_line(events[0]).replace('"bed":"b1"', '"bed":"b2"')
    assert changed != json_line(events[0])
    with pytest.raises(EpisodeError, match="an entry was changed"):
        registries([parse_line(changed), events[1]])


def test_an_event_told_before_a_withdrawal_gives_way_to_the_one_after_it(tmp_path: Path) -> None:
    enter(tmp_path / "f")
    data = {"ground": "withdrawn", "intervals": [], "journal": [], "influx": [], "entries": [1, 2]}
    old = Registry.open(tmp_path / "f").entries
    record(tmp_path / "f", [Draft(Action.PURGE, "LEV-03-012", data)], actor="op", now_ns=T0 + H)
    *_, tombstone = Registry.open(tmp_path / "f").entries
    new = [*(entry.without_data() for entry in old), tombstone]
    told = untold(old, (), "daemon")
    again = untold(new, told, "daemon")
    assert [event.time_ns for event in again] == [entry.recorded_ns for entry in new]
    for mixed in ([*told, *again], [*again, *told]):
        (registry,) = registries(mixed).values()
        assert registry.stay("LEV-03-012").purged
    assert "quoted" not in json.dumps([event.detail for event in again])


def test_the_text_of_an_event_has_nobodys_free_text(tmp_path: Path) -> None:
    enter(tmp_path / "f")
    entry = Registry.open(tmp_path / "f").entries[1]
    assert event_of(entry, entry.hash, "daemon").text == "LEV-03-012: a note"


async def test_a_database_answers_for_the_subjects_of_every_bed_that_has_a_registry_of_its_own(tmp_path: Path) -> None:
    """Not for those of the longest alone; and what two tell of one subject is taken for neither."""
    async with Journal(tmp_path / "journal", commit_interval_s=0.02) as journal:
        for bed, subjects in (("b1", (11, 12, 15)), ("b2", (13, 15))):
            for number in subjects:
                enter(tmp_path / bed, f"LEV-03-0{number}", f"{bed}-{number}")
            await journal.append(untold(Registry.open(tmp_path / bed).entries, (), "daemon"))
    found = registry_in(JournalSource(tmp_path / "journal"))
    assert [bed.bed for bed in found.stay("LEV-03-013").beds] == ["b2-13"]
    assert [bed.bed for bed in found.stay("LEV-03-011").beds] == ["b1-11"]
    assert {entry.subject for entry in found.entries} >= {"LEV-03-011", "LEV-03-013"}
    with pytest.raises(ConfigError, match="is in more than one registry of this database; give --registry"):
        found.stay("LEV-03-015")
    with pytest.raises(ConfigError, match="did you mean 'LEV-03-013'"):
        found.stay("LEV-3-013")
