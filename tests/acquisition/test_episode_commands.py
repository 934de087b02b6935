from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from acquisition.archive.episodes.registry import Registry, registry_path
from acquisition.clock import from_rfc3339
from acquisition.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.model import Numerics, Quality, State
from acquisition.upkeep.episode_relay import EpisodeRelay
from tests.acquisition.command import Run, runner
from tests.episode_bed import BED

CONFIG = (
    BED
    + """\
[episodes]
subject_pattern = "LEV-[0-9]{2}-[0-9]{3}"
"""
)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "c.toml").write_text(CONFIG)
    return tmp_path / "c.toml"


def one(registry: Path, subject: str = "LEV-03-012") -> Registry:
    known = Registry.open(registry)
    known.stay(subject)
    return known


def test_a_stay_is_entered_and_shown(command: Run, config: Path) -> None:
    code, told, _ = command("episode", "start", "LEV-03-012", "--at", "2026-10-24T10:00:00+02:00", "-c", config)
    assert (code, told) == (0, "entry 1: LEV-03-012: comes into bed bed12\n")
    command("episode", "run", "start", "LEV-03-012", "--at", "2026-10-24T11:00:00+02:00", "-c", config)
    command("episode", "consent", "LEV-03-012", "emergency", "--at", "2026-10-24T11:00:00+02:00", "-c", config)
    code, told, _ = command("episode", "list", "-c", config)
    assert "2026-10-24 08:00" in told
    assert "consent emergency" in told
    code, told, _ = command("episode", "list", "--json", "-c", config)
    (stay,) = json.loads(told)
    assert (stay["beds"][0]["bed"], stay["runs"][0]["to_ns"]) == ("bed12", None)
    assert command("episode", "list", "LEV-03-021", "-c", config)[0] == 2


@pytest.mark.parametrize(
    ("at", "why"),
    [
        ("2026-10-24T10:00:00", "no UTC offset"),
        ("yesterday", "is not a time"),
        ("2026-10-25T10:00:00+02:00", "2026-10-25T09:00:00+01:00"),
        ("2026-07-01T10:00:00+01:00", "has another offset then"),
        ("2126-07-01T10:00:00Z", "is in the future"),
    ],
)
def test_a_time_that_cannot_be_meant_is_refused(command: Run, config: Path, at: str, why: str) -> None:
    code, _, complaint = command("episode", "start", "LEV-03-012", "--at", at, "-c", config)
    assert code == 2
    assert why in complaint


def test_both_hours_of_the_night_when_summer_time_ends_are_told_apart(command: Run, config: Path) -> None:
    command("episode", "start", "LEV-03-012", "--at", "2026-10-25T02:30:00+02:00", "-c", config)
    assert command("episode", "stop", "LEV-03-012", "--at", "2026-10-25T02:30:00+01:00", "-c", config)[0] == 0
    (bed,) = one(registry_path(config.parent / "journal")).stay("LEV-03-012").beds
    assert bed.to_ns is not None
    assert bed.to_ns - bed.from_ns == 3_600_000_000_000


def test_the_configured_pattern_decides_what_a_study_id_is(command: Run, config: Path) -> None:
    code, _, complaint = command("episode", "start", "ABC-03-012", "-c", config)
    assert code == 2
    assert "LEV-[0-9]{2}-[0-9]{3}" in complaint


@pytest.mark.parametrize("pattern", [".*", "[A-Z]+", "[0-9]{8}", "("])
def test_a_pattern_that_takes_names_or_hospital_numbers_is_refused(command: Run, config: Path, pattern: str) -> None:
    config.write_text(config.read_text().replace("LEV-[0-9]{2}-[0-9]{3}", pattern))
    code, _, complaint = command("episode", "list", "-c", config)
    assert code == 2
    assert "c.toml:13: [episodes] subject_pattern" in complaint.replace("\n", "")


async def echo_journal(directory: Path, at_ns: int) -> None:
    async with Journal(directory, commit_interval_s=0.001) as journal:
        for second in range(-400, 400, 10):
            numerics = Numerics(
                device="pump",
                time_ns=at_ns + second * 1_000_000_000,
                values={"ecmo_flow": 3.0 + second / 1000, "ecmo_rpm": 3000.0, "hr": 80.0},
                states={"abp_mean": State.NOT_CONNECTED},
                quality={"ecmo_flow": Quality.BAD if second == 0 else Quality.GOOD},
            )
            await journal.append([numerics])


