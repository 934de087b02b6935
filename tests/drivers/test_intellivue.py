from __future__ import annotations

from struct import pack

import numpy as np
import pytest

from acquisition.catalogue import Catalogue
from acquisition.driver import WallTime
from acquisition.errors import ConfigError
from acquisition.model import MISSING_COUNT, EventKind, State
from acquisition.wire.intellivue import association, polls
from drivers.intellivue import IntelliVueDriver
from simulators import intellivue_pdu as pdu
from simulators.intellivue import NUMERICS, WAVES
from tests.drivers import intellivue_vectors as vectors
from tests.drivers.intellivue_bench import NS, SHOWN, Bench, Ramp, samples_of, seamless


def numerics_of(*objects: tuple[int, bytes]) -> bytes:
    """An answer to the numerics poll of a fresh driver (invoke 4, poll 3)."""
    return answer_of(6, *objects)


def answer_of(kind: int, *objects: tuple[int, bytes], sequence: int = 1, ticks: int = 8000) -> bytes:
    asked = pdu.Poll(polls.extended(*((4, 3) if kind == 6 else (5, 4)), kind, 0x0803 if kind == 6 else 0))
    shown = [pack(">H", handle) + attributes for handle, attributes in objects]
    return pdu.answer(asked, ticks, b"\xff" * 8, shown, sequence, None)


def number(term: int, value: float | None, unit: int = 3872, bits: int = 0) -> bytes:
    return pdu.listed([pdu.attribute(0x0950, pdu.observed(term, bits, unit, value))])


def pressure(base: int, *values: float) -> bytes:
    items = [pdu.observed(base + at, 0, 3872, value) for at, value in enumerate(values, start=1)]
    return pdu.listed([pdu.attribute(0x094B, pdu.listed(items))])


def quiet(**options: object) -> Bench:
    """A driver that polls a monitor which says nothing of its own."""
    bench = Bench({}, {}, **options)
    bench.monitor.wrong.lose = 1000
    bench.run(0.5)
    bench.readings.clear()
    bench.notices.clear()
    return bench


def test_what_the_monitor_shows_is_what_the_driver_reads() -> None:
    bench = Bench()
    bench.run(10)
    assert [dict(reading.values) for reading in bench.readings] == [SHOWN] * 10
    assert all(reading.states == {} for reading in bench.readings)
    assert bench.readings[3].device_time == WallTime(2026, 1, 1, 8, 0, 3)
    assert samples_of(bench.blocks).tolist() == (np.arange(len(bench.blocks) * 32) / 16).tolist()
    assert {(block.channel, block.period_ns, block.doubtful) for block in bench.blocks} == {
        ("wf_abp", 8_000_000, False)
    }
    assert bench.driver.identity == {"make": "Philips", "model": "SIMULATED", "serial": "SIM0001"}
    assert bench.monitor.forbidden == 0
    assert "frames_bad" not in bench.counters


def test_every_channel_of_the_monitor_arrives_under_its_own_name() -> None:
    channels = [channel for _, _, _, terms in NUMERICS for _, channel in terms]
    bench = Bench(dict(zip(channels, range(10, 200), strict=False)), {name: Ramp() for name in WAVES})
    bench.run(1)
    assert dict(bench.readings[0].values) == dict(zip(channels, range(10, 200), strict=False))
    assert [block.channel for block in bench.blocks[:4]] == list(WAVES)


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


def test_polls_are_renewed_before_they_end_and_nothing_is_lost_or_read_twice() -> None:
    bench = Bench()
    bench.run(1250)
    assert sum(polls.is_listed(frame, b"") and frame[24:26] == b"\xf1\x3b" for frame in bench.frames) == 6
    assert len(bench.readings) == pytest.approx(1250, abs=4)
    assert seamless(bench.blocks)
    assert bench.gaps == []
    assert "timeout" not in bench.counters
    assert bench.monitor.associations == 1


