"""`ecmo-daq export` and `ecmo-daq verify`, as the data manager calls them."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from acquisition.archive.chunk import Window
from acquisition.archive.export import proof
from acquisition.archive.export.request import Format
from acquisition.archive.source import JournalSource
from acquisition.cli import main
from tests.acquisition.archive_bed import HOUR, HOURS, RANDOMISED, SECRETS, SERIAL, SUBJECT, T0, make_bed, write_config
from tests.acquisition.command import Run, runner

DIGITS = [secret for secret in SECRETS if secret.isdigit()]
ALL = Window(None, 0, 2**63 - 1)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bed and its data set `set`, made once."""
    directory = tmp_path_factory.mktemp("made")
    bed = asyncio.run(make_bed(directory))
    words = ["--config", directory / "bed.toml", "--subject", SUBJECT, "--out", directory / "set"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["ecmo-daq", "export", *map(str, words)])
        with pytest.raises(SystemExit) as ending:
            main()
    assert not ending.value.code
    return bed


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made.parent, tmp_path, dirs_exist_ok=True)
    write_config(tmp_path)
    return tmp_path / "set"


@pytest.fixture
def bed(out: Path) -> Path:
    return out.parent / "journal"


def exported(run: Run, bed: Path, name: str, *words: str | Path) -> Path:
    code, _, err = run(
        "export", "--config", bed.parent / "bed.toml", "--subject", SUBJECT, "--out", bed.parent / name, *words
    )
    assert code == 0, err
    return bed.parent / name


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def readings(out: Path, table: str, channel: str) -> tuple[list[int], list[float | None]]:
    """Nanoseconds since the data set's zero, and values, in order."""
    whole = pq.read_table(out / table, columns=["time_ns", "value", "channel"])
    found = whole.filter(pc.equal(whole["channel"], channel)).sort_by(
        [("time_ns", "ascending"), ("value", "ascending")]
    )
    return found["time_ns"].to_pylist(), found["value"].to_pylist()


@pytest.mark.parametrize(("table", "channel"), [("numerics_long", "ecmo_flow"), ("waves", "wf_abp")])
def test_every_reading_is_there_as_the_journal_has_it(out: Path, bed: Path, table: str, channel: str) -> None:
    source = JournalSource(bed)
    chunks = list((source.numerics if table == "numerics_long" else source.waves)(ALL, channels=[channel]))
    times, values = readings(out, table, channel)
    assert times == (np.concatenate([chunk.time_ns for chunk in chunks]) - RANDOMISED).tolist()
    assert values == np.concatenate([chunk.values for chunk in chunks]).tolist()


def test_times_are_hours_since_randomisation_and_days_are_counted_from_it(out: Path) -> None:
    table = pq.read_table(out / "numerics_long", filters=[("channel", "=", "ecmo_flow")])
    assert table.column("time_h")[0].as_py() == pytest.approx(-1.0, abs=1e-6)
    assert set(table.column("day").to_pylist()) == {-1, 0}
    assert {path.name for path in (out / "waves").iterdir()} == {f"subject={SUBJECT}"}


def test_the_wide_form_has_figures_of_usable_readings_by_the_minute(out: Path) -> None:
    table = pq.read_table(out / "numerics_wide").to_pandas().sort_values("time_h")
    assert len(table) == HOURS * 60
    whole = table[table["abp_mean_count"] > 0]
    assert whole["abp_mean_count"].sum() < table["ecmo_flow_count"].sum()
    assert whole["abp_mean_flagged"].iloc[0] == 2
    assert table["ecmo_flow_median"].iloc[0] == pytest.approx(3.5 - 25 / 9000)
    assert "study_drug_rate_mean" not in table.columns


def test_what_was_expected_and_what_came_stand_side_by_side(out: Path) -> None:
    hours = [row for row in rows(out / "completeness.csv") if row["channel"] == "ecmo_flow" and row["bucket"] == "hour"]
    assert [(row["start_h"], row["expected"], row["received"]) for row in hours] == [
        ("-2.000000", "360", "0"),
        ("-1.000000", "360", "360"),
        ("0.000000", "360", "360"),
        ("1.000000", "360", "360"),
    ]
    wave = [row for row in rows(out / "completeness.csv") if row["channel"] == "wf_abp" and row["bucket"] == "day"]
    assert sum(int(row["expected"]) - int(row["received"]) for row in wave) == pytest.approx(36_000 + 2900, abs=200)


def test_a_gap_has_its_cause_and_what_nobody_told_of_has_none(out: Path) -> None:
    gaps = rows(out / "gaps.csv")
    lost = [row for row in gaps if row["cause"] == "link_lost"]
    assert {row["channel"] for row in lost} == {"abp_mean", "hr", "spo2", "wf_abp"}
    before = [row for row in gaps if row["cause"] == "unknown"]
    assert {(row["from"], row["to"]) for row in before if row["channel"] == "ecmo_flow"} == {("-2.000000", "-1.000000")}
    assert len(gaps) == len(lost) + len(before)


