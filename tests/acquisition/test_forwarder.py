from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.errors import (
    SinkRefusedError,
    SinkRejectedError,
    SinkTooLargeError,
    SinkUnavailableError,
)
from acquisition.forwarder import LONGEST_RETRY_AFTER_S, ForwarderState
from acquisition.model import Event, EventKind, Numerics, Observation, Quality, State, Waveform
from tests.acquisition.forwarder_bench import (
    NS,
    Bench,
    JudgingSink,
    MemoryJournal,
    Verdict,
    bench,
    failing,
    numerics,
    wave,
)


async def test_everything_arrives_in_order_and_the_cursor_follows() -> None:
    observations = [numerics(time) for time in range(250)]
    rig = bench(observations)
    await rig.drain()
    assert rig.sink.taken == observations
    assert rig.sink.tried == [100, 100, 50]
    assert rig.journal.committed == 250
    assert rig.forwarder.status.cursor == 250
    assert rig.forwarder.status.delivered == 250
    assert rig.forwarder.status.state is ForwarderState.IDLE


async def test_it_goes_on_where_the_cursor_stands() -> None:
    rig = bench([numerics(time) for time in range(5)])
    rig.journal.committed = 3
    await rig.drain()
    assert [one.time_ns for one in rig.sink.taken] == [3, 4]


async def test_what_comes_later_is_delivered_when_it_comes() -> None:
    rig = bench([])
    run = asyncio.create_task(rig.forwarder.run())
    for time in range(3):
        await rig.journal.drained.wait()
        rig.journal.append(numerics(time))
    await rig.journal.drained.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert [one.time_ns for one in rig.sink.taken] == [0, 1, 2]
    assert (rig.sink.entered, rig.sink.left) == (1, 1)


async def test_the_cursor_stands_until_the_sink_has_the_batch() -> None:
    rig = bench([numerics(1)], failing(*[SinkUnavailableError("down")] * 5))

    async def look() -> None:
        assert rig.journal.committed == 0

    rig.while_waiting = look
    await rig.drain()
    assert len(rig.waits) == 5
    assert rig.journal.committed == 1


async def test_a_cancelled_delivery_is_repeated_by_the_next_run() -> None:
    rig = bench([numerics(1)], failing(SinkUnavailableError("down")))

    async def cut() -> None:
        raise asyncio.CancelledError

    rig.while_waiting = cut
    with pytest.raises(asyncio.CancelledError):
        await rig.drain()
    assert rig.journal.committed == 0
    await rig.drain()
    assert rig.sink.taken == [numerics(1)]
    assert (rig.sink.entered, rig.sink.left) == (2, 2)


async def test_blocks_lost_to_damage_are_passed_over_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    rig = Bench(MemoryJournal([(), (numerics(1),), ()]), JudgingSink(), batch_points=1)
    await rig.drain()
    assert rig.sink.taken == [numerics(1)]
    assert rig.journal.committed == 3
    reports = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert reports == [f"sink central will not get what the journal lost: block {lost}" for lost in (1, 3)]


async def test_an_unexpected_error_reaches_the_supervisor_and_the_sink_is_closed() -> None:
    rig = bench([numerics(1)], failing(RuntimeError("a mistake of ours")))
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        await rig.drain()
    assert rig.journal.committed == 0
    assert rig.sink.left == 1
    status = rig.forwarder.status
    assert (status.state, status.attempts) == (ForwarderState.WAITING, 1)
    assert status.last_error == "RuntimeError: a mistake of ours"


# -- unavailable and refused -------------------------------------------------------------------------------------------


async def test_an_outage_is_waited_out_for_ever_with_full_jitter_and_never_more_than_a_minute() -> None:
    rig = bench([numerics(1)], failing(*[SinkUnavailableError("down")] * 3000))
    await rig.drain()
    assert rig.sink.taken == [numerics(1)]
    assert len(rig.waits) == 3000
    for attempt, wait in enumerate(rig.waits):
        assert 0 <= wait <= min(60.0, 2.0 ** min(attempt, 6))
    spread = np.histogram(rig.waits[6:], bins=6, range=(0, 60))[0]
    assert spread.min() > 400, "jitter is full when every part of the interval is as likely"


async def test_a_success_begins_the_waiting_anew() -> None:
    down = SinkUnavailableError("down")
    rig = bench([numerics(1), numerics(2)], failing(*[down] * 10, None, down), batch_points=1)
    await rig.drain()
    assert max(rig.waits[6:10]) > 1
    assert rig.waits[10] <= 1
    assert rig.forwarder.status.attempts == 0


