from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from acquisition import logs
from acquisition.journal.journal import Journal
from acquisition.model import Numerics, Quality
from tests.acquisition.command import Run, runner

ROOT = Path(__file__).resolve().parent.parent.parent
CASES = ROOT / "tests" / "drivers"
T0 = 1_767_225_600_000_000_000


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture
async def journal(tmp_path: Path) -> Path:
    async with Journal(tmp_path / "journal", commit_interval_s=0.02) as opened:
        readings = [
            Numerics(
                device="mon",
                time_ns=T0 + second * 1_000_000_000,
                values={"hr": 80.0 + second, "abp_mean": 70.0},
                quality={"hr": Quality.GOOD, "abp_mean": Quality.GOOD},
            )
            for second in range(5)
        ]
        await opened.append(readings)
    return tmp_path / "journal"


def test_every_mistake_of_a_configuration_is_told_at_once_with_place_and_hint(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text(
        """\
[site]
site = "s"
bed = "b"
timezone = "Europe/Pari"
colour = "red"

[journal]
directory = "journal"

[[device]]
id = "pump"
driver = "mobdus"
link = "serial:///dev/ttyS0?baud=fast"

[[device]]
id = "pump"
driver = "modbus"
profile = "alicat_mcf"
link = "tpc://127.0.0.1:502"

[[device]]
id = "gas"
driver = "modbus"
profile = "wrong_unit.toml"
link = "tcp://127.0.0.1"
""",
        encoding="utf-8",
    )
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "wrong_unit.toml").write_text(
        """\
name = "Wrong"
source = "a test"
[[register]]
function = 4
address = 0
channel = "ecmo_flow"
unit = "mm[Hg]"
""",
        encoding="utf-8",
    )
    code, out, err = run("check", "--config", config)
    assert (code, out) == (2, "")
    for place, words in [
        (4, "did you mean 'Europe/Paris'"),
        (5, "colour"),
        (12, "did you mean 'modbus'"),
        (13, "baud"),
        (16, "already the id of device 1"),
        (18, "did you mean 'alicat_mfc'"),
        (19, "tpc"),
        (24, "cannot become 'L/min'"),
        (25, "port"),
    ]:
        assert any(f"bad.toml:{place}:" in line and words in line for line in err.splitlines()), (place, words, err)


def test_a_service_that_a_mistake_keeps_from_starting_says_so_to_systemd_and_among_the_errors(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setattr(logs, "is_journal", lambda: True)
        code, _, told = run("run", "--config", tmp_path / "gone.toml")
        assert code == 2
        assert told.startswith("<2>")
        assert systemd.recv(4096).decode() == f"STATUS=nothing is recorded: {told[3:].rstrip()}"


def test_a_good_configuration_is_called_valid(run: Run) -> None:
    code, out, _ = run("check", "--config", ROOT / "config" / "acquisition.toml")
    assert code == 0
    assert "valid" in out


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--config", "/nowhere/bed.toml"),
        ("query", "--journal", "/nowhere"),
        ("query",),
        ("replay", str(CASES / "modbus" / "alicat_poll" / "wire.trace"), "--speed", "fast"),
        ("replay", str(CASES / "modbus" / "alicat_poll" / "wire.trace"), "--driver", "modbuss"),
        ("record", "serial:///dev/null?baud=x", "out.trace"),
        ("unknown-command",),
        ("demo", "--seconds", "soon"),
    ],
)
def test_a_usage_mistake_is_told_and_ends_with_two(run: Run, words: tuple[str, ...]) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert err.strip()
    assert "Traceback" not in err


@pytest.mark.parametrize("more", [(), ("--driver", "vigilance")])
def test_a_recording_without_a_driver_says_that_names_may_be_in_it(
    run: Run, tmp_path: Path, more: tuple[str, ...]
) -> None:
    link = f"trace://{next((CASES / 'vigilance').glob('*/wire.trace'))}"
    code, _, err = run("record", link, tmp_path / "x.trace", "--seconds", "1", *more)
    assert code == 0
    assert ("keep this trace" in err) is not bool(more)


def test_replay_prints_the_observations_of_a_trace(run: Run) -> None:
    case = CASES / "modbus" / "alicat_poll"
    code, out, _ = run("replay", case / "wire.trace", "--profile", "alicat_mfc", "--json")
    assert code == 0
    assert out == (case / "expected.jsonl").read_text(encoding="utf-8")


def test_replay_as_csv_has_a_unit_on_every_value(run: Run) -> None:
    _, out, _ = run("replay", CASES / "modbus" / "puralev_poll" / "wire.trace", "--profile", "puralev")
    header, *rows = (line.split(",") for line in out.splitlines())
    assert header[:6] == ["time", "time_ns", "device", "channel", "value", "unit"]
    assert {row[5] for row in rows if row[3].startswith("ecmo_rpm")} == {"{rev}/min"}


def test_replay_of_a_trace_that_was_cut_off_says_so(run: Run, tmp_path: Path) -> None:
    whole = (CASES / "delimited" / "flow_reversed" / "wire.trace").read_text(encoding="utf-8")
    cut = tmp_path / "cut.trace"
    cut.write_text(whole[:-20], encoding="utf-8")
    code, out, err = run("replay", cut, "--driver", "delimited", "--profile", "emtec_bioprott", "--json")
    assert code == 0
    assert "ecmo_flow" in out
    assert "cut.trace" in err
    assert "line" in err


def test_query_prints_the_channels_and_the_time_that_were_asked_for(run: Run, journal: Path) -> None:
    code, out, _ = run(
        "query", "--journal", journal, "--channels", "hr",
        "--from", "2026-01-01T01:00:01+01:00", "--to", "2026-01-01T00:00:03Z", "--format", "json",
    )  # fmt: skip
    assert code == 0
    assert [json.loads(line)["values"] for line in out.splitlines()] == [{"hr": 81.0}, {"hr": 82.0}]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--channels", "heart"), "unknown channel"),
        (("--from", "2026-01-01T00:00:00"), "no UTC offset"),
        (("--format", "xlsx"), "csv or json"),
    ],
)
def test_a_query_that_cannot_be_meant_is_refused(run: Run, journal: Path, words: tuple[str, str], told: str) -> None:
    code, out, err = run("query", "--journal", journal, *words)
    assert (code, out) == (2, "")
    assert told in err


def test_journal_stat_counts_readings_by_channel(run: Run, journal: Path) -> None:
    code, out, _ = run("journal", "stat", "--journal", journal, "--json")
    assert code == 0
    assert json.loads(out)["readings"] == {"mon": {"hr": 5, "abp_mean": 5}}
    assert "abp_mean" in run("journal", "stat", "--journal", journal)[1]


def test_status_without_a_daemon_says_what_is_missing(run: Run, tmp_path: Path) -> None:
    code, _, err = run("status", "--file", tmp_path / "status.json")
    assert code == 1
    assert "is the daemon running" in err


def test_the_intended_use_is_printed_with_the_version(run: Run) -> None:
    assert "Research use only" in run("--version")[1]
