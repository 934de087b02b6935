from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from acquisition.errors import JournalError, SinkUnavailableError
from acquisition.lanes import Span
from acquisition.model import Observation
from acquisition.read_ahead import ReadAhead, Wish
from tests.acquisition.forwarder_bench import Bench, JudgingSink, MemoryBatch, MemoryJournal, failing, numerics


@dataclass
class Shelf:
    """A journal of a thousand readings that remembers what was asked for."""

    asked: list[tuple[int, int, int]] = field(default_factory=list)
    fails: bool = False
    journal: MemoryJournal = field(default_factory=lambda: MemoryJournal([(numerics(at),) for at in range(1000)]))

    async def read(self, after: int, max_points: int, upto: int) -> MemoryBatch:
        self.asked.append((after, max_points, upto))
        await asyncio.sleep(0)
        if self.fails:
            raise JournalError("the disk refuses")
        return await self.journal.read(after, max_points, upto)


def times(observations: Sequence[Observation]) -> list[int]:
    return [one.time_ns for one in observations]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def ahead(shelf: Shelf) -> AsyncIterator[ReadAhead[list[int]]]:
    async with ReadAhead(shelf.read, times) as reading:
        yield reading


def wish(after: int, upto: int, max_points: int = 10) -> Wish:
    return Wish(Span(after, upto), max_points)


async def test_what_was_read_ahead_is_not_read_again(shelf: Shelf, ahead: ReadAhead[list[int]]) -> None:
    ahead.begin(wish(0, 1000))
    ready = await ahead.take(wish(0, 1000))
    assert (ready.prepared, ready.batch.last_seq) == (list(range(10)), 10)
    assert shelf.asked == [(0, 10, 1000)]


async def test_a_full_batch_stays_good_when_the_journal_has_grown(shelf: Shelf, ahead: ReadAhead[list[int]]) -> None:
    ahead.begin(wish(0, 900))
    assert (await ahead.take(wish(0, 1000))).prepared == list(range(10))
    assert len(shelf.asked) == 1


async def test_a_batch_that_was_not_full_is_read_again_when_there_is_more(
    shelf: Shelf, ahead: ReadAhead[list[int]]
) -> None:
    ahead.begin(wish(0, 5))
    assert (await ahead.take(wish(0, 8))).prepared == list(range(8))


@pytest.mark.parametrize("wanted", [wish(500, 1000), wish(0, 1000, 5)])
async def test_another_place_or_size_is_read_and_what_was_read_ahead_is_kept_for_later(
    shelf: Shelf, ahead: ReadAhead[list[int]], wanted: Wish
) -> None:
    ahead.begin(wish(0, 1000))
    after, upto = wanted.span
    assert (await ahead.take(wanted)).prepared == list(range(after, after + wanted.max_points))
    ahead.begin(wish(0, 1000))
    assert (await ahead.take(wish(0, 1000))).prepared == list(range(10))
    assert sorted(shelf.asked) == sorted([(0, 10, 1000), (after, wanted.max_points, upto)])


async def test_nothing_is_handed_out_twice(ahead: ReadAhead[list[int]]) -> None:
    ahead.begin(wish(0, 1000))
    first, second = await ahead.take(wish(0, 1000)), await ahead.take(wish(0, 1000))
    assert first is not second


async def test_a_failure_comes_out_where_the_batch_is_wanted(shelf: Shelf, ahead: ReadAhead[list[int]]) -> None:
    shelf.fails = True
    ahead.begin(wish(0, 1000))
    with pytest.raises(JournalError):
        await ahead.take(wish(0, 1000))
    shelf.fails = False
    assert (await ahead.take(wish(0, 1000))).prepared == list(range(10))


async def test_the_failure_of_a_batch_that_nobody_wants_any_more_is_nobodys(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    async with ReadAhead(shelf.read, times) as ahead:
        shelf.fails = True
        ahead.begin(wish(0, 1000))
        for _ in range(5):
            await asyncio.sleep(0)
        shelf.fails = False
        ahead.begin(wish(10, 1000))
        assert (await ahead.take(wish(10, 1000))).prepared == list(range(10, 20))
    assert caplog.records == []


async def test_leaving_gives_up_what_is_under_way(shelf: Shelf) -> None:
    before = asyncio.all_tasks()
    async with ReadAhead(shelf.read, times) as ahead:
        ahead.begin(wish(0, 1000))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@dataclass
class CountingSink(JudgingSink):
    """Counts what is prepared."""

    prepared: list[int] = field(default_factory=list)
    two: threading.Event = field(default_factory=threading.Event)

    def prepare(self, observations: Sequence[Observation]) -> Sequence[Observation]:
        self.prepared.append(len(observations))
        if len(self.prepared) == 2:
            self.two.set()
        return super().prepare(observations)


async def test_while_a_sink_is_away_one_batch_is_ready_behind_the_one_under_way_and_never_more() -> None:
    sink = CountingSink(failing(*[SinkUnavailableError("down")] * 20))
    rig = Bench(MemoryJournal([(numerics(time),) for time in range(500)]), sink)
    ready: list[int] = []

    async def look() -> None:
        assert await asyncio.to_thread(sink.two.wait, 10)
        ready.append(len(sink.prepared))

    rig.while_waiting = look
    await rig.drain()
    assert ready == [2] * 20
    assert sink.prepared == [100] * 5, "nothing was prepared twice"
    assert times(sink.taken) == list(range(500))