@pytest.mark.parametrize(("asked", "waited"), [(17.5, 17.5), (600.0, 600.0), (1e9, LONGEST_RETRY_AFTER_S)])
async def test_a_server_that_says_when_to_come_back_is_obeyed_within_reason(asked: float, waited: float) -> None:
    rig = bench([numerics(1)], failing(SinkUnavailableError("busy", retry_after_s=asked)))
    await rig.drain()
    assert rig.waits == [waited]


async def test_a_server_that_wants_it_again_at_once_is_not_run_over() -> None:
    rig = bench([numerics(1)], failing(*[SinkUnavailableError("busy", retry_after_s=0.0)] * 40))
    await rig.drain()
    assert sum(rig.waits) > 600


async def test_the_status_tells_of_the_wait_and_forgets_it_afterwards() -> None:
    rig = bench([numerics(1)], failing(SinkUnavailableError("no route", retry_after_s=30.0)))
    seen = []

    async def look() -> None:
        seen.append(rig.forwarder.status)

    rig.while_waiting = look
    await rig.drain()
    (waiting,) = seen
    assert waiting.state is ForwarderState.WAITING
    assert waiting.last_error == "no route"
    assert waiting.attempts == 1
    assert waiting.backoff_until_ns == 130 * NS
    assert waiting.last_success_ns is None
    after = rig.forwarder.status
    assert (after.last_error, after.attempts, after.backoff_until_ns) == ("", 0, None)
    assert after.last_success_ns == 130 * NS


async def test_a_refusal_keeps_everything_and_says_what_a_person_must_mend() -> None:
    rig = bench([numerics(1)], failing(*[SinkRefusedError("answered 401", hint="check the token")] * 20))
    seen = []

    async def look() -> None:
        seen.append((rig.forwarder.status.state, rig.forwarder.status.last_error))

    rig.while_waiting = look
    await rig.drain()
    assert set(seen) == {(ForwarderState.REFUSED, "answered 401 (check the token)")}
    assert max(rig.waits) > 10
    assert rig.sink.taken == [numerics(1)]
    assert rig.journal.quarantined == []


async def test_a_long_outage_is_logged_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="acquisition.forwarder")
    rig = bench([numerics(1)], failing(*[SinkUnavailableError("down")] * 50))
    await rig.drain()
    assert [record.levelname for record in caplog.records if record.name == "acquisition.forwarder"] == [
        "WARNING",
        "INFO",
    ]


# -- too large ---------------------------------------------------------------------------------------------------------


def larger_than(limit: int) -> Verdict:
    def verdict(observations: Sequence[Observation]) -> Exception | None:
        size = sum(
            len(one.raw) // 4 if isinstance(one, Waveform) else len(one.values) if isinstance(one, Numerics) else 1
            for one in observations
        )
        return SinkTooLargeError("413") if size > limit else None

    return verdict


async def test_a_batch_that_is_too_large_is_halved_and_stays_in_order() -> None:
    observations = [numerics(time) for time in range(37)]
    rig = bench(observations, larger_than(5))
    await rig.drain()
    assert rig.sink.taken == observations
    assert rig.journal.quarantined == []
    assert rig.journal.committed == 37


async def test_a_block_of_samples_that_alone_is_too_large_is_cut_and_no_sample_moves() -> None:
    block = wave(1000, range(101))
    assert block.counts[0] == 0  # what was computed of the whole must not stick to its parts
    rig = bench([block], larger_than(10))
    await rig.drain()
    parts = [one for one in rig.sink.taken if isinstance(one, Waveform)]
    assert [(part.time_ns + 8 * at, int(count)) for part in parts for at, count in enumerate(part.counts)] == [
        (1000 + 8 * at, at) for at in range(101)
    ]
    assert all(len(part.counts) <= 10 for part in parts)
    assert rig.forwarder.status.delivered == 101


async def test_the_smallest_thing_that_is_still_too_large_is_quarantined() -> None:
    event = Event(device="mon", time_ns=2, event=EventKind.ALARM, text="x" * 9)
    rig = bench([numerics(1), event, numerics(3)], lambda them: SinkTooLargeError("413") if event in them else None)
    await rig.drain()
    assert rig.sink.taken == [numerics(1), numerics(3)]
    assert rig.journal.quarantined == [(event, "413")]


# -- rejected ----------------------------------------------------------------------------------------------------------