def test_the_running_time_may_begin_again_at_nothing() -> None:
    bench = Bench(ticks=2**32 - 5 * 8000)
    bench.run(12)
    assert len(bench.readings) == 12
    starts = [block.start for block in bench.blocks]
    seconds = [start.minute * 60 + start.second + start.nanosecond / NS for start in starts if start]
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
    seconds = [start.second + start.nanosecond / NS for start in (block.start for block in bench.blocks) if start]
    steps = np.diff(seconds)
    assert np.allclose(steps[steps > 0.3] % 0.256, 0) or np.allclose(0.256 - steps[steps > 0.3] % 0.256, 0)
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
    assert bench.counters["late"] == 1


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
    assert bench.counters["unasked"] == 5


def test_demonstration_is_flagged_in_every_value_and_told_once() -> None:
    bench = Bench()
    bench.monitor.wrong.bits = 0x0400
    bench.run(3)
    assert {state for reading in bench.readings for state in reading.states.values()} == {State.DEMO}
    assert set(bench.readings[0].states) == set(bench.readings[0].values)
    assert all(block.doubtful for block in bench.blocks)
    told = [notice for notice in bench.notices if notice.detail.get("bits") == 0x0400]
    assert {notice.detail["channel"] for notice in told} == {*SHOWN, "wf_abp"}
    assert len(told) == len(SHOWN) + 1


def test_an_absent_value_is_a_state() -> None:
    bench = Bench({**SHOWN, "hr": "unavailable"})
    bench.run(1)
    assert bench.readings[0].states == {"hr": State.UNAVAILABLE}
    assert "hr" not in bench.readings[0].values


@pytest.mark.parametrize(
    ("bits", "value", "state"),
    [
        (0x8000, None, State.INVALID),
        (0x2000, None, State.UNAVAILABLE),
        (0x4000, 71.0, State.QUESTIONABLE),
        (0x1000, 71.0, State.CALIBRATING),
        (0x0800, 71.0, State.DEMO),
        (0x0002, 71.0, None),
    ],
)
def test_measurement_states_are_told(bits: int, value: float | None, state: State | None) -> None:
    bench = quiet()
    bench.receive(numerics_of((0x41, number(16770, 71.0, 2720, bits))))
    (reading,) = bench.readings
    assert (reading.values.get("hr"), reading.states.get("hr")) == (value, state)
    assert [notice.detail for notice in bench.notices] == [{"channel": "hr", "bits": bits}]


def test_a_wave_that_is_invalid_has_no_samples() -> None:
    bench = Bench()
    bench.monitor.wrong.bits = 0x8000
    bench.run(1)
    assert bench.blocks
    assert all((block.counts == MISSING_COUNT).all() for block in bench.blocks)
    assert bench.readings[0].values == {}


def test_samples_before_their_scale_are_counted_and_never_guessed() -> None:
    bench = Bench()
    bench.monitor.wrong.before_scale = 5
    bench.run(6)
    assert bench.counters["blocks_before_scale"] == 5
    assert samples_of(bench.blocks)[0] == 5 * 32 / 16
    assert seamless(bench.blocks)


def test_a_scale_that_never_comes_is_asked_for_again() -> None:
    bench = Bench()
    bench.monitor.wrong.before_scale = 50
    bench.run(25)
    assert bench.counters["blocks_before_scale"] == 50
    assert bench.blocks
    assert sum(frame[24:26] == b"\xf1\x3b" and frame[32:34] == b"\0\x09" for frame in bench.frames) >= 2


def wave(term: int, *, scaled: bool, low: float = -40.0, high: float = 520.0, sample: int = 0x1000) -> bytes:
    samples = pack(">4H", *[sample] * 4)
    attributes = [pdu.attribute(0x096E, pack(">3H", term, 0, len(samples)) + samples)]
    if scaled:
        attributes += [
            pdu.attribute(0x096D, pack(">H2BH", 4, 16, 14, 0)),
            pdu.attribute(0x096F, pdu.decimal(low, 1) + pdu.decimal(high, 1) + pack(">2H", 0x00A0, 0x23A0)),
            pdu.attribute(0x098D, pack(">I", 64)),
            pdu.attribute(0x0996, pack(">H", 3872)),
        ]
    return pdu.listed(attributes)


