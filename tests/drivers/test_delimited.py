from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from acquisition.catalogue import Catalogue, shipped_config
from acquisition.driver import Emission, Notice, Reading
from acquisition.errors import ConfigError, ForbiddenFrameError
from acquisition.model import State
from drivers.delimited import DelimitedDriver
from tests.contracts.cases import FOLDER, Case

S = 1_000_000_000
EMTEC = tomllib.loads((shipped_config() / "devices" / "emtec_bioprott.toml").read_text(encoding="utf-8"))
GAS: dict[str, Any] = {
    "name": "a gas flow controller of our own",
    "source": "made up for this test",
    "terminator": "\r",
    "separator": "\t",
    "columns": 3,
    "period_s": 1.0,
    "poll": "A\r",
    "states": {"--": "unavailable", "E": "sensor_error"},
    "column": [
        {"index": 1, "name": "unit id", "type": "text", "pattern": "A"},
        {"index": 2, "name": "flow", "channel": "ecmo_sweep", "unit": "mL/min", "scale": 10},
        {"index": 3, "name": "gas", "type": "text", "pattern": "[A-Za-z0-9]+", "tell": True},
    ],
}


def emtec(**options: Any) -> DelimitedDriver:
    driver = DelimitedDriver.build(options, Catalogue.shipped(), EMTEC)
    driver.start(0)
    driver.receive(b"\r\n", 0)
    return driver


def gas(**changes: Any) -> DelimitedDriver:
    driver = DelimitedDriver.build({}, Catalogue.shipped(), {**GAS, **changes})
    driver.start(0)
    return driver


def readings(driver: DelimitedDriver) -> list[Reading]:
    return [emission for emission in driver.take_emissions() if isinstance(emission, Reading)]


def read_case(name: str) -> tuple[DelimitedDriver, list[float | State]]:
    case = Case(FOLDER / "delimited" / name)
    driver = case.build()
    assert isinstance(driver, DelimitedDriver)
    driver.start(0)
    driver.receive(case.received, 0)
    found = readings(driver)
    return driver, [reading.states.get("ecmo_flow") or reading.values["ecmo_flow"] for reading in found]


def test_the_strings_printed_in_the_manual_read_as_the_manual_says() -> None:
    driver, flows = read_case("printed_examples")
    assert flows == [
        7.195,
        -3.588,
        -4.804,
        0.0,
        State.INVALID,
        State.SENSOR_ERROR,
        State.ABOVE_RANGE,
        State.BELOW_RANGE,
        State.NOT_CONNECTED,
    ]
    assert driver.counters["frames_bad"] == 0


def test_reversed_flow_keeps_its_sign() -> None:
    assert read_case("flow_reversed")[1] == [0.85, 0.31, -0.02, -0.295, -0.412, -0.38]


def test_an_unplugged_sensor_is_a_state_and_no_gap() -> None:
    off = State.NOT_CONNECTED
    assert read_case("sensor_off")[1] == [3.541, off, off, State.INVALID, 3.538]


def test_damaged_lines_go_and_their_neighbours_stay() -> None:
    driver, flows = read_case("truncated_line")
    assert flows == [3.541, 3.543, 3.546, 3.549]
    assert driver.counters["frames_bad"] == 3


def test_noise_costs_the_line_it_hit_and_no_other() -> None:
    driver, flows = read_case("noise_between")
    assert flows == [3.541, 3.543, 3.545, 3.546]
    assert driver.counters["frames_bad"] == 4


def test_the_first_line_is_not_used_because_its_beginning_was_not_seen() -> None:
    driver = DelimitedDriver.build({}, Catalogue.shipped(), EMTEC)
    driver.start(0)
    driver.receive(b"00 00 100 0.99 7195 7193 6897 +41\r\n", 0)
    assert readings(driver) == []
    assert driver.counters["bytes_headless"] == 35


def test_an_error_code_beside_a_flow_makes_it_questionable_and_keeps_it() -> None:
    driver = emtec()
    driver.receive(b"1A 00 100 0.99 7195 7193 6897 +41\r\n", 0)
    assert readings(driver) == [Reading({"ecmo_flow": 7.195}, {"ecmo_flow": State.QUESTIONABLE})]


