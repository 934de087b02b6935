from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.driver import Driver
from acquisition.errors import ForbiddenFrameError
from acquisition.trace import Piece
from tests.contracts.cases import Bench, Case, Outcome, all_cases, play, pour

CASES = all_cases()
STREAMED = [case for case in CASES if not case.asks_first and not case.datagrams]
ASKED = [case for case in CASES if case.asks_first]
GARBAGE = [b"\x00", b"\xff" * 7, b"\r\n\r\n", b"\x0b", b"\x1c\r", b"-7", random.Random(7).randbytes(61)]
FEW = settings(max_examples=12, deadline=None, derandomize=True, database=None)
MANY = settings(max_examples=1000, deadline=None)

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_streamed_case = pytest.mark.parametrize("case", STREAMED, ids=str)
every_asked_case = pytest.mark.parametrize("case", ASKED, ids=str)
every_repeatable_case = pytest.mark.parametrize("case", [case for case in ASKED if case.answers], ids=str)
"""Those whose questions do not number themselves, so that a recorded answer fits more than one moment."""


def few_of(count: int, most: int) -> list[int]:
    """Offsets 1..count-1: all of them if they are few, else the first, the last and an even choice between."""
    if count <= most:
        return list(range(1, count))
    edge = most // 4
    step = max(1, (count - 2 * edge) // (most // 2))
    return sorted({*range(1, edge), *range(edge, count - edge, step), *range(count - edge, count)})


def split_at(data: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        yield data[start:end]


def assert_no_stranger(outcome: Outcome, case: Case) -> None:
    """Nothing was measured that the undamaged wire, said twice, would not have given."""
    strangers = set(outcome.measured) - set(case.poured_twice.measured)
    assert not strangers


@every_case
def test_a_case_gives_something(case: Case) -> None:
    outcome = play(case)
    assert outcome.emissions or outcome.failures


@every_case
def test_two_runs_are_equal(case: Case) -> None:
    first, second = Bench(case.build()), Bench(case.build())
    for bench in (first, second):
        bench.start(0)
        bench.run(case.pieces)
    assert first.outcome == second.outcome
    assert first.driver.counters == second.driver.counters


@pytest.mark.parametrize("case", [case for case in CASES if not case.datagrams], ids=str)
def test_byte_by_byte_gives_the_same(case: Case) -> None:
    single = [
        Piece(piece.t_ns, piece.direction, piece.data[index : index + 1])
        for piece in case.pieces
        for index in range(max(1, len(piece.data)))
    ]
    assert play(case, single) == play(case)


@every_streamed_case
def test_all_at_once_gives_the_same(case: Case) -> None:
    assert case.poured.emissions == play(case).emissions


@every_streamed_case
def test_trailing_bytes_change_nothing_before_them(case: Case) -> None:
    whole = case.poured.measured
    for garbage in GARBAGE:
        assert pour(case, case.received + garbage).measured == whole


@every_streamed_case
def test_garbage_before_costs_nothing_after_and_invents_nothing(case: Case) -> None:
    whole = set(case.poured.measured)
    for garbage in GARBAGE:
        outcome = pour(case, garbage + case.received, case.received)
        assert whole <= set(outcome.measured)
        assert_no_stranger(outcome, case)


@every_streamed_case
def test_a_link_opened_in_mid_stream_invents_nothing(case: Case) -> None:
    allowed = set(case.poured_twice.measured)
    for begin in few_of(len(case.received), 60):
        assert set(pour(case, case.received[begin:]).measured) <= allowed, f"from {begin}"


def check_truncations(case: Case, most: int) -> None:
    whole = set(case.poured.measured)
    allowed = set(case.poured_twice.measured)
    for cut in few_of(len(case.received), most):
        outcome = pour(case, case.received[:cut] + case.received, case.received)
        assert whole <= set(outcome.measured), f"cut at {cut}: lost for good"
        assert set(outcome.measured) <= allowed, f"cut at {cut}: invented"


@every_streamed_case
def test_every_truncation_of_itself_before_costs_nothing_after_and_invents_nothing(case: Case) -> None:
    check_truncations(case, 60)


@pytest.mark.system
@every_streamed_case
def test_really_every_truncation_of_itself_before_costs_nothing_after_and_invents_nothing(case: Case) -> None:
    check_truncations(case, 4000)


@every_streamed_case
def test_a_reconnect_in_mid_frame_is_a_fresh_beginning(case: Case) -> None:
    fresh = case.poured
    for cut in few_of(len(case.received), 40):
        bench = Bench(case.build())
        bench.start(0)
        bench.feed(case.received[:cut], 0)
        if bench.outcome.keys:
            break  # a message that was stored is rightly not emitted again
        bench.outcome.emissions.clear()
        bench.start(case.end_ns)
        bench.feed(case.received, case.end_ns)
        assert bench.outcome.emissions == fresh.emissions, f"cut at {cut}"


@every_repeatable_case
def test_a_reconnect_in_mid_answer_is_a_fresh_beginning(case: Case) -> None:
    fresh = play(case).emissions
    later = case.end_ns + 60_000_000_000
    for stop in few_of(len(case.pieces), 20):
        bench = Bench(case.build())
        bench.start(0)
        bench.run(case.pieces[:stop])
        bench.feed(case.pieces[stop].data[:5], case.pieces[stop].t_ns)
        bench.outcome.emissions.clear()
        bench.start(later)
        bench.run(case.pieces, late_ns=later)
        assert bench.outcome.emissions == fresh, f"after piece {stop}"


def damages(answer: bytes) -> list[bytes]:
    """The answer after garbage, after a truncation of itself, cut short, and more than once."""
    cuts = few_of(len(answer), 40)
    return [
        *(garbage + answer for garbage in GARBAGE),
        *(answer[:cut] + answer for cut in cuts),
        *(answer[:cut] for cut in cuts),
        answer + answer,
        answer + answer[:-1],
        b"",
    ]


@pytest.mark.slow
@every_asked_case
def test_a_damaged_answer_invents_nothing(case: Case) -> None:
    allowed = set(play(case).values)
    answers = [index for index, piece in enumerate(case.pieces) if piece.direction == "<" and piece.data]
    for index in answers[:3]:
        for damaged in damages(case.pieces[index].data):
            pieces = list(case.pieces)
            pieces[index] = pieces[index]._replace(data=damaged)
            assert set(play(case, pieces).values) <= allowed


@every_repeatable_case
def test_one_damaged_answer_does_not_silence_the_device(case: Case) -> None:
    first = next(iter(case.answers.values()))[0]
    sound = Bench(case.build())
    sound.start(0)
    sound.converse(case.answers, first, 60)
    allowed = {*play(case).values, *sound.outcome.values}
    for damaged in damages(first):
        bench = Bench(case.build())
        bench.start(0)
        bench.converse(case.answers, damaged, 60)
        assert bench.outcome.measured, f"silent after {damaged.hex()}"
        assert set(bench.outcome.values) <= allowed


@pytest.mark.slow
@every_case
def test_an_endless_frame_stays_within_bounds_and_is_survived(case: Case) -> None:
    whole = set(play(case).measured)
    for filler in (b"\xff", b"\x00", b"0"):
        bench = Bench(case.build())
        bench.start(0)
        head = case.received[: min(12, len(case.received))]
        bench.feed(head, 0)
        for _ in range(bench.driver.max_buffer // 65536 + 2):
            bench.feed(filler * 65536, 0)
        if case in STREAMED:
            bench.feed(case.received, 0)
            bench.feed(case.received, 0)
            assert whole <= set(bench.outcome.measured)


@pytest.mark.slow
@every_case
def test_extreme_bytes_anywhere_are_survived(case: Case) -> None:
    for place in few_of(min(len(case.received), 400), 60):
        for extreme in (b"\x00", b"\x7f", b"\xff"):
            pour(case, case.received[:place] + extreme + case.received[place + 1 :])


@every_case
def test_only_what_is_on_the_list_can_be_sent(case: Case) -> None:
    driver: Driver = case.build()
    driver.start(0)
    driver.take_frames()
    for frame in (b"", b"Z\r", b"\x01\x06\x40\x01\x0b\xb8\xcb\x48", b"\x00" * 8, case.received[:64]):
        assert not driver.may_send(frame)
        with pytest.raises(ForbiddenFrameError):
            driver.send(frame)
    assert not driver.take_frames()


def check_splits(case: Case, cuts: list[int]) -> None:
    assert pour(case, *split_at(case.received, cuts)).emissions == case.poured.emissions


def check_mutations(case: Case, changes: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
    wire = bytearray(case.received)
    for place, length, replacement in changes:
        place %= len(wire) + 1
        wire[place : place + length] = replacement
    pour(case, *split_at(bytes(wire), cuts))
    lengths = iter(cuts)
    play(case, [piece._replace(data=piece.data[next(lengths, 0) % 9 :] or bytes(wire[:40])) for piece in case.pieces])


CUTS = st.lists(st.integers(0, 1 << 20), max_size=12)
CHANGES = st.lists(
    st.tuples(st.integers(0, 1 << 20), st.integers(0, 20), st.binary(max_size=12)), min_size=1, max_size=6
)


@every_streamed_case
@FEW
@given(cuts=CUTS)
def test_where_the_stream_is_split_does_not_matter(case: Case, cuts: list[int]) -> None:
    check_splits(case, cuts)


@every_case
@FEW
@given(changes=CHANGES, cuts=CUTS)
def test_nothing_but_a_wire_error_escapes_from_a_mutated_wire(
    case: Case, changes: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    check_mutations(case, changes, cuts)


@pytest.mark.system
@pytest.mark.timeout(600)
@every_streamed_case
@MANY
@given(cuts=CUTS)
def test_where_the_stream_is_split_really_does_not_matter(case: Case, cuts: list[int]) -> None:
    check_splits(case, cuts)


@pytest.mark.system
@pytest.mark.timeout(600)
@every_case
@MANY
@given(changes=CHANGES, cuts=CUTS)
def test_nothing_but_a_wire_error_ever_escapes_from_a_mutated_wire(
    case: Case, changes: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    check_mutations(case, changes, cuts)