def test_a_handle_that_becomes_another_wave_loses_its_scale() -> None:
    bench = quiet()
    said = [wave(18964, scaled=True), wave(18964, scaled=False), wave(19012, scaled=False), wave(19012, scaled=True)]
    for number_, attributes in enumerate(said, start=1):
        message = answer_of(9, (0x155, attributes), sequence=number_, ticks=900_000_000 + 256 * number_)
        bench.receive(message)
    assert [block.channel for block in bench.blocks] == ["wf_abp", "wf_abp", "wf_cvp"]
    assert bench.counters["blocks_before_scale"] == 1
    assert samples_of(bench.blocks).tolist() == [206.0] * 12


def test_two_objects_never_share_a_wave() -> None:
    bench = quiet()
    bench.receive(answer_of(9, (0x155, wave(18964, scaled=True)), (0x156, wave(18964, scaled=True, high=1080.0))))
    bench.receive(answer_of(9, (0x156, wave(18964, scaled=False)), (0x155, wave(18964, scaled=False)), sequence=2))
    assert [(block.channel, samples_of([block])[0]) for block in bench.blocks] == [
        ("wf_abp", 206.0),
        ("mdc_150036", 452.0),
        ("mdc_150036", 452.0),
        ("wf_abp", 206.0),
    ]


def test_every_pressure_has_a_channel_of_its_own() -> None:
    bench = quiet()
    lines = {"ABP": 18964, "ART": 18960, "AORT": 18956, "PAP": 18972, "CVP": 19012, "P": 18944, "UAP": 18984}
    bench.receive(
        numerics_of(*((at, pressure(base, at, at + 1, at + 2)) for at, base in enumerate(lines.values(), 50)))
    )
    (reading,) = bench.readings
    assert dict(reading.values) == {
        "abp_sys": 50, "abp_dia": 51, "abp_mean": 52,
        "mdc_150033": 51, "mdc_150034": 52, "mdc_150035": 53,
        "mdc_150029": 52, "mdc_150030": 53, "mdc_150031": 54,
        "pap_sys": 53, "pap_dia": 54, "pap_mean": 55,
        "mdc_150085": 54, "mdc_150086": 55, "cvp": 56,
        "mdc_150017": 55, "mdc_150018": 56, "mdc_150019": 57,
        "mdc_150057": 56, "mdc_150058": 57, "mdc_150059": 58,
    }  # fmt: skip


def test_the_arterial_line_stays_the_one_it_was_first() -> None:
    bench = quiet()
    bench.receive(numerics_of((1, pressure(18960, 120, 80, 93))))
    bench.receive(answer_of(6, (2, pressure(18964, 121, 81, 94)), (1, pressure(18960, 122, 82, 95)), sequence=2))
    assert [dict(reading.values) for reading in bench.readings] == [
        {"abp_sys": 120, "abp_dia": 80, "abp_mean": 93},
        {"mdc_150037": 121, "mdc_150038": 81, "mdc_150039": 94, "abp_sys": 122, "abp_dia": 82, "abp_mean": 95},
    ]
    assert any("another line's" in text for text in bench.texts)


def test_two_objects_of_one_code_are_told_apart_by_their_labels() -> None:
    bench = Bench(channels={"ABP/150037": "pap_sys"})
    bench.run(1)
    assert bench.readings[0].values["pap_sys"] == 112.4
    assert "abp_sys" not in bench.readings[0].values
    assert bench.readings[0].values["abp_dia"] == 76.0


