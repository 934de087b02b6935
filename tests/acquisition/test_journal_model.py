"""The journal behaves like a list with cursors, whatever is done to it in whatever order."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.lanes import Span
from acquisition.model import Observation
from tests.acquisition.journal_observations import DAY_NS, T0, event, numerics, waveform

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from([0, 1, 1_000_000_000, DAY_NS // 3, -DAY_NS])),
        st.tuples(st.just("deliver"), st.integers(1, 12)),
        st.tuples(st.just("deliver newest"), st.integers(1, 12)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("merge"), st.just(0)),
    ),
    max_size=25,
)


class Model:
    """A list of what was appended and of what was delivered, and of what was delivered ahead of its turn."""

    def __init__(self) -> None:
        self.appended: list[Observation] = []
        self.delivered: list[Observation] = []
        self.now = T0


async def play(directory: Path, steps: list[tuple[str, int]]) -> None:
    model, left = Model(), list(steps)
    while True:
        async with Journal(directory, commit_interval_s=0.0) as journal:
            assert journal.damaged == []
            while left:
                step, argument = left.pop(0)
                if step == "restart":
                    break
                await DO[step](journal, model, argument)
                assert journal.backlog("sink") == points(model.appended) - points(model.delivered)
            else:
                while journal.last_seq > journal.progress("sink").cursor:
                    await deliver(journal, model, 5)
                break
    assert sorted(map(repr, model.delivered)) == sorted(map(repr, model.appended))
    in_time = sorted(model.appended, key=lambda each: each.time_ns)
    found = list(JournalReader(directory).query(from_ns=-(2**60)))
    assert [each.time_ns for each in found] == [each.time_ns for each in in_time]
    assert sorted(map(repr, found)) == sorted(map(repr, in_time))


async def append(journal: Journal, model: Model, ahead_ns: int) -> None:
    model.now += ahead_ns
    three: list[Observation] = [numerics(model.now), waveform(model.now, [1, 2, 3]), event(model.now)]
    made = three[: 1 + len(model.appended) % 3]
    await journal.append(made)
    model.appended += made


async def deliver(journal: Journal, model: Model, max_points: int) -> None:
    progress = journal.progress("sink")
    upto = progress.ahead[0].after if progress.ahead else journal.last_seq
    await read(journal, model, Span(progress.cursor, upto), max_points)


async def deliver_newest(journal: Journal, model: Model, max_points: int) -> None:
    progress = journal.progress("sink")
    begin = max(journal.last_seq - 2, progress.cursor, *(span.upto for span in progress.ahead))
    await read(journal, model, Span(begin, journal.last_seq), max_points)


async def read(journal: Journal, model: Model, span: Span, max_points: int) -> None:
    batch = await journal.read(span.after, max_points, span.upto)
    assert batch.damaged == ()
    assert batch.points == points(list(batch.observations))
    assert batch.points <= max(3, max_points)
    assert batch.last_seq <= max(span)
    model.delivered += batch.observations
    journal.commit("sink", journal.progress("sink").having(Span(span.after, batch.last_seq)))


async def merge(journal: Journal, model: Model, _: int) -> None:
    await journal._writer.between_groups(journal._store.merge_rest)
    assert journal.stat().points == points(model.appended)


DO = {"append": append, "deliver": deliver, "deliver newest": deliver_newest, "merge": merge}


def points(observations: list[Observation]) -> int:
    return sum(3 if each.kind == "waveform" else 1 for each in observations)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_whatever_is_done_everything_is_delivered_once(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(play(Path(directory), steps))
