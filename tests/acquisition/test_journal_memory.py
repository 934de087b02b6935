"""What a journal that is read for months keeps in memory: nothing that will not be wanted again."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from acquisition.journal import Journal, backlog
from acquisition.journal.codec import pack
from acquisition.journal.journal import REMEMBERED
from acquisition.journal.merged import merged, originals
from acquisition.journal.remembering import Remembering
from acquisition.journal.schema import Block, day_files
from acquisition.model import Numerics, Quality, json_line, parse_line
from tests.acquisition.journal_observations import DAY_NS, QUICK, T0, numerics

SECOND = 1_000_000_000


def reading(at: int) -> Numerics:
    """Of a device that says little, as pumps do; its time is never the same."""
    return Numerics(
        device="pump",
        time_ns=T0 + at * SECOND,
        device_time=f"2026-01-01T00:00:00.{at:06}+00:00",
        values={"ecmo_flow": 3.5, "ecmo_rpm": 3000.0 + at},
        quality={"ecmo_flow": Quality.GOOD, "ecmo_rpm": Quality.GOOD},
    )


def block(at: int) -> Block:
    """A row as it is committed, with one reading."""
    (one,) = pack([reading(at)])
    return Block(
        seq=at, since=at, device=one.device, kind=one.kind, channel=one.channel, first_ns=one.first_ns,
        last_ns=one.last_ns, points=one.points, blocks=1, total=at, codec=int(one.codec), checksum=0,
        payload=one.payload,
    ).sealed()  # fmt: skip


@contextmanager
def kept() -> Iterator[Callable[[], int]]:
    """Tells how many bytes more are in use than at the beginning."""
    gc.collect()
    tracemalloc.start()
    try:
        begin, _ = tracemalloc.get_traced_memory()

        def more() -> int:
            gc.collect()
            return tracemalloc.get_traced_memory()[0] - begin

        yield more
    finally:
        tracemalloc.stop()


def test_what_is_read_as_it_comes_is_not_remembered() -> None:
    remembering = Remembering(100_000)
    remembering(block(1))
    with kept() as more:
        for at in range(2, 1002):
            assert remembering(block(at))[0].observations == (reading(at),)
        assert more() < 50_000


def test_of_readings_with_few_values_no_more_is_remembered_than_of_others() -> None:
    remembering = Remembering(REMEMBERED)
    rows = []
    for begin in range(1, 6001, 1000):
        blocks = [block(at) for at in range(begin, begin + 1000)]
        rows += merged(blocks, [originals(each)[0] for each in blocks], begin)
    assert len(rows) == 6
    originals(rows[0])
    with kept() as more:
        for row in rows:
            remembering(row)
        assert more() < 4_500_000  # some 2 kB a reading, of two ranges


def test_strings_that_come_once_are_not_kept() -> None:
    lines = [json_line(reading(at)) for at in range(100_000, 104_000)]
    parse_line(lines[0])
    with kept() as more:
        for line in lines:
            parse_line(line)
        assert more() < 50_000


async def test_nothing_is_known_of_files_that_are_gone(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for day in range(12):
            await journal.append([numerics(T0 + day * DAY_NS)])
            for path in day_files(tmp_path)[:-2]:
                path.unlink()
            for seq in range(day + 1):
                backlog.oldest_after(tmp_path, seq)
            known = [path for path, _ in backlog._STARTS if path.startswith(str(tmp_path))]
            assert len(known) <= 3
