"""The wide form: one row a bucket, also where a day or the stay in a bed ends in its midst."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from acquisition.archive.chunk import Window
from acquisition.archive.episodes.registry import Registry
from acquisition.archive.export.dataset import export
from acquisition.archive.export.request import Request
from acquisition.archive.question import Question
from acquisition.archive.resample import aggregate
from acquisition.archive.scope import Scope
from acquisition.archive.source import JournalSource
from acquisition.journal import Journal
from acquisition.model import Numerics, Quality
from tests.acquisition.archive_bed import HOUR, S

MINUTE = 60 * S
DAY = 24 * HOUR
T0 = 20_533 * DAY + 20 * HOUR
MINUTES = 30 * 60
MOVED = T0 + 13 * HOUR + 30 * S
SCOPE = Scope("bed", (Window("b1", T0, MOVED), Window("b2", MOVED, T0 + 31 * HOUR)))
"""Moved within a minute; the source holds both beds, as a database does."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> JournalSource:
    directory = tmp_path_factory.mktemp("journal")
    said = [
        Numerics(device=device, time_ns=T0 + each * 20 * S, values={name: float(each)}, quality={name: Quality.GOOD})
        for each in range(3 * MINUTES)
        for device, name in (("monitor", "hr"), ("pump", "ecmo_flow"))
    ]

    async def keep() -> None:
        async with Journal(directory, commit_interval_s=0) as journal:
            await journal.append(said)

    asyncio.run(keep())
    return JournalSource(directory)


@pytest.mark.parametrize("every_ns", [MINUTE, 7 * MINUTE, 5 * HOUR, 2 * DAY])
def test_a_bucket_has_one_row_in_the_day_in_which_it_begins(
    source: JournalSource, tmp_path: Path, every_ns: int
) -> None:
    export(source, Registry(), [SCOPE], Request(every_ns=every_ns, utc=True, omop=True), tmp_path / "set")
    times = T0 + np.arange(3 * MINUTES, dtype=np.int64) * 20 * S
    starts, figures = aggregate(times, np.arange(3.0 * MINUTES), every_ns, ("median", "count"))
    found = pq.read_table(tmp_path / "set" / "numerics_wide").to_pandas().sort_values("time_ns")
    assert found["time_ns"].tolist() == starts.tolist()
    for name in ("hr", "ecmo_flow"):
        assert found[f"{name}_count"].tolist() == figures["count"].tolist()
        assert found[f"{name}_median"].tolist() == figures["median"].tolist()
    days = [np.datetime64(day) for day in found["day"].astype(str)]
    assert days == (starts // DAY).astype("datetime64[D]").tolist()
    asked = Question(SCOPE, every_ns=every_ns, aggregates=("median", "count"))
    answer = [each for each in asked.figures(source) if each.channel == "hr"]
    assert np.concatenate([each.start_ns for each in answer]).tolist() == starts.tolist()
    assert np.concatenate([each.figures["count"] for each in answer]).tolist() == figures["count"].tolist()
    omop = csv.read_csv(tmp_path / "set" / "omop" / "measurement.csv")
    assert omop.num_rows == 2 * starts.size