def test_an_echo_has_the_signals_around_its_measurement_frozen(command: Run, config: Path) -> None:
    at = "2026-10-24T12:00:00+02:00"
    asyncio.run(echo_journal(config.parent / "journal", from_rfc3339(at)))
    command("episode", "start", "LEV-03-012", "--at", "2026-10-24T10:00:00+02:00", "-c", config)
    code, _, said = command("episode", "echo", "LEV-03-012", "--at", at, "--lvef", "25", "--vti", "9", "-c", config)
    assert (code, said) == (0, "")
    (echo,) = one(registry_path(config.parent / "journal")).stay("LEV-03-012").echoes
    assert echo.time_ns == from_rfc3339(at)
    assert echo.uncertainty_ns == 60_000_000_000
    frozen = echo.snapshot
    assert frozen is not None
    assert (frozen["to_ns"] - frozen["from_ns"]) == 600_000_000_000
    by_channel = {each["channel"]: each for each in frozen["channels"]}
    assert set(by_channel) == {"ecmo_flow", "ecmo_rpm", "abp_mean"}
    flow = by_channel["ecmo_flow"]
    assert flow["counts"] == {"good": 59, "suspect": 0, "bad": 1}
    assert (flow["unit"], flow["min"], flow["max"], flow["every_10s"][30]) == ("L/min", 2.7, 3.29, None)
    assert by_channel["abp_mean"]["states"] == 60
    assert len(frozen["sha256"]) == 64
    assert frozen["complete"]


def test_a_correction_shows_what_stood_there(command: Run, config: Path) -> None:
    command("episode", "start", "LEV-03-012", "--at", "2026-10-24T10:00:00+02:00", "-c", config)
    words = ("episode", "amend", "1", "--set", "at=2026-10-24T10:05:00+02:00", "-c", config)
    assert command(*words)[0] == 2
    assert command(*words, "--reason", "the clock on the wall")[0] == 0
    _, told, _ = command("episode", "list", "--entries", "--json", "-c", config)
    last = json.loads(told)[-1]
    assert last["data"]["earlier"] == {"from_ns": from_rfc3339("2026-10-24T10:00:00+02:00")}
    assert last["data"]["reason"] == "the clock on the wall"


GOOD = """subject;action;time;bed;configuration;lvef;text
LEV-03-012;start;2026-10-24T10:00:00+02:00;bed12;;;
LEV-03-012;run_start;2026-10-24T10:30:00+02:00;;fem-fem;;
LEV-03-012;echo;2026-10-24T12:00:00+02:00;;;22,5;
LEV-03-012;note;2026-10-24T12:00:00+02:00;;;;"one;
two"
LEV-03-012;stop;2026-10-26T10:00:00+01:00;;;;
LEV-03-012;run_stop;2026-10-26T09:00:00+01:00;;;;
LEV-03-013;start;2026-10-26T12:00:00+01:00;bed12;;;
"""


def test_a_file_is_imported_whole(command: Run, config: Path, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(GOOD, encoding="utf-8-sig")
    code, told, complaint = command("episode", "import", tmp_path / "log.csv", "-c", config)
    assert (code, complaint) == (0, "")
    assert told.count("entry ") == 7
    known = one(registry_path(tmp_path / "journal"))
    assert known.subjects() == ("LEV-03-012", "LEV-03-013")
    assert known.stay("LEV-03-012").echoes[0].values == {"lvef": 22.5}
    assert known.stay("LEV-03-012").notes[0].text == "one;\ntwo"


def test_every_mistake_of_a_file_is_told_at_once_and_nothing_is_written(
    command: Run, config: Path, tmp_path: Path
) -> None:
    rows = GOOD.replace("LEV-03-012;start", "Jean Martin;start").replace("22,5", "many").replace("note", "nota")
    rows += "LEV-03-014;start;2026-10-26T13:00:00;bed13;;;\n"
    rows += "LEV-03-015;start;2026-10-26T13:00:00+01:00;bed12;;;\n"
    (tmp_path / "log.csv").write_text(rows)
    code, _, complaint = command("episode", "import", tmp_path / "log.csv", "-c", config)
    assert code == 2
    for said in (
        "log.csv:2: the subject looks like a name",
        "log.csv:4: lvef: 'many' is no number",
        "log.csv:6: unknown action 'nota'; did you mean 'note'",
        "log.csv:10: '2026-10-26T13:00:00' is not a time with a UTC offset",
        "bed bed12: LEV-03-013 and LEV-03-015 would be in it at once",
    ):
        assert said in complaint
    assert Registry.open(registry_path(tmp_path / "journal")).entries == ()


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("subject,action,time,successfully_weaned", "never computed and never recorded"),
        ("subject,action,time,successful weaning", "never computed and never recorded"),
        ("subject,action,time,arm", "the arm is never stored"),
        ("subject,action,tme", "did you mean 'time'"),
        ("subject,action,time,bed,bed", "is there twice"),
    ],
)
def test_a_column_that_cannot_be_is_refused(command: Run, config: Path, tmp_path: Path, header: str, why: str) -> None:
    (tmp_path / "log.csv").write_text(f"{header}\n")
    code, _, complaint = command("episode", "import", tmp_path / "log.csv", "-c", config)
    assert code == 2
    assert why in complaint.replace("\n", " ")


