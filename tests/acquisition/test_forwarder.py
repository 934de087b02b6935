from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.clock import ManualClock
from acquisition.errors import (
    SinkRefusedError,
    SinkRejectedError,
    SinkTooLargeError,
    SinkUnavailableError,
)
from acquisition.forwarder import LONGEST_RETRY_AFTER_S, Forwarder, ForwarderState
from acquisition.model import Event, EventKind, Numerics, Observation, Quality, State, Waveform

NS = 1_000_000_000


@dataclass(frozen=True)
class MemoryBatch:
    observations: tuple[Observation, ...]
    last_seq: int
    damaged: tuple[str, ...] = ()


@dataclass
class MemoryJournal:
    """Sequence number n is `rows[n - 1]`; an empty row is one that was lost to damage."""

    rows: list[tuple[Observation, ...]] = field(default_factory=list)
    committed: int = 0
    quarantined: list[tuple[Observation, str]] = field(default_factory=list)
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, after_seq: int, max_points: int) -> MemoryBatch:
        rows = self.rows[after_seq : after_seq + max_points]
        damaged = tuple(f"block {after_seq + at + 1}" for at, row in enumerate(rows) if not row)
        return MemoryBatch(tuple(one for row in rows for one in row), after_seq + len(rows), damaged)

    async def wait_for_new(self, after_seq: int) -> None:
        while len(self.rows) <= after_seq:
            self.drained.set()
            self.grown.clear()
            await self.grown.wait()

    def cursor(self, sink: str) -> int:
        assert sink == "central"
        return self.committed

    def commit_cursor(self, sink: str, seq: int) -> None:
        assert sink == "central"
        self.committed = seq

    def quarantine(self, sink: str, observation: Observation, reason: str) -> None:
        assert sink == "central"
        self.quarantined.append((observation, reason))

    def append(self, *observations: Observation) -> None:
        self.rows += [(one,) for one in observations]
        self.drained.clear()
        self.grown.set()


Verdict = Callable[[Sequence[Observation]], Exception | None]


@dataclass
class JudgingSink:
    """Takes what `verdict` has no objection to."""

    verdict: Verdict = lambda _: None
    taken: list[Observation] = field(default_factory=list)
    tried: list[int] = field(default_factory=list)
    entered: int = 0
    left: int = 0

    async def __aenter__(self) -> Self:
        self.entered += 1
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.left += 1

    async def deliver(self, observations: Sequence[Observation]) -> None:
        self.tried.append(len(observations))
        error = self.verdict(observations)
        if error is not None:
            raise error
        self.taken += observations


@dataclass
class Bench:
    """A forwarder with its surroundings, on virtual time."""

    journal: MemoryJournal
    sink: JudgingSink
    clock: ManualClock = field(default_factory=lambda: ManualClock(utc_ns=100 * NS))
    waits: list[float] = field(default_factory=list)
    while_waiting: Callable[[], Awaitable[None]] | None = None
    batch_points: int = 100

    def __post_init__(self) -> None:
        self.forwarder = Forwarder(
            "central",
            self.sink,
            self.journal,
            self.clock,
            rng=random.Random(7),
            batch_points=self.batch_points,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if self.while_waiting is not None:
            await self.while_waiting()
        self.clock.advance_to(self.clock.now().mono_ns + int(seconds * NS))
        await asyncio.sleep(0)

    async def drain(self) -> None:
        """Runs until the journal has nothing more, or the forwarder fails."""
        run = asyncio.create_task(self.forwarder.run())
        drained = asyncio.create_task(self.journal.drained.wait())
        try:
            await asyncio.wait({run, drained}, return_when=asyncio.FIRST_COMPLETED)
            if run.done():
                await run
        finally:
            run.cancel()
            drained.cancel()
            await asyncio.gather(run, drained, return_exceptions=True)


def bench(observations: Iterable[Observation], verdict: Verdict = lambda _: None, batch_points: int = 100) -> Bench:
    return Bench(MemoryJournal([(one,) for one in observations]), JudgingSink(verdict), batch_points=batch_points)


def numerics(time_ns: int, **values: float) -> Numerics:
    return Numerics(
        device="mon", time_ns=time_ns, values=values or {"hr": 80.0}, quality=dict.fromkeys(values, Quality.GOOD)
    )


def wave(time_ns: int, counts: Sequence[int]) -> Waveform:
    raw = np.array(counts, dtype="<i4").tobytes()
    return Waveform(device="mon", channel="wf_abp", time_ns=time_ns, period_ns=8, raw=raw)


def failing(*errors: Exception | None) -> Verdict:
    """Objects so to the first attempts, and then to none."""
    script = list(errors)
    return lambda _: script.pop(0) if script else None


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


@pytest.mark.parametrize(("asked", "waited"), [(17.5, 17.5), (600.0, 600.0), (0.0, 0.0), (1e9, LONGEST_RETRY_AFTER_S)])
async def test_a_server_that_says_when_to_come_back_is_obeyed_within_reason(asked: float, waited: float) -> None:
    rig = bench([numerics(1)], failing(SinkUnavailableError("busy", retry_after_s=asked)))
    await rig.drain()
    assert rig.waits == [waited]


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