def test_the_tables_beside_tell_clocks_codes_devices_versions_and_who_entered_what(out: Path) -> None:
    drift = [row for row in rows(out / "clock.csv") if row["ahead_s"]]
    assert [(row["device"], row["ahead_s"], row["drift_ppm"]) for row in drift] == [("monitor-17", "-2.0", "12.5")]
    codes = {row["channel"]: row for row in rows(out / "codebook.csv")}
    assert codes["ecmo_flow"]["unit_ucum"] == "L/min"
    assert codes["ecmo_flow"]["snomed_ct"].startswith("444479000")
    assert {row["device"] for row in rows(out / "devices.csv")} == {"monitor-17", "pump-17"}
    assert rows(out / "versions.csv") == [{"started": "-1.000000", "version": "0.1.0"}]
    facts = rows(out / "episodes.csv")
    assert [row["from"] for row in facts if row["what"] == "ecmo_run"] == ["-2.000000"]
    assert [row["action"] for row in rows(out / "audit.csv")][:2] == ["start", "run_start"]
    assert rows(out / "quarantine.csv")[0]["device"] == "monitor-17"


def test_the_hosts_clock_is_told_as_it_was_when_the_subject_came_and_whenever_that_changed(out: Path) -> None:
    told = [row for row in rows(out / "clock.csv") if row["synchronised"]]
    assert [(row["device"], row["time"], row["synchronised"], row["estimated_error_s"]) for row in told] == [
        ("daemon", "-3.000000", "true", "0.0015"),
        ("daemon", "1.000000", "false", "0.0015"),
    ]


def test_a_device_is_who_it_said_it_was_from_then_on(out: Path) -> None:
    told = rows(out / "device_identities.csv")
    assert [(row["from"], row["firmware"]) for row in told] == [("-3.000000", "M.04.02"), ("0.194722", "M.05.00")]
    assert {(row["device"], row["make"], row["model"], row["serial"]) for row in told} == {
        ("monitor-17", "Philips", "MX800", SERIAL)
    }
    assert json.loads(told[0]["other"]) == {"eui64": f"00-{SERIAL}"}
    assert SERIAL not in str(pq.read_table(out / "events").to_pylist())


def test_an_echo_stands_beside_the_signals_that_were_frozen_with_it(out: Path) -> None:
    facts = [row for row in rows(out / "episodes.csv") if row["what"].startswith("echo")]
    measured = {row["name"]: (row["value"], row["unit"]) for row in facts if row["what"] == "echo"}
    assert measured == {"lvef": ("35.0", "%"), "lvot_vti": ("11.0", "cm")}
    frozen = next(row for row in facts if row["what"] == "echo_snapshot")
    assert (frozen["from"], frozen["to"]) == ("0.916667", "1.083333")
    assert len(json.loads(frozen["detail"])["sha256"]) == 64
    flow = next(row for row in facts if row["name"] == "ecmo_flow@pump-17")
    inside = [3.5 - second / 9000 for second in range(6900, 7500, 10)]
    assert float(flow["value"]) == pytest.approx(np.median(inside), abs=1e-6)
    assert json.loads(flow["detail"])["mean"] == pytest.approx(np.mean(inside), abs=1e-6)


def test_what_tells_of_the_study_drug_is_left_out_unless_the_role_asks(run: Run, bed: Path, out: Path) -> None:
    def told(directory: Path) -> str:
        return " ".join(str(path) for path in directory.rglob("*")) + str(
            pq.read_table(directory / "events").to_pylist()
        )

    assert "study_drug_rate" not in told(out)
    assert "levosimendan" not in told(out)
    open_ = exported(run, bed, "open", "--role", "unblinded", "--free-text")
    assert "study_drug_rate" in told(open_)
    assert "levosimendan" in told(open_)


def test_free_text_is_left_out_unless_it_is_asked_for(run: Run, bed: Path, out: Path) -> None:
    assert {row["text"] for row in pq.read_table(out / "events").to_pylist()} == {""}
    assert "note" not in {row["what"] for row in rows(out / "episodes.csv")}
    asked = exported(run, bed, "text", "--free-text")
    assert "seen by Dr Muster" in {row["value"] for row in rows(asked / "episodes.csv")}


def given_away(secret: str, text: bytes) -> bool:
    """Whether it stands there; of a time in nanoseconds since 1970 only the beginning is known."""
    if not secret.isdigit():
        return secret.lower().encode() in text
    return re.search(rf"{secret}(?<![0-9.]{secret})\d{{13}}(?!\d)".encode(), text) is not None


