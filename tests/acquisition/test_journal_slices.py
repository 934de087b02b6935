"""Numerics as columns are the numerics that a query gives, however they were written, merged or damaged."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.journal import Journal, summary
from acquisition.journal.codec import Codec, compress, encode
from acquisition.journal.columns import Column, columns, columns_in, columns_of
from acquisition.journal.merged import originals
from acquisition.journal.reader import JournalReader
from acquisition.journal.schema import day_files, insert, rows
from acquisition.journal.slices import NumericsSlices
from acquisition.model import Numerics, Quality, State
from tests.acquisition.journal_observations import DAY_NS, QUICK, T0, alter, numerics

S = 1_000_000_000
HOUR = 3600 * S
CHANNELS = ("abp_mean", "hr", "spo2")
SAID = st.fixed_dictionaries(
    {},
    optional={
        name: st.tuples(
            st.none()
            | st.integers(-1000, 1000).map(lambda count: count / 8)
            | st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.sampled_from(State),
            st.none() | st.sampled_from(Quality),
        )
        for name in CHANNELS
    },
)


def one(at: int, said: dict[str, tuple[float | None, State | None, Quality | None]]) -> Numerics:
    return Numerics(
        device="mon",
        time_ns=at,
        values={name: value for name, (value, _, _) in said.items() if value is not None},
        states={name: state for name, (_, state, _) in said.items() if state is not None},
        quality={name: quality for name, (value, _, quality) in said.items() if value is not None and quality},
    )


def told(found: dict[str, Column]) -> dict[str, list[list[object]]]:
    return {
        channel: [column.time_ns.tolist(), column.values.view(np.int64).tolist(), column.quality.tolist(),
                  column.state.tolist()]
        for channel, column in sorted(found.items())
    }  # fmt: skip


@settings(max_examples=40)
@given(st.lists(SAID, min_size=1, max_size=30), st.none() | st.sets(st.sampled_from(CHANNELS)))
def test_columns_of_a_payload_are_those_of_its_observations(
    said: list[dict[str, tuple[float | None, State | None, Quality | None]]], wanted: set[str] | None
) -> None:
    observations = [one(T0 + number * S, each) for number, each in enumerate(said)]
    assert told(columns_in(columns(observations), wanted)) == told(columns_of(observations, wanted))


def slow(directory: Path, begin: int, end: int) -> dict[str, list[list[object]]]:
    found = JournalReader(directory).query(devices=["mon"], from_ns=begin, to_ns=end, kinds=["numerics"])
    return told(columns_of([each for each in found if isinstance(each, Numerics)]))


def quick(directory: Path, begin: int, end: int, reader: JournalReader | None = None) -> dict[str, list[list[object]]]:
    pieces: dict[str, list[Column]] = {}
    for found in NumericsSlices(reader or JournalReader(directory), "mon").read(begin, end, HOUR):
        for channel, column in found.items():
            assert np.unique(column.time_ns // HOUR).size == 1
            pieces.setdefault(channel, []).append(column)
    return told({channel: Column(*map(np.concatenate, zip(*parts, strict=True))) for channel, parts in pieces.items()})


async def fill(directory: Path) -> None:
    """Two hours around midnight, some of it late, in small groups; the first day is merged when the second begins."""
    chance = np.random.default_rng(1)
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        for minute in range(-65, 65):
            group: list[Numerics] = []
            for second in range(minute * 60, minute * 60 + 60, 10):
                at, value = T0 + DAY_NS + second * S, float(chance.integers(0, 100)) / 4
                group += [numerics(at, value), numerics(at, value, "pump")]
            await journal.append([*group, numerics(T0 + DAY_NS + (minute * 60 - 90) * S + 5, 7.5, channel="hr")])


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "FLUSH_GROUPS", 4)


@pytest.mark.usefixtures("small_slices")
async def test_every_window_of_a_journal_is_read_alike(tmp_path: Path) -> None:
    await fill(tmp_path)
    middle = T0 + DAY_NS
    assert len(day_files(tmp_path)) == 2
    for begin, end in ((0, 2**63 - 1), (middle - 1800 * S, middle + 1), (middle + 7 * S + 1, middle + 900 * S)):
        expected = slow(tmp_path, begin, end)
        assert expected["abp_mean"][0]
        assert quick(tmp_path, begin, end) == expected
    assert quick(tmp_path, middle + 40 * HOUR, 2**63 - 1) == {}
    (found,) = NumericsSlices(JournalReader(tmp_path), "mon", ["hr"]).read(middle, middle + HOUR, HOUR)
    assert list(found) == ["hr"]


@pytest.mark.usefixtures("small_slices")
async def test_a_file_without_the_sums_of_its_devices_is_read_too(tmp_path: Path) -> None:
    await fill(tmp_path)
    before = quick(tmp_path, 0, 2**63 - 1)
    for path in day_files(tmp_path):
        alter(path, "DELETE FROM series WHERE kind = ''")
    assert quick(tmp_path, 0, 2**63 - 1) == before != {}


@pytest.mark.usefixtures("small_slices")
async def test_a_damaged_row_is_passed_over_and_reported_once(tmp_path: Path) -> None:
    await fill(tmp_path)
    first = day_files(tmp_path)[0]
    alter(first, "UPDATE block SET payload = x'00' WHERE seq = (SELECT seq FROM block WHERE device = 'mon' LIMIT 1)")
    reader = JournalReader(tmp_path)
    assert quick(tmp_path, 0, 2**63 - 1, reader) == slow(tmp_path, 0, 2**63 - 1)
    (report,) = reader.damaged
    assert "fails its checksum" in report


@pytest.mark.usefixtures("small_slices")
async def test_a_block_that_a_damaged_tree_shows_beside_the_row_it_was_merged_into_counts_once(tmp_path: Path) -> None:
    await fill(tmp_path)
    path = day_files(tmp_path)[0]
    before = slow(tmp_path, 0, 2**63 - 1)
    with closing(sqlite3.connect(path)) as connection:
        (row,) = rows(connection, "SELECT * FROM block WHERE device = 'mon' AND blocks > 1 LIMIT 1")
        first = originals(row)[0]
        payload = compress(encode(Codec.JSON_LINES, first.observations))
        old = row._replace(seq=first.seq, since=first.seq, blocks=1, codec=int(Codec.JSON_LINES), payload=payload)
        connection.execute("DELETE FROM block WHERE seq = ?", (first.seq,))
        insert(connection, [old.sealed()])
        connection.commit()
    assert quick(tmp_path, 0, 2**63 - 1) == slow(tmp_path, 0, 2**63 - 1) == before
