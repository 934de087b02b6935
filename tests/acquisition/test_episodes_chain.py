from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.archive.episodes.chain import Action, Entry, next_entry
from acquisition.archive.episodes.file import NAME, append, appending, parse, read, registry_path
from acquisition.archive.episodes.registry import Registry
from acquisition.archive.episodes.writing import Draft, bury, record
from acquisition.errors import EpisodeError

T0 = 1_790_000_000_000_000_000
HOUR = 3_600_000_000_000


def chain() -> list[Entry]:
    entries: list[Entry] = []
    for number in range(4):
        data = {"from_ns": T0 + number * HOUR, "state": "emergency", "reason": f"because {number} é"}
        last = entries[-1] if entries else None
        entries.append(
            next_entry(
                last, recorded_ns=T0 + number, actor="op", action=Action.CONSENT, subject="LEV-03-012", data=data
            )
        )
    return entries


ENTRIES = chain()
CONTENT = b"".join(entry.line + b"\n" for entry in ENTRIES)


def test_what_is_written_is_read_again() -> None:
    assert parse(CONTENT, "f").entries == tuple(ENTRIES)


@settings(max_examples=400, deadline=None)
@given(at=st.integers(0, len(CONTENT) - 1), flip=st.integers(1, 255))
def test_any_changed_byte_is_found(at: int, flip: int) -> None:
    changed = bytearray(CONTENT)
    changed[at] ^= flip
    try:
        content = parse(bytes(changed), "f")
    except EpisodeError:
        return
    assert content.report, "a changed file was taken for whole"
    assert content.entries == tuple(ENTRIES[: len(content.entries)])
    assert len(content.entries) >= len(ENTRIES) - 1


@given(length=st.integers(0, len(CONTENT)))
def test_a_file_cut_anywhere_keeps_every_whole_entry_and_tells_of_the_rest(length: int) -> None:
    content = parse(CONTENT[:length], "f")
    whole = CONTENT[:length].count(b"\n")
    assert len(content.entries) - whole in ((0, 1) if content.unended else (0,))
    assert bool(content.report) == (not CONTENT[:length].endswith(b"\n") and length > 0)


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_missing_line_is_named(taken: int) -> None:
    lines = CONTENT.splitlines(keepends=True)
    with pytest.raises(EpisodeError, match=f"entry {taken + 1}"):
        parse(b"".join(lines[:taken] + lines[taken + 1 :]), "f")


def test_two_lines_that_changed_places_are_found() -> None:
    one, two, *rest = CONTENT.splitlines(keepends=True)
    with pytest.raises(EpisodeError, match="entry 1 is missing"):
        parse(b"".join([two, one, *rest]), "f")


def test_the_damaged_line_is_named() -> None:
    lines = CONTENT.splitlines(keepends=True)
    lines[2] = lines[2].replace(b"emergency", b"withdrawn")
    with pytest.raises(EpisodeError, match="line 3 is damaged: the hash of its data"):
        parse(b"".join(lines), "f")


def test_a_new_chain_under_an_old_entry_is_found() -> None:
    other = chain()
    assert other[0].hash != ENTRIES[0].hash, "the salt differs"
    with pytest.raises(EpisodeError, match="entry 2 does not continue the chain"):
        parse(ENTRIES[0].line + b"\n" + other[1].line + b"\n", "f")


def test_data_that_went_without_a_purge_is_found() -> None:
    lines = [entry.line for entry in ENTRIES]
    lines[1] = ENTRIES[1].without_data().line
    with pytest.raises(EpisodeError, match="entry 2 has lost its data, and no purge tells why"):
        parse(b"\n".join(lines) + b"\n", "f")


def test_data_that_went_in_a_purge_leaves_a_sound_chain() -> None:
    tombstone = next_entry(
        ENTRIES[-1], recorded_ns=T0, actor="op", action=Action.PURGE, subject="LEV-03-012", data={"ground": "withdrawn"}
    )
    lines = [*(entry.without_data().line for entry in ENTRIES), tombstone.line]
    content = parse(b"\n".join(lines) + b"\n", "f")
    assert Registry(content.entries).stay("LEV-03-012").purged
    assert Registry(content.entries).subjects() == ()
    assert b"emergency" not in b"".join(lines)


def test_a_torn_line_is_cut_off_by_the_next_entry(tmp_path: Path) -> None:
    path = tmp_path / "episodes" / NAME
    with appending(path) as (_, descriptor):
        append(descriptor, ENTRIES)
    with path.open("ab") as file:
        file.write(b'{"action":"no')
    assert "torn: 13 bytes" in Registry.open(path).repaired
    told = record(
        path, [Draft(Action.START, "LEV-03-013", {"from_ns": T0, "bed": "b"})], actor="op", now_ns=T0 + 9 * HOUR
    )
    assert "torn: 13 bytes" in told.repaired
    assert [entry.number for entry in read(path).entries] == [1, 2, 3, 4, 5]
    assert Registry.open(path).repaired == ""


def test_a_lost_line_end_loses_no_entry(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(CONTENT[:-1])
    assert Registry.open(path).entries == tuple(ENTRIES)
    record(path, [Draft(Action.START, "LEV-03-013", {"from_ns": T0, "bed": "b"})], actor="op", now_ns=T0 + 9 * HOUR)
    assert read(path).entries[:4] == tuple(ENTRIES)


def test_a_registry_that_is_not_there_is_empty_and_is_not_made(tmp_path: Path) -> None:
    path = registry_path(tmp_path / "journal")
    assert Registry.open(path).subjects() == ()
    assert path == tmp_path / "episodes" / NAME
    assert not path.parent.exists()


def test_entries_rise_in_time_even_when_the_clock_does_not(tmp_path: Path) -> None:
    path = tmp_path / NAME
    drafts = [Draft(Action.START, f"LEV-03-01{n}", {"from_ns": T0, "bed": f"b{n}"}) for n in range(3)]
    record(path, drafts, actor="op", now_ns=T0 + HOUR)
    record(path, [Draft(Action.STOP, "LEV-03-010", {"to_ns": T0 + 5})], actor="op", now_ns=T0 + HOUR // 2)
    times = [entry.recorded_ns for entry in read(path).entries]
    assert times == sorted(set(times))


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT ROOT: only root can leave a file that another user cannot read")
def test_what_root_enters_belongs_to_the_owner_of_the_place(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 65534, 65534)
    path = registry_path(state / "journal")
    record(path, [Draft(Action.START, "LEV-03-012", {"from_ns": T0, "bed": "b"})], actor="op", now_ns=T0 + HOUR)
    bury(path, "LEV-03-012", {"ground": "other", "intervals": [], "journal": [], "influx": []}, actor="op", now_ns=T0)
    made = [path.parent, *path.parent.iterdir()]
    assert len(made) == 3
    assert {(each.stat().st_uid, each.stat().st_gid) for each in made} == {(65534, 65534)}
