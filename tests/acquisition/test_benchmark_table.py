import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import queue_ours, queues, reading
from benchmarks.disk import fsync_s, median, p99
from benchmarks.processes import NotMeasuredError
from benchmarks.result import Result
from benchmarks.table import as_json, as_table, figure

MEASURED = Result("append", 600_000.0, "values/s", "150,000", "vmagent", 1_200_000.0, "answers early")
MISSING = Result("append", 600_000.0, "values/s", "150,000", "gateway", None, "it cannot be installed")
ALONE = Result("replay", 4321.0, "x real time")


def rendered(*results: Result) -> str:
    console = Console(width=160, record=True, file=StringIO())
    console.print(as_table([results]))
    return console.export_text()


def test_a_row_says_ours_theirs_and_the_ratio() -> None:
    text = rendered(MEASURED)
    assert all(word in text for word in ("600,000", "1,200,000", "0.50", "vmagent", "answers early"))


def test_a_peer_that_was_not_measured_is_said_and_never_made_up() -> None:
    text = rendered(MISSING)
    assert "not measured:" in text
    assert "none" in text
    assert MISSING.ratio is None


def test_a_row_without_a_peer_misses_none() -> None:
    assert "not measured" not in rendered(ALONE)


def test_the_table_fits_a_wide_screen() -> None:
    assert max(map(len, rendered(MEASURED, MISSING, ALONE).splitlines())) <= 160


def test_programs_get_the_same_rows_and_what_machine_it_was() -> None:
    told = json.loads(json.dumps(as_json([[MEASURED, MISSING], [ALONE]]), allow_nan=False))
    assert [(row["ratio"], row["peer_missing"]) for row in told["rows"]] == [(0.5, False), (None, True), (None, False)]
    assert "cores" in told["machine"]


@pytest.mark.parametrize(
    ("value", "text"), [(1234567.8, "1,234,568"), (12.34, "12.3"), (1.234, "1.23"), (0.0, "0"), (0, "0")]
)
def test_a_figure_has_the_digits_that_mean_something(value: float, text: str) -> None:
    assert figure(value) == text


def test_a_sync_takes_time_and_the_slowest_are_last(tmp_path: Path) -> None:
    taken = fsync_s(tmp_path, 20)
    assert len(taken) == 20
    assert 0 < taken[0] <= median(taken) <= p99(taken) == taken[-1]


async def test_what_is_counted_after_a_kill_is_what_was_acknowledged_and_no_more(tmp_path: Path) -> None:
    await queue_ours.flood(tmp_path, 30)
    assert await queue_ours.count(tmp_path, 20) == 20 * queue_ours.VALUES
    assert await queue_ours.count(tmp_path, 40) == 30 * queue_ours.VALUES


def test_a_peer_that_cannot_be_started_is_a_row_and_not_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "GATEWAY", ("/nowhere/python", "queue_gateway.py"))
    told = queues.in_turn({"ours": lambda: 1.0, "theirs": lambda: queues.flood(queues.GATEWAY, 1)})
    row = queues.rate_row(told["ours"], "theirs", told["theirs"], "", "")
    assert row.peer_missing
    assert "its environment is not there" in row.note


def test_a_reader_that_is_not_installed_is_told_in_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READERS", tmp_path)
    with pytest.raises(NotMeasuredError, match="vitaldb is not installed"):
        reading.peers_figures("vitaldb", tmp_path / "v", tmp_path / "waves.npy")
