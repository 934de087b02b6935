from __future__ import annotations

from functools import cache

import pytest

from acquisition.catalogue import Catalogue
from simulators.patient import PHENOTYPES
from simulators.physiology import Patient

GOLDEN = {
    "ecmo_flow": 3.537,
    "abp_mean": 75.89,
    "abp_sys": 91.25,
    "abp_dia": 66.11,
    "native_output": 2.666,
    "cvp": 9.571,
    "lap": 20.67,
    "ecmo_p_drain": -34.34,
    "ecmo_p_pre": 226.75,
    "ecmo_p_post": 186.42,
    "lvot_vti": 7.307,
    "lvef": 14.54,
}


@cache
def settled(phenotype: str, rpm: float) -> dict[str, float]:
    patient = Patient(phenotype, rpm)
    return {**patient.numerics(), **patient.hidden()}


def pulse_pressure(phenotype: str, rpm: float) -> float:
    values = settled(phenotype, rpm)
    return values["abp_sys"] - values["abp_dia"]


@pytest.mark.parametrize(("name", "value"), GOLDEN.items())
def test_the_median_patient_at_3000_rpm_is_the_golden_vector(name: str, value: float) -> None:
    assert settled("P1", 3000)[name] == pytest.approx(value, abs=0.05)


@pytest.mark.parametrize(
    ("phenotype", "rpm", "flow", "mean", "pulse", "cvp", "lap", "drain", "pre", "post"),
    [
        ("P0", 2000, 2.05, 49, 7.6, 9.0, 24.4, -7, 112, 88),
        ("P0", 3000, 3.65, 60, 0.0, 7.9, 27.6, -39, 221, 179),
        ("P1", 1000, -0.29, 54, 33.2, 11.7, 15.3, 13, 45, 48),
        ("P1", 4000, 5.14, 85, 21.1, 8.7, 23.0, -80, 376, 317),
        ("P2", 3000, 3.51, 80, 32.9, 10.4, 17.5, -33, 229, 189),
        ("P3", 1000, -0.55, 64, 50.0, 12.8, 11.7, 15, 48, 54),
        ("P3", 3000, 3.44, 90, 46.7, 11.2, 14.9, -31, 232, 193),
    ],
)
def test_the_table_of_results_comes_out_again(
    phenotype: str,
    rpm: int,
    flow: float,
    mean: int,
    pulse: float,
    cvp: float,
    lap: float,
    drain: int,
    pre: int,
    post: int,
) -> None:
    values = settled(phenotype, rpm)
    assert values["ecmo_flow"] == pytest.approx(flow, abs=0.01)
    assert pulse_pressure(phenotype, rpm) == pytest.approx(pulse, abs=0.1)
    assert (values["cvp"], values["lap"]) == pytest.approx((cvp, lap), abs=0.1)
    pressures = [values[name] for name in ("abp_mean", "ecmo_p_drain", "ecmo_p_pre", "ecmo_p_post")]
    assert pressures == pytest.approx([mean, drain, pre, post], abs=0.6)


@pytest.mark.parametrize("phenotype", PHENOTYPES)
def test_a_faster_pump_means_more_flow_more_pressure_and_less_pulse(phenotype: str) -> None:
    speeds = [1500, 2250, 3000]
    flows = [settled(phenotype, rpm)["ecmo_flow"] for rpm in speeds]
    means = [settled(phenotype, rpm)["abp_mean"] for rpm in speeds]
    pulses = [pulse_pressure(phenotype, rpm) for rpm in speeds]
    atria = [settled(phenotype, rpm)["lap"] for rpm in speeds]
    assert flows == sorted(flows)
    assert means == sorted(means)
    assert pulses == sorted(pulses, reverse=True)
    assert atria == sorted(atria)


def test_a_stronger_heart_means_more_pulse() -> None:
    pulses = [pulse_pressure(phenotype, 3000) for phenotype in ("P0", "P1", "P2", "P3")]
    assert pulses == sorted(pulses)
    assert pulses[0] < 0.01


def test_a_clamped_circuit_carries_nothing_and_the_heart_is_alone() -> None:
    patient = Patient("P1")
    patient.clamped = True
    patient.advance(45)
    values = {**patient.numerics(), **patient.hidden()}
    assert values["ecmo_flow"] == 0.0
    assert (values["abp_mean"], values["native_output"]) == pytest.approx((55, 3.93), abs=0.5)
    assert values["ecmo_p_pre"] == values["ecmo_p_post"]


def test_flow_follows_the_pump_within_seconds() -> None:
    patient = Patient("P1", 3000)
    patient.rpm = 2000
    patient.advance(6)
    assert patient.numerics()["ecmo_flow"] == pytest.approx(1.86, abs=0.15)
    assert patient.numerics()["ecmo_rpm_set"] == 2000


def test_the_same_calls_give_the_same_numbers_however_time_is_cut() -> None:
    whole, pieces, other = Patient("P2"), Patient("P2"), Patient("P2", seed=1)
    whole.advance(2.0)
    for _ in range(625):
        pieces.advance(0.0032)
    other.advance(2.0)
    assert whole.take_abp() == pieces.take_abp() == other.take_abp()
    assert whole.numerics() == pieces.numerics()
    assert whole.numerics()["spo2"] != other.numerics()["spo2"]


def test_the_arterial_line_is_handed_out_once_at_125_hz() -> None:
    patient = Patient("P1")
    patient.advance(10)
    samples = patient.take_abp()
    assert len(samples) == 1250
    assert patient.take_abp() == []
    values = patient.numerics()
    assert max(samples) == pytest.approx(values["abp_sys"], abs=0.3)
    assert min(samples) == pytest.approx(values["abp_dia"], abs=0.3)
    assert sum(samples) / 1250 == pytest.approx(values["abp_mean"], abs=0.1)


def test_an_arterial_line_that_nobody_takes_keeps_its_last_minute() -> None:
    patient = Patient("P1")
    patient.advance(61)
    assert len(patient.take_abp()) == 7500


def test_every_number_is_a_channel_of_the_catalogue_and_within_its_plausible_limits() -> None:
    catalogue = Catalogue.shipped()
    for channel, value in Patient("P1").numerics().items():
        low, high = catalogue[channel].plausible or (value, value)
        assert low <= value <= high, channel
