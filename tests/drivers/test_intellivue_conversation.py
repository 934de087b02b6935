from __future__ import annotations

from struct import pack

import numpy as np
import pytest

from acquisition.wire.intellivue import association, polls
from simulators import intellivue_pdu as pdu
from simulators.intellivue_screen import WAVES
from tests.drivers import intellivue_vectors as vectors
from tests.drivers.intellivue_bench import (
    NS,
    SHOWN,
    Bench,
    Ramp,
    answer_of,
    number,
    numerics_of,
    quiet,
    samples_of,
    seamless,
    seconds_of,
)


def test_a_monitor_on_the_serial_port_is_read_likewise() -> None:
    bench = Bench(mode="mib")
    bench.run(5)
    assert len(bench.readings) == 5
    assert all(frame[0] == 0xC0 and frame[-1] == 0xC1 for frame in bench.frames)
    assert not bench.driver.may_send(association.RELEASE)


def test_frames_leave_no_faster_than_four_in_256_ms() -> None:
    bench = Bench()
    bench.run(1)
    sent = [piece.t_ns for piece in bench.pieces if piece.direction == ">" and piece.data]
    assert len(sent) == 7
    assert all(later - earlier >= 250_000_000 for earlier, later in zip(sent[1:], sent[5:], strict=False))


@pytest.mark.slow
def test_polls_are_renewed_before_they_end_and_nothing_is_lost_or_read_twice() -> None:
    bench = Bench()
    bench.run(1250)
    assert sum(polls.is_listed(frame, b"") and frame[24:26] == b"\xf1\x3b" for frame in bench.frames) == 6
    assert len(bench.readings) == pytest.approx(1250, abs=4)
    assert seamless(bench.blocks)
    assert bench.gaps == []
    assert not {"timeout", "frames_bad"} & set(bench.counters)
    assert bench.monitor.associations == 1


def test_the_running_time_may_begin_again_at_nothing() -> None:
    bench = Bench(ticks=2**32 - 5 * 8000)
    bench.run(12)
    assert len(bench.readings) == 12
    seconds = seconds_of(bench)
    assert np.allclose(np.diff(seconds), 0.256)
    assert bench.counters["associations"] == 1


@pytest.mark.parametrize("number_parts", [False, True])
def test_linked_answers_are_put_together(number_parts: bool) -> None:
    bench = Bench(waves={name: Ramp() for name in WAVES})
    bench.monitor.wrong.parts, bench.monitor.wrong.number_parts = 1, number_parts
    bench.run(5)
    assert [dict(reading.values) for reading in bench.readings] == [SHOWN] * 5
    assert len({block.channel for block in bench.blocks}) == 4
    assert bench.gaps == []
    assert not {"duplicate", "late", "linked_incomplete"} & set(bench.counters)


def test_a_linked_answer_without_its_end_is_used_as_far_as_it_came() -> None:
    bench = Bench({"hr": 70.0, "cvp": 5.0}, {})
    bench.monitor.wrong.parts = 1
    bench.run(0.9)
    seen = len(bench.readings)
    bench.monitor.wrong.mute = True
    asked = pdu.Poll(polls.extended(4, 3, 6, 0x0803))
    part = [pack(">H", 0x41) + number(16770, 71.0, 2720)]
    head = pdu.answer(asked, 86_402 * 8000, b"\xff" * 8, part, 2, (1, 1))
    bench.receive(head)
    bench.receive(head)
    assert len(bench.readings) == seen
    whole = pdu.answer(asked, 86_403 * 8000, b"\xff" * 8, part, 3, None)
    bench.receive(whole)
    assert [dict(reading.values) for reading in bench.readings[seen:]] == [{"hr": 71.0}] * 2
    assert (bench.counters["linked_incomplete"], bench.counters["duplicate"]) == (1, 1)


