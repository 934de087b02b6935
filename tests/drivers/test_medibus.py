from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.catalogue import Catalogue
from acquisition.driver import Emission, Notice, Reading, Samples, WallTime
from acquisition.errors import ConfigError, ForbiddenFrameError
from acquisition.model import EventKind, State
from acquisition.transports.url import check_link
from acquisition.wire.medibus import command, response
from acquisition.wire.medibus_curves import enable
from drivers.medibus import MedibusDriver

MS, S = 1_000_000, 1_000_000_000
ICC, IDENTIFY, NOP, STOP = command(0x51), command(0x52), command(0x30), command(0x55)
DATE, MEASURED, SETTINGS, CURVES = command(0x28), command(0x24), command(0x29), command(0x53)
CONFIG = b"00   16000  -10  100370" + b"01   16000 -180  180B40"
ANSWERS = {
    ICC: b"", IDENTIFY: b"8210'Evita'04.21:04.03", DATE: b"12:00:0001-AUG-26", MEASURED: b"F0 60 78 10 7D 24 ",
    SETTINGS: b"01 40.0", CURVES: CONFIG, NOP: b"",
}  # fmt: skip


class Line:
    """A driver in virtual time, and a device that answers each question 20 ms after it came."""

    def __init__(self, answers: dict[bytes, bytes] | None = None, **options: Any) -> None:
        self.driver = MedibusDriver.build(options, Catalogue.shipped())
        self.answers = dict(ANSWERS if answers is None else answers)
        self.now = 0
        self.sent: list[tuple[int, bytes]] = []
        self.open: list[bytes] = []
        self.emissions: list[Emission] = []
        self.driver.start(0)

    def run(self, seconds: float) -> Line:
        end = self.now + round(seconds * S)
        while self.now < end:
            self.take()
            self.now += 20 * MS
            answers = b"".join(self.answer(frame) for frame in self.open)
            self.open.clear()
            if answers:
                self.driver.receive(answers, self.now)
            self.driver.tick(self.now)
            self.emissions += self.driver.take_emissions()
        return self

    def answer(self, frame: bytes) -> bytes:
        if frame.startswith(command(0x54)[:2]):
            return response(0x54)
        return response(frame[1], self.answers[frame]) if frame in self.answers else b""

    def take(self) -> list[bytes]:
        frames = self.driver.take_frames()
        self.sent += [(self.now, frame) for frame in frames]
        self.open += frames
        return frames

    def hear(self, data: bytes) -> list[bytes]:
        self.take()
        self.driver.receive(data, self.now)
        self.emissions += self.driver.take_emissions()
        return self.take()

    def frames(self) -> list[bytes]:
        return [frame for _, frame in self.sent]

    def readings(self) -> list[Reading]:
        return [each for each in self.emissions if isinstance(each, Reading)]


