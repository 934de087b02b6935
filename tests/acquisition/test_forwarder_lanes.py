"""A forwarder with a backlog: the newest readings share the line with the oldest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from acquisition.errors import SinkRejectedError, SinkTooLargeError, SinkUnavailableError
from acquisition.lanes import Span
from acquisition.model import Observation
from tests.acquisition.forwarder_bench import NS, Bench, JudgingSink, MemoryJournal, Verdict, bench, failing, numerics

DOWN = SinkUnavailableError("down")


def times(observations: Sequence[Observation]) -> list[int]:
    return [one.time_ns for one in observations]


def growing(rig: Bench, live: list[int]) -> Verdict:
    """Appends one live reading with every delivery, as long as there are any left."""

    def verdict(_: Sequence[Observation]) -> None:
        if live:
            rig.journal.append(numerics(live.pop(0)))

    return verdict


async def test_while_a_backlog_drains_the_newest_and_the_oldest_take_turns() -> None:
    rig = bench([numerics(time) for time in range(500)], batch_points=50)
    live = [1000 * NS + time for time in range(6)]
    rig.sink.verdict = growing(rig, list(live))
    await rig.drain()
    shared = [*range(50), live[0], *range(50, 100), *live[1:3], *range(100, 150), *live[3:5], *range(150, 200), live[5]]
    assert times(rig.sink.taken) == [*shared, *range(200, 500)]
    assert (rig.journal.committed, rig.journal.ahead) == (506, ())


async def test_live_readings_are_sent_first_right_after_an_outage() -> None:
    rig = bench([numerics(0)], batch_points=50)
    rig.sink.verdict = failing(*[DOWN] * 100)

    async def recorded() -> None:
        rig.journal.append(*(numerics(len(rig.waits) * NS + at) for at in range(10)))

    rig.while_waiting = recorded
    await rig.drain()
    order = times(rig.sink.taken)
    assert order[0] == 0  # what was under way when the sink went
    assert order[1:51] == [*range(1 * NS, 1 * NS + 10), *(s * NS + at for s in range(2, 6) for at in range(10))]
    assert order[51:72] == [98 * NS + 9, *(second * NS + at for second in (99, 100) for at in range(10))]
    assert len(order) == len(set(order)) == 1001


async def test_a_second_outage_in_the_middle_of_a_drain_repeats_nothing_and_sends_the_newest_first() -> None:
    rig = bench([numerics(time) for time in range(500)], failing(None, *[DOWN] * 40), batch_points=50)
    rig.journal.append(numerics(1000 * NS))

    async def recorded() -> None:
        rig.journal.append(*(numerics((1000 + len(rig.waits)) * NS + at) for at in range(10)))

    rig.while_waiting = recorded
    await rig.drain()
    order = times(rig.sink.taken)
    assert order[:51] == [*range(50), 1000 * NS]
    assert order[51:101] == list(range(50, 100))
    assert order[101:122] == [1038 * NS + 9, *((1000 + second) * NS + at for second in (39, 40) for at in range(10))]
    assert len(order) == len(set(order)) == 901


async def test_what_went_ahead_is_not_sent_again_after_a_restart() -> None:
    rig = bench([numerics(time) for time in range(300)], failing(None, None, DOWN), batch_points=50)
    rig.journal.append(*(numerics(1000 * NS + at) for at in range(5)))

    async def cut() -> None:
        raise asyncio.CancelledError

    rig.while_waiting = cut
    with pytest.raises(asyncio.CancelledError):
        await rig.drain()
    assert (rig.journal.committed, rig.journal.ahead) == (50, (Span(300, 305),))
    again = Bench(MemoryJournal(rig.journal.rows, 50, rig.journal.ahead), JudgingSink(), batch_points=50)
    again.journal.append(numerics(1001 * NS))
    await again.drain()
    assert times(again.sink.taken) == [*range(50, 100), 1001 * NS, *range(100, 300)]
    assert (again.journal.committed, again.journal.ahead) == (306, ())


@pytest.mark.parametrize("refusal", [SinkTooLargeError("413"), SinkRejectedError("400")])
async def test_in_both_lanes_a_batch_that_is_not_taken_whole_is_taken_in_parts(refusal: Exception) -> None:
    bad = {17, 1000 * NS + 3}

    def verdict(them: Sequence[Observation]) -> Exception | None:
        return refusal if bad.intersection(times(them)) else None

    rig = bench([numerics(time) for time in range(200)], verdict, batch_points=50)
    rig.journal.append(*(numerics(1000 * NS + at) for at in range(5)))
    await rig.drain()
    order = times(rig.sink.taken)
    assert sorted(order) == sorted({*range(200), *(1000 * NS + at for at in range(5))} - bad)
    assert order[49:53] == [1000 * NS + at for at in (0, 1, 2, 4)]
    assert times([one for one, _ in rig.journal.quarantined]) == [17, 1000 * NS + 3]


async def test_blocks_lost_to_damage_are_passed_in_both_lanes() -> None:
    rows: list[tuple[Observation, ...]] = [(numerics(at),) if at % 3 else () for at in range(100)]
    rig = Bench(MemoryJournal(rows), JudgingSink(), batch_points=10)
    rig.journal.append(numerics(1000 * NS))
    rig.journal.rows.append(())
    await rig.drain()
    assert sorted(times(rig.sink.taken)) == [at for at in range(100) if at % 3] + [1000 * NS]
    assert rig.sink.taken.index(numerics(1000 * NS)) == 6
    assert rig.journal.committed == 102


async def test_on_a_slow_line_batches_become_smaller_and_on_a_fast_one_large_again() -> None:
    rig = bench([numerics(time) for time in range(20_000)], batch_points=3000)

    def slow_at_first(them: Sequence[Observation]) -> None:
        if len(rig.sink.tried) <= 8:  # 1000 points a second
            rig.clock.advance_to(rig.clock.now().mono_ns + len(them) * NS // 1000)

    rig.sink.verdict = slow_at_first
    await rig.drain()
    assert rig.sink.tried[:8] == [3000, 1500, 750, 375, 375, 375, 375, 375]
    assert rig.sink.tried[8:12] == [375, 750, 1500, 3000]
    assert times(rig.sink.taken) == list(range(20_000))


async def test_the_wait_for_a_sink_that_is_away_does_not_make_batches_smaller() -> None:
    rig = bench([numerics(time) for time in range(300)], failing(*[DOWN] * 20))
    await rig.drain()
    assert rig.sink.tried[20:] == [100, 100, 100]


async def test_the_status_tells_how_many_points_a_second_went_over_the_last_minute() -> None:
    rig = bench([numerics(time) for time in range(600)])
    await rig.drain()
    assert rig.forwarder.status.points_per_second == 600
    rig.clock.advance_to(30 * NS)
    assert rig.forwarder.status.points_per_second == 20
    rig.clock.advance_to(90 * NS)
    assert rig.forwarder.status.points_per_second == 0
