from __future__ import annotations

from functools import cache
from time import process_time

import numpy as np
import pytest

from acquisition.catalogue import Catalogue
from simulators.physiology import PHENOTYPES, Conditions, Patient
from simulators.physiology.beat import circuit_of, heart_of, pressures_of
from simulators.physiology.drugs import HOUR_S

GOLDEN = {
    "ecmo_flow": 3.537,
    "abp_mean": 75.89,
    "abp_sys": 91.25,
    "abp_dia": 66.11,
    "pulse": 25.13,
    "native_output": 2.666,
    "cvp": 9.571,
    "lap": 20.67,
    "ecmo_p_drain": -34.34,
    "ecmo_p_pre": 226.75,
    "ecmo_p_post": 186.42,
    "drop": 40.33,
    "lvot_vti": 7.307,
    "lvef": 14.54,
}


@cache
def settled(phenotype: str, rpm: float) -> dict[str, float]:
    patient = Patient(phenotype, rpm)
    values = {**patient.numerics(), **patient.hidden()}
    pulse, drop = values["abp_sys"] - values["abp_dia"], values["ecmo_p_pre"] - values["ecmo_p_post"]
    return {**values, "pulse": pulse, "drop": drop}


@pytest.mark.parametrize(("name", "value"), GOLDEN.items())
def test_the_median_patient_at_3000_rpm_is_the_golden_vector(name: str, value: float) -> None:
    assert settled("P1", 3000)[name] == pytest.approx(value, abs=0.05)


@pytest.mark.parametrize("phenotype", PHENOTYPES)
def test_a_faster_pump_means_more_flow_more_pressure_and_less_pulse(phenotype: str) -> None:
    speeds = [1500, 2250, 3000]
    flows = [settled(phenotype, rpm)["ecmo_flow"] for rpm in speeds]
    means = [settled(phenotype, rpm)["abp_mean"] for rpm in speeds]
    pulses = [settled(phenotype, rpm)["pulse"] for rpm in speeds]
    atria = [settled(phenotype, rpm)["lap"] for rpm in speeds]
    assert flows == sorted(flows)
    assert means == sorted(means)
    assert pulses == sorted(pulses, reverse=True)
    assert atria == sorted(atria)


def test_a_stronger_heart_means_more_pulse() -> None:
    pulses = [settled(phenotype, 3000)["pulse"] for phenotype in ("P0", "P1", "P2", "P3")]
    assert pulses == sorted(pulses)
    assert pulses[0] < 0.01


def test_a_clamped_circuit_carries_nothing_and_the_heart_is_alone() -> None:
    patient = Patient("P1")
    patient.conditions.clamped = True
    patient.advance(45)
    values = {**patient.numerics(), **patient.hidden()}
    assert values["ecmo_flow"] == 0.0
    assert (values["abp_mean"], values["native_output"]) == pytest.approx((55, 3.93), abs=0.5)
    assert values["ecmo_p_pre"] == values["ecmo_p_post"]


def test_a_stopped_pump_that_is_not_clamped_lets_blood_run_backwards() -> None:
    patient = Patient("P1")
    patient.conditions.rpm = 0.0
    patient.advance(20)
    values = patient.numerics()
    assert values["ecmo_flow"] < -1.0
    assert values["ecmo_power"] > 0.0


def test_a_weak_heart_on_a_fast_pump_does_not_open_its_valve() -> None:
    assert settled("P0", 3000)["valve_opens"] == 0.0
    assert settled("P0", 3000)["lvot_vti"] == 0.0
    assert settled("P1", 3000)["valve_opens"] == 1.0


def test_a_day_of_levosimendan_makes_the_median_patient_the_improving_one() -> None:
    pulses = []
    for hours in (0.0, 2.0, 6.0, 24.0, 72.0, 240.0):
        patient = Patient("P1")
        patient.levosimendan_s = patient.time_s - hours * HOUR_S
        patient.advance(45)
        values = {**patient.numerics(), **patient.hidden()}
        pulses.append(values["abp_sys"] - values["abp_dia"])
        if hours == 24.0:
            assert values["lvot_vti"] == pytest.approx(settled("P2", 3000)["lvot_vti"], abs=0.2)
            assert values["lvef"] == pytest.approx(settled("P2", 3000)["lvef"], abs=0.5)
    assert pulses[:4] == sorted(pulses[:4])
    assert pulses[4] == pytest.approx(pulses[3], abs=0.1)
    assert pulses[0] < pulses[5] < pulses[4] - 4


def beats(rhythm: str, seed: int = 1, **conditions: float) -> tuple[list[float], list[float]]:
    """Heart rates and systolic pressures, one each second for a minute."""
    now = Conditions(rhythm=rhythm)
    for name, value in conditions.items():
        setattr(now, name, value)
    patient = Patient("P3", seed=seed, conditions=now)
    rates, systolic = [], []
    for _ in range(60):
        patient.advance(1)
        values = patient.numerics()
        rates.append(values["hr"])
        systolic.append(values["abp_sys"])
    return rates, systolic