@pytest.mark.parametrize(
    "line",
    [
        b"00 00 100 0.99 7195 7193 6897",
        b"00 00 100 0.99 7195 7193 6897 +41 +41",
        b"00 00 100 0.99 71-95 7193 6897 +41",
        b"00 00 100 0.99 7195.5 7193 6897 +41",
        b"00 00 100 0.99 7e3 7193 6897 +41",
        b"00 00 100 0.99 nan 7193 6897 +41",
        b"00 00 100 0.99 7195 7193 ---v--- +41",
        b"00 0 100 0.99 7195 7193 6897 +41",
        b"-- 00 100 0.99 7195 7193 6897 +41",
        b"00\t00 100 0.99 7195 7193 6897 +41 x",
        "00 00 100 0.99 ٧١٩٥ 7193 6897 +41".encode(),
        b"",
    ],
)
def test_a_line_with_one_wrong_field_is_rejected_whole(line: bytes) -> None:
    driver = emtec()
    before = driver.counters["frames_bad"]
    driver.receive(line + b"\r\n", 0)
    assert driver.take_emissions() == []
    assert driver.counters["frames_bad"] == before + 1


def test_error_status_and_calibration_factor_are_told_when_they_change() -> None:
    driver = emtec()
    driver.receive(b"00 40 100 1.00 1 1 1 +41\r\n" * 3 + b"00 40 100 1.34 1 1 1 +41\r\n", 0)
    told = [(e.detail["column"], e.detail["value"]) for e in driver.take_emissions() if isinstance(e, Notice)]
    assert told == [("error", "00"), ("status", "40"), ("calibration factor", "1.00"), ("calibration factor", "1.34")]


def test_a_line_without_end_is_dropped_and_the_next_whole_one_used() -> None:
    driver = emtec()
    driver.receive(b"7" * 100_000, 0)
    assert len(driver.buffer) <= 82
    driver.receive(b"\r\n00 00 100 0.99 7195 7193 6897 +41\r\n", 0)
    assert [reading.values for reading in readings(driver)] == [{"ecmo_flow": 7.195}]
    assert driver.counters["rejected_overlong"] == 1


def test_nothing_is_ever_sent_to_the_flow_meter() -> None:
    driver = emtec()
    driver.tick(3600 * S)
    assert driver.deadline is None
    assert driver.take_frames() == []
    for command in (b"I\r", b"R\r", b"Z\r", b"S\r", b"T1\r", b"C1.00\r", b""):
        assert not driver.may_send(command)
        with pytest.raises(ForbiddenFrameError):
            driver.send(command)


def test_a_channel_can_be_another_one_at_this_bed() -> None:
    driver = emtec(channels={"ecmo_flow": "co_td"})
    driver.receive(b"1A 00 100 0.99 7195 7193 6897 +41\r\n", 0)
    assert readings(driver) == [Reading({"co_td": 7.195}, {"co_td": State.QUESTIONABLE})]