def test_it_calls_until_it_is_answered_then_asks_who_it_is_and_what_it_measures() -> None:
    line = Line({})
    line.run(7)
    assert [when // S for when, _ in line.sent] == [0, 3, 6]
    assert set(line.frames()) == {ICC}
    line.answers = dict(ANSWERS)
    line.run(5)
    assert line.frames()[3:8] == [ICC, IDENTIFY, DATE, MEASURED, SETTINGS]
    assert line.sent[4][0] - line.sent[3][0] >= 200 * MS
    assert line.driver.identity == {
        "make": "Draeger", "model": "Evita", "device_id": "8210", "firmware": "04.21", "protocol": "04.03",
    }  # fmt: skip


def test_values_go_to_their_channels_others_keep_their_code_and_settings_are_apart() -> None:
    line = Line({**ANSWERS, MEASURED: b"F0 60 7D 24 D6 12 E6 31 EB 98 "}).run(1)
    measured, settings_ = line.readings()[:2]
    assert measured.values == {"vent_fio2": 60.0, "medibus_7d": 24.0, "rr": 12.0, "etco2": 31.0, "spo2": 98.0}
    assert measured.device_time == WallTime(2026, 8, 1, 12, 0, 0)
    assert settings_.values == {"medibus_set_01": 40.0}
    told = [each.detail for each in line.emissions if isinstance(each, Notice)]
    assert told == [{"code": "7d", "unit": "mbar"}, {"code": "set_01", "unit": "%"}]


def test_the_second_page_is_another_name_space() -> None:
    line = Line({**ANSWERS, command(0x2B): b"F0  1 "}, second_page=True, settings_every_s=0).run(2)
    assert line.readings()[1].values == {"medibus_cp2_f0": 1.0}
    assert SETTINGS not in line.frames()


def test_a_value_that_is_no_number_is_a_state() -> None:
    line = Line({**ANSWERS, MEASURED: b"EB    F0----7D    "}).run(1)
    assert line.readings()[0].values == {}
    assert line.readings()[0].states == {"spo2": State.UNAVAILABLE, "vent_fio2": State.INVALID}


def test_a_site_names_a_code() -> None:
    line = Line(channels={"set_01": "vent_fio2"}).run(1)
    assert line.readings()[0].values == {"medibus_f0": 60.0, "medibus_78": 10.0, "medibus_7d": 24.0}
    assert line.readings()[1].values == {"vent_fio2": 40.0}
    for wrong in (
        {"channels": {"d6": "nothing"}},
        {"channels": {"D6": "rr"}},
        {"channels": {"78": "rr"}},
        {"channels": {"e1": "hr", "08": "hr"}},
        {"channels": {"wf_00": "cvp"}},
        {"curves": ["noise"]},
    ):
        with pytest.raises(ConfigError):
            MedibusDriver.build(wrong, Catalogue.shipped())


def test_it_asks_on_a_grid_and_keeps_an_idle_line_alive() -> None:
    line = Line(every_s=5.0, settings_every_s=0).run(30)
    asked = [when / S for when, frame in line.sent if frame == MEASURED]
    assert np.diff(asked[1:]).tolist() == pytest.approx([5.0] * (len(asked) - 2), abs=0.05)
    spoken = np.diff([when / S for when, _ in line.sent])
    assert spoken.max() < 2.1
    assert NOP in line.frames()


@pytest.mark.parametrize("code", [0x30, 0x49, 0x51, 0x52])
def test_what_the_device_asks_is_answered_and_nothing_is_said_of_us(code: int) -> None:
    line = Line().run(3)
    assert line.hear(command(code))[0] == response(code)
    assert line.hear(command(0x2A)) == []
    assert line.driver.counters["ignored_commands"] == 1


def test_a_device_that_has_started_again_is_asked_again_who_it_is() -> None:
    line = Line().run(3)
    assert line.frames().count(IDENTIFY) == 1
    line.hear(command(0x51))
    line.run(1)
    assert line.frames().count(IDENTIFY) == 2


def test_silence_of_three_seconds_is_a_lost_link_and_answers_that_come_later_are_not_used() -> None:
    line = Line().run(3)
    line.answers, count = {}, len(line.readings())
    line.run(7)
    assert ICC in line.frames()[1:]
    line.hear(response(0x24, b"F0 99 "))
    line.answers = {**ANSWERS, MEASURED: b"F0 61 "}
    line.run(15)  # there were characters: it waits longer before it calls again
    assert line.driver.counters["rejected_late"] == 1
    assert {each.values.get("vent_fio2") for each in line.readings()[count:]} == {61.0, None}


def test_an_answer_to_another_question_or_under_way_before_it_is_not_used() -> None:
    line = Line().run(3)
    count = len(line.readings())
    line.hear(response(0x24, b"F0 99 ") + response(0x29, b"01 99.0"))
    assert len(line.readings()) == count
    assert line.driver.counters["rejected_late"] == 2


def test_an_answer_in_the_bytes_that_made_us_ask_was_under_way_before() -> None:
    line = Line().run(0.1)  # answered, and about to ask for the first time
    assert line.driver.deadline is not None
    line.take()
    line.now = line.driver.deadline
    line.driver.tick(line.now)
    (asked,) = line.take()
    line.hear(response(asked[1], ANSWERS[asked].replace(b"Evita", b"Savina")))
    assert line.driver.counters["rejected_late"] == 1
    assert "model" not in line.driver.identity


def test_a_question_that_is_never_answered_is_not_asked_for_ever() -> None:
    line = Line({frame: data for frame, data in ANSWERS.items() if frame not in (DATE, SETTINGS)}).run(40)
    told = [each.text for each in line.emissions if isinstance(each, Notice) and each.event is EventKind.STATE]
    assert told == [
        "command 28 is never answered; not asked again", "command 29 is never answered; not asked again",
    ]  # fmt: skip
    assert line.frames().count(DATE) == line.frames().count(SETTINGS) == 2
    assert len(line.readings()) > 15
    assert line.readings()[-1].device_time is None


def test_a_refused_question_costs_its_turn_alone() -> None:
    line = Line().run(1)
    line.driver.take_frames()
    while line.driver.deadline is not None and MEASURED not in line.driver._to_send:
        line.now = max(line.now + MS, line.driver.deadline)
        line.driver.tick(line.now)
        if DATE in line.driver._to_send:
            line.driver.take_frames()
            line.now += MS
            line.driver.receive(response(0x28), line.now)
    line.now += MS
    line.hear(b"\x01\x1516\r")
    assert line.driver.counters["refused"] == 1
    assert line.run(3).readings()


def test_it_is_silent_while_the_device_asks_for_it_and_answers_afterwards() -> None:
    line = Line(every_s=1.0).run(3)
    line.hear(b"\x11")
    said = len(line.sent)
    for _ in range(20):
        line.run(0.2)
        line.hear(command(0x30))
    assert len(line.sent) == said
    assert line.hear(b"\x13")[:2] == [response(0x30)] * 2
    assert line.run(3).readings()


def test_curves_are_chosen_configured_enabled_and_enabled_again() -> None:
    line = Line(curves=["paw", "co2", "flow"]).run(12)
    frames = line.frames()
    configure = command(0x54, b"00010101")
    assert frames[:3] == [ICC, IDENTIFY, CURVES]
    assert configure in frames
    assert frames.index(enable(2)) > frames.index(configure)
    assert frames.count(enable(2)) in (2, 3)
    assert [each.text for each in line.emissions if isinstance(each, Notice) and each.event is EventKind.STATE] == [
        "the device does not offer curves 06"
    ]
    line.hear(b"\xd3\x91\x81\x8d\x83" * 32 + b"\xd0")
    pressure, flow = (each for each in line.emissions if isinstance(each, Samples))
    assert (pressure.channel, pressure.period_ns, pressure.offset) == ("medibus_wf_00", 16 * MS, -10.0)
    assert pressure.counts[0] * pressure.scale + pressure.offset == pytest.approx(0.125)
    assert (flow.channel, flow.counts.size) == ("medibus_wf_01", 32)
    line.hear(command(0x56))
    assert line.run(2).frames().count(configure) == 2


def test_only_questions_empty_answers_and_its_own_curves_can_be_sent() -> None:
    driver = MedibusDriver.build({"curves": ["paw", "flow"]}, Catalogue.shipped())
    driver.start(0)
    driver.take_frames()
    for frame in (
        command(0x54, b"0601"),
        command(0x4A, b"EB"),
        command(0x24, b"x"),
        response(0x52, b"name"),
        enable(3),
    ):
        with pytest.raises(ForbiddenFrameError):
            driver.send(frame)
    driver.stop(0)
    assert driver.take_frames() == []
    line = Line().run(1)
    line.driver.take_frames()
    line.driver.stop(line.now)
    assert line.driver.take_frames() == [STOP]


def test_the_link_is_set_as_is_usual() -> None:
    driver = MedibusDriver.build({}, Catalogue.shipped())
    assert check_link("serial:///dev/ttyS0", defaults=driver.link_defaults) == []
    assert not driver.verified


PIECES = st.one_of(
    st.binary(max_size=60),
    st.builds(
        response, st.sampled_from([0x15, 0x24, 0x28, 0x29, 0x2B, 0x51, 0x52, 0x53, 0x54]), st.binary(max_size=60)
    ),
    st.builds(response, st.just(0x53), st.just(CONFIG)),
    st.builds(command, st.integers(0, 127), st.binary(max_size=20)),
    st.builds(response, st.sampled_from([0x51, 0x52, 0x54, 0x24, 0x28])),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=30))
def test_any_bytes_whatever_are_survived_and_every_channel_is_admitted(pieces: list[bytes]) -> None:
    driver = MedibusDriver.build({"curves": ["paw", "flow"], "second_page": True}, Catalogue.shipped())
    driver.start(0)
    for now, piece in enumerate(pieces, start=1):
        driver.receive(piece, now * 100 * MS)
        driver.tick(now * 100 * MS)
    for each in driver.take_emissions():
        names = [*each.values, *each.states] if isinstance(each, Reading) else []
        names += [each.channel] if isinstance(each, Samples) else []
        assert all(Catalogue.shipped().admits(name) for name in names)


def test_ten_thousand_pieces_of_any_content_are_survived_and_fast() -> None:
    rng, line = np.random.default_rng(6), Line().run(1)
    pieces = [
        rng.bytes(int(rng.integers(0, 40))) if turn % 3 else response(0x24, rng.bytes(6)) for turn in range(10_000)
    ]
    began = time.process_time()
    for now, piece in enumerate(pieces):
        line.driver.receive(piece, line.now + now * MS)
        line.driver.take_emissions()
        line.driver.take_frames()
    assert 10_000 / (time.process_time() - began) > 5_000
    assert line.driver.counters["frames_bad"] > 100