def rejecting(bad: Callable[[Observation], bool]) -> Verdict:
    return lambda them: SinkRejectedError("400: field type conflict") if any(map(bad, them)) else None


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 60), bad=st.sets(st.integers(0, 59)), batch_points=st.integers(1, 40))
async def test_exactly_the_rejected_points_are_quarantined_and_every_neighbour_arrives(
    count: int, bad: set[int], batch_points: int
) -> None:
    observations = [numerics(time) for time in range(count)]
    rig = bench(observations, rejecting(lambda one: one.time_ns in bad), batch_points)
    await rig.drain()
    assert [one.time_ns for one in rig.sink.taken] == [time for time in range(count) if time not in bad]
    assert [one.time_ns for one, _ in rig.journal.quarantined] == [time for time in range(count) if time in bad]
    assert all(reason == "400: field type conflict" for _, reason in rig.journal.quarantined)
    assert rig.journal.committed == count
    assert rig.forwarder.status.quarantined == len(bad & set(range(count)))


async def test_one_bad_point_among_thousands_is_found_in_a_few_requests() -> None:
    rig = bench([numerics(time) for time in range(4096)], rejecting(lambda one: one.time_ns == 1234), 4096)
    await rig.drain()
    assert len(rig.journal.quarantined) == 1
    assert len(rig.sink.tried) <= 2 * 12 + 1


async def test_a_channel_that_is_rejected_does_not_keep_its_neighbours_from_the_server() -> None:
    whole = Numerics(
        device="mon",
        time_ns=5,
        device_time="2026-01-01T00:00:00+00:00",
        values={"hr": 80.0, "abp_mean": 78.0, "temp": 37.0},
        states={"temp": State.QUESTIONABLE, "cvp": State.NOT_CONNECTED},
        quality={"hr": Quality.GOOD, "abp_mean": Quality.GOOD, "temp": Quality.SUSPECT},
    )
    rig = bench([whole], rejecting(lambda one: isinstance(one, Numerics) and "abp_mean" in one.values))
    await rig.drain()
    arrived = [one for one in rig.sink.taken if isinstance(one, Numerics)]
    assert {name: value for one in arrived for name, value in one.values.items()} == {"hr": 80.0, "temp": 37.0}
    assert {name: state for one in arrived for name, state in one.states.items()} == whole.states
    assert {name: judged for one in arrived for name, judged in one.quality.items()} == {
        "hr": Quality.GOOD,
        "temp": Quality.SUSPECT,
    }
    assert {(one.time_ns, one.device, one.device_time) for one in arrived} == {(5, "mon", whole.device_time)}
    ((rejected, _),) = rig.journal.quarantined
    assert isinstance(rejected, Numerics)
    assert rejected.values == {"abp_mean": 78.0}


async def test_a_block_of_samples_that_is_rejected_is_quarantined_whole() -> None:
    block = wave(0, range(500))
    rig = bench([numerics(1), block], rejecting(lambda one: isinstance(one, Waveform)))
    await rig.drain()
    assert rig.journal.quarantined == [(block, "400: field type conflict")]
    assert rig.forwarder.status.quarantined == 500
    assert len(rig.sink.tried) == 3


async def test_an_outage_in_the_middle_of_the_search_loses_nothing() -> None:
    calls = 0

    def verdict(them: Sequence[Observation]) -> Exception | None:
        nonlocal calls
        calls += 1
        if calls % 2 == 0:
            return SinkUnavailableError("down")
        return SinkRejectedError("bad") if any(one.time_ns == 6 for one in them) else None

    rig = bench([numerics(time) for time in range(10)], verdict)
    await rig.drain()
    assert [one.time_ns for one in rig.sink.taken] == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert [one.time_ns for one, _ in rig.journal.quarantined] == [6]


async def test_quarantine_comes_before_the_cursor_that_passes_it() -> None:
    rig = bench([numerics(1), numerics(2)], failing(*[SinkRejectedError("bad")] * 2, SinkUnavailableError("down")))
    seen = []

    async def look() -> None:
        seen.append((len(rig.journal.quarantined), rig.journal.committed))

    rig.while_waiting = look
    await rig.drain()
    assert seen == [(1, 0)]
    assert rig.journal.committed == 2


async def test_quarantining_is_logged_once_a_batch_with_the_servers_reason(caplog: pytest.LogCaptureFixture) -> None:
    rig = bench([numerics(time) for time in range(100)], rejecting(lambda one: one.time_ns % 2 == 0))
    await rig.drain()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "acquisition.forwarder"]
    assert line == "sink central: quarantined 50 points, the last because: 400: field type conflict"
