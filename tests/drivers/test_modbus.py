from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from acquisition.driver import Reading
from acquisition.errors import ForbiddenFrameError
from acquisition.model import EventKind, State
from tests.drivers.modbus_bench import MS, Arrivals, Bench, S, build, registers_reply, rtu, shipped

RPM = {"function": 4, "address": 10, "channel": "ecmo_rpm", "unit": "{rev}/min"}
RPM_SET = {"function": 4, "address": 20, "channel": "ecmo_rpm_set", "unit": "{rev}/min"}
P_PRE = {"function": 4, "address": 30, "type": "i32", "channel": "ecmo_p_pre", "unit": "mm[Hg]"}
PROBE = rtu(1, 4, b"\x00\x0a\x00\x02")
OTHER_PROBE = rtu(1, 4, b"\x00\x0a\x00\x03")
MAP = {10: 3425, 11: 0, 12: 0, 13: 0, 20: 3500, 21: 0, 30: 0, 31: 240}


def answering(frame: bytes, now: int) -> Arrivals:
    return [(10 * MS, registers_reply(frame, MAP))]


def silent(frame: bytes, now: int) -> Arrivals:
    return []


def scripted(*replies: Callable[[bytes], Arrivals]) -> Callable[[bytes, int], Arrivals]:
    left = list(replies)

    def device(frame: bytes, now: int) -> Arrivals:
        return left.pop(0)(frame) if left else answering(frame, now)

    return device


def after(delay: int, reply: bytes | None = None) -> Callable[[bytes], Arrivals]:
    return lambda frame: [(delay, registers_reply(frame, MAP) if reply is None else reply)]


def never(frame: bytes) -> Arrivals:
    return []


