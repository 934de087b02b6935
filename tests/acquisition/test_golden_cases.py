from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from acquisition.catalogue import Catalogue
from acquisition.clock import SystemClock
from acquisition.model import Observation, json_line
from acquisition.registry import build_driver
from acquisition.replay import replay
from acquisition.trace import Piece, TraceWriter
from acquisition.transports.trace import Gate
from simulators.virtual_time import run
from tests.contracts.cases import Case, all_cases


async def observed(case: Case, trace: Path, speed: float | None = None, gate: Gate | None = None) -> list[str]:
    settings = case.settings
    options = settings.get("options", {})
    driver = build_driver(settings["driver"], settings.get("profile"), options, Catalogue.shipped(), (case.folder,))
    lines: list[str] = []

    def take(observation: Observation) -> None:
        lines.append(json_line(observation))

    await replay(trace, driver, take, speed=speed, gate=gate)
    return lines


@pytest.mark.parametrize("case", all_cases(), ids=str)
async def test_a_recorded_case_replays_to_its_expected_observations(case: Case) -> None:
    # After a change that is meant: ecmo-daq replay wire.trace --driver ... --json > expected.jsonl, and read the diff.
    expected = (case.folder / "expected.jsonl").read_text(encoding="utf-8").splitlines()
    assert await observed(case, case.folder / "wire.trace") == expected


async def wait_for_enter(_: Piece) -> None:
    await asyncio.sleep(1.7)  # virtual seconds: what a person who goes step by step takes


@pytest.mark.parametrize("case", all_cases(), ids=str)
@pytest.mark.parametrize(
    ("speed", "gate"),
    [(None, None), (1.0, None), (7.3, None), (None, wait_for_enter)],
    ids=["max", "1x", "7.3x", "step"],
)
def test_a_trace_replays_to_the_same_bytes_on_every_run_however_fast(
    case: Case, speed: float | None, gate: Gate | None
) -> None:
    expected = (case.folder / "expected.jsonl").read_text(encoding="utf-8").splitlines()
    assert run(observed(case, case.folder / "wire.trace", speed, gate)) == expected


@pytest.mark.parametrize("case", [case for case in all_cases() if not case.asks_first and not case.datagrams], ids=str)
async def test_how_the_bytes_of_one_instant_are_split_changes_nothing(case: Case, tmp_path: Path) -> None:
    header, pieces = case.trace
    with TraceWriter(tmp_path / "split.trace", header) as writer:
        for piece in pieces:
            for data in [piece.data] if piece.direction == ">" else [bytes((byte,)) for byte in piece.data]:
                writer.write(piece.t_ns, piece.direction, data)
    assert await observed(case, tmp_path / "split.trace") == await observed(case, case.folder / "wire.trace")


async def test_a_replay_reads_no_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = all_cases()[0]
    before = await observed(case, case.folder / "wire.trace")
    monkeypatch.setattr(SystemClock, "now", lambda self: pytest.fail("a clock was read"))
    assert await observed(case, case.folder / "wire.trace") == before


def test_every_case_folder_says_what_it_expects() -> None:
    assert all_cases()
    assert [str(case) for case in all_cases() if not (case.folder / "expected.jsonl").exists()] == []
    assert all(isinstance(case.pieces[0], Piece) for case in all_cases())
