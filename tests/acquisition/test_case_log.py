from __future__ import annotations

import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from acquisition.catalogue import Catalogue, shipped_config
from acquisition.cli import app
from acquisition.commands.case_log import trace_of_log
from acquisition.errors import ConfigError, TraceError
from acquisition.model import Numerics, Observation
from acquisition.registry import build_driver
from acquisition.replay import replay
from acquisition.trace import read_trace

BERLIN = ZoneInfo("Europe/Berlin")
KEYS = ["Time", "Flow", "RPM", "P1", "P2", "dP", "SvO2", "SaO2", "T"]
HEADER = "Time,Name,Flow,RPM,P1,P2,dP,SvO2,SaO2,T,Alarms\n"


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    text = (shipped_config() / "devices" / "rotaflow_csv.toml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("template")]
    keys = iter(KEYS)
    filled = [f'key = "{next(keys)}"' if line == 'key = ""' else line for line in lines]
    (tmp_path / "my_rotaflow.toml").write_text("\n".join(filled), encoding="utf-8")
    return tmp_path / "my_rotaflow.toml"


def log(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    (tmp_path / "log.csv").write_text("Case 12 of Hans\n" + header + "\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / "log.csv"


async def replayed(trace: Path, profile: Path) -> list[Numerics]:
    found: list[Numerics] = []

    def take(observation: Observation) -> None:
        if isinstance(observation, Numerics):
            found.append(observation)

    driver = build_driver("delimited", str(profile), {}, Catalogue.shipped(), ())
    await replay(trace, driver, take, zone=BERLIN)
    return found


async def test_every_row_comes_back_at_its_own_time_with_its_states(tmp_path: Path, profile: Path) -> None:
    rows = (
        "2026-01-01 12:00:00,Hans,3.54,3200,210,180,30,68,99,36.8,none",
        '2026-01-01 12:01:00,"Mueller, Hans",-0.30,Hi,Lo,--,E,A,D,36.9,"low, flow"',
        "2026-01-01 12:03:00,Hans,3.55,3210,211,181,30,68,99,36.8",
        "not a time,Hans,3.55,3210,211,181,30,68,99,36.8,none",
        "",
        "2026-01-01 12:04:00,Hans,3.x,3210,211,181,30,68,99,36.8,none",
        "2026-01-01 12:05:00,Hans,3.56,3210,211,181,30,68,99,36.8,none",
    )
    done = trace_of_log(log(tmp_path, *rows), tmp_path / "case.trace", str(profile), BERLIN)
    assert (done.rows, done.headers, done.passed_over) == (4, 1, 3)
    first, second, last = await replayed(tmp_path / "case.trace", profile)
    assert first.device_time == "2026-01-01T12:00:00+01:00"
    assert first.time_ns == 1767265200 * 10**9
    assert second.time_ns - first.time_ns == 60 * 10**9
    assert last.time_ns - first.time_ns == 300 * 10**9
    assert first.values == {
        "ecmo_flow": 3.54,
        "ecmo_rpm": 3200,
        "ecmo_p_pre": 210,
        "ecmo_p_post": 180,
        "ecmo_dp_dev": 30,
        "ecmo_svo2": 68,
        "ecmo_so2_post": 99,
    }
    assert second.values == {"ecmo_flow": -0.3}
    assert {name: state.value for name, state in second.states.items()} == {
        "ecmo_rpm": "above_range",
        "ecmo_p_pre": "below_range",
        "ecmo_p_post": "not_connected",
        "ecmo_dp_dev": "sensor_error",
        "ecmo_svo2": "unavailable",
        "ecmo_so2_post": "unavailable",
    }


def test_nothing_but_the_named_columns_gets_into_the_trace(tmp_path: Path, profile: Path) -> None:
    rows = ("2026-01-01 12:00:00,Hans,3.54,3200,210,180,30,68,99,36.8,none",)
    trace_of_log(log(tmp_path, *rows), tmp_path / "case.trace", str(profile), BERLIN)
    kept = b"".join(piece.data for piece in read_trace(tmp_path / "case.trace")[1])
    assert b"Hans" not in kept
    assert b"none" not in kept
    assert b"Name" not in kept
    assert kept.startswith(b"\nTime,,Flow,RPM")


async def test_an_hour_that_comes_twice_runs_on(tmp_path: Path, profile: Path) -> None:
    rows = [f"2026-10-25 {clock},x,1,2,3,4,5,6,7,8,y" for clock in ("02:30:00", "02:59:00", "02:00:00", "02:30:00")]
    trace_of_log(log(tmp_path, *rows), tmp_path / "case.trace", str(profile), BERLIN)
    times = [each.time_ns // 10**9 for each in await replayed(tmp_path / "case.trace", profile)]
    assert [time - times[0] for time in times] == [0, 29 * 60, 30 * 60, 60 * 60]


def test_rows_that_run_backwards_are_told_with_their_number(tmp_path: Path, profile: Path) -> None:
    rows = [f"2026-01-01 12:0{minute}:00,x,1,2,3,4,5,6,7,8,y" for minute in (1, 2, 0)]
    with pytest.raises(TraceError, match="row 3 is earlier"):
        trace_of_log(log(tmp_path, *rows), tmp_path / "case.trace", str(profile), BERLIN)
    assert not (tmp_path / "case.trace").exists()


@pytest.mark.parametrize(
    ("header", "row", "complaint"),
    [
        ("Time,Flow\n", "2026-01-01 12:00:00,1", "no header line has all the columns"),
        (HEADER, "12:00:00,x,1,2,3,4,5,6,7,8,y", "no row with a date"),
    ],
)
def test_a_log_of_another_kind_is_refused(tmp_path: Path, profile: Path, header: str, row: str, complaint: str) -> None:
    with pytest.raises((ConfigError, TraceError), match=complaint):
        trace_of_log(log(tmp_path, row, header=header), tmp_path / "case.trace", str(profile), BERLIN)


def test_the_template_and_profiles_of_live_devices_are_refused(tmp_path: Path) -> None:
    path = log(tmp_path, "")
    with pytest.raises(ConfigError, match=r"is a template .* column names of your own export"):
        trace_of_log(path, tmp_path / "case.trace", "rotaflow_csv", BERLIN)
    with pytest.raises(ConfigError, match="is for no case log"):
        trace_of_log(path, tmp_path / "case.trace", "emtec_bioprott", BERLIN)


def test_the_command_writes_a_trace_that_the_next_command_replays(tmp_path: Path, profile: Path) -> None:
    path = log(tmp_path, "2026-01-01 12:00:00,Hans,3.54,3200,210,180,30,68,99,36.8,none")
    trace = tmp_path / "case.trace"
    zone = ["--profile", str(profile), "--timezone", "Europe/Berlin"]
    runner = CliRunner()
    done = runner.invoke(app, ["case-log", str(path), str(trace), *zone])
    assert done.exit_code == 0, done.output
    assert "1 rows; 1 lines without a time passed over" in done.stderr
    shown = runner.invoke(app, ["replay", str(trace), *zone, "--json"])
    assert json.loads(shown.stdout)["values"]["ecmo_flow"] == 3.54
