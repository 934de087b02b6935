from __future__ import annotations

import numpy as np
import pytest

from acquisition.catalogue import Catalogue
from acquisition.driver import WallTime
from acquisition.errors import ConfigError
from acquisition.model import MISSING_COUNT, EventKind, State
from drivers.intellivue import IntelliVueDriver
from simulators import intellivue_pdu as pdu
from simulators.intellivue_screen import NUMERICS, WAVES
from tests.drivers import intellivue_vectors as vectors
from tests.drivers.intellivue_bench import (
    SHOWN,
    Bench,
    Ramp,
    answer_of,
    number,
    numerics_of,
    pressure,
    quiet,
    samples_of,
    seamless,
    wave,
)


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
