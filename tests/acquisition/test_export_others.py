"""Numerics in the schemas of other projects: CLIF's `ecmo_mcs` and OMOP's MEASUREMENT."""

from __future__ import annotations

import asyncio
import csv
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from acquisition.archive.episodes.registry import Registry
from acquisition.archive.export.clif import ClifTable
from acquisition.archive.export.dataset import export
from acquisition.archive.export.omop import COLUMNS, OmopTable
from acquisition.archive.export.proof import verified
from acquisition.archive.export.pseudonyms import Pseudonyms
from acquisition.archive.export.request import Format, Request
from acquisition.archive.export.stores import CsvStore
from acquisition.archive.resample import Buckets
from acquisition.archive.scope import of_bed
from acquisition.archive.source import JournalSource
from acquisition.errors import ConfigError
from acquisition.journal import Journal
from acquisition.model import Numerics, Observation
from tests.acquisition.archive_bed import T0, S

MINUTE = 60 * S


def bed() -> list[Observation]:
    """Ten minutes of a console at 1 Hz, a gas blender each 30 s, a monitor, and a mode that is a code."""
    found: list[Observation] = []
    for second in range(600):
        at = T0 + second * S
        console = {"ecmo_flow": 3.0 + second / 1000, "ecmo_rpm": 3000.0 + second, "ecmo_mode": 2.0}
        found.append(Numerics(device="pump", time_ns=at, values=console))
        found.append(Numerics(device="mon", time_ns=at, values={"hr": 90.0 + second % 3}))
        if second % 30 == 0 and second < 300:
            found.append(Numerics(device="gas", time_ns=at, values={"ecmo_sweep": 2.5, "ecmo_fdo2": 60.0}))
    return found


def exported(directory: Path, out: str, request: Request) -> Path:
    export(JournalSource(directory / "journal"), Registry(), [of_bed("bed-1")], request, directory / out)
    return directory / out


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    async def fill() -> None:
        async with Journal(directory / "journal", commit_interval_s=0.001) as journal:
            await journal.append(bed())

    directory = tmp_path_factory.mktemp("others")
    asyncio.run(fill())
    exported(directory, "csv", Request(Format.CSV, utc=True, clif="VA_ECMO", omop=True))
    exported(directory, "parquet", Request(Format.PARQUET, utc=True, clif="VV_ECMO"))
    return directory


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_a_clif_row_is_a_minute_of_the_console_with_the_blenders_gas(home: Path) -> None:
    found = rows(home / "csv" / "clif" / "clif_ecmo_mcs.csv")
    assert list(found[0]) == [
        "hospitalization_id", "recorded_dttm", "device_name", "device_category", "mcs_group", "device_metric_name",
        "device_rate", "sweep", "flow", "fdO2",
    ]  # fmt: skip
    assert len(found) == 10
    first = found[0]
    assert first["recorded_dttm"] == "2026-03-14 16:00:00+00:00"
    words = ("hospitalization_id", "device_name", "device_category", "mcs_group", "device_metric_name")
    assert [first[each] for each in words] == ["bed-1", "pump", "VA_ECMO", "ECMO", "RPM"]
    figures = [float(first[each]) for each in ("device_rate", "sweep", "flow", "fdO2")]
    assert figures == pytest.approx([3029.5, 2.5, 3.0295, 0.6])
    assert [row["sweep"] for row in found[5:]] == [""] * 5


def test_as_parquet_times_are_utc_and_numbers_are_numbers(home: Path) -> None:
    table = pq.read_table(home / "parquet" / "clif" / "clif_ecmo_mcs.parquet")
    first = table.slice(1, 1).to_pylist()[0]
    assert first["recorded_dttm"] == datetime(2026, 3, 14, 16, 1, tzinfo=UTC)
    assert (first["device_category"], first["fdO2"]) == ("VV_ECMO", pytest.approx(0.6))
    assert str(table.schema.field("flow").type) == "double"


def test_omop_has_every_quantity_by_the_minute_without_a_made_up_concept(home: Path) -> None:
    with duckdb.connect() as database:
        path = home / "csv" / "omop" / "measurement.csv"
        table = database.sql(f"SELECT * FROM read_csv('{path}', header = true)").to_arrow_table().to_pylist()
    assert tuple(table[0]) == COLUMNS
    assert [row["measurement_id"] for row in table] == list(range(1, len(table) + 1))
    assert {row["measurement_source_value"] for row in table} == {
        "ecmo_flow", "ecmo_rpm", "ecmo_sweep", "ecmo_fdo2", "hr"
    }  # fmt: skip
    assert {row["measurement_concept_id"] for row in table} == {0}
    flow = [row for row in table if row["measurement_source_value"] == "ecmo_flow"]
    assert [row["value_as_number"] for row in flow] == pytest.approx([3.0295 + each * 0.06 for each in range(10)])
    assert {row["unit_source_value"] for row in flow} == {"L/min"}
    assert str(flow[3]["measurement_datetime"]) == "2026-03-14 16:03:00"
    assert (str(flow[3]["measurement_date"]), str(flow[3]["measurement_time"])) == ("2026-03-14", "16:03:00")


