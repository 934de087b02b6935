from __future__ import annotations

import pytest

from acquisition.derive.pulse_pressure import PulsePressure
from acquisition.model import State

NS = 1_000_000_000


@pytest.fixture
def pulse() -> PulsePressure:
    return PulsePressure()


def test_systolic_and_diastolic_of_one_instant_give_their_difference(pulse: PulsePressure) -> None:
    assert pulse.update({"abp_sys": 83.1, "abp_dia": 76.0}, {}, 0) == 7.1


def test_a_mean_alone_gives_no_pulse_pressure(pulse: PulsePressure) -> None:
    assert pulse.update({"abp_mean": 70.0}, {}, 0) is None


def test_the_two_may_come_up_to_two_seconds_apart(pulse: PulsePressure) -> None:
    assert pulse.update({"abp_sys": 90.0}, {}, 0) is None
    assert pulse.update({"abp_dia": 60.0}, {}, 2 * NS) == 30.0


def test_values_further_apart_are_not_paired_but_the_newer_one_waits(pulse: PulsePressure) -> None:
    pulse.update({"abp_sys": 90.0}, {}, 0)
    assert pulse.update({"abp_dia": 60.0}, {}, 2 * NS + 1) is None
    assert pulse.update({"abp_sys": 92.0}, {}, 3 * NS) == 32.0


def test_a_value_is_never_carried_forward(pulse: PulsePressure) -> None:
    assert pulse.update({"abp_sys": 90.0, "abp_dia": 60.0}, {}, 0) == 30.0
    assert pulse.update({"abp_sys": 95.0}, {}, NS // 2) is None


@pytest.mark.parametrize("channel", ["abp_sys", "abp_dia"])
def test_a_state_in_place_of_either_gives_none(pulse: PulsePressure, channel: str) -> None:
    values = {"abp_sys": 90.0, "abp_dia": 60.0}
    del values[channel]
    pulse.update({"abp_sys": 90.0}, {}, 0)
    assert pulse.update(values, {channel: State.INVALID}, NS) is None
    assert pulse.update({"abp_dia": 60.0}, {}, NS + 1) is None
