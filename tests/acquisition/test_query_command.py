"""`ecmo-daq query`, as the data manager calls it."""

from __future__ import annotations

import csv
import io
import json
import struct
import sys
from functools import partial
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from acquisition.archive import open_archive
from acquisition.archive.chunk import Chunk
from acquisition.archive.episodes.chain import Action
from acquisition.archive.episodes.registry import registry_path
from acquisition.archive.episodes.writing import Draft, record
from acquisition.archive.plot import broken
from acquisition.errors import ConfigError
from tests.acquisition.archive_bed import HOUR, HOURS, SUBJECT, T0, S, make_bed
from tests.acquisition.command import Run, runner


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return partial(runner(monkeypatch, capsys), "query")


@pytest.fixture
async def bed(tmp_path: Path) -> Path:
    return await make_bed(tmp_path)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_subject_is_found_by_the_registry_beside_the_journal(run: Run, bed: Path) -> None:
    code, out, _ = run(
        "--journal", bed, "--subject", SUBJECT, "--channels", "ecmo_flow", "--to", "2026-03-14T16:01:00Z"
    )
    assert code == 0
    assert [row["value"] for row in rows(out)][:2] == ["3.5", repr(3.5 - 10 / 9000)]
    assert len(rows(out)) == 6


def test_a_late_correction_changes_the_answer_and_not_one_byte_of_the_journal(run: Run, bed: Path) -> None:
    words = ("--journal", bed, "--subject", SUBJECT, "--channels", "ecmo_flow")
    before = {path: path.read_bytes() for path in bed.glob("*.journal*")}
    assert len(rows(run(*words)[1])) == HOURS * 360
    correction: dict[str, Any] = {
        "entry": 1,
        "changes": {"from_ns": T0 + 2 * HOUR},
        "void": False,
        "reason": "the wrong line",
    }
    moved: list[dict[str, Any]] = [
        {"entry": number, "changes": {}, "void": True, "reason": "the wrong line"} for number in (2, 3, 4, 5, 6, 7)
    ]
    drafts = [Draft(Action.AMEND, "", data) for data in (*moved, correction)]
    record(registry_path(bed), drafts, actor="jmuster", now_ns=T0 + 9 * HOUR)
    found = rows(run(*words)[1])
    assert [int(row["time_ns"]) for row in found][::359] == [T0 + 2 * HOUR + 5, T0 + 3 * HOUR - 10 * S + 5]
    assert before
    assert {path: path.read_bytes() for path in before} == before


def test_journal_and_registry_that_were_copied_to_another_machine_answer_there(
    run: Run, bed: Path, tmp_path: Path
) -> None:
    words = ("--subject", SUBJECT, "--channels", "ecmo_flow", "--every", "1h")
    here = run("--journal", bed, *words)
    copytree(bed, tmp_path / "elsewhere" / "of-bed-17")
    copytree(registry_path(bed).parent, tmp_path / "elsewhere" / "registry")
    registry = tmp_path / "elsewhere" / "registry" / registry_path(bed).name
    rmtree(bed)
    assert run("--journal", tmp_path / "elsewhere" / "of-bed-17", "--registry", registry, *words) == here
    assert here[0] == 0


def test_figures_of_buckets_are_one_row_each(run: Run, bed: Path) -> None:
    code, out, _ = run(
        "--journal", bed, "--subject", SUBJECT, "--channels", "abp_mean,wf_abp", "--every", "1h",
        "--agg", "count,p50,max"
    )  # fmt: skip
    found = rows(out)
    assert code == 0
    assert [row["channel"] for row in found] == ["abp_mean"] * HOURS + ["wf_abp"] * HOURS
    assert [row["count"] for row in found[:1]] == ["240"]
    assert found[3]["count"] == "36000"


def test_bad_readings_are_in_no_figure_unless_asked_for(run: Run, bed: Path) -> None:
    words = ("--journal", bed, "--channels", "abp_mean", "--every", "1d", "--agg", "count")
    counts = [int(rows(run(*words, "--quality", quality)[1])[0]["count"]) for quality in ("good", "suspect", "bad")]
    default = int(rows(run(*words)[1])[0]["count"])
    assert counts[0] < counts[1] < counts[2]
    assert default == counts[1]


