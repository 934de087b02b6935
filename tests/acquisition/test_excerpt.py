from __future__ import annotations

import json
from pathlib import Path

import pytest

from acquisition.catalogue import Catalogue
from acquisition.clock import NS
from acquisition.model import Numerics, Observation, json_line
from acquisition.registry import build_driver
from acquisition.replay import replay
from acquisition.trace import read_trace
from simulators.virtual_time import STARTED_NS, run
from tests.acquisition.command import Run, runner
from tests.acquisition.recorded_pump import PROFILE, recorded


@pytest.fixture
def daq(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


async def readings(trace: Path) -> list[str]:
    lines: list[str] = []

    def take(observation: Observation) -> None:
        if isinstance(observation, Numerics):
            lines.append(json_line(observation))

    await replay(trace, build_driver("modbus", PROFILE, {}, Catalogue.shipped(), ()), take)
    return lines


@pytest.mark.parametrize(("begin", "end"), [(4, 8), (4.3, 8.1), (33, 38)])
def test_a_window_of_a_polled_device_replays_to_the_readings_that_the_whole_trace_has_there(
    tmp_path: Path, daq: Run, begin: float, end: float
) -> None:
    whole = tmp_path / "a.trace"
    run(recorded(whole, silent_s=20))
    code, _, told = daq(
        "trace", "cut", whole, tmp_path / "b.trace", f"--from={begin}", f"--to={end}", "--profile", PROFILE
    )
    assert code == 0
    assert "2 of the opening" in told
    inside = [
        line
        for line in run(readings(whole))
        if STARTED_NS + begin * NS <= json.loads(line)["time_ns"] < STARTED_NS + end * NS
    ]
    assert len(inside) >= 7
    assert run(readings(tmp_path / "b.trace")) == inside


def test_without_its_opening_such_a_window_replays_to_nothing(tmp_path: Path, daq: Run) -> None:
    whole = tmp_path / "a.trace"
    run(recorded(whole, silent_s=20))
    daq("trace", "cut", whole, tmp_path / "b.trace", "--from", "4", "--to", "8")
    assert run(readings(tmp_path / "b.trace")) == []


def test_a_device_that_talks_by_itself_needs_no_opening(tmp_path: Path, daq: Run) -> None:
    case = Path(__file__).parents[1] / "drivers" / "delimited" / "flow_reversed" / "wire.trace"
    code, _, told = daq("trace", "cut", case, tmp_path / "b.trace", "--from", "0.2", "--profile", "emtec_bioprott")
    assert code == 0
    assert " 0 of the opening" in told
    (before, pieces), (header, kept) = read_trace(case), read_trace(tmp_path / "b.trace")
    assert header.started_ns == before.started_ns + NS // 5
    assert [p.data for p in kept] == [piece.data for piece in pieces if piece.t_ns >= NS // 5]