def test_a_damaged_registry_ends_with_1_and_names_the_line(command: Run, config: Path) -> None:
    command("episode", "start", "LEV-03-012", "-c", config)
    path = registry_path(config.parent / "journal")
    path.write_bytes(path.read_bytes().replace(b"bed12", b"bed13"))
    for words in (("list",), ("stop", "LEV-03-012")):
        code, _, complaint = command("episode", *words, "-c", config)
        assert code == 1
        assert "line 1 is damaged" in complaint


async def everything_told(directory: Path) -> None:
    async with Journal(directory, commit_interval_s=0.001) as journal:
        await EpisodeRelay(directory, journal).relay()


def test_a_registry_is_written_anew_from_the_journal(command: Run, config: Path, tmp_path: Path) -> None:
    command("episode", "start", "LEV-03-012", "-c", config)
    command("episode", "note", "LEV-03-012", "one", "-c", config)
    asyncio.run(everything_told(tmp_path / "journal"))
    path = registry_path(tmp_path / "journal")
    before = path.read_bytes()
    path.write_bytes(before.replace(b"one", b"two"))
    assert command("episode", "rebuild", path, "-c", config)[0] == 2
    code, told, _ = command("episode", "rebuild", tmp_path / "new.jsonl", "-c", config)
    assert (code, "2 entries, 1 subjects" in told.replace("\n", " ")) == (0, True)
    assert (tmp_path / "new.jsonl").read_bytes() == before


def test_old_readings_of_no_episode_are_listed_and_go_only_when_asked(
    command: Run, config: Path, tmp_path: Path
) -> None:
    at = "2026-10-24T12:00:00+02:00"
    asyncio.run(echo_journal(tmp_path / "journal", from_rfc3339(at)))
    words = ("episode", "unassigned", "--older-than", "7", "-c", config)
    assert command(*words)[0] == 2, "no registry"
    command("episode", "start", "LEV-03-012", "--at", at, "-c", config)
    command("episode", "stop", "LEV-03-012", "--at", "2026-10-24T12:05:00+02:00", "-c", config)
    code, told, _ = command(*words)
    assert code == 0
    assert "pump: 2026-10-24T09:53:20Z to 2026-10-24T10:00:00Z" in told
    assert command("episode", "unassigned", "-c", config)[0] == 2, "no age is configured"
    reader = JournalReader(tmp_path / "journal")
    assert len(list(reader.query(devices={"pump"}))) == 80
    assert "50 points deleted" in command(*words, "--delete", "--yes")[1]
    left = list(reader.query(devices={"pump"}))
    assert len(left) == 30
    assert min(each.time_ns for each in left) == from_rfc3339(at)
    (audit,) = reader.query(devices={"daemon"})
    assert audit.kind == "event"
    assert audit.text == "50 points of no episode, older than 7 days, were deleted"


@pytest.mark.system
def test_two_processes_that_write_at_once_lose_and_tear_nothing(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    script = (
        "import sys; from pathlib import Path\n"
        "from acquisition.archive.episodes.writing import Draft, record\n"
        "from acquisition.archive.episodes.chain import Action\n"
        "for n in range(60):\n"
        "    name = f'LEV-0{sys.argv[2]}-{n:03d}'\n"
        "    data = {'from_ns': 1790000000000000000, 'bed': name}\n"
        "    record(Path(sys.argv[1]), [Draft(Action.START, name, data)], actor='op', now_ns=1790000001000000000)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), str(number)]) for number in (1, 2)]
    seen = 0
    while any(writer.poll() is None for writer in writers):
        known = Registry.open(path)  # a reader in between meets whole entries only
        assert known.repaired == ""
        assert len(known.entries) >= seen
        seen = len(known.entries)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(Registry.open(path).subjects()) == 120
