from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from acquisition.errors import AcquisitionError
from acquisition.health import ClockHealth, DeviceHealth, Health, JournalHealth, SinkHealth

T = 1_772_000_000_000_000_000
MINUTE = 60_000_000_000
WELL = Health(
    version="0.1.0",
    site="paris-1",
    bed="12",
    pid=4711,
    started_ns=T - 3_600_000_000_000,
    time_ns=T,
    devices=(
        DeviceHealth(
            id="pump",
            driver="modbus",
            link="tcp://127.0.0.1:502",
            state="open",
            last_reading_ns=T - 1,
            values={"ecmo_flow": 3600},
            counters={"frames_bad": 2},
            flags={"plausible": 1},
            identity={"serial": "42"},
        ),
    ),
    sinks=(SinkHealth(id="influx", state="idle", delivered=3600, last_success_ns=T),),
    journal=JournalHealth(directory="journal", size_bytes=1_000_000, free_bytes=10_000_000_000, hours_left=900.0),
    clock=ClockHealth(ahead_ns=0, steps=0),
)


def device(**fields: Any) -> Health:
    return WELL.model_copy(update={"devices": (WELL.devices[0].model_copy(update=fields),)})


def sink(**fields: Any) -> Health:
    return WELL.model_copy(update={"sinks": (WELL.sinks[0].model_copy(update=fields),)})


def test_when_all_is_well_there_is_nothing_to_look_at() -> None:
    assert WELL.problems() == []


@pytest.mark.parametrize(
    ("health", "sentence"),
    [
        (device(state="lost"), "device pump: the link is down"),
        (device(state="lost", error="refused"), "device pump: refused"),
        (device(state="silent"), "device pump: the link is open but nothing usable comes"),
        (device(lost=7), "device pump: 7 observations could not be stored"),
        (sink(state="refused", last_error="401: token"), "sink influx: 401: token"),
        (sink(state="waiting", last_error="no route"), "sink influx: no route"),
        (
            sink(state="delivering", last_success_ns=T - 7 * MINUTE, oldest_unsent_ns=T - 6 * MINUTE, backlog=3400),
            "sink influx: has taken nothing for 6 min, 3,400 points wait",
        ),
        (
            sink(state="idle", last_success_ns=None, oldest_unsent_ns=T - 90 * MINUTE, backlog=3400, last_error="400"),
            "sink influx: has taken nothing for 60 min, 3,400 points wait: 400",
        ),
        (
            sink(
                state="waiting",
                last_success_ns=T - 9 * MINUTE,
                oldest_unsent_ns=T - 8 * MINUTE,
                backlog=9,
                last_error="no route",
                hours_left=30.2,
            ),
            "sink influx: has taken nothing for 8 min, 9 points wait, room for 30 h more: no route",
        ),
        (
            WELL.model_copy(update={"journal": WELL.journal.model_copy(update={"damaged": ("2026-02-25.db",)})}),
            "journal: 2026-02-25.db",
        ),
        (
            WELL.model_copy(update={"clock": ClockHealth(ahead_ns=3_600_000_000_000, steps=1)}),
            "clock: our time is +3600.0 s from the system's, after it was set back",
        ),
        (
            WELL.model_copy(
                update={"journal": WELL.journal.model_copy(update={"refusal": "database or disk is full"})}
            ),
            "journal: nothing can be stored: database or disk is full",
        ),
        (
            WELL.model_copy(update={"failure": "the journal cannot be opened"}),
            "nothing is recorded, the service cannot start: the journal cannot be opened",
        ),
        (WELL.model_copy(update={"restarts": {"pump": 3}}), "service pump: restarted 3 times"),
    ],
)
def test_what_needs_a_person_is_said_in_one_sentence(health: Health, sentence: str) -> None:
    assert health.problems() == [sentence]


@pytest.mark.parametrize(
    "health",
    [
        device(state="opening"),
        device(state="ended"),
        device(state="open", error="was refused an hour ago"),
        sink(state="delivering", last_error="an old one"),
        sink(state="waiting"),
        sink(backlog=1_000_000),
        sink(backlog=1_000_000, oldest_unsent_ns=T - 900 * MINUTE, hours_left=3.0),
        sink(backlog=1, last_success_ns=T - 900 * MINUTE, oldest_unsent_ns=T - 4 * MINUTE),
        sink(last_success_ns=T - 900 * MINUTE),
        WELL.model_copy(update={"clock": ClockHealth(ahead_ns=900_000_000, steps=4)}),
    ],
)
def test_what_needs_nobody_is_not_a_problem(health: Health) -> None:
    assert health.problems() == []


def test_several_problems_are_all_told() -> None:
    bad = WELL.model_copy(
        update={
            "devices": (device(state="lost", lost=1).devices[0], device(state="silent").devices[0]),
            "restarts": {"influx": 1},
        }
    )
    assert len(bad.problems()) == 4


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    WELL.write(path)
    assert Health.read(path) == WELL


def test_anybody_may_read_it_whatever_the_services_own_files_are(tmp_path: Path) -> None:
    path, before = tmp_path / "status.json", os.umask(0o077)
    try:
        WELL.write(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


def test_writing_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    WELL.write(path)
    with path.open("rb") as reader:
        before = path.stat().st_ino
        device(state="lost").write(path)
        assert path.stat().st_ino != before, "a reader of the old file would meet the new one in the middle"
        assert Health.model_validate_json(reader.read()) == WELL
    assert Health.read(path).problems() == ["device pump: the link is down"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    WELL.write(path)
    (tmp_path / ".status.json.new").mkdir()
    with pytest.raises(OSError, match=r"status\.json"):
        device(state="lost").write(path)
    assert Health.read(path) == WELL


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff\x00", WELL.model_dump_json().encode()[:-20]])
def test_a_damaged_file_is_told_of_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(content)
    with pytest.raises(AcquisitionError, match=r"status\.json: not a status file \(\d+ mistakes\)"):
        Health.read(path)


def test_a_missing_file_asks_whether_the_daemon_runs(tmp_path: Path) -> None:
    with pytest.raises(AcquisitionError, match=r"status\.json: No such file.*is the daemon running"):
        Health.read(tmp_path / "status.json")


def test_a_file_of_a_newer_version_with_more_in_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_text(WELL.model_dump_json()[:-1] + ',"moon":"full"}', encoding="utf-8")
    assert Health.read(path) == WELL


def test_a_status_that_is_longer_on_a_full_disk_still_fits_where_the_old_one_was(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    WELL.write(path)
    assert path.stat().st_size >= len(device(error="x" * 4000).model_dump_json())
    assert path.stat().st_size % 4096 == 0