def test_omop_codes_are_those_of_the_catalogue_for_a_site_to_join(home: Path) -> None:
    codes = rows(home / "csv" / "omop" / "source_codes.csv")
    told = {(row["measurement_source_value"], row["vocabulary_id"], row["concept_code"]) for row in codes}
    assert told == {
        ("ecmo_flow", "SNOMED", "444479000"), ("ecmo_flow", "SNOMED", "251288004"), ("hr", "LOINC", "8867-4"),
        ("ecmo_sweep", "SNOMED", "79063001"), ("ecmo_sweep", "LOINC", "19941-4"), ("ecmo_rpm", "", ""),
        ("ecmo_fdo2", "", ""),
    }  # fmt: skip
    persons = rows(home / "csv" / "omop" / "person_ids.csv")
    assert persons == [{"person_id": "1", "person_source_value": "bed-1"}]


def test_what_has_no_place_is_listed_with_the_reason(home: Path) -> None:
    left = {(row["table"], row["channel"], row["device"]): row["why"] for row in rows(home / "csv" / "left_out.csv")}
    assert left == {
        ("clif", "ecmo_mode", "pump"): "ecmo_mcs has no column for it",
        ("clif", "hr", "mon"): "ecmo_mcs has no column for it",
        ("omop", "ecmo_mode", "pump"): "its numbers are codes and no quantities",
    }


def test_the_data_package_describes_them(home: Path) -> None:
    package = json.loads((home / "csv" / "datapackage.json").read_text(encoding="utf-8"))
    paths = {each["path"] for each in package["resources"] if isinstance(each["path"], str)}
    assert {"clif/clif_ecmo_mcs.csv", "omop/measurement.csv", "omop/source_codes.csv", "left_out.csv"} <= paths


def test_a_change_in_one_of_them_is_found(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "csv"
    shutil.copytree(home / "csv", copy)
    assert verified(copy)
    for path in ("clif/clif_ecmo_mcs.csv", "omop/measurement.csv"):
        (copy / path).write_bytes((copy / path).read_bytes().replace(b"3", b"4", 1))
    (copy / "left_out.csv").unlink()
    with pytest.raises(ConfigError) as problem:
        verified(copy)
    told = str(problem.value)
    assert all(path in told for path in ("clif/clif_ecmo_mcs.csv", "omop/measurement.csv", "left_out.csv"))


def test_dates_are_moved_with_the_subject(home: Path) -> None:
    names = Pseudonyms(b"k" * 32, "a")
    request = Request(Format.CSV, utc=True, clif="VA_ECMO", omop=True, pseudonyms=names)
    out = exported(home, "moved", request)
    days = names.shift_days("bed-1")
    clif = rows(out / "clif" / "clif_ecmo_mcs.csv")[0]
    moved = datetime(2026, 3, 14, 16, tzinfo=UTC) - datetime.fromisoformat(clif["recorded_dttm"])
    assert (moved.days, moved.seconds) == (days, 0)
    assert clif["hospitalization_id"] == names.bed("bed-1")
    assert clif["device_name"] == names.device("pump")
    assert rows(out / "omop" / "measurement.csv")[0]["measurement_date"] == clif["recorded_dttm"][:10]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"clif": "VA_ECMO"}, "--clif: that has dates"),
        ({"clif": "VA_ECMO", "omop": True}, "--clif and --omop"),
        ({"omop": True, "utc": True, "every_ns": S // 2}, "whole seconds"),
    ],
)
def test_what_these_tables_cannot_tell_is_refused(asked: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Request(**asked)  # type: ignore[arg-type]  # of one case each


def buckets(device: str, channel: str, value: float) -> Buckets:
    start = T0 + np.arange(2) * MINUTE
    return Buckets(device, channel, start, {"median": np.full(2, value)}, np.zeros(2, np.int64))


def test_gas_of_two_blenders_is_nobodys(tmp_path: Path) -> None:
    store = CsvStore(tmp_path)
    table = ClifTable(tmp_path, Request(Format.CSV, utc=True, clif="VA_ECMO"), store)
    series = [buckets("pump", "ecmo_flow", 3.0), buckets("g1", "ecmo_sweep", 2.0), buckets("g2", "ecmo_sweep", 9.0)]
    table.add("P", series, {})
    table.close()
    found = rows(tmp_path / "clif" / "clif_ecmo_mcs.csv")
    assert [(row["flow"], row["sweep"]) for row in found] == [("3", "")] * 2
    assert "more than one" in table.why_not("g1", "ecmo_sweep", wave=False)


def test_gas_without_a_console_is_no_row(tmp_path: Path) -> None:
    table = ClifTable(tmp_path, Request(Format.CSV, utc=True, clif="VA_ECMO"), CsvStore(tmp_path))
    table.add("P", [buckets("gas", "ecmo_sweep", 2.0)], {})
    table.close()
    assert not (tmp_path / "clif").exists()
    assert "no console" in table.why_not("gas", "ecmo_sweep", wave=False)


def test_a_person_is_one_number_and_a_channel_of_two_devices_has_two_names(tmp_path: Path) -> None:
    table = OmopTable(tmp_path, Request(Format.CSV, utc=True, omop=True), CsvStore(tmp_path))
    names = {("a", "hr"): "hr@a", ("b", "hr"): "hr@b"}
    for subject in ("P", "Q", "P"):
        table.add(subject, [buckets("a", "hr", 90.0), buckets("b", "hr", 91.0)], names)
    table.close()
    found = rows(tmp_path / "omop" / "measurement.csv")
    assert [row["person_id"] for row in found[::4]] == ["1", "2", "1"]
    assert {row["measurement_source_value"] for row in found} == {"hr@a", "hr@b"}
    assert "wave" in table.why_not("a", "wf_abp", wave=True)
    assert "not bad" in table.why_not("a", "spo2", wave=False)