def test_values_wait_for_the_label_that_may_move_them() -> None:
    bench = quiet(channels={"P1/150037": "pap_sys"})
    bench.receive(numerics_of((0x999, pressure(18964, 120, 80, 93))))
    assert bench.readings == []
    assert bench.counters["values_before_label"] == 3


def test_a_third_object_of_one_code_is_refused_and_told() -> None:
    bench = quiet()
    bench.receive(numerics_of(*((handle, number(16770, 70.0 + handle, 2720)) for handle in (1, 2, 3))))
    assert dict(bench.readings[0].values) == {"hr": 71.0, "mdc_147842": 72.0}
    assert bench.counters["rejected_second_object"] == 1
    assert any("map them by label" in text for text in bench.texts)


def test_a_code_without_a_channel_keeps_its_number_and_its_first_unit() -> None:
    bench = quiet()
    bench.receive(numerics_of((1, number(22536, 12.0)), (2, number(61667, 9.0, 544)), (3, number(22540, 5.0, 4000))))
    bench.receive(answer_of(6, (1, number(22536, 1.6, 3843)), (3, number(22540, 6.0, 544)), sequence=2))
    assert [dict(reading.values) for reading in bench.readings] == [
        {"mdc_153608": 12.0, "mdc_192739": 9.0, "mdc_153612": 5.0},
        {"mdc_153608": pytest.approx(12.00098692)},
    ]
    assert bench.counters["rejected_unit"] == 1
    unmapped = [notice.detail for notice in bench.notices if notice.event is EventKind.UNMAPPED]
    assert [(detail["code"], detail["private"]) for detail in unmapped] == [
        (153608, False), (192739, True), (153612, False),
    ]  # fmt: skip


def test_units_become_the_catalogues() -> None:
    bench = quiet()
    bench.receive(
        numerics_of((1, number(19015, 1.0, 3843)), (2, number(16770, 1.0, 2496)), (3, number(19204, 4500, 3090)))
    )
    assert dict(bench.readings[0].values) == {"cvp": pytest.approx(7.500616827), "hr": 60.0, "co_td": 4.5}


def test_a_unit_that_cannot_be_is_refused_and_told() -> None:
    bench = quiet()
    bench.receive(numerics_of((1, number(16770, 71.0, 3872)), (2, number(19015, 5.0))))
    assert dict(bench.readings[0].values) == {"cvp": 5.0}
    assert bench.counters["rejected_unit"] == 1


def test_a_wave_without_a_unit_is_doubtful() -> None:
    bench = quiet()
    bench.receive(vectors.WAVE)
    (block,) = bench.blocks
    assert (block.channel, block.doubtful, samples_of([block])[0]) == ("wf_abp", True, 206.0)


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
    starts = [
        start.minute * 60 + start.second + start.nanosecond / NS for start in (b.start for b in bench.blocks) if start
    ]
    assert np.diff(starts).min() > 0.25


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


def test_no_patient_is_ever_asked_for_or_kept() -> None:
    bench = Bench()
    bench.run(30)
    assert not [frame for frame in bench.frames if frame[32:34] == b"\x00\x2a" and len(frame) > 34]
    assert "BED-NAME" not in str((bench.notices, bench.driver.identity))
    seen = len(bench.readings)
    for name in (0x095A, 0x095C, 0x095D, 0x0958):
        listed = pdu.listed([pdu.attribute(name, pdu.text("SECRET")), pdu.attribute(0x0927, pdu.text("SECRET"))])
        bench.receive(answer_of(6, (0x41, listed), sequence=500 + name, ticks=900_000_000 + name))
    assert len(bench.readings) == seen
    assert "SECRET" not in str((bench.notices, bench.driver.identity, bench.counters))


def test_a_channel_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="nonsense"):
        IntelliVueDriver.build({"channels": {"150037": "nonsense"}}, Catalogue.shipped())


def test_the_driver_is_unverified_on_hardware() -> None:
    assert not IntelliVueDriver.build({}, Catalogue.shipped()).verified