def values_at(bench: Bench) -> list[tuple[int, dict[str, float]]]:
    return [(at // MS, dict(reading.values)) for at, reading in bench.readings]


def frames_at(bench: Bench) -> list[tuple[int, bytes]]:
    return [(at // MS, frame) for at, frame in bench.sent]


@pytest.mark.parametrize(
    ("profile", "options", "reply", "values"),
    [
        ("alicat_mfc", {}, "01 04 04 40 76 66 66 A4 14", {"ecmo_sweep": 3.85}),
        (
            "leviflow",
            {"channels": {"temperature": "ecmo_temp_art"}},
            "01 04 14 00 00 01 81 00 00 00 00 00 00 00 00 0E 60 00 00 00 00 0F 0A 90 78",
            {"ecmo_flow": 3.85, "ecmo_temp_art": 36.8},
        ),
        (
            "puralev",
            {},
            "01 04 12 00 02 0D 61 00 00 0D 61 00 00 00 00 00 00 00 00 01 9C 95 3F",
            {"ecmo_rpm": 3425.0, "ecmo_rpm_set": 3425.0},
        ),
    ],
)
def test_a_documented_reply_has_the_documented_values(
    profile: str, options: dict[str, Any], reply: str, values: dict[str, float]
) -> None:
    frame = bytes.fromhex(reply)

    def device(request: bytes, now: int) -> Arrivals:
        whole = 2 * int.from_bytes(request[4:6], "big") == frame[2]
        probed = rtu(1, 4, bytes((2 * request[5],)) + bytes(2 * request[5]))
        return [(10 * MS, frame if whole else probed)]

    bench = Bench(shipped(profile, **options), device).run(S)
    assert [dict(reading.values) for _, reading in bench.readings] == [values]


def test_the_state_of_a_drive_is_told_when_it_changes_and_is_no_value() -> None:
    states = iter((2, 2, 4, 4, 1))

    def device(request: bytes, now: int) -> Arrivals:
        state = next(states) if request[5] == 9 else 0
        return [(10 * MS, registers_reply(request, dict.fromkeys(range(0x4000, 0x4009), 0) | {0x4000: state}))]

    bench = Bench(shipped("puralev"), device).run(5 * S)
    assert [(notice.event, notice.text) for notice in bench.notices] == [
        (EventKind.STATE, "state: speed control"),
        (EventKind.STATE, "state: error"),
        (EventKind.STATE, "state: off"),
    ]
    assert bench.notices[0].detail == {"register": "state", "value": 2, "channel": "ecmo_mode"}
    assert all("ecmo_mode" not in reading.values for _, reading in bench.readings)


def test_a_bubble_is_told_when_it_comes_and_when_it_goes_and_no_measurement_is_a_state() -> None:
    status = iter((0, 1, 1, 2, 0))

    def device(request: bytes, now: int) -> Arrivals:
        word = next(status) if request[5] == 10 else 0
        return [(10 * MS, registers_reply(request, dict.fromkeys(range(10), 0) | {0: word}))]

    bench = Bench(shipped("leviflow"), device).run(5 * S)
    assert [(notice.event, notice.text) for notice in bench.notices] == [
        (EventKind.ALARM, "bubble"),
        (EventKind.ALARM, "bubble: no longer"),
        (EventKind.STATE, "measurement error"),
        (EventKind.STATE, "measurement error: no longer"),
    ]
    assert [reading.states for _, reading in bench.readings] == [{}, {}, {}, {"ecmo_flow": State.SENSOR_ERROR}, {}]


def test_polls_keep_to_their_grid() -> None:
    bench = Bench(build(RPM, every_s=0.25), answering).run(S)
    assert [at // MS for at, frame in bench.sent if frame != PROBE] == [15, 250, 500, 750]
    assert bench.driver.counters["slots_missed"] == 0
    assert bench.driver.period_ns == S // 4


def test_slots_that_were_missed_are_skipped_not_made_up_for() -> None:
    bench = Bench(build(RPM, every_s=0.1, options={"timeout_s": 0.35}), silent).run(S)
    assert [at // MS for at, _ in bench.sent] == [0, 350, 700]
    assert bench.driver.counters["slots_missed"] == 5


def test_nothing_is_polled_before_a_probe_has_been_answered() -> None:
    bench = Bench(build(RPM), scripted(never, never)).run(2100 * MS)
    assert frames_at(bench) == [(0, PROBE), (1000, PROBE), (2000, PROBE), (2015, rtu(1, 4, b"\x00\x0a\x00\x01"))]
    assert bench.driver.counters["timeout"] == 2


def test_a_late_reply_is_counted_and_never_used() -> None:
    stale = rtu(1, 4, b"\x02\x03\xe7")
    bench = Bench(build(RPM), scripted(after(10 * MS), after(700 * MS, stale))).run(3 * S)
    assert values_at(bench) == [(1025, {"ecmo_rpm": 3425.0}), (2010, {"ecmo_rpm": 3425.0})]
    assert bench.driver.counters["rejected_late"] == 1
    assert bench.driver.counters["timeout"] == 1


def test_a_reply_so_late_that_it_meets_the_next_request_is_never_used() -> None:
    stale = rtu(1, 4, b"\x02\x03\xe7")
    # The line delivers in order: what the device says next comes after what it was late with.
    bench = Bench(build(RPM), scripted(after(10 * MS), after(1100 * MS, stale), after(620 * MS))).run(4 * S)
    assert all(reading.values == {"ecmo_rpm": 3425.0} for _, reading in bench.readings)
    assert bench.driver.counters["rejected_late"] == 2
    assert len(bench.readings) == 2


def test_a_late_reply_of_one_block_never_becomes_the_value_of_another_of_equal_length() -> None:
    late = scripted(after(10 * MS), after(510 * MS), after(515 * MS))
    bench = Bench(build(RPM, RPM_SET), late).run(5 * S)
    for _, reading in bench.readings:
        assert reading.values in ({"ecmo_rpm": 3425.0}, {"ecmo_rpm_set": 3500.0})
    assert bench.driver.counters["rejected_late"] == 2


def test_a_late_answer_to_an_old_probe_does_not_vouch_for_what_came_after_it() -> None:
    # A probe is answered when a second one is out; then a poll is lost, and the answer to the second comes before its.
    troubled = scripted(after(1001 * MS), after(900 * MS), after(901 * MS), after(405 * MS))
    bench = Bench(build(RPM, RPM_SET), troubled).run(4 * S)
    assert frames_at(bench)[2:5] == [
        (1006, rtu(1, 4, b"\x00\x0a\x00\x01")),
        (1506, OTHER_PROBE),
        (1916, rtu(1, 4, b"\x00\x14\x00\x01")),
    ]
    assert bench.readings
    for _, reading in bench.readings:
        assert reading.values in ({"ecmo_rpm": 3425.0}, {"ecmo_rpm_set": 3500.0})


def test_between_two_polls_of_one_length_a_refused_probe_keeps_them_apart_too() -> None:
    only = {10: 3425, 20: 3500}

    def device(frame: bytes, now: int) -> Arrivals:
        return [(5 * MS, registers_reply(frame, MAP if now < 10 * MS else only))]

    bench = Bench(build(RPM, RPM_SET), device).run(2900 * MS)
    assert [dict(reading.values) for _, reading in bench.readings] == [
        {"ecmo_rpm": 3425.0},
        {"ecmo_rpm_set": 3500.0},
    ] * 3
    # One between the two, and one between the rounds: never a reason to wait for silence.
    assert bench.driver.counters["exception_2"] == 5


def test_a_reply_sent_twice_never_becomes_the_value_of_the_next_block_of_equal_length() -> None:
    def twice(frame: bytes) -> Arrivals:
        reply = registers_reply(frame, MAP)
        return [(10 * MS, reply), (40 * MS, reply)]

    bench = Bench(build(RPM, RPM_SET), scripted(after(10 * MS), twice, after(30 * MS))).run(S)
    assert [dict(reading.values) for _, reading in bench.readings] == [{"ecmo_rpm": 3425.0}, {"ecmo_rpm_set": 3500.0}]


def test_after_a_repeated_reply_a_probe_goes_before_the_next_poll() -> None:
    twice = scripted(after(10 * MS), lambda frame: [(10 * MS, 2 * registers_reply(frame, MAP))])
    bench = Bench(build(RPM), twice).run(1100 * MS)
    assert [frame[5] for _, frame in bench.sent] == [2, 1, 3, 1]
    assert bench.driver.counters["rejected_late"] == 1


@pytest.mark.parametrize("noise", ["01 04 FF", "01 04 02", "01 84", "FF", "01 04 02 0D 61", "00" * 300])
def test_noise_before_a_reply_costs_nothing(noise: str) -> None:
    before = bytes.fromhex(noise)
    noisy = scripted(*[lambda frame: [(10 * MS, before + registers_reply(frame, MAP))]] * 20)
    bench = Bench(build(RPM), noisy).run(5 * S)
    assert len(bench.readings) == 5
    assert bench.driver.counters["timeout"] == 0
    assert bench.driver.counters["bytes_noise"] >= 5 * len(before)


def test_a_header_that_promises_more_than_comes_stalls_one_poll_and_releases_nothing_later() -> None:
    stall = bytes.fromhex("01 04 FF")
    bench = Bench(build(RPM), scripted(after(10 * MS), after(10 * MS, stall))).run(10 * S)
    assert [at for at, _ in values_at(bench)] == [1025, *range(2010, 10000, 1000)]
    assert bench.driver.counters["timeout"] == 1


def test_before_it_speaks_the_line_has_been_silent_for_five_milliseconds() -> None:
    bench = Bench(build(RPM), answering).run(900 * MS)
    for at in range(990, 1003):
        bench.inject(at * MS, b"\x00")
    bench.run(1100 * MS)
    assert bench.sent[-1][0] == 1007 * MS
    assert bench.driver.counters["bytes_noise"] == 13
    assert len(bench.readings) == 2


def test_a_line_that_is_never_silent_is_never_talked_into_and_takes_no_memory() -> None:
    bench = Bench(build(RPM), answering).run(500 * MS)
    sent = len(bench.sent)
    for index in range(3000):
        bench.inject(500 * MS + index * MS, b"\x01\x04\xff")
    while bench.now < 3400 * MS:
        bench.run(bench.now + 100 * MS)
        assert len(bench.driver.buffer) <= 1024 + 3
    assert len(bench.sent) == sent
    bench.run(5 * S)
    assert len(bench.readings) >= 2


def test_a_device_that_only_refuses_probes_is_read_after_five_seconds_of_silence() -> None:
    refusing = {10: 3425}
    bench = Bench(build(RPM), lambda frame, now: [(10 * MS, registers_reply(frame, refusing))]).run(8 * S)
    assert bench.driver.counters["exception_2"] == 2
    assert [at for at, _ in values_at(bench)] == [5035, 6010, 7010]


def test_a_slow_poll_that_waited_for_silence_takes_no_slot_that_has_not_come() -> None:
    refusing = {10: 3425}
    driver = build(RPM, every_s=20)
    bench = Bench(driver, lambda frame, now: [(10 * MS, registers_reply(frame, refusing))]).run(21 * S)
    assert [at for at, _ in values_at(bench)] == [5035, 20010]
    assert driver.counters["slots_missed"] == 0


def test_silence_does_not_count_while_the_device_still_talks() -> None:
    refusing = {10: 3425}
    bench = Bench(build(RPM), lambda frame, now: [(10 * MS, registers_reply(frame, refusing))])
    bench.inject(3 * S, rtu(1, 4, b"\x02\x03\xe7"))
    bench.run(9 * S)
    assert [at for at, _ in values_at(bench)] == [8010]


def test_a_refused_block_is_told_once_and_does_not_keep_the_others_from_being_read() -> None:
    def device(frame: bytes, now: int) -> Arrivals:
        refused = frame[3] == 20 and now < 3 * S
        return [(10 * MS, rtu(1, 0x84, b"\x02") if refused else registers_reply(frame, MAP))]

    bench = Bench(build(RPM, RPM_SET, P_PRE), device).run(5 * S)
    assert [notice.text for notice in bench.notices] == [
        "function 4, 1 from address 20 refused: illegal data address",
        "function 4, 1 from address 20 can be read again",
    ]
    assert bench.driver.counters["exception_2"] == 3
    channels = [channel for _, reading in bench.readings for channel in reading.values]
    assert channels.count("ecmo_rpm") == channels.count("ecmo_p_pre") == 5
    assert channels.count("ecmo_rpm_set") == 2


def test_a_block_that_is_never_answered_does_not_keep_the_others_from_being_read() -> None:
    def device(frame: bytes, now: int) -> Arrivals:
        return [] if frame[3] == 20 else answering(frame, now)

    bench = Bench(build(RPM, RPM_SET, P_PRE), device).run(5 * S)
    channels = [channel for _, reading in bench.readings for channel in reading.values]
    assert channels.count("ecmo_rpm") == channels.count("ecmo_p_pre") == 5


def test_replies_of_another_unit_are_never_used() -> None:
    other = rtu(2, 4, b"\x02\x03\xe7")
    bench = Bench(build(RPM), scripted(after(10 * MS), after(10 * MS, other))).run(1100 * MS)
    assert [at for at, _ in values_at(bench)] == [1025]
    assert bench.driver.counters["rejected_late"] == 1


def test_a_reply_in_single_bytes_is_used_when_the_last_one_has_come() -> None:
    def slowly(frame: bytes, now: int) -> Arrivals:
        return [((10 + index) * MS, bytes((byte,))) for index, byte in enumerate(registers_reply(frame, MAP))]

    bench = Bench(build(RPM), slowly).run(S)
    # The probe's nine bytes end at 18 ms, and the line has to be silent until 23.
    assert values_at(bench) == [(23 + 16, {"ecmo_rpm": 3425.0})]


def test_a_reply_is_stamped_when_it_came_or_not_used_at_all() -> None:
    driver = build(RPM)
    driver.start(0)
    (probe,) = driver.take_frames()
    driver.receive(registers_reply(probe, MAP), 10 * MS)
    driver.tick(15 * MS)
    (poll,) = driver.take_frames()
    # The process was held up: nobody ticked, and the reply is handed over after its time.
    driver.receive(registers_reply(poll, MAP), 15 * MS + 500 * MS)
    assert driver.take_emissions() == []
    assert driver.counters["timeout"] == 1


def test_a_link_that_was_opened_again_is_probed_again() -> None:
    bench = Bench(build(RPM), answering).run(S + 1)
    bench.reopen()
    assert bench.sent[-1] == (S + 1, PROBE)


def test_what_was_told_is_told_again_when_the_link_was_opened_again() -> None:
    mode = {"function": 4, "address": 10, "channel": "ecmo_mode", "enum": {"3425": "rpm"}}

    def device(frame: bytes, now: int) -> Arrivals:
        return [(10 * MS, rtu(1, 0x84, b"\x02") if frame[3] == 20 else registers_reply(frame, MAP))]

    bench = Bench(build(mode, RPM_SET), device).run(2500 * MS)
    told = [notice.text for notice in bench.notices]
    assert told == ["ecmo_mode: rpm", "function 4, 1 from address 20 refused: illegal data address"]
    bench.reopen()
    bench.run(4 * S)
    assert [notice.text for notice in bench.notices] == 2 * told


@pytest.mark.parametrize("function", [5, 6, 15, 16, 22, 23])
@pytest.mark.parametrize("mode", ["rtu", "tcp", "rtu_over_tcp"])
def test_no_write_can_be_sent(function: int, mode: str) -> None:
    driver = build(RPM, mode=mode)
    pdu = bytes((function,)) + b"\x00\x0a\x00\x01"
    frame = b"\0\1\0\0\0\6\1" + pdu if mode == "tcp" else rtu(1, function, pdu[1:])
    with pytest.raises(ForbiddenFrameError):
        driver.send(frame)
    assert driver.take_frames() == []


def test_only_the_reads_of_the_profile_can_be_sent() -> None:
    driver = build(RPM)
    assert driver.may_send(rtu(1, 4, b"\x00\x0a\x00\x01"))
    assert driver.may_send(PROBE)
    assert driver.may_send(OTHER_PROBE)
    for other in (rtu(2, 4, b"\x00\x0a\x00\x01"), rtu(1, 3, b"\x00\x0a\x00\x01"), rtu(1, 4, b"\x00\x0b\x00\x01")):
        assert not driver.may_send(other)


def test_two_replies_of_one_round_are_two_readings() -> None:
    bench = Bench(build(RPM, P_PRE), answering).run(S)
    assert [type(each) for _, each in bench.emitted] == [Reading, Reading]
    assert bench.driver.identity == {"make": "Test", "model": "device"}