def test_lost_answers_are_counted_and_seen_as_gaps() -> None:
    bench = Bench()
    bench.run(3.5)
    bench.monitor.wrong.lose = 10
    bench.run(6.5)
    missing = bench.counters["answers_missing"]
    assert missing == 10
    assert {notice.detail["cause"] for notice in bench.gaps} == {"blocks_missing"}
    assert sum(notice.detail["missing"] for notice in bench.gaps) == 10
    values = samples_of(bench.blocks)
    seconds = seconds_of(bench)
    steps = np.diff(seconds)
    assert np.allclose(steps[steps > 0.3] % 0.256, 0) or np.allclose(0.256 - steps[steps > 0.3] % 0.256, 0)
    assert (values[-1] - values[0]) * 16 * 0.008 == pytest.approx(seconds[-1] + 0.256 - seconds[0] - 0.008)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_samples_after_a_few_lost_answers_stand_where_they_were_taken(lost: int) -> None:
    bench = Bench()
    bench.run(3.9)
    bench.monitor.wrong.lose = lost
    bench.run(3)
    values, seconds = samples_of(bench.blocks), seconds_of(bench)
    assert 1 <= sum(step > 0.3 for step in np.diff(seconds)) <= lost
    assert (values[-1] - values[0]) * 16 * 0.008 == pytest.approx(seconds[-1] + 0.256 - seconds[0] - 0.008)


def test_an_answer_that_comes_twice_is_used_once() -> None:
    bench = Bench()
    bench.monitor.wrong.twice = 12
    bench.run(5)
    assert len(bench.readings) == 5
    assert seamless(bench.blocks)
    assert bench.counters["duplicate"] == 12


def test_an_answer_that_comes_late_is_not_used() -> None:
    bench = quiet()
    for sequence, ticks in ((7, 900_000_000), (9, 900_016_000), (8, 900_008_000), (10, 900_024_000)):
        bench.receive(answer_of(6, (0x41, number(16770, 60.0 + sequence, 2720)), sequence=sequence, ticks=ticks))
    assert [reading.values["hr"] for reading in bench.readings] == [67.0, 69.0, 70.0]
    assert bench.counters["rejected_late"] == 1


def test_answers_whose_numbers_begin_again_are_used() -> None:
    bench = quiet()
    for sequence, ticks in ((700, 900_000_000), (1, 900_008_000), (2, 900_016_000)):
        bench.receive(answer_of(6, (0x41, number(16770, 60.0, 2720)), sequence=sequence, ticks=ticks))
    assert len(bench.readings) == 3
    assert bench.counters["numbering_restarted"] == 1


def test_truncated_answers_are_refused_and_counted() -> None:
    bench = Bench()
    bench.run(2.5)
    bench.monitor.wrong.cut = 4
    bench.run(2)
    assert bench.counters["rejected_truncated"] == 4
    assert {tuple(reading.values.items()) for reading in bench.readings} == {tuple(bench.readings[0].values.items())}


def test_the_other_byte_order_is_refused_and_counted() -> None:
    bench = quiet()
    bench.receive(np.frombuffer(numerics_of((0x41, number(16770, 71.0, 2720))), ">u2").astype("<u2").tobytes())
    assert bench.readings == []
    assert bench.counters["rejected_byte_order"] == 1


def test_an_answer_to_nothing_that_was_asked_is_not_used() -> None:
    bench = quiet()
    for invoke, poll, kind in ((9, 3, 6), (4, 4, 6), (4, 3, 9), (5, 3, 6), (1, 1, 6)):
        asked = pdu.Poll(polls.extended(invoke, poll, kind, 0x0803))
        shown = [pack(">H", 0x41) + number(16770, 71.0, 2720)]
        bench.receive(pdu.answer(asked, 8000, b"\xff" * 8, shown, 1, None))
    assert bench.readings == []
    assert bench.counters["rejected_late"] == 5


def test_a_refused_association_is_tried_again_with_longer_waits() -> None:
    bench = Bench()
    bench.stop()
    bench.monitor.wrong.refuse = 5
    bench.driver.start(bench.now)
    bench._exchange()
    bench.run(140)
    asked = [piece.t_ns / NS for piece in bench.pieces if piece.data[:1] == b"\x0d"][1:]
    assert np.allclose(np.diff(asked), [2, 4, 8, 16, 30], atol=0.1)
    assert bench.counters["refused"] == 5
    assert bench.texts.count("the monitor refuses the association: another client may have it") == 1
    assert bench.readings


def test_a_connect_indication_shortens_the_wait() -> None:
    bench = Bench()
    bench.monitor.wrong.mute = True
    bench.stop()
    bench.driver.start(bench.now)
    bench._exchange()
    bench.run(40)
    before = len([piece for piece in bench.pieces if piece.data[:1] == b"\x0d"])
    bench.monitor.wrong.mute = False
    bench.receive(bench.monitor.connect_indication())
    bench.run(1)
    assert len([piece for piece in bench.pieces if piece.data[:1] == b"\x0d"]) == before + 1
    assert bench.readings