@pytest.mark.parametrize(
    ("channels", "complaint"),
    [
        ({"flow": "ecmo_flow"}, "no 'flow'"),
        ({"ecmo_flow": "blood_flow"}, "not in the catalogue"),
        ({"ecmo_flow": "abp_mean"}, "cannot become"),
    ],
)
def test_a_wrong_channel_is_the_operators_mistake(channels: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        emtec(channels=channels)


def test_a_device_that_is_asked_is_first_left_in_silence() -> None:
    driver = gas()
    assert driver.take_frames() == []
    driver.receive(b"003.2\tAir\rA\t1", 0)
    driver.tick(1 * S)
    assert driver.take_frames() == []
    driver.tick(2 * S)
    assert driver.take_frames() == [b"A\r"]
    driver.receive(b"A\t 321.5\tAir\r", 2 * S)
    assert [reading.values for reading in readings(driver)] == [{"ecmo_sweep": 3.215}]


def test_a_late_answer_is_counted_and_never_used() -> None:
    driver = gas()
    driver.tick(1 * S)
    driver.tick(2 * S)
    driver.receive(b"A\t100\tAir\r", 2 * S + 1)
    driver.tick(3 * S)
    driver.receive(b"A\t200\tAir\r", 3 * S + 1)
    assert driver.take_frames() == [b"A\r"] * 2
    assert [reading.values for reading in readings(driver)] == [{"ecmo_sweep": 2.0}]
    assert (driver.counters["timeout"], driver.counters["rejected_late"]) == (1, 1)
    assert driver.counters["bytes_headless"] == 10


def test_a_second_answer_to_one_question_is_counted_and_never_used() -> None:
    driver = gas()
    driver.tick(1 * S)
    driver.receive(b"A\t100\tAir\rA\t200\tAir\r", 1 * S)
    assert [reading.values for reading in readings(driver)] == [{"ecmo_sweep": 1.0}]
    assert driver.counters["rejected_late"] == 1


def test_a_text_stands_for_a_state_only_if_it_is_the_whole_field() -> None:
    driver = gas()
    for second, field in enumerate([b"--", b"E", b"--1", b"---"], start=1):
        driver.tick(second * S)
        driver.receive(b"A\t" + field + b"\tAir\r", second * S)
    assert [reading.states for reading in readings(driver)] == [
        {"ecmo_sweep": State.UNAVAILABLE},
        {"ecmo_sweep": State.SENSOR_ERROR},
    ]
    assert driver.counters["rejected_field"] == 2


def test_a_pattern_that_lets_through_what_is_no_number_costs_the_line_only() -> None:
    loose = [{**GAS["column"][1], "pattern": ".*"} if c["index"] == 2 else c for c in GAS["column"]]
    driver = gas(column=loose)
    for second, field in enumerate([b"1,5", b"nan", b"1e999", b""], start=1):
        driver.tick(second * S)
        driver.receive(b"A\t" + field + b"\tAir\r", second * S)
    assert driver.take_emissions() == []
    assert driver.counters["rejected_field"] == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": 2},
        {"column": []},
        {"column": [{"index": 0, "name": "x", "channel": "ecmo_flow", "unit": "L/min"}]},
        {"column": [{"index": 1, "name": "x", "channel": "ecmo_flow"}]},
        {"column": [{"index": 1, "name": "x", "channel": "ecmo_flow", "unit": "L/min", "type": "hex"}]},
        {"column": [{"index": 1, "name": "x", "channel": "ecmo_flow", "unit": "L/min", "pattern": "("}]},
        {"column": [{"index": i, "name": "x", "channel": "ecmo_flow", "unit": "L/min"} for i in (1, 2)]},
        {"column": [{"index": 1, "name": n, "channel": n, "unit": "L/min"} for n in ("ecmo_flow", "ecmo_sweep")]},
        {"column": [*GAS["column"][:2], {"index": 3, "name": "x", "type": "text"}]},
        {
            "column": [
                *GAS["column"][:2],
                {"index": 3, "name": "x", "type": "hex", "bits": [{"mask": 1, "channels": ["hr"]}]},
            ]
        },
        {"encoding": "hex"},
        {"terminator": ";"},
        {"separator": ""},
        {"states": {"-": "absent"}},
        {"poll": ""},
        {"surprise": 1},
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        gas(**changes)


def test_a_profile_is_needed() -> None:
    with pytest.raises(ConfigError, match="needs a profile"):
        DelimitedDriver.build({}, Catalogue.shipped())


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(
        st.tuples(
            st.sampled_from([b"3500", b"-3588", b"----", b"3x", b"", b"+41", b"35 00", b"3500.0"]),
            st.sampled_from([b"00", b"0A", b"zz"]),
        ),
        max_size=12,
    )
)
def test_what_was_read_before_changes_nothing_of_what_a_line_says(lines: list[tuple[bytes, bytes]]) -> None:
    said = [b"%s 40 100 1.00 %s 3500 %s    +41 \r\n" % (flags, flow, flow) for flow, flags in lines]
    together = emissions_of(said)
    alone = [each for line in said for each in emissions_of([line])]
    assert [each for each in together if isinstance(each, Reading)] == [
        each for each in alone if isinstance(each, Reading)
    ]


def emissions_of(lines: list[bytes]) -> list[Emission]:
    driver = emtec()
    for line in lines:
        driver.receive(line, 0)
    return driver.take_emissions()