def test_beats_vary_only_when_they_are_let_and_the_same_seed_varies_them_alike() -> None:
    still, _ = beats("sinus")
    lively, pressures = beats("sinus", variability=0.04)
    assert max(still) - min(still) < 1e-9
    assert 1.0 < max(lively) - min(lively) < 30.0
    assert max(pressures) - min(pressures) > 1.0
    assert beats("sinus", variability=0.04) == (lively, pressures)
    assert beats("sinus", seed=2, variability=0.04)[0] != lively


def test_breathing_moves_the_pressures() -> None:
    _, still = beats("sinus")
    _, breathing = beats("sinus", respiration=6.0)
    assert max(breathing) - min(breathing) > max(still) - min(still) + 1.0


def test_pressure_in_the_chest_holds_blood_back_before_the_right_heart() -> None:
    patient = Patient("P2", conditions=Conditions(respiration=12.0))
    patient.advance(30)
    values, still = {**patient.numerics(), **patient.hidden()}, settled("P2", 3000)
    assert values["cvp"] > still["cvp"] + 1
    assert values["lap"] < still["lap"] - 2
    assert values["native_output"] < still["native_output"] - 0.2


def test_rhythms_do_what_their_names_say() -> None:
    regular, pressure = beats("sinus")
    assert sum(beats("vt")[0]) / 60 == pytest.approx(180, abs=1)
    assert sum(beats("vt")[1]) < sum(pressure)
    af = beats("af")[0]
    assert max(af) - min(af) > 10
    ectopic = beats("pvc")[0]
    assert max(ectopic) > min(ectopic)
    assert sum(ectopic) / 60 == pytest.approx(sum(regular) / 60, abs=2)
    for rhythm in ("vf", "asystole"):
        patient = Patient("P3", conditions=Conditions(rhythm=rhythm))
        values = {**patient.numerics(), **patient.hidden()}
        assert values["abp_sys"] - values["abp_dia"] < 1.0, rhythm
        assert values["ecmo_flow"] > 3.0
        assert values["valve_opens"] == 0.0


def test_a_balloon_lifts_the_pressure_in_diastole() -> None:
    patient = Patient("P0", conditions=Conditions(balloon=25.0))
    assert patient.numerics()["abp_sys"] > settled("P0", 3000)["abp_sys"] + 20
    pumped, alone = (Patient("P1", conditions=Conditions(balloon=size)) for size in (25.0, 0.0))
    for each in (pumped, alone):
        each.advance(10)
    pressure = np.array(alone.take_abp())
    lift = np.array(pumped.take_abp()) - pressure
    assert lift.min() >= 0.0
    assert lift.max() == pytest.approx(25.0, abs=0.5)
    assert np.all(np.diff(pressure)[(lift[1:] > 0) & (lift[:-1] > 0)] < 0), "it is full while the valve is open"


def test_blood_lost_and_given_back_leaves_things_as_they_were() -> None:
    patient = Patient("P1")
    before = patient.numerics()["cvp"]
    for volume, collapsible in ((-400.0, True), (-400.0, False), (0.0, True), (0.0, False)):
        patient.conditions.volume, patient.conditions.collapsible = volume, collapsible
        patient.advance(30)
    patient.advance(60)
    assert patient.numerics()["cvp"] == pytest.approx(before, abs=0.02)


def test_a_minute_takes_less_than_a_hundredth_of_a_minute() -> None:
    conditions = Conditions(variability=0.03, respiration=3.0, collapsible=True)
    patient = Patient("P1", conditions=conditions)
    started = process_time()
    patient.advance(60)
    assert process_time() - started < 0.6


def test_flow_follows_the_pump_within_seconds() -> None:
    patient = Patient("P1", 3000)
    patient.conditions.rpm = 2000
    patient.advance(6)
    assert patient.numerics()["ecmo_flow"] == pytest.approx(1.86, abs=0.15)
    assert patient.numerics()["ecmo_rpm_set"] == 2000


def test_each_quantity_settles_in_the_time_of_the_reference_after_a_step_of_speed() -> None:
    patient = Patient("P1", 3000)
    seen = [latest_beat(patient)]
    patient.conditions.rpm = 2000
    for _ in range(600):
        patient.advance(0.05)
        seen.append(latest_beat(patient))
    # Section 5.4: flow within one beat, mean pressure 5 s, CVP and LAP 9 s, to 5 % of the way; a beat is 0.625 s.
    for name, seconds in (("ecmo_flow", 0.625), ("abp_mean", 5.0), ("cvp", 9.0), ("lap", 9.0)):
        first, last = seen[0][name], seen[-1][name]
        away = [number for number, values in enumerate(seen) if abs(values[name] - last) > 0.05 * abs(first - last)]
        assert 0.05 * away[-1] == pytest.approx(seconds, abs=1.3), name


def latest_beat(patient: Patient) -> dict[str, float]:
    """What the last whole beat was, without a monitor's averaging over several."""
    beat = [patient._loop.beats[-1]]
    return {**circuit_of(beat), **pressures_of(beat), **heart_of(beat)}


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
