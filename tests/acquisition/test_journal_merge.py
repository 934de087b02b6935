"""Merged blocks: what is read of them, beside a journal in which nothing was merged, and what damage costs."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sqlite3
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.journal import Journal, merger, merging, schema, store, summary
from acquisition.journal.backlog import backlogs, oldest_after
from acquisition.journal.batches import read_batch
from acquisition.journal.codec import pack
from acquisition.journal.merged import MERGED, Original, exact, merged, originals
from acquisition.journal.reader import JournalReader
from acquisition.journal.remembering import Remembering
from acquisition.journal.retention import Limits, Part
from acquisition.journal.schema import Block, day_file, day_files, rows
from acquisition.lanes import LATE_NS, Progress, Span
from acquisition.model import MISSING_COUNT, Numerics, Observation, Quality, State, Waveform
from tests.acquisition.journal_observations import DAY_NS, NEVER_NS, QUICK, T0, alter, event, numerics, waveform

DAY = "2026-01-01"
SECOND = 1_000_000_000
GROUPS = 60


def group(number: int) -> list[Observation]:
    """Of two devices: waves that go on from group to group, but for a few, numerics, events; not all of them always."""
    chance = np.random.default_rng(number)
    now = T0 + number * SECOND // 2
    made: list[Observation] = [
        waveform(now, chance.integers(-90, 90, 250).tolist()),
        waveform(now, chance.integers(-90, 90, 125 + number % 3).tolist(), channel="wf_ecg", period_ns=4_000_000),
        Numerics(
            device="mon",
            time_ns=now,
            device_time=f"2026-01-01T00:00:{number % 60:02}+00:00",
            values={"abp_mean": 70.1, "hr": float(number % 7), "odd": 1 / (number + 1)},
            states={"spo2": State.NOT_CONNECTED} if number % 5 else {},
            quality={"abp_mean": Quality.GOOD, "hr": Quality.SUSPECT},
        ),
        numerics(now, -0.0, device="pump"),
        event(now, f"alarm {number}"),
        waveform(now, [MISSING_COUNT] * 20, device="pump", channel="wf_flow", period_ns=25_000_000),
    ]
    if number % 11 == 0:
        made.append(waveform(now + 7, [], channel="wf_abp"))  # a piece without a sample
    return [each for index, each in enumerate(made) if (number + index) % 4]


async def fill(directory: Path, groups: int = GROUPS) -> list[Observation]:
    given = []
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        for number in range(groups):
            await journal.append(group(number))
            given += group(number)
    return given


async def merge_all(journal: Journal) -> None:
    await journal._writer.between_groups(journal._store.merge_rest)


def stored(directory: Path, day: str = DAY) -> list[Block]:
    connection = sqlite3.connect(day_file(directory, day))
    try:
        return list(rows(connection, "SELECT * FROM block ORDER BY seq"))
    finally:
        connection.close()


def merged_rows(directory: Path, day: str = DAY) -> list[Block]:
    return [row for row in stored(directory, day) if row.codec & MERGED]


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two journals with the same blocks: one with small rows only, one with merged rows of several ranges."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merger, "LATE_NS", NEVER_NS)
        patch.setattr(merging, "MAX_WEIGHT", 3000)
        patch.setattr(summary, "FLUSH_GROUPS", 25)
        plain = tmp_path_factory.mktemp("plain")
        asyncio.run(fill(plain))
        other = tmp_path_factory.mktemp("merged") / "journal"
        shutil.copytree(plain, other)

        async def merge() -> None:
            async with Journal(other, commit_interval_s=QUICK) as journal:
                await merge_all(journal)

        asyncio.run(merge())
    ranges = {row.since for row in merged_rows(other)}
    assert len(ranges) > 3
    assert not merged_rows(plain)
    assert len(stored(other)) == len(merged_rows(other)) < len(stored(plain)) / 3
    return plain, other


LAST = sum(len({(one.device, one.kind, getattr(one, "channel", "")) for one in group(n)}) for n in range(GROUPS))
WAVE_BLOCKS = sum(
    len({(one.device, one.channel) for one in group(n) if isinstance(one, Waveform)}) for n in range(GROUPS)
)
NUMBERS = st.integers(0, LAST + 2)


@settings(max_examples=150, deadline=None)
@given(after=NUMBERS, upto=NUMBERS, max_points=st.integers(1, 4000))
def test_a_read_of_merged_blocks_is_that_of_the_blocks_as_they_were(
    twins: tuple[Path, Path], after: int, upto: int, max_points: int
) -> None:
    plain, other = (read_batch(twin, after, max_points, upto) for twin in twins)
    assert other == plain
    assert other.damaged == ()
    pairs = zip(other.observations, plain.observations, strict=True)
    assert all(exact([Original(0, (one,))]) == exact([Original(0, (two,))]) for one, two in pairs)


@settings(max_examples=40, deadline=None)
@given(begin=st.integers(-1, GROUPS), length=st.integers(0, GROUPS), device=st.sampled_from([None, "mon", "pump"]))
def test_a_query_of_merged_blocks_is_that_of_the_blocks_as_they_were(
    twins: tuple[Path, Path], begin: int, length: int, device: str | None
) -> None:
    from_ns, to_ns = T0 + begin * SECOND // 2 + 1, T0 + (begin + length) * SECOND // 2 + 77_000_000
    devices = None if device is None else [device]
    plain, other = (list(JournalReader(twin).query(devices=devices, from_ns=from_ns, to_ns=to_ns)) for twin in twins)
    assert other == plain


def test_slices_that_come_as_one_say_what_they_say_one_by_one(twins: tuple[Path, Path]) -> None:
    for twin in twins:
        with schema.reading(day_file(twin, DAY)) as connection:
            assert connection is not None
            fine = summary.load(connection)
            assert len(fine.slices) > 2
            for upto in (0, fine.slices[0].upto - 1, fine.slices[1].upto, fine.last_seq, summary.EVERYTHING):
                coarse = summary.load(connection, upto)
                assert len(coarse.slices) == max(1, sum(part.upto > upto for part in fine.slices) + 1) - (
                    upto < fine.slices[0].upto
                )
                assert (coarse.last_seq, coarse.blocks, coarse.window) == (fine.last_seq, fine.blocks, fine.window)
                assert (coarse.series, coarse.total) == (fine.series, fine.total)
            devices = {device for part in fine.all_slices for device in part.devices}
            assert set(summary.load(connection, summary.EVERYTHING).slices[0].devices) == devices


@pytest.mark.slow
async def test_a_backlog_of_numerics_alone_is_read_in_little_memory(tmp_path: Path) -> None:
    def instant(at: int) -> Numerics:
        values = {f"c{channel}": (at * channel) % 997 / 10 for channel in range(100)}
        return Numerics(device="mon", time_ns=T0 + at * SECOND, values=values)

    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for begin in range(0, 3000, 50):
            await journal.append([instant(at) for at in range(begin, begin + 50)])
        await merge_all(journal)
        assert len(merged_rows(tmp_path)) == 6
        after, read = 0, 0
        tracemalloc.start()
        try:
            while after < journal.last_seq:
                batch = await journal.read(after, 10_000)
                assert batch.points == 100
                after, read = batch.last_seq, read + batch.points
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert read == 3000
    assert peak < 12_000_000


def test_of_merged_rows_the_last_ranges_are_remembered(twins: tuple[Path, Path]) -> None:
    every = merged_rows(twins[1])
    *_, before, last = ranges = list(dict.fromkeys(row.since for row in every))
    assert len(ranges) > 3
    remembering = Remembering(2)
    for row in every:
        assert remembering(row) == originals(row)
    assert list(remembering._ranges) == [before, last]
    assert sum(map(len, remembering._ranges.values())) == sum(row.since in (before, last) for row in every) > 2
    wanted = next(row for row in every if row.since == before)
    assert remembering(wanted) is remembering(wanted)
    remembering(every[0])
    assert list(remembering._ranges) == [before, every[0].since]  # the one that was not wanted for longest goes


def test_merging_changes_no_count(twins: tuple[Path, Path]) -> None:
    plain, other = (JournalReader(twin).stat() for twin in twins)
    for field in ("blocks", "first_ns", "last_ns", "readings", "events", "points", "last_seq", "damaged"):
        assert getattr(other, field) == getattr(plain, field), field
    assert plain.blocks == LAST
    assert [dict(JournalReader(twin).verify())[f"{DAY}.journal"] for twin in twins] == [LAST, LAST]


@settings(max_examples=60, deadline=None)
@given(cursor=NUMBERS, after=NUMBERS, upto=NUMBERS)
def test_a_backlog_is_exact_at_any_number_of_a_merged_range(
    twins: tuple[Path, Path], cursor: int, after: int, upto: int
) -> None:
    progress = Progress(min(cursor, LAST)).having(Span(min(after, LAST), min(upto, LAST)))
    total = JournalReader(twins[0]).stat().points
    plain, other = (backlogs(twin, total, {"sink": progress}) for twin in twins)
    assert other == plain
    assert len({oldest_after(twin, progress.cursor) for twin in twins}) == 1


async def test_blocks_that_are_still_live_are_not_merged_and_older_ones_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "FLUSH_GROUPS", 10)
    given = await fill(tmp_path)
    newest = T0 + (GROUPS - 1) * SECOND // 2
    seen = merged_rows(tmp_path)
    assert seen
    assert max(row.last_ns for row in seen) < newest - LATE_NS + SECOND
    assert min(row.first_ns for row in stored(tmp_path) if not row.codec & MERGED) > newest - LATE_NS - 6 * SECOND
    async with Journal(tmp_path) as journal:
        found = (await journal.read(0, 10**6)).observations
    assert len(found) == len(given)


async def test_when_the_day_changes_what_is_left_of_it_is_merged(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for number in range(5):
            await journal.append(group(number))
        await journal.append([numerics(T0 + DAY_NS)])
    assert all(row.codec & MERGED for row in stored(tmp_path))
    assert not merged_rows(tmp_path, "2026-01-02")


async def test_the_next_start_merges_what_a_crash_left_of_a_past_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "merge_rest", lambda _: None)
        async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
            for number in range(5):
                await journal.append(group(number))
            await journal.append([numerics(T0 + DAY_NS)])
    assert not merged_rows(tmp_path)
    before = list(JournalReader(tmp_path).query())
    async with Journal(tmp_path, commit_interval_s=QUICK):
        assert all(row.codec & MERGED for row in stored(tmp_path))
    assert list(JournalReader(tmp_path).query()) == before


async def test_a_reader_beside_a_merge_sees_either_the_blocks_before_or_those_after(tmp_path: Path) -> None:
    given = await fill(tmp_path)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        reading = JournalReader(tmp_path).query()
        first = [next(reading) for _ in range(20)]
        await merge_all(journal)
        rest = list(reading)
        assert sorted(map(repr, [*first, *rest])) == sorted(map(repr, JournalReader(tmp_path).query()))
    assert len(first) + len(rest) == len([each for each in given if points_of(each)])


def points_of(observation: Observation) -> int:
    return len(observation.raw) if isinstance(observation, Waveform) else 1


@pytest.mark.parametrize("changed", ["payload = x'00'", "device = 'nom'", "last_ns = last_ns + 1"])
async def test_a_damaged_block_is_never_merged(changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merger, "LATE_NS", NEVER_NS)
    await fill(tmp_path)
    seqs = [row.seq for row in stored(tmp_path)]
    alter(day_file(tmp_path, DAY), f"UPDATE block SET {changed} WHERE seq = {seqs[30]}")
    before = read_batch(tmp_path, 0, 10**6, seqs[-1])
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await merge_all(journal)
    (left,) = [row for row in stored(tmp_path) if not row.codec & MERGED]
    assert (left.seq, left.intact) == (seqs[30], False)
    assert read_batch(tmp_path, 0, 10**6, seqs[-1]) == before
    assert len(before.damaged) == 1


async def test_damage_inside_of_a_merged_row_costs_that_row_and_names_it(
    twins: tuple[Path, Path], tmp_path: Path
) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(twins[1], directory)
    row = merged_rows(directory)[10]
    alter(day_file(directory, DAY), f"UPDATE block SET payload = payload || x'00' WHERE seq = {row.seq}")
    whole = read_batch(twins[1], 0, 10**6, LAST).observations
    batch = read_batch(directory, 0, 10**6, LAST)
    lost = [one for each in originals(row) for one in each.observations]
    expected = list(whole)
    for one in lost:
        expected.remove(one)
    assert list(batch.observations) == expected
    (report,) = batch.damaged
    stream = row.channel or row.kind
    assert f"{row.blocks} blocks of {row.since} to {row.seq} ({row.device} {stream}) fails its checksum" in report


async def test_a_merge_that_the_disk_refuses_costs_nothing_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "FLUSH_GROUPS", 10)
    refused: list[int] = []

    def refuse(connection: sqlite3.Connection, small: list[Block]) -> None:
        schema.insert(connection, small)
        if len(refused) < 2:
            refused.append(len(small))
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(merging, "insert", refuse)
    given = await fill(tmp_path)
    assert len(refused) == 2
    assert merged_rows(tmp_path)
    found = list(JournalReader(tmp_path).query())
    assert sorted(map(repr, found)) == sorted(repr(each) for each in given if points_of(each))


async def test_retention_counts_what_a_sink_within_a_merged_row_has_not_got(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merger, "LATE_NS", NEVER_NS)
    missing = []
    for merge in (False, True):
        directory = tmp_path / str(merge)
        await fill(directory)
        async with Journal(directory, commit_interval_s=QUICK) as journal:
            if merge:
                await merge_all(journal)
            journal.commit("a", Progress(LAST // 2))
            gone = await journal.tidy(Limits(quota_bytes=1), ["a", "b"], T0)
        assert {each.part for each in gone} == {Part.WAVEFORMS}
        missing.append([sum(each.missing.get(sink, 0) for each in gone) for sink in ("a", "b")])
        assert sum(tally.blocks for each in gone for tally in each.tallies) == WAVE_BLOCKS
    assert missing[0] == missing[1]
    assert 0 < missing[0][0] < missing[0][1]


async def test_a_present_day_whose_waves_went_still_merges_and_reads(tmp_path: Path) -> None:
    await fill(tmp_path)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.tidy(Limits(quota_bytes=1), ["a"], T0)
        await merge_all(journal)
        await journal.append(group(GROUPS))
        numbers = [one for one in (await journal.read(0, 10**6)).observations if isinstance(one, Numerics)]
    assert numbers == [one for n in range(GROUPS + 1) for one in group(n) if isinstance(one, Numerics)]


def test_a_stream_that_does_not_come_out_as_it_was_is_carried_block_by_block() -> None:
    pieces = [waveform(T0, [1, 2]), waveform(T0 + 4_000_000, []), waveform(T0 + 4_000_000, [3])]
    small = [as_block(number, one) for number, one in enumerate(pieces, 1)]
    content = [one for row in small for one in originals(row)]
    result = merged(small, content, 1)
    assert [(row.seq, row.since, row.blocks) for row in result] == [(1, 1, 1), (2, 1, 1), (3, 1, 1)]
    assert exact([one for row in result for one in originals(row)]) == exact(content)


def as_block(seq: int, observation: Observation) -> Block:
    (one,) = pack([observation])
    fields = (one.first_ns, one.last_ns, one.points, 1, seq, int(one.codec), 0, one.payload)
    return Block(seq, seq, one.device, one.kind, one.channel, *fields).sealed()


@pytest.mark.slow
async def test_pages_of_merged_blocks_are_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "FLUSH_GROUPS", 10)
    sizes = []
    for groups in (100, 200, 400):
        await fill(tmp_path / str(groups), groups)
        sizes.append(day_file(tmp_path / str(groups), DAY).stat().st_size)
    for less, more in itertools.pairwise(sizes):
        assert more < 2.1 * less
    assert len(day_files(tmp_path / "400")) == 1
