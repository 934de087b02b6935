from __future__ import annotations

import numpy as np
import pytest

from acquisition.catalogue import Catalogue
from acquisition.model import Quality, State
from acquisition.validation import NS, Validator, worst

GOOD, SUSPECT, BAD = Quality.GOOD, Quality.SUSPECT, Quality.BAD


@pytest.fixture
def validator() -> Validator:
    return Validator(Catalogue.shipped())


def judge(validator: Validator, channel: str, value: float, time_ns: int = 0, state: State | None = None) -> Quality:
    return validator.judge({channel: value}, {} if state is None else {channel: state}, time_ns)[channel]


@pytest.mark.parametrize(
    ("value", "quality"),
    [
        (3.5, GOOD),
        (-0.6, GOOD),
        (-1.5, GOOD),
        (7.0, GOOD),
        (7.01, SUSPECT),
        (-1.51, SUSPECT),
        (10.0, SUSPECT),
        (-10.0, SUSPECT),
        (10.01, BAD),
        (-10.01, BAD),
    ],
)
def test_flow_is_signed_and_judged_by_plausible_and_hard_limits(
    validator: Validator, value: float, quality: Quality
) -> None:
    assert judge(validator, "ecmo_flow", value) is quality


def test_a_change_faster_than_the_catalogue_allows_is_suspect(validator: Validator) -> None:
    assert judge(validator, "ecmo_flow", 3.0, 0) is GOOD
    assert judge(validator, "ecmo_flow", 6.5, NS) is SUSPECT
    assert judge(validator, "ecmo_flow", 6.5, 2 * NS) is GOOD


def test_neighbours_closer_than_a_second_may_differ_as_much_as_a_second_allows(validator: Validator) -> None:
    assert judge(validator, "ecmo_flow", 3.0, 0) is GOOD
    assert judge(validator, "ecmo_flow", 3.5, NS // 10) is GOOD


def test_after_a_long_silence_a_different_value_is_no_step(validator: Validator) -> None:
    judge(validator, "abp_mean", 60.0, 0)
    assert judge(validator, "abp_mean", 110.0, 10 * NS) is GOOD


@pytest.mark.parametrize(
    ("state", "quality"),
    [(State.QUESTIONABLE, SUSPECT), (State.DEMO, BAD), (State.CALIBRATING, BAD), (State.ABOVE_RANGE, SUSPECT)],
)
def test_the_devices_own_flag_lowers_the_quality(validator: Validator, state: State, quality: Quality) -> None:
    assert judge(validator, "hr", 90.0, state=state) is quality


def test_a_code_without_a_catalogue_row_is_kept_as_suspect(validator: Validator) -> None:
    assert judge(validator, "mdc_150344", 36.6) is SUSPECT
    assert validator.reasons["unmapped"] == 1


def block(validator: Validator, values: list[float]) -> Quality:
    array = np.array(values, dtype=np.float64)
    counts = np.where(np.isnan(array), -(2**31), np.nan_to_num(array)).astype(np.int32)
    return validator.judge_block("wf_abp", counts, array, 8_000_000)


def test_a_block_outside_hard_limits_is_bad_and_outside_plausible_ones_suspect(validator: Validator) -> None:
    assert block(validator, [80.0, 82.0, 85.0]) is GOOD
    assert block(validator, [17.0, 18.0, 19.0]) is SUSPECT
    assert block(validator, [-72.0, -71.0, -70.0]) is BAD


def test_a_flat_line_is_suspect_only_once_it_has_lasted_two_seconds(validator: Validator) -> None:
    second = [80.0] * 125
    assert [block(validator, second) for _ in range(3)] == [GOOD, SUSPECT, SUSPECT]
    assert block(validator, [80.0, 81.0, 80.0]) is GOOD
    assert block(validator, second) is GOOD


def test_a_block_without_any_sample_is_bad_and_missing_samples_are_no_values(validator: Validator) -> None:
    nan = float("nan")
    assert block(validator, [nan, nan]) is BAD
    assert block(validator, [80.0, nan, 81.0]) is GOOD


def test_a_jump_within_a_block_is_suspect(validator: Validator) -> None:
    assert block(validator, [80.0, 80.5, 130.0]) is SUSPECT


def test_worst_of_nothing_is_good() -> None:
    assert worst() is GOOD
    assert worst(GOOD, BAD, SUSPECT) is BAD