def test_json_lines_are_observations(run: Run, bed: Path) -> None:
    _, out, _ = run("--journal", bed, "--to", "2026-03-14T16:00:20Z", "--format", "json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert {line["kind"] for line in lines} == {"numerics", "waveform", "event"}
    first = lines[0]
    assert (first["device"], first["states"], first["values"]["abp_mean"]) == (
        "monitor-17",
        {"spo2": "not_connected"},
        70.0,
    )
    (wave,) = [line for line in lines if line["kind"] == "waveform"]
    assert (len(wave["samples"]), wave["period_ns"], wave["time_ns"]) == (200, S // 10, T0)


def test_parquet_goes_to_a_file(run: Run, bed: Path, tmp_path: Path) -> None:
    code, _, _ = run("--journal", bed, "--format", "parquet", "--out", tmp_path / "x.parquet", "--every", "1m")
    table = pq.read_table(tmp_path / "x.parquet")
    assert code == 0
    assert table.column_names == ["time", "device", "channel", "unit", "mean"]
    assert table.num_rows > HOURS * 60


def test_a_table_is_for_people_and_a_picture_needs_no_network(run: Run, bed: Path, tmp_path: Path) -> None:
    code, out, _ = run("--journal", bed, "--channels", "hr", "--format", "table", "--every", "1h")
    assert code == 0
    assert "90.0" in out
    assert "time_ns" not in out
    _, out, _ = run("--journal", bed, "--channels", "ecmo_flow", "--format", "table", "--every", "1h")
    assert "3.30056" in out
    code, _, err = run("--journal", bed, "--channels", "ecmo_flow,wf_abp", "--plot", tmp_path / "x.html")
    picture = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert code == 0
    assert "2 channels" in err
    assert '<script src="http' not in picture
    assert "ecmo_flow" in picture


def test_a_line_has_a_hole_where_nothing_came() -> None:
    times = np.array([0, 10, 20, 30, 500, 510, 520]) * S
    line = broken(Chunk("mon", "hr", times, np.arange(7.0), np.zeros(7, np.uint8)))
    assert np.flatnonzero(np.isnan(line.values)).tolist() == [4]
    assert (line.time_ns[3] < line.time_ns[4]) & (line.time_ns[4] < line.time_ns[5])
    assert line.values[5] == 4.0


@pytest.mark.slow
def test_a_picture_for_paper_names_its_channels_and_is_the_same_each_time(run: Run, bed: Path, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg", "c.png"):
        assert run("--journal", bed, "--channels", "ecmo_flow,wf_abp", "--plot", tmp_path / name)[0] == 0
    drawn = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "<!-- ecmo_flow (pump-17), L/min -->" in drawn
    assert "<!-- wf_abp (monitor-17), mm[Hg] -->" in drawn
    assert (tmp_path / "b.svg").read_text(encoding="utf-8") == drawn
    width, height = struct.unpack(">II", (tmp_path / "c.png").read_bytes()[16:24])
    assert (width, height) == (1650, 630)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--from", "2026-03-14T16:00:00"), "no UTC offset"),
        (("--channels", "ecmo_flw"), "did you mean 'ecmo_flow'"),
        (("--channels", ","), "no channel"),
        (("--subject", "LEV-03-013"), "did you mean 'LEV-03-012'"),
        (("--subject", SUBJECT, "--from", "2027-01-01T00:00:00Z"), "was not there then"),
        (("--from", "2026-03-14T16:00:00Z", "--to", "2026-03-14T16:00:00Z"), "empty"),
        (("--every", "1 month"), "500ms"),
        (("--every", "1m", "--agg", "medain"), "median"),
        (("--quality", "fine"), "good, suspect or bad"),
        (("--plot", "x.gif"), ".html, .png or .svg"),
        (("--plot", "nowhere/x.svg"), "cannot be written"),
        (("--influx", "http://127.0.0.1:1"), "one of"),
    ],
)
def test_what_cannot_be_meant_is_told_and_ends_with_two(run: Run, bed: Path, words: tuple[str, ...], told: str) -> None:
    code, out, err = run("--journal", bed, *words)
    assert (code, out) == (2, "")
    assert told in err


def test_a_program_gets_arrow_pandas_or_polars(bed: Path) -> None:
    archive = open_archive(bed)
    table = archive.query(["ecmo_flow"], subject=SUBJECT, every="1h", aggregates=["mean", "count"])
    assert table.column("count").to_pylist() == [360] * HOURS
    frame = archive.query(["hr", "spo2"], subject=SUBJECT, kind="pandas")
    assert set(frame["channel"]) == {"hr", "spo2"}
    expected = HOURS * 6 - 1  # one is in the gap
    assert frame["value"].isna().sum() == (frame["state"] == "not_connected").sum() == expected
    polars = archive.query(["hr", "spo2"], subject=SUBJECT, kind="polars")
    assert polars["time"].dtype == pl.Datetime("ns", "UTC")
    assert polars.height == len(frame)
    assert polars["value"].null_count() == expected
    assert polars["value"].drop_nulls().to_list() == frame["value"].dropna().tolist()
    assert polars["state"].drop_nulls().cast(pl.String).to_list() == ["not_connected"] * expected
    assert set(polars["channel"].cast(pl.String)) == {"hr", "spo2"}


def test_a_library_that_is_missing_is_asked_for_by_name(bed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ConfigError, match="pip install polars"):
        open_archive(bed).query(["hr"], kind="polars")


def test_an_archive_is_of_a_journal_or_of_an_influxdb(bed: Path) -> None:
    with pytest.raises(ConfigError, match="one of"):
        open_archive(bed, influx="http://127.0.0.1:8086")
    with pytest.raises(ConfigError, match="without user"):
        open_archive(influx="http://me:secret@127.0.0.1:8086")