def test_a_monitor_that_goes_silent_is_associated_with_again() -> None:
    bench = Bench()
    bench.run(5)
    bench.monitor.wrong.mute = True
    bench.run(20)
    assert "the monitor has gone silent" in bench.texts
    bench.monitor.wrong.mute = False
    seen = len(bench.readings)
    bench.run(40)
    assert len(bench.readings) > seen + 15
    assert bench.counters["associations"] == 2


@pytest.mark.parametrize("announced", [False, True])
def test_a_monitor_that_starts_again_is_associated_with_again(announced: bool) -> None:
    bench = Bench()
    bench.run(5)
    bench.monitor.reboot()
    if announced:
        bench.receive(bench.monitor.connect_indication())
        assert "the monitor has started again" in bench.texts
    bench.run(30)
    assert bench.counters["associations"] == 2
    assert len(bench.readings) > 15
    assert np.diff(seconds_of(bench)).min() > 0.25


def test_lost_replies_at_any_point_only_cost_time() -> None:
    for lost in range(1, 8):
        bench = Bench()
        bench.monitor.wrong.ignore = lost
        bench.run(30)
        assert len(bench.readings) > 5, f"{lost} lost"
        assert bench.counters["timeout"] >= lost


def test_the_association_is_released_when_the_session_stops() -> None:
    bench = Bench()
    bench.run(2)
    bench.stop()
    assert bench.frames[-1] == association.RELEASE
    assert bench.pieces[-1].data == pdu.RELEASED
    assert bench.monitor._client is None


@pytest.mark.parametrize(
    ("message", "reply"),
    [(pdu.ABORTED, None), (association.RELEASE, association.RELEASED), (association.RELEASED, None)],
)
def test_an_association_that_the_monitor_ends_is_asked_for_again(message: bytes, reply: bytes | None) -> None:
    bench = Bench()
    bench.run(2)
    bench.monitor._client = None
    sent = len(bench.frames)
    bench.receive(message)
    assert bench.frames[sent:] == ([reply] if reply else [])
    bench.run(4)
    assert bench.counters["ended"] == 1
    assert bench.counters["associations"] == 2


def test_a_repeated_mds_create_is_answered_and_changes_nothing() -> None:
    bench = Bench()
    bench.run(2)
    sent = len(bench.frames)
    bench.receive(vectors.MDS_CREATE)
    assert bench.frames[sent:] == [polls.created(1, 0x293B6F00)]
    assert bench.counters["associations"] == 1


def test_what_the_monitor_refuses_to_tell_is_told_once_and_asked_seldom() -> None:
    bench = quiet()
    bench.receive(pdu.error(5, 0))
    bench.receive(numerics_of((0x41, number(16770, 71.0, 2720))))
    bench.receive(pdu.error(5, 0))
    assert bench.texts == ["the monitor refuses waves"]
    assert bench.counters["refused_0"] == 2


def test_a_monitor_that_grants_no_waves_is_not_asked_for_them() -> None:
    bench = Bench({}, {})
    bench.stop()
    bench.driver.start(bench.now)
    bench.driver.take_frames()
    bench.receive(pdu.acceptance(8000, 0x80000000))
    bench.receive(vectors.MDS_CREATE)
    bench.run(2)
    assert "the monitor grants no waves" in bench.texts
    assert not [frame for frame in bench.frames if frame[24:26] == b"\xf1\x3b" and frame[32:34] == b"\0\x09"][1:]


def test_the_period_that_is_granted_holds() -> None:
    bench = Bench()
    bench.stop()
    bench.driver.start(bench.now)
    bench.receive(pdu.acceptance(5 * 8000, 0x88000000))
    assert bench.driver.period_ns == 5 * NS


def test_a_monitor_with_another_port_says_so() -> None:
    bench = quiet()
    ports = pdu.attribute(0xF101, pdu.listed([pack(">4H", 5, 1, 24999, 0)]))
    bench.receive(pdu.connect_indication(86_401 * 8000, [ports]))
    assert bench.texts == ["the monitor exports data on UDP port 24999; the link must say so"]
