"""A damaged tree of a day file, which leads past blocks without a word, costs none: they are on their pages still."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from hypothesis import given as given_any
from hypothesis import settings
from hypothesis import strategies as st

from acquisition.journal import Journal, dropping, merger, merging, purging, summary
from acquisition.journal.anew import mend
from acquisition.journal.codec import Codec
from acquisition.journal.leaves import blocks_in_use
from acquisition.journal.mending import is_mended
from acquisition.journal.merged import MERGED
from acquisition.journal.merger import Merger
from acquisition.journal.purging import Window
from acquisition.journal.reader import JournalReader
from acquisition.journal.retention import Limits
from acquisition.journal.salvage import damage_of
from acquisition.journal.schema import Block, create_tables, insert, new_file, rows, set_aside
from acquisition.journal.summary import Summary
from acquisition.model import Observation
from tests.acquisition.journal_observations import DAY_NS, NEVER_NS, QUICK, T0, alter, numerics, waveform

DAY = "2026-01-01.journal"
ASIDE = f"{DAY}.damaged-1"
PAGE = 4096
ROOT = 2
"""Page of the root of the table `block`."""
INNER = 0x05
"""Kind of a page with pointers to others."""
SECOND = 1_000_000_000
GROUPS = 48
DEVICES = ("mon", "pump")


async def fill(directory: Path) -> list[Observation]:
    chance = Random(1)
    given: list[Observation] = []
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        for number in range(GROUPS):
            now = T0 + number * SECOND
            counts = [chance.randrange(-(2**30), 2**30) for _ in range(chance.choice((3, 300, 1500)))]
            group: list[Observation] = [numerics(now, number + 0.5, device) for device in DEVICES]
            group.append(waveform(now, counts, period_ns=100))
            await journal.append(group, [("mon", str(number))])
            given += group
    return given


@pytest.fixture(scope="module", params=["small", "merged"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Observation]]:
    """A journal of one day whose blocks are small, or merged; closed, but with a mark as a crash leaves it."""
    directory = tmp_path_factory.mktemp("made") / "journal"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "FLUSH_GROUPS", 10)
        patch.setattr(merger, "LATE_NS", NEVER_NS)
        patch.setattr(merging, "MAX_WEIGHT", 1000)
        given = asyncio.run(fill(directory))
        if request.param == "merged":
            asyncio.run(merge(directory))
    alter(directory / "cursors.db", "UPDATE mark SET seq = seq + 1000")
    file = directory / DAY
    assert file.read_bytes()[PAGE * (ROOT - 1)] == INNER, "its tree has a page with pointers"
    assert any(row.codec & MERGED for row in stored(file)) == (request.param == "merged")
    return directory, given


async def merge(directory: Path) -> None:
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        await journal._writer.between_groups(journal._store.merge_rest)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merger, "LATE_NS", NEVER_NS)
    monkeypatch.setattr(merging, "MAX_WEIGHT", 10)


def stored(file: Path) -> list[Block]:
    with closing(sqlite3.connect(file)) as connection:
        return list(rows(connection, "SELECT * FROM block ORDER BY seq"))


def flip(file: Path, at: int, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1 << bit
    file.write_bytes(content)


def places(file: Path) -> Iterator[tuple[str, int]]:
    """What leads SQLite on in the root of the table of blocks, byte by byte: names and where they are in the file."""
    begin = PAGE * (ROOT - 1)
    page = file.read_bytes()[begin : begin + PAGE]
    yield from (("head", begin + at) for at in range(12))
    cells = int.from_bytes(page[3:5])
    for cell in range(cells):
        pointer = 12 + 2 * cell
        at = int.from_bytes(page[pointer : pointer + 2])
        yield from (("pointer", begin + pointer + each) for each in range(2))
        yield from (("child", begin + at + each) for each in range(4))
        yield "key", begin + at + 4


def sampled(seed: int, file: Path) -> list[tuple[int, int]]:
    """One of each kind of place, and a bit of the cell count that is set."""
    chance = Random(seed)
    found = list(places(file))
    count = found[4][1]
    cells = file.read_bytes()[count]
    kinds = {name: [at for each, at in found if each == name] for name, _ in found}
    set_bits = [bit for bit in range(8) if cells >> bit & 1]
    return [(count, chance.choice(set_bits)), *((chance.choice(ats), chance.randrange(8)) for ats in kinds.values())]


@pytest.mark.parametrize("seed", range(2))
async def test_a_tree_that_leads_past_blocks_costs_none_after_a_crash(
    tmp_path: Path, made: tuple[Path, list[Observation]], seed: int
) -> None:
    source, given = made
    for number, (at, bit) in enumerate(sampled(seed, source / DAY)):
        directory = tmp_path / str(number)
        shutil.copytree(source, directory)
        flip(directory / DAY, at, bit)
        wrong = damage_of(directory / DAY)
        async with Journal(directory, commit_interval_s=QUICK) as journal:
            assert any("set aside" in each for each in journal.damaged) == bool(wrong), (at, bit)
            assert list((await journal.read(0, 10**7)).observations) == given, (at, bit, wrong)
            assert journal.keys("mon", 10**6) == [str(each) for each in range(GROUPS)]
        reader = JournalReader(directory)
        assert sum(sound for _, sound in reader.verify()) == len(given)
        assert reader.damaged == []


def short(directory: Path) -> None:
    """Makes the root of the table of blocks lead to fewer pages."""
    begin = PAGE * (ROOT - 1)
    page = (directory / DAY).read_bytes()[begin : begin + PAGE]
    assert page[0] == INNER
    cells = page[4]
    flip(directory / DAY, begin + 4, cells.bit_length() - 1)


def test_verify_names_what_a_tree_leads_past(tmp_path: Path, made: tuple[Path, list[Observation]]) -> None:
    source, given = made
    shutil.copytree(source, tmp_path / "journal")
    short(tmp_path / "journal")
    reader = JournalReader(tmp_path / "journal")
    sound = sum(sound for _, sound in reader.verify())
    missing = [
        int(found[1]) for each in reader.damaged if (found := re.search(r": (\d+) blocks of .* are missing", each))
    ]
    assert 0 < sum(missing) == len(given) - sound


async def test_what_is_gone_beside_a_damaged_tree_is_named_at_the_start_and_by_verify(
    tmp_path: Path, made: tuple[Path, list[Observation]]
) -> None:
    source, given = made
    directory = tmp_path / "journal"
    shutil.copytree(source, directory)
    row = stored(directory / DAY)[7]
    flip(directory / DAY, (directory / DAY).read_bytes().rindex(row.payload[:16]), 0)
    short(directory)
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        assert len((await journal.read(0, 10**7)).observations) == len(given) - row.blocks
        said = journal.damaged[0]
    reader = JournalReader(directory)
    list(reader.verify())
    (missing,) = reader.damaged
    name, _, report = missing.partition(": ")
    assert name == ASIDE
    assert report.startswith(f"{row.blocks} blocks of {row.device} between")
    assert report in said


async def test_a_past_day_with_a_damaged_tree_that_is_to_be_merged_is_mended(tmp_path: Path) -> None:
    given = await fill(tmp_path)
    short(tmp_path)
    later = numerics(T0 + DAY_NS)
    with closing(sqlite3.connect(tmp_path / "2026-01-02.journal")) as connection:
        create_tables(connection)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([later])
        assert list((await journal.read(0, 10**7)).observations) == [*given, later]


async def test_a_tree_that_leads_past_blocks_costs_none_beside_what_a_crash_left_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await fill(tmp_path / "journal")
    monkeypatch.setattr(Merger, "merge", lambda *_: None)
    async with Journal(tmp_path / "journal", commit_interval_s=QUICK) as journal:
        newer = [numerics(T0 + (GROUPS + number) * SECOND) for number in range(3)]
        for each in newer:
            await journal.append([each])
        shutil.copytree(tmp_path / "journal", tmp_path / "crashed")
    assert (tmp_path / "crashed" / f"{DAY}-wal").stat().st_size
    short(tmp_path / "crashed")
    async with Journal(tmp_path / "crashed", commit_interval_s=QUICK) as journal:
        assert any("set aside" in each for each in journal.damaged)
        assert list((await journal.read(0, 10**7)).observations) == [*given, *newer]


async def test_dropped_waveforms_do_not_come_back_from_pages_out_of_use(tmp_path: Path) -> None:
    given = await fill(tmp_path)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for _ in range(5):
            await journal.tidy(Limits(quota_bytes=1), [], T0)
        left = list((await journal.read(0, 10**7)).observations)
    assert len(left) < len(given)
    alter(tmp_path / "cursors.db", "UPDATE mark SET seq = seq + 1000")
    short(tmp_path)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        assert any("set aside" in each for each in journal.damaged)
        assert list((await journal.read(0, 10**7)).observations) == left
    reader = JournalReader(tmp_path)
    list(reader.verify())
    assert reader.damaged == [], "what was dropped is not missing"


async def test_purged_readings_do_not_come_back_from_behind_a_damaged_tree(
    tmp_path: Path, made: tuple[Path, list[Observation]]
) -> None:
    source, given = made
    directory = tmp_path / "journal"
    shutil.copytree(source, directory)
    short(directory)
    purging.purge(directory, [Window(0, devices=frozenset({"pump"}))], lambda _: False, [])
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        left = list((await journal.read(0, 10**7)).observations)
    assert left == [each for each in given if each.device != "pump"]
    for file in directory.glob("*.journal*"):
        descriptor = file.read_bytes()
        assert b"pump" not in descriptor


async def test_what_merging_left_on_pages_out_of_use_comes_once(
    tmp_path: Path, made: tuple[Path, list[Observation]]
) -> None:
    source, given = made
    file = tmp_path / DAY
    shutil.copy(source / DAY, file)
    aside = set_aside(file)
    begin = PAGE * (ROOT - 1)
    flip(aside, begin + 4, 0)
    assert mend(aside, new_file()) == []
    found = stored(aside)
    assert sum(row.blocks for row in found) == len(given)
    assert is_mended(aside, new_file())
    assert damage_of(aside) == ""
    before = aside.read_bytes()
    mend(aside, new_file())
    assert aside.read_bytes() == before


async def test_a_damaged_list_of_pages_out_of_use_costs_nothing(tmp_path: Path) -> None:
    given = await fill(tmp_path)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for _ in range(5):
            await journal.tidy(Limits(quota_bytes=1), [], T0)
        left = list((await journal.read(0, 10**7)).observations)
    assert len(left) < len(given)
    alter(tmp_path / "cursors.db", "UPDATE mark SET seq = seq + 1000")
    trunk = int.from_bytes((tmp_path / DAY).read_bytes()[32:36])
    source = tmp_path / "source"
    source.mkdir()
    for each in tmp_path.glob("*.*"):
        shutil.copy(each, source)
    for at in (3, 7, 10, 11, 14, 15):
        directory = tmp_path / str(at)
        shutil.copytree(source, directory)
        flip(directory / DAY, PAGE * (trunk - 1) + at, at % 4)
        async with Journal(directory, commit_interval_s=QUICK) as journal:
            assert list((await journal.read(0, 10**7)).observations) == left, at


BLOCKS = st.lists(
    st.tuples(st.integers(1, 2**40), st.text(max_size=9), st.integers(-(2**63), 2**63 - 1), st.integers(0, 20_000)),
    unique_by=lambda each: each[0],
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given_any(wanted=BLOCKS, kept=st.integers(0, 3))
def test_the_blocks_on_the_pages_in_use_are_those_that_sqlite_reads(
    wanted: list[tuple[int, str, int, int]], kept: int
) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create_tables(connection)
        for seq, device, number, size in wanted:
            payload = Random(seq).randbytes(size)
            fields = (
                device,
                "waveform",
                "wf",
                number,
                -number // 2,
                0,
                1,
                number % 300,
                int(Codec.COLUMNS),
                0,
                payload,
            )
            insert(connection, [Block(seq, seq, *fields).sealed()])
        connection.execute("INSERT INTO message_key VALUES (7, 'mon', 'x')")
        connection.execute("DELETE FROM block WHERE seq % 4 > ?", (kept,))
        expected = list(rows(connection, "SELECT * FROM block ORDER BY seq"))
        content = connection.serialize()
    found = blocks_in_use(lambda number: content[PAGE * (number - 1) : PAGE * number], len(content) // PAGE)
    assert found is not None
    assert sorted(found) == expected


async def test_sums_of_what_a_failed_commit_left_are_taken_back_with_it(tmp_path: Path) -> None:
    await fill(tmp_path)
    with closing(sqlite3.connect(tmp_path / DAY, isolation_level=None)) as connection:
        before = summary.load(connection)
        middle = before.last_seq // 2
        connection.execute("BEGIN")
        summary.forget(connection, middle, DAY)
        connection.execute("COMMIT")
        assert summary.load(connection).last_seq == middle - 1
    reader = JournalReader(tmp_path)
    assert sum(sound for _, sound in reader.verify()) == middle - 1 == reader.stat().blocks
    assert reader.damaged == []


async def test_what_has_no_sums_yet_is_not_missing_when_its_waveforms_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Summary, "flush", lambda *_: None)
    await fill(tmp_path)
    monkeypatch.undo()
    assert dropping.rewrite(tmp_path / DAY, {}).points
    reader = JournalReader(tmp_path)
    assert sum(sound for _, sound in reader.verify()) == len(DEVICES) * GROUPS
    assert reader.damaged == []


async def test_a_tree_that_turns_out_damaged_while_the_daemon_writes_is_mended_by_the_next_start(
    tmp_path: Path, made: tuple[Path, list[Observation]]
) -> None:
    source, given = made
    directory = tmp_path / "journal"
    shutil.copytree(source, directory)
    aside = set_aside(directory / DAY)
    begin = PAGE * (ROOT - 1)
    flip(aside, begin + 4, aside.read_bytes()[begin + 4].bit_length() - 1)
    before = aside.read_bytes()
    mend(aside, new_file(), trees=False)
    assert aside.read_bytes() == before
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        assert list((await journal.read(0, 10**7)).observations) == given
    assert is_mended(aside, new_file())
