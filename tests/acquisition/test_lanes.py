"""The two lanes against a set of numbers: nothing is skipped, nothing is sent twice, and neither lane starves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from acquisition.lanes import LATE_NS, LIVE_NS, MAX_AHEAD, End, Lanes, Progress, Span, Turn

NUMBERS = st.integers(0, 40)
SPANS = st.lists(st.builds(Span, NUMBERS, NUMBERS), max_size=8)


def numbers(span: Span) -> set[int]:
    return set(range(span.after + 1, span.upto + 1))


def had(progress: Progress) -> set[int]:
    return numbers(Span(0, progress.cursor)).union(*map(numbers, progress.ahead))


def is_tidy(progress: Progress) -> bool:
    bounds = [progress.cursor, *(seq for span in progress.ahead for seq in span)]
    return bounds == sorted(set(bounds))


@given(cursor=NUMBERS, spans=SPANS)
def test_what_a_sink_has_is_the_union_of_all_that_was_delivered(cursor: int, spans: list[Span]) -> None:
    progress = Progress(cursor).having(*spans)
    assert had(progress) == numbers(Span(0, cursor)).union(*map(numbers, spans))
    assert is_tidy(progress)
    one_by_one = Progress(cursor)
    for span in spans:
        one_by_one = one_by_one.having(span)
    assert one_by_one == progress


@dataclass
class Line:
    """A journal whose block `n` was written at `written[n - 1]` seconds, and a sink that gets it batch by batch."""

    written: list[int] = field(default_factory=list)
    opened_at: int = 0
    lanes: Lanes = field(default_factory=Lanes)
    sent: list[int] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    def append(self, seconds: Sequence[int]) -> None:
        self.written += seconds

    def restart(self) -> None:
        self.opened_at = len(self.written)
        self.lanes = Lanes(self.lanes.progress)

    @property
    def end(self) -> End:
        return End(len(self.written), live=self.before(LIVE_NS), late=self.before(LATE_NS))

    def before(self, age_ns: int) -> int:
        until = (self.written[-1] if self.written else 0) - age_ns / 1e9
        return max(self.opened_at, sum(second < until for second in self.written))

    def send(self, most: int) -> bool:
        span = self.lanes.next_span(self.end)
        if not span:
            return False
        upto = min(span.upto, span.after + most)
        self.spans.append(span)
        self.sent += sorted(numbers(Span(span.after, upto)))
        cursor = self.lanes.progress.cursor
        self.lanes = self.lanes.delivered(span, upto)
        assert self.lanes.progress.cursor >= cursor
        return True


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 30)),
        st.tuples(st.just("wait"), st.integers(1, 30)),
        st.tuples(st.just("send"), st.integers(1, 6)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=60,
)


@given(steps=STEPS, most=st.integers(1, 6))
def test_everything_is_sent_once_whatever_happens(steps: list[tuple[str, int]], most: int) -> None:
    line, now = Line(), 0
    for step, argument in steps:
        match step:
            case "append":
                line.append([now] * argument)
            case "wait":
                now += argument
            case "restart":
                line.restart()
            case "send":
                line.send(argument)
        assert is_tidy(line.lanes.progress)
        assert had(line.lanes.progress) == set(line.sent)
        assert len(line.lanes.progress.ahead) <= MAX_AHEAD
    while line.send(most):
        pass
    assert sorted(line.sent) == list(range(1, len(line.written) + 1))
    assert line.lanes.progress == Progress(len(line.written))


@given(backlog=st.integers(0, 300), most=st.integers(2, 20), each=st.integers(1, 20))
def test_live_blocks_wait_for_one_batch_of_the_backlog_at_most_and_the_backlog_gets_every_second(
    backlog: int, most: int, each: int
) -> None:
    line = Line()
    line.append([0] * backlog)
    line.restart()
    for second in range(1, 400):
        fresh = set(range(len(line.written) + 1, len(line.written) + 1 + min(each, most)))
        line.append([second] * len(fresh))
        oldest_before = line.lanes.progress.cursor
        line.send(most)
        line.send(most)
        assert fresh <= set(line.sent)
        assert line.lanes.progress.cursor >= min(oldest_before + most, len(line.written))
        if line.lanes.progress == Progress(len(line.written)):
            return
    assert backlog > 100


def test_without_a_backlog_there_is_one_lane_in_order() -> None:
    line = Line()
    for second in range(100):
        line.append([second] * 3)
        assert line.send(10)
        assert not line.send(10)
        assert line.lanes.progress.ahead == ()
    assert line.sent == list(range(1, 301))


def test_the_newest_go_first_right_after_a_second_outage_during_the_drain() -> None:
    line = Line()
    line.append([0] * 1000)
    line.restart()
    for second in range(1, 4):
        line.append([second] * 3)
        line.send(10)
        line.send(10)
    line.append([second for second in range(4, 600) for _ in range(3)])
    newest = len(line.written)
    line.send(10)
    line.send(10)
    assert set(range(newest - 8, newest + 1)) <= set(line.sent)
    assert len(line.lanes.progress.ahead) == 2
    while line.send(10):
        pass
    assert sorted(line.sent) == list(range(1, newest + 1))


def test_a_short_delay_of_the_live_lane_is_made_good_in_order() -> None:
    line = Line(lanes=Lanes(Progress(10, (Span(1000, 1003),)), Turn.NEWEST))
    line.append([0] * 1003 + [1, 2, 3, 4, 5, 6, 7])
    assert line.lanes.next_span(line.end) == Span(1003, 1010)


def test_with_too_many_spans_the_live_lane_waits_rather_than_repeat() -> None:
    ahead = tuple(Span(10 * at, 10 * at + 1) for at in range(1, MAX_AHEAD + 1))
    line = Line(lanes=Lanes(Progress(1, ahead), Turn.NEWEST))
    line.append(range(1000))
    assert line.lanes.next_span(line.end).after == ahead[-1].upto


def test_what_the_journal_has_lost_behind_its_end_is_not_waited_for() -> None:
    lanes = Lanes(Progress(30, (Span(40, 50),)), Turn.NEWEST)
    assert not lanes.next_span(End(20, live=20, late=20))
    assert lanes.next_span(End(35, live=20, late=20)) == Span(30, 35)
    assert lanes.next_span(End(60, live=20, late=20)) == Span(50, 60)