def told_in(path: Path) -> str:
    """Every different text of a table, and of its integers every different beginning of a time; no float is either."""
    table = pq.read_table(path)
    beginnings = 10**13
    told = [" ".join(table.column_names)]
    for column in table.columns:
        if pa.types.is_integer(column.type):
            told.append(str((np.unique(column.drop_null().to_numpy() // beginnings) * beginnings).tolist()))
        elif not pa.types.is_floating(column.type):
            told.append(str(column.unique().to_pylist()))
    return " ".join(told).lower()


def test_what_gives_away_is_found_in_a_table(tmp_path: Path) -> None:
    told = {"time_ns": [5, T0 + 12_345], "subject": ["x", f"of {SUBJECT}"], "value": [float(T0), 1.5]}
    pq.write_table(pa.table(told), tmp_path / "x.parquet")
    text = told_in(tmp_path / "x.parquet").encode()
    assert [secret for secret in SECRETS if given_away(secret, text)] == [SUBJECT, "03-012", *DIGITS]
    assert not given_away(DIGITS[0], str(float(T0)).encode())
    assert not given_away(DIGITS[0], f"9{T0} 0.{T0} {T0}9".encode())


@pytest.mark.parametrize(
    ("form", "times"),
    [
        # The one that every trial asks for, with everything that can be asked for beside, is tried each time.
        (form, times) if (form, times) == ("parquet", "utc") else pytest.param(form, times, marks=pytest.mark.slow)
        for form in Format
        for times in ("relative", "utc")
        if (form, times) != ("atriumdb", "relative")
    ],
)
def test_nothing_in_a_pseudonymous_data_set_gives_it_away(run: Run, bed: Path, form: Format, times: str) -> None:
    key, more = bed.parent / "key", ("--clif", "VA_ECMO", "--omop") if times == "utc" else ()
    out = exported(
        run, bed, "p", "--format", form, "--times", times, "--pseudonymize", key, "--request", "a", *more
    )  # fmt: skip
    names = [str(path.relative_to(out)).lower() for path in out.rglob("*")]
    texts = [path.read_bytes().lower() for path in out.rglob("*") if path.is_file()]
    tables = [told_in(path) for path in out.rglob("*.parquet")]
    for secret in SECRETS:
        assert not [name for name in names if given_away(secret, name.encode())], secret
        assert not [text[:200] for text in texts if given_away(secret, text)], secret
        assert not [text[:200] for text in tables if given_away(secret, text.encode())], secret
    assert key.stat().st_mode & 0o077 == 0


def test_a_shift_is_of_whole_days_and_the_same_in_every_table(run: Run, bed: Path) -> None:
    out = exported(run, bed, "p", "--pseudonymize", bed.parent / "key", "--request", "a", "--times", "utc")
    flow, _ = readings(out, "numerics_long", "ecmo_flow")
    wave, _ = readings(out, "waves", "wf_abp")
    days = (T0 + 5 - flow[0]) / (24 * HOUR)
    assert days == int(days) > 300
    assert T0 - wave[0] == days * 24 * HOUR
    started = rows(out / "versions.csv")[0]["started"]
    assert started.endswith("T16:00:00.000Z")
    again = exported(run, bed, "q", "--pseudonymize", bed.parent / "key", "--request", "b", "--times", "utc")
    assert {path.name for path in (out / "waves").iterdir()} != {path.name for path in (again / "waves").iterdir()}


def test_csv_has_the_same_readings(run: Run, bed: Path, out: Path) -> None:
    plain = exported(run, bed, "plain", "--format", "csv")
    found = [row for row in rows(plain / "numerics_long.csv") if row["channel"] == "spo2"]
    assert list(found[0]) == [
        "subject", "channel", "time_h", "time_ns", "device", "value", "unit", "state", "quality"
    ]  # fmt: skip
    times, values = readings(out, "numerics_long", "spo2")
    assert [int(row["time_ns"]) for row in found] == times
    assert [float(row["value"]) if row["value"] else None for row in found] == values
    assert found[0]["state"] == "not_connected"
    assert len(rows(plain / "waves" / SUBJECT / "wf_abp.csv")) == len(readings(out, "waves", "wf_abp")[0])


def test_a_data_package_names_every_file_and_its_columns(out: Path) -> None:
    package = json.loads((out / "datapackage.json").read_text(encoding="utf-8"))
    paths = [
        path
        for each in package["resources"]
        for path in ([each["path"]] if isinstance(each["path"], str) else each["path"])
    ]
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert set(paths) == files - {"datapackage.json", "manifest.json"}
    assert package["times_since"] == ["randomisation"]
    assert "not" in package["intended_use"].lower() or "research" in package["intended_use"].lower()


def test_verify_proves_it_unchanged_and_names_every_change(run: Run, out: Path) -> None:
    code, said, _ = run("verify", out)
    assert code == 0
    assert "unchanged" in said
    (out / "gaps.csv").write_bytes((out / "gaps.csv").read_bytes() + b"\n")
    (out / "clock.csv").unlink()
    (out / "new.csv").write_text("x")
    code, _, err = run("verify", out)
    assert code == 2
    assert [line.split(":")[0] for line in err.splitlines()] == ["clock.csv", "gaps.csv", "new.csv"]


def test_verify_sees_links_and_what_hides_behind_the_manifests_name(run: Run, out: Path) -> None:
    (out / "waves" / "manifest.json").write_text("names of patients")
    (out / "away").symlink_to(out.parent)
    (out / "nowhere").symlink_to("nothing")
    (out / "gaps.csv").rename(out.parent / "gaps.csv")
    (out / "gaps.csv").symlink_to(out.parent / "gaps.csv")
    code, _, err = run("verify", out)
    assert code == 2
    assert sorted(err.splitlines()) == [
        "away: was added",
        "gaps.csv: was changed: it is no file of its own any more",
        "nowhere: was added",
        "waves/manifest.json: was added",
    ]


def test_a_line_of_the_chain_that_was_cut_off_breaks_nothing_that_follows(run: Run, bed: Path) -> None:
    ledger = bed.parent / proof.LEDGER
    before = ledger.read_text()
    ledger.write_text(before + '{"manifest_sha256":"0a1')
    later = exported(run, bed, "later")
    assert ledger.read_text().startswith(before + '{"manifest_sha256":"')
    assert run("verify", later)[0] == 0


def test_a_subject_that_is_named_twice_is_exported_once(run: Run, bed: Path, out: Path) -> None:
    twice = exported(run, bed, "twice", "--subject", SUBJECT)
    assert readings(twice, "numerics_long", "hr") == readings(out, "numerics_long", "hr")


def test_a_manifest_that_was_made_to_fit_is_found_by_the_chain(run: Run, bed: Path, out: Path) -> None:
    exported(run, bed, "later")
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["created"] = "2020-01-01T00:00:00Z"
    (out / "manifest.json").write_text(json.dumps(manifest))
    code, _, err = run("verify", out)
    assert code == 2
    assert "manifest.json" in err
    ledger = bed.parent / "exports.jsonl"
    ledger.write_text(ledger.read_text().splitlines()[1] + "\n")
    code, _, err = run("verify", bed.parent / "later")
    assert code == 2
    assert "chain of exports is broken" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--subject", "LEV-03-013"), "did you mean"),
        (("--subject", SUBJECT, "--format", "parket"), "did you mean 'parquet'"),
        (("--subject", SUBJECT, "--times", "local"), "relative"),
        (("--subject", SUBJECT, "--pseudonymize", "key"), "--request"),
        (("--subject", SUBJECT, "--from", "2026-03-14T18:59:59.95Z"), "no readings"),
        (
            (
                "--subject",
                SUBJECT,
                "--from",
                "2026-03-14T17:07:20Z",
                "--to",
                "2026-03-14T17:07:29Z",
                "--channels",
                "hr",
            ),
            "no r",
        ),
        (("--subject", SUBJECT, "--channels", "ecmo_flw"), "ecmo_flow"),
        ((), "whose data"),
    ],
)
def test_what_cannot_be_meant_leaves_nothing_behind(run: Run, bed: Path, words: tuple[str, ...], told: str) -> None:
    before = sorted(bed.parent.iterdir())
    code, _, err = run("export", "--journal", bed, "--out", bed.parent / "other", *words)
    assert code == 2
    assert told in err
    assert sorted(bed.parent.iterdir()) == before


def test_a_data_set_is_never_written_over(run: Run, bed: Path, out: Path) -> None:
    code, _, err = run("export", "--journal", bed, "--subject", SUBJECT, "--out", out)
    assert (code, "exists already" in err) == (2, True)


def test_the_key_must_not_travel_with_the_data(run: Run, bed: Path) -> None:
    words = ("--pseudonymize", bed.parent / "other" / "key", "--request", "a")
    code, _, err = run("export", "--journal", bed, "--subject", SUBJECT, "--out", bed.parent / "other", *words)
    assert (code, "must not lie" in err) == (2, True)


def test_a_bed_without_a_registry_is_counted_from_its_first_reading(run: Run, bed: Path) -> None:
    code, _, err = run("export", "--config", bed.parent / "bed.toml", "--out", bed.parent / "bed")
    assert code == 0, err
    times, _ = readings(bed.parent / "bed", "numerics_long", "ecmo_flow")
    assert times[0] == 5
    assert rows(bed.parent / "bed" / "episodes.csv") == []
