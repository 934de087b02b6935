"""What is left out under new names and for who is blinded, rule by rule; the whole data set is searched elsewhere."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from acquisition.archive.chunk import Window
from acquisition.archive.episodes.chain import Action, Entry
from acquisition.archive.episodes.model import Covariate, Echo, Note, Run, RunEvent, Stay
from acquisition.archive.episodes.registry import Registry
from acquisition.archive.export import facts, side
from acquisition.archive.export.axis import Axis
from acquisition.archive.export.dataset import export
from acquisition.archive.export.pseudonyms import Pseudonyms
from acquisition.archive.export.request import Format, Request
from acquisition.archive.export.tally import cause_of
from acquisition.archive.question import Question
from acquisition.archive.report.gather import gather
from acquisition.archive.report.story import story_of
from acquisition.archive.scope import Scope
from acquisition.archive.source import JournalSource
from acquisition.clock import rfc3339
from acquisition.journal import Journal
from acquisition.journal.cursors import Quarantined
from acquisition.model import Event, EventKind, Numerics, Observation, json_line
from tests.acquisition.archive_bed import HOUR, RUN, SUBJECT, T0, S

AXIS = Axis(RUN, "ECMO start")
NEW = Pseudonyms(bytes(32), "a")
EVERYTHING = Request(free_text=True, utc=True, unblinded=True)
RENAMED = replace(EVERYTHING, pseudonyms=NEW)
BLINDED = replace(EVERYTHING, unblinded=False)


def event(text: str = "", **detail: object) -> Event:
    return Event(device="pump", time_ns=T0, event=EventKind.ALARM, text=text, detail=detail)


def test_each_subject_has_a_shift_of_its_own() -> None:
    shifts = {NEW.shift_days(f"LEV-03-{number:03}") for number in range(50)}
    assert len(shifts) > 40
    assert min(shifts) >= 366


def test_an_event_that_names_the_drug_in_its_detail_alone_is_kept_from_who_is_blinded() -> None:
    told = event("rate changed", channel="inf_rate")
    assert EVERYTHING.shows(told)
    assert not BLINDED.shows(told)
    assert BLINDED.shows(event("near end", channel="ecmo_flow"))


@pytest.mark.parametrize("words", ["levosimendan started", "Simdax", "study drug off", "placebo"])
def test_free_text_that_names_the_drug_is_kept_from_who_is_blinded(words: str) -> None:
    assert EVERYTHING.text(words) == words
    assert BLINDED.text(words) == ""
    stay = Stay(SUBJECT, notes=(Note(T0, words, "dm", 1),))
    assert story_of(stay, EVERYTHING).notes
    assert not story_of(stay, BLINDED).notes


def test_how_a_run_was_cannulated_and_what_was_changed_are_words_of_a_list_and_stay() -> None:
    """An oxygenator that was changed is seen in every pressure drop; without its name nobody could tell."""
    run = Run(from_ns=RUN, configuration="fem-fem", events=(RunEvent(T0, "oxygenator_change"), RunEvent(T0, "Dr X")))
    stay = Stay(SUBJECT, runs=(run,), covariates=(Covariate(from_ns=T0, name="infusion", value="placebo"),))
    asked = Request()
    told = [(row[1], row[5]) for row in facts.episodes(stay, AXIS, SUBJECT, asked)]
    assert told == [("ecmo_run", "fem-fem"), ("circuit_event", "oxygenator_change"), ("circuit_event", "")]
    marks = [mark.text for mark in story_of(stay, asked).marks]
    assert sorted(marks) == ["ECMO starts", "circuit event", "oxygenator change"]
    assert story_of(stay, asked).runs[0].more == "fem-fem"
    assert "placebo" in str(list(facts.episodes(stay, AXIS, SUBJECT, EVERYTHING)))


def test_the_registrys_entries_are_shown_by_role_and_under_new_names_without_their_words() -> None:
    def entry(number: int, subject: str, **data: object) -> Entry:
        return Entry(number, "", T0, "jmuster", Action.NOTE, subject, "", data)

    entries = [entry(1, SUBJECT, text="levosimendan on"), entry(2, SUBJECT, text="well"), entry(3, "LEV-03-099")]
    scope = Scope(SUBJECT, (Window("b1", T0, T0 + HOUR),))
    told = side.audit(entries, scope, AXIS, SUBJECT, BLINDED)
    assert [(row[0], row[2], json.loads(str(row[5]))) for row in told] == [(2, "jmuster", {"text": "well"})]
    renamed = list(side.audit(entries, scope, AXIS, "P-1", RENAMED))
    assert [(row[0], row[5]) for row in renamed] == [(1, ""), (2, "")]
    assert "jmuster" not in str(renamed)


def test_under_new_names_nothing_says_where_a_device_is_or_is_a_way_back_to_its_readings() -> None:
    link = "tcp://icu7.hospital.example:2575"
    about = {"device": [{"id": "pump", "driver": "hl7", "link": link, "profile": "/home/jmuster/x.toml"}]}
    ((*_, plain),) = side.devices(["pump"], replace(EVERYTHING, about=about))
    ((name, _, profile, renamed),) = side.devices(["pump"], replace(RENAMED, about=about))
    assert (plain, renamed, profile, name) == (link, "tcp", "x.toml", NEW.device("pump"))
    assert RENAMED.detail(event(bed="bed-17", cause="cable")) == {"cause": "cable"}
    assert EVERYTHING.detail(event(bed="bed-17")) == {"bed": "bed-17"}
    frozen = {"from_ns": T0, "to_ns": T0 + S, "readings": 2, "sha256": "ab", "channels": []}
    stay = Stay(SUBJECT, echoes=(Echo(T0, S, {"lvef": 25.0}, frozen, 1),))
    assert "sha256" in str(list(facts.episodes(stay, AXIS, SUBJECT, EVERYTHING)))
    assert "sha256" not in str(list(facts.episodes(stay, AXIS, "P-1", RENAMED)))


def rejected(time_ns: int, device: str = "pump", line: str = "") -> Quarantined:
    reading = Numerics(device=device, time_ns=time_ns, values={"hr": 1.0})
    return Quarantined("central", "field type conflict", line or json_line(reading))


def test_what_a_sink_rejected_of_another_time_or_device_is_in_no_data_set_and_a_damaged_entry_stops_none() -> None:
    windows = [Window("b1", T0, T0 + HOUR, ("pump",)), Window("b1", T0 + 2 * HOUR, T0 + 3 * HOUR)]
    times = (T0 - 1, T0, T0 + HOUR - 1, T0 + HOUR, T0 + 2 * HOUR)
    entries = [rejected(at) for at in times] + [rejected(T0, "monitor"), rejected(T0, line="{")]
    told = side.quarantine(entries, windows, Axis(0, None), EVERYTHING)
    assert [row[0] for row in told] == [rfc3339(at) for at in (T0, T0 + HOUR - 1, T0 + 2 * HOUR)]


@pytest.fixture
async def source(tmp_path: Path) -> JournalSource:
    said: list[Observation] = [Event(device="daemon", time_ns=T0, event=EventKind.DAEMON, text="daemon")]
    for device in ("pump", "monitor"):
        said += [Numerics(device=device, time_ns=T0 + at * S, values={"hr": 1.0}) for at in (0, 9)]
        said.append(Event(device=device, time_ns=T0, event=EventKind.ALARM, text=device))
    async with Journal(tmp_path / "journal", commit_interval_s=0) as journal:
        await journal.append(said)
    return JournalSource(tmp_path / "journal")


def test_events_of_a_device_that_was_not_at_the_subjects_bed_are_told_nowhere(
    source: JournalSource, tmp_path: Path
) -> None:
    scope = Scope("bed", (Window(None, T0, T0 + HOUR, ("pump",)),))
    assert [each.device for each in Question(scope).events(source)] == ["daemon", "pump"]
    export(source, Registry(), [scope], EVERYTHING, tmp_path / "set")
    assert {row["text"] for row in pq.read_table(tmp_path / "set" / "events").to_pylist()} == {"daemon", "pump"}


def test_a_report_under_new_names_tells_neither_when_it_was_made_nor_which_files_are_damaged(
    source: JournalSource,
) -> None:
    scope = Scope("bed", (Window(None, T0, T0 + HOUR),))
    source.damaged.append("2026-03-14.journal: block 3")
    plain, renamed = gather(source, scope, EVERYTHING), gather(source, scope, RENAMED)
    assert (bool(plain.created), plain.damaged) == (True, ("2026-03-14.journal: block 3",))
    assert (renamed.created, renamed.damaged) == ("", ())


def test_a_silence_has_the_cause_of_its_own_channel() -> None:
    told = [(0, 10, "cable", "hr"), (0, 4, "standby", "spo2"), (20, 30, "reboot", "")]
    assert cause_of(told, "spo2", 0, 10) == "standby"
    assert cause_of(told, "hr", 0, 10) == "cable"
    assert cause_of(told, "hr", 21, 25) == "reboot"
    assert cause_of(told, "hr", 10, 20) == "unknown"


def test_a_question_about_events_keeps_from_who_is_blinded_what_names_the_drug(
    source: JournalSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [event("levosimendan on"), event("on", channel="inf_rate"), event("near end")]
    monkeypatch.setattr(source, "events", lambda window: iter(said))
    scope = Scope("bed", (Window(None, T0, T0 + HOUR),))
    assert [each.text for each in Question(scope).events(source)] == ["near end"]
    assert len(list(Question(scope, unblinded=True).events(source))) == 3


def test_a_device_that_was_not_at_the_subjects_bed_cannot_be_asked_for(source: JournalSource) -> None:
    scope = Scope("bed", (Window(None, T0, T0 + HOUR, ("pump",)),))
    assert {each.device for each in Question(scope).readings(source)} == {"pump"}
    assert list(Question(scope, devices=frozenset({"monitor"})).readings(source)) == []
    both = Question(scope, devices=frozenset({"monitor", "pump"})).readings(source)
    assert {each.device for each in both} == {"pump"}


def test_the_name_of_the_directory_is_nowhere_in_a_data_set_under_new_names(
    source: JournalSource, tmp_path: Path
) -> None:
    scope = Scope("bed-17", (Window(None, T0, T0 + HOUR),))
    export(source, Registry(), [scope], RENAMED, tmp_path / SUBJECT)
    assert all(SUBJECT.encode() not in path.read_bytes().upper() for path in (tmp_path / SUBJECT).glob("*.*"))


async def test_no_text_of_an_event_is_a_formula_in_csv(source: JournalSource, tmp_path: Path) -> None:
    async with Journal(tmp_path / "journal", commit_interval_s=0) as journal:
        await journal.append([event('=HYPERLINK("http://x")')])
    asked = replace(EVERYTHING, format=Format.CSV)
    scope = Scope("bed-17", (Window(None, T0, T0 + HOUR),))
    export(JournalSource(tmp_path / "journal"), Registry(), [scope], asked, tmp_path / "set")
    with (tmp_path / "set" / "events.csv").open(newline="", encoding="utf-8") as file:
        texts = {row["text"] for row in csv.DictReader(file)}
    assert '\'=HYPERLINK("http://x")' in texts
    assert not [text for text in texts if text.startswith("=")]
