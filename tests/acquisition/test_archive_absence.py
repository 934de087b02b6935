"""What the data manager's commands say of what is not there, or must not be told."""

from __future__ import annotations

import asyncio
import csv
import errno
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acquisition.archive import open_archive
from acquisition.archive.episodes.chain import Action
from acquisition.archive.episodes.registry import registry_path
from acquisition.archive.episodes.writing import Draft, record
from acquisition.archive.lines import csv_of_event, harmless
from acquisition.archive.whole import written_whole
from acquisition.errors import ConfigError
from acquisition.model import Event, EventKind
from tests.acquisition.archive_bed import HOUR, HOURS, RANDOMISED, SUBJECT, T0, make_bed, write_config
from tests.acquisition.command import Run, runner

MOVED = "LEV-03-020"
NEIGHBOUR = "LEV-03-021"
FORMULA = '=HYPERLINK("http://x","y")'


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; only read."""
    return asyncio.run(make_bed(tmp_path_factory.mktemp("bed")))


@pytest.fixture(scope="module")
def moved(journal: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two beds that recorded the same, and a subject who was in the one, the other and the one again, with two runs."""
    directory = tmp_path_factory.mktemp("two")
    facts: list[tuple[Action, dict[str, Any]]] = [
        (Action.START, {"from_ns": T0, "bed": "bed-17"}),
        (Action.RUN_START, {"from_ns": T0}),
        (Action.RUN_STOP, {"to_ns": T0 + HOUR // 2, "why": "weaned"}),
        (Action.TRANSFER, {"from_ns": T0 + HOUR, "bed": "bed-18"}),
        (Action.RANDOMISE, {"time_ns": RANDOMISED}),
        (Action.TRANSFER, {"from_ns": T0 + 2 * HOUR, "bed": "bed-17"}),
        (Action.RUN_START, {"from_ns": T0 + 2 * HOUR}),
        (Action.NOTE, {"time_ns": T0 + 2 * HOUR, "text": FORMULA}),
    ]
    drafts = [Draft(action, MOVED, data) for action, data in facts]
    for bed in ("bed-17", "bed-18"):
        shutil.copytree(journal, directory / bed / "journal")
        record(registry_path(directory / bed / "journal"), drafts, actor="dm", now_ns=T0 + 9 * HOUR)
        write_config(directory / bed)
        config = directory / bed / "bed.toml"
        config.write_text(config.read_text().replace('bed = "bed-17"', f'bed = "{bed}"'))
    return directory


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_a_copied_journal_needs_no_configuration_but_the_name_of_its_bed(
    run: Run, journal: Path, tmp_path: Path
) -> None:
    words = ("--journal", journal, "--bed", "bed-17", "--to", "2026-03-14T16:10:00Z")
    code, out, _ = run("query", *words, "--channels", "ecmo_flow")
    assert (code, len(rows(out))) == (0, 60)
    assert run("report", *words, "--out", tmp_path / "x.html")[0] == 0
    assert "bed-17" in (tmp_path / "x.html").read_text(encoding="utf-8")
    assert run("export", *words, "--out", tmp_path / "set")[0] == 0


async def test_a_journal_of_a_bed_that_nobody_told_is_not_taken_for_that_of_a_subject_elsewhere(
    run: Run, tmp_path: Path
) -> None:
    """A registry of a ward beside the journal of one bed: the readings would be those of the neighbour."""
    journal = await make_bed(tmp_path)
    start = Draft(Action.START, NEIGHBOUR, {"from_ns": T0, "bed": "bed-18"})
    record(registry_path(journal), [start], actor="dm", now_ns=T0 + 9 * HOUR)
    words = ("query", "--journal", journal, "--channels", "hr", "--subject", NEIGHBOUR)
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "the registry tells of the beds bed-17, bed-18, and a journal is of one bed: give --config, or --bed" in err
    with pytest.raises(ConfigError, match="a journal is of one bed"):
        open_archive(journal).query(["hr"], subject=NEIGHBOUR)
    code, _, err = run(*words, "--bed", "bed-17")
    assert (code, "was in bed-18" in err) == (2, True)


@pytest.fixture
async def withdrawn(tmp_path: Path) -> Path:
    """The journal of a subject who withdrew after an hour of data, agreed half an hour later, and withdrew again."""
    journal = await make_bed(tmp_path)
    states = (("withdrawn", HOUR), ("patient", HOUR + HOUR // 2), ("withdrawn", 2 * HOUR + HOUR // 2))
    drafts = [Draft(Action.CONSENT, SUBJECT, {"from_ns": T0 + at, "state": state}) for state, at in states]
    drafts += [
        Draft(Action.NOTE, SUBJECT, {"time_ns": T0 + HOUR + 1, "text": "asked again"}),
        Draft(Action.COVARIATE_START, SUBJECT, {"from_ns": T0 + HOUR, "name": "prone", "value": "yes"}),
        Draft(
            Action.ECHO,
            SUBJECT,
            {"time_ns": T0 + HOUR + 2, "uncertainty_ns": 1, "values": {"tdsa": 9.5}, "snapshot": None},
        ),
    ]
    record(registry_path(journal), drafts, actor="dm", now_ns=T0 + 9 * HOUR)
    return journal


def test_what_came_while_consent_was_withdrawn_is_in_no_answer(run: Run, withdrawn: Path, tmp_path: Path) -> None:
    words = ("--config", tmp_path / "bed.toml", "--subject", SUBJECT, "--channels", "ecmo_flow")
    code, out, err = run("query", *words)
    times = [int(row["time_ns"]) - T0 for row in rows(out)]
    assert (code, len(times)) == (0, 2 * 360)
    assert all(at < HOUR or HOUR * 1.5 <= at < HOUR * 2.5 for at in times)
    assert f"{SUBJECT}: without consent from 2026-03-14T17:00:00.000Z to 2026-03-14T17:30:00.000Z and from" in err

    code, out, _ = run("query", *words, "--to", "2026-03-14T16:30:00Z")
    assert (code, len(rows(out))) == (0, 180)

    code, _, err = run("export", *words, "--out", tmp_path / "set", "--free-text", "--format", "csv")
    assert (code, "left out" in err) == (0, True), err
    numerics = rows((tmp_path / "set" / "numerics_long.csv").read_text())
    assert len(numerics) == len(times)
    day = rows((tmp_path / "set" / "completeness.csv").read_text())[-1]
    assert (day["bucket"], day["received"]) == ("day", day["expected"])
    assert "while consent was withdrawn" in (tmp_path / "set" / "left_out.csv").read_text()
    facts = {(row["what"], row["name"]) for row in rows((tmp_path / "set" / "episodes.csv").read_text())}
    assert ("covariate", "prone") not in facts
    assert {name for what, name in facts if what == "echo"} == {"lvef", "lvot_vti"}
    assert "asked again" not in (tmp_path / "set" / "episodes.csv").read_text()

    assert run("report", *words, "--out", tmp_path / "x.html")[0] == 0
    assert "what came while consent was withdrawn" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_where_nothing_is_left_that_is_the_reason(run: Run, withdrawn: Path, tmp_path: Path) -> None:
    words = ("--config", tmp_path / "bed.toml", "--subject", SUBJECT, "--from", "2026-03-14T18:30:00Z")
    code, out, err = run("query", *words)
    assert (code, out) == (2, "")
    assert "left out, and nothing is left of that time" in " ".join(err.split())


def test_of_who_is_opposed_nothing_is_told(run: Run, withdrawn: Path, tmp_path: Path) -> None:
    opposed = Draft(Action.CONSENT, SUBJECT, {"from_ns": T0 + 8 * HOUR, "state": "opposed"})
    record(registry_path(withdrawn), [opposed], actor="dm", now_ns=T0 + 9 * HOUR)
    words = ("--config", tmp_path / "bed.toml", "--subject", SUBJECT)
    for command in (("query",), ("export", "--out", tmp_path / "set"), ("report", "--out", tmp_path / "x.html")):
        code, out, err = run(*command, *words)
        assert (code, out) == (2, "")
        assert "is opposed to any use of the data, since 2026-03-15T00:00:00.000Z" in err
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--bed", "bed-71"), "no subject of the registry was ever there; did you mean 'bed-17'?"),
        (("--channels", "abp_sys"), "this journal: no channel 'abp_sys' was recorded (have: abp_mean, ecmo_flow, hr,"),
        (("--device", "pump"), "this journal: no device 'pump' was recorded; did you mean 'pump-17'?"),
        (("--channels", "hr", "--from", "2027-01-01T00:00:00Z"), "first of all is of 2026-03-14T16:00:00.000Z"),
        (("--channels", "hr", "--from", "2027-01-01T00:00:00Z", "--format", "json"), "no readings in that time"),
        (("--channels", "hr", "--from", "2027-01-01T00:00:00Z", "--every", "1h"), "no readings in that time"),
        (("--channels", "hr", "--to", "2026-01-01T00:00:00Z", "--plot", "x.svg"), "no readings in that time"),
        (("--channels", "hr", "--to", "2026-01-01T00:00:00Z", "--format", "table"), "no readings in that time"),
        (("--channels", "hr", "--format", "parquet", "--out", "no/x.parquet"), "cannot be written: No such file"),
        (("--channels", "hr", "--out", "no/x.csv"), "cannot be written: No such file"),
        (("--channels", "hr", "--out", "."), "Is a directory"),
        (("--channels", "hr", "--format", "table", "--out", "x.txt"), "a table goes to the screen"),
        (("--channels", "study_drug_rate"), "tells of the study drug"),
        (("--role", "blind"), "did you mean 'blinded'"),
    ],
)  # fmt: skip
def test_an_answer_of_nothing_is_a_refusal_that_says_why(
    run: Run, journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("query", "--journal", journal, *words)
    assert (code, out) == (2, "")
    assert told in err
    assert "study_drug" not in err.replace("study_drug_rate: tells", "")
    assert list(tmp_path.iterdir()) == []


def test_the_directory_above_the_journal_is_asked_about(run: Run, journal: Path) -> None:
    code, out, err = run("query", "--journal", journal.parent, "--channels", "hr")
    assert (code, out, "is this the right place?" in err) == (2, "", True)


def test_a_channel_that_nothing_recorded_is_told_beside_the_others(run: Run, journal: Path) -> None:
    code, out, err = run("query", "--journal", journal, "--channels", "ecmo_rpm,ecmo_flow", "--every", "1h")
    assert (code, len(rows(out))) == (0, HOURS)
    assert "no channel 'ecmo_rpm' was recorded" in err


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_query_tells_nothing_of_the_study_drug_but_to_the_role(run: Run, journal: Path, form: str) -> None:
    words = ("query", "--journal", journal, "--format", form)
    _, blinded, _ = run(*words)
    assert "ecmo_flow" in blinded
    assert "Dr Muster" in blinded
    assert [word for word in ("study_drug_rate", "inf_rate", "levosimendan") if word in blinded] == []
    _, whole, _ = run(*words, "--role", "unblinded")
    assert [word for word in ("study_drug_rate", "inf_rate", "levosimendan") if word not in whole] == []


def test_a_program_must_say_that_it_is_unblinded(journal: Path) -> None:
    archive = open_archive(journal)
    with pytest.raises(ConfigError, match="study drug"):
        archive.query(["study_drug_rate"])
    assert archive.query(["study_drug_rate"], unblinded=True).num_rows > 0
    assert "study_drug_rate" not in archive.query().column("channel").unique().to_pylist()


def test_what_another_journal_has_of_a_subject_is_named_and_never_passed_over(
    run: Run, moved: Path, tmp_path: Path
) -> None:
    words = ("--config", moved / "bed-17" / "bed.toml", "--subject", MOVED)
    told = f"{MOVED} was also in bed-18"
    code, out, err = run("query", *words, "--channels", "hr", "--every", "1h")
    assert ([row["time"][11:13] for row in rows(out)], told in err) == (["16", "18"], True)
    code, _, err = run("export", *words, "--out", tmp_path / "set", "--format", "csv")
    assert (code, told in err) == (0, True)
    assert "what bed-18 recorded" in (tmp_path / "set" / "left_out.csv").read_text(encoding="utf-8")
    code, _, err = run("report", *words, "--out", tmp_path / "x.html")
    assert (code, told in err) == (0, True)
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "what bed-18 recorded, whose journal was not read" in page
    assert page.count("ECMO run 2") > 0


def test_data_sets_of_two_journals_fit_together_under_new_names(run: Run, moved: Path, tmp_path: Path) -> None:
    found = {}
    for bed in ("bed-17", "bed-18"):
        code, _, err = run(
            "export", "--config", moved / bed / "bed.toml", "--subject", MOVED, "--out", tmp_path / bed,
            "--format", "csv", "--pseudonymize", tmp_path / "key", "--request", "r", "--channels", "hr",
        )  # fmt: skip
        assert code == 0, err
        text = (tmp_path / bed / "numerics_long.csv").read_text(encoding="utf-8")
        found[bed] = {(row["subject"], float(row["time_h"])) for row in rows(text)}
        assert run("verify", tmp_path / bed)[0] == 0
        for path in (tmp_path / bed).rglob("*"):
            assert path.is_dir() or b"bed-1" not in path.read_bytes(), path
    assert {name for name, _ in found["bed-17"]} == {name for name, _ in found["bed-18"]}
    whole = sorted(hour for each in found.values() for _, hour in each)
    assert (whole[0], len(whole), len(set(whole))) == (-1.0, HOURS * 360 - 29, HOURS * 360 - 29)


@pytest.mark.parametrize("text", ["=1+1", "+cmd|x", "-cmd|x", "@SUM(1)", "\t=1", "\r=1"])
def test_no_text_of_a_table_is_a_formula(text: str) -> None:
    event = Event(device="pump-17", time_ns=T0, event=EventKind.ALARM, text=text)
    (row,) = csv.reader(io.StringIO(csv_of_event(event), newline=""), strict=True)
    assert row[4] == f"'{text}"
    assert [harmless(number) for number in ("-1.5", "+3", "-inf", "1e-9", "")] == ["-1.5", "+3", "-inf", "1e-9", ""]


def test_a_note_that_is_a_formula_is_a_text_in_every_csv_of_an_export(run: Run, moved: Path, tmp_path: Path) -> None:
    words = ("--config", moved / "bed-17" / "bed.toml", "--subject", MOVED, "--out", tmp_path / "set", "--free-text")
    assert run("export", *words, "--format", "csv", "--times", "utc", "--channels", "hr")[0] == 0
    cells = [
        cell
        for path in (tmp_path / "set").rglob("*.csv")
        for row in csv.reader(path.read_text(encoding="utf-8").splitlines())
        for cell in row
    ]
    assert f"'{FORMULA}" in cells
    assert [cell for cell in cells if cell.startswith(("=", "@", "+"))] == []


def test_a_chain_that_is_not_there_proves_nothing(run: Run, tmp_path: Path) -> None:
    code, _, err = run("verify", tmp_path, "--ledger", tmp_path / "export.jsonl")
    assert (code, "no chain of exports there" in err) == (2, True)


def test_after_a_withdrawal_nothing_is_answered_and_the_tombstone_says_why(
    run: Run, journal: Path, tmp_path: Path
) -> None:
    bed = tmp_path / "journal"
    shutil.copytree(journal, bed)
    shutil.copytree(registry_path(journal).parent, registry_path(bed).parent, dirs_exist_ok=True)
    write_config(tmp_path)
    config = ("--config", tmp_path / "bed.toml")
    assert run("episode", "consent", SUBJECT, "withdrawn", "--at", "2026-03-14T18:00:00Z", *config)[0] == 0
    assert run("episode", "purge", SUBJECT, "--ground", "withdrawn", "--yes", "--actor", "dm", *config)[0] == 0
    before = sorted(tmp_path.iterdir())
    for words in (("query",), ("export", "--out", tmp_path / "set"), ("report", "--out", tmp_path / "x.html")):
        code, out, err = run(words[0], *config, "--subject", SUBJECT, *words[1:])
        assert (code, out, f"{SUBJECT}: the data of this subject was deleted" in err) == (2, "", True)
    assert sorted(tmp_path.iterdir()) == before
    assert run("query", *config, "--channels", "ecmo_flow")[0] == 2
    _, out, _ = run("episode", "list", "--entries", "--json", *config)
    assert '"ground": "withdrawn"' in out
    assert "Dr Muster" not in out


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "fifo"
    os.mkfifo(place)
    reader = os.open(place, os.O_RDWR | os.O_NONBLOCK)
    yield place
    os.close(reader)


def half_written(place: Path) -> None:
    place.write_text("hal")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_up_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    out.write_text("what was there")
    with pytest.raises(ConfigError, match="No space left"), written_whole(out) as place:
        half_written(place)
    assert {path: path.read_text() for path in tmp_path.iterdir()} == {out: "what was there"}


def test_a_pipe_is_written_to_and_not_replaced(fifo: Path) -> None:
    with written_whole(fifo) as place:
        assert place == fifo
    assert fifo.is_fifo()
