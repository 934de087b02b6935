from __future__ import annotations

from dataclasses import replace
from functools import cache
from statistics import pstdev

import pytest

from simulators.physiology import PHENOTYPES, Conditions, Patient
from simulators.physiology import patient as patient_module
from simulators.physiology.coefficients import L_PER_MIN
from simulators.physiology.loop import STEP_S

# Numbers typed from the clinical reference: 5.4 (results, sweep) and 2.4 (circuit events).
Row = tuple[str, int | None, float, float, float, int, int, int, int, float, float, float, int, int, int, int]
TABLE: list[Row] = [
    # phenotype, rpm, flow, native output, VTI, LVEF, MAP, S, D, PP, CVP, LAP, P_drain, P_pre, P_post, dP
    ("P0", None, 0.00, 1.88, 4.7, 9, 39, 47, 32, 14.9, 10.5, 20.1, 10, 37, 37, 0),
    ("P0", 1000, 0.22, 1.75, 4.4, 9, 40, 48, 34, 14.3, 10.3, 20.6, 10, 42, 39, 2),
    ("P0", 1500, 1.20, 1.21, 3.0, 6, 45, 51, 41, 10.8, 9.6, 22.6, 3, 72, 58, 14),
    ("P0", 2000, 2.05, 0.75, 1.9, 4, 49, 54, 47, 7.6, 9.0, 24.4, -7, 112, 88, 23),
    ("P0", 2500, 2.86, 0.33, 0.8, 2, 54, 57, 53, 4.1, 8.4, 26.1, -21, 161, 128, 33),
    ("P0", 3000, 3.65, 0.00, 0.0, 0, 60, 60, 60, 0.0, 7.9, 27.6, -39, 221, 179, 42),
    ("P0", 3500, 4.40, 0.00, 0.0, 0, 70, 70, 70, 0.0, 7.7, 27.4, -58, 292, 242, 50),
    ("P0", 4000, 5.15, 0.00, 0.0, 0, 81, 81, 81, 0.0, 7.6, 27.2, -81, 374, 315, 59),
    ("P1", None, 0.00, 3.93, 10.8, 23, 55, 74, 42, 32.5, 11.5, 15.6, 12, 52, 52, 0),
    ("P1", 1000, -0.29, 4.02, 11.0, 24, 54, 73, 40, 33.2, 11.7, 15.3, 13, 45, 48, -3),
    ("P1", 1500, 0.91, 3.60, 9.9, 21, 61, 79, 48, 30.8, 11.0, 17.0, 7, 77, 67, 10),
    ("P1", 2000, 1.86, 3.27, 9.0, 19, 66, 83, 55, 28.9, 10.5, 18.3, -3, 117, 96, 21),
    ("P1", 2500, 2.71, 2.96, 8.1, 16, 71, 87, 60, 27.0, 10.0, 19.5, -17, 167, 136, 31),
    ("P1", 3000, 3.54, 2.66, 7.3, 15, 76, 91, 66, 25.1, 9.6, 20.7, -34, 227, 186, 40),
    ("P1", 3500, 4.34, 2.37, 6.5, 13, 81, 95, 72, 23.1, 9.1, 21.8, -55, 296, 247, 50),
    ("P1", 4000, 5.14, 2.08, 5.7, 11, 85, 98, 77, 21.1, 8.7, 23.0, -80, 376, 317, 59),
    ("P2", None, 0.00, 4.68, 12.8, 29, 60, 81, 43, 38.1, 12.2, 13.6, 12, 56, 56, 0),
    ("P2", 1000, -0.38, 4.78, 13.1, 30, 57, 80, 41, 38.8, 12.3, 13.2, 14, 46, 51, -4),
    ("P2", 1500, 0.84, 4.44, 12.2, 27, 65, 86, 49, 37.1, 11.7, 14.5, 8, 78, 69, 10),
    ("P2", 2000, 1.81, 4.16, 11.4, 25, 71, 91, 56, 35.6, 11.3, 15.6, -2, 119, 98, 21),
    ("P2", 2500, 2.68, 3.91, 10.7, 23, 76, 96, 62, 34.2, 10.8, 16.6, -16, 169, 138, 31),
    ("P2", 3000, 3.51, 3.66, 10.0, 21, 80, 100, 67, 32.9, 10.4, 17.5, -33, 229, 189, 40),
    ("P2", 3500, 4.32, 3.42, 9.4, 19, 85, 104, 73, 31.4, 10.1, 18.5, -54, 298, 249, 49),
    ("P2", 4000, 5.12, 3.18, 8.7, 18, 90, 108, 78, 29.9, 9.7, 19.4, -78, 377, 319, 58),
    ("P3", None, 0.00, 5.80, 17.4, 41, 68, 96, 46, 49.4, 12.6, 12.1, 13, 63, 63, 0),
    ("P3", 1000, -0.55, 5.90, 17.6, 43, 64, 93, 42, 50.0, 12.8, 11.7, 15, 48, 54, -6),
    ("P3", 1500, 0.65, 5.67, 17.0, 40, 72, 100, 51, 49.2, 12.3, 12.7, 10, 80, 73, 7),
    ("P3", 2000, 1.71, 5.47, 16.4, 38, 79, 107, 58, 48.3, 11.9, 13.5, 0, 122, 102, 19),
    ("P3", 2500, 2.60, 5.30, 15.9, 36, 84, 112, 64, 47.5, 11.5, 14.2, -13, 172, 142, 30),
    ("P3", 3000, 3.44, 5.13, 15.3, 34, 90, 117, 70, 46.7, 11.2, 14.9, -31, 232, 193, 39),
    ("P3", 3500, 4.26, 4.97, 14.9, 32, 95, 122, 76, 45.8, 10.8, 15.6, -51, 302, 253, 49),
    ("P3", 4000, 5.07, 4.80, 14.4, 31, 100, 127, 82, 44.9, 10.5, 16.3, -76, 381, 323, 58),
]
SWINGS = {
    # rpm, or none where clamped, to the lowest and highest flow in a beat, L/min
    "P0": {None: (0.00, 0.00), 1000: (0.02, 0.40), 1500: (1.13, 1.27), 2000: (2.02, 2.08), 2500: (2.85, 2.87),
           3000: (3.65, 3.65), 3500: (4.40, 4.40), 4000: (5.15, 5.15)},
    "P1": {None: (0.00, 0.00), 1000: (-0.72, 0.18), 1500: (0.64, 1.14), 2000: (1.70, 1.99), 2500: (2.61, 2.81),
           3000: (3.46, 3.60), 3500: (4.28, 4.39), 4000: (5.09, 5.18)},
    "P2": {None: (0.00, 0.00), 1000: (-0.85, 0.14), 1500: (0.48, 1.13), 2000: (1.61, 1.98), 2500: (2.54, 2.80),
           3000: (3.41, 3.60), 3500: (4.24, 4.39), 4000: (5.05, 5.18)},
    "P3": {None: (0.00, 0.00), 1000: (-1.10, 0.06), 1500: (0.04, 1.10), 2000: (1.40, 1.96), 2500: (2.39, 2.78),
           3000: (3.28, 3.58), 3500: (4.13, 4.37), 4000: (4.96, 5.16)},
}  # fmt: skip
SWEEP = [
    (0.2, 0.0, 46, 0.0, 33),
    (0.3, 7.2, 53, 1.8, 30),
    (0.4, 14.3, 62, 3.9, 26),
    (0.5, 20.2, 69, 5.7, 23),
    (0.6, 25.1, 76, 7.3, 21),
    (0.7, 29.2, 81, 8.6, 19),
    (0.8, 32.5, 86, 9.8, 17),
    (1.0, 37.7, 94, 11.5, 14),
    (1.2, 41.3, 99, 12.8, 12),
    (1.5, 45.0, 104, 14.1, 10),
    (2.0, 48.7, 110, 15.4, 8),
]
BASELINE = (3.54, -34, 227, 186, 40, 76, 25, 9.6)
EVENTS = [
    ("oxygenator", 2.0, (3.23, -27, 238, 166, 72, 74, 26, 9.7)),
    ("oxygenator", 3.0, (2.95, -21, 248, 149, 98, 73, 27, 9.9)),
    ("return_cannula", 3.0, (2.51, -13, 261, 233, 29, 70, 28, 10.1)),
    ("drainage_cannula", 6.0, (2.58, -115, 159, 129, 29, 70, 27, 10.1)),
    ("resistance", 1.6, (3.37, -32, 232, 193, 38, 92, 18, 8.1)),
    ("volume", -600.0, (3.59, -42, 219, 178, 41, 64, 20, 3.5)),
]
STIFF = (3.71, -35, 223, 181, 42, 58, 7, 12.6)
"""The reference does not say how stiff: of its numbers only the signs are checked."""


@cache
def settled(phenotype: str, rpm: int | None) -> dict[str, float]:
    patient = Patient(phenotype, conditions=Conditions(rpm=rpm or 3000.0, clamped=rpm is None))
    patient.advance(6)
    return {**patient.numerics(), **patient.hidden()}


@cache
def events_of(**conditions: float) -> tuple[float, ...]:
    patient = Patient(conditions=replace(Conditions(), **conditions))  # type: ignore[arg-type]  # all are numbers
    patient.advance(60)
    v = patient.numerics()
    dp = v["ecmo_p_pre"] - v["ecmo_p_post"]
    pulse = v["abp_sys"] - v["abp_dia"]
    return (
        v["ecmo_flow"], v["ecmo_p_drain"], v["ecmo_p_pre"], v["ecmo_p_post"], dp, v["abp_mean"], pulse, v["cvp"]
    )  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]}-{row[1] or 'clamped'}")
def test_every_row_of_the_table_of_results_comes_out_again(row: Row) -> None:
    phenotype, rpm, flow, output, vti, ef, mean, sys, dia, pulse, cvp, lap, drain, pre, post, drop = row
    values = settled(phenotype, rpm)
    assert values["ecmo_flow"] == pytest.approx(flow, abs=0.01)
    assert values["native_output"] == pytest.approx(output, abs=0.01)
    assert values["abp_sys"] - values["abp_dia"] == pytest.approx(pulse, abs=0.1)
    assert [values[name] for name in ("lvot_vti", "cvp", "lap")] == pytest.approx([vti, cvp, lap], abs=0.1)
    whole = [values[name] for name in ("lvef", "abp_mean", "abp_sys", "abp_dia")]
    assert whole == pytest.approx([ef, mean, sys, dia], abs=0.6)
    circuit = [values[name] for name in ("ecmo_p_drain", "ecmo_p_pre", "ecmo_p_post")]
    assert circuit == pytest.approx([drain, pre, post], abs=0.6)
    assert values["ecmo_p_pre"] - values["ecmo_p_post"] == pytest.approx(drop, abs=0.6)


@pytest.mark.slow
@pytest.mark.parametrize("phenotype", SWINGS)
def test_the_flow_swings_in_a_beat_as_far_as_in_the_table_of_results(phenotype: str) -> None:
    patient = Patient(phenotype)
    for rpm, swing in SWINGS[phenotype].items():
        patient.conditions.clamped, patient.conditions.rpm = rpm is None, rpm or 3000.0
        patient.advance(30)
        flows = momentary_flows(patient, 0.8)
        assert (min(flows), max(flows)) == pytest.approx(swing, abs=0.01), rpm


def momentary_flows(patient: Patient, seconds: float) -> list[float]:
    """L/min at each step; what devices show are means over beats."""
    flows = []
    for _ in range(round(seconds / STEP_S)):
        patient.advance(STEP_S)
        flows.append(patient._loop._state[5] * L_PER_MIN)
    return flows


@pytest.mark.parametrize(("ees", "pulse", "mean", "vti", "lap"), SWEEP)
def test_every_step_of_the_contractility_sweep_comes_out_again(
    ees: float, pulse: float, mean: int, vti: float, lap: int
) -> None:
    patient = Patient(replace(PHENOTYPES["P1"], ees_lv=ees))
    values = {**patient.numerics(), **patient.hidden()}
    assert values["abp_sys"] - values["abp_dia"] == pytest.approx(pulse, abs=0.1)
    assert values["lvot_vti"] == pytest.approx(vti, abs=0.1)
    assert (values["abp_mean"], values["lap"]) == pytest.approx((mean, lap), abs=0.6)


@pytest.mark.parametrize(("condition", "value", "expected"), EVENTS, ids=lambda each: str(each)[:20])
def test_every_circuit_event_moves_what_the_reference_moves_and_as_far(
    condition: str, value: float, expected: tuple[float, ...]
) -> None:
    found = events_of(**{condition: value})
    assert found[0] == pytest.approx(expected[0], abs=0.01)
    assert found[1:] == pytest.approx(expected[1:], abs=0.6)
    assert same_signs(found, expected)


def test_stiff_ventricles_lower_pressure_and_pulse_and_raise_the_venous_pressure() -> None:
    assert same_signs(events_of(stiffness=4.0), STIFF)


def same_signs(found: tuple[float, ...], expected: tuple[float, ...]) -> bool:
    """Whether each quantity moved from the baseline to the side that it moves to in the reference, if it moves."""
    baseline = events_of()
    assert baseline == pytest.approx(BASELINE, abs=0.6)
    printed_to = (0.01, 1, 1, 1, 1, 1, 1, 0.1)
    return all(
        (new - old) * (told - base) > 0
        for new, old, told, base, step in zip(found, baseline, expected, BASELINE, printed_to, strict=True)
        if abs(told - base) > 1.5 * step
    )


def test_along_the_sweep_the_flow_goes_from_the_first_number_of_the_reference_to_its_last() -> None:
    flows = [Patient(replace(PHENOTYPES["P1"], ees_lv=row[0])).numerics()["ecmo_flow"] for row in SWEEP]
    assert flows == sorted(flows, reverse=True)
    assert (flows[0], flows[-1]) == pytest.approx((3.76, 3.28), abs=0.01)


# Of chatter and suck-down the reference gives flow, drainage pressure and CVP, which come out here, and mean pressures
# of 46 and 40 mmHg, which do not: they are 48 and 42. It does not say how much blood the collapsible vein comes with.
def chatter(rpm: float) -> list[tuple[float, float]]:
    """Flow and drainage pressure, twenty times a second for 25 s, after 900 mL were lost."""
    patient = Patient(conditions=Conditions(rpm=rpm, volume=-900.0, collapsible=True))
    seen = []
    for _ in range(500):
        patient.advance(0.05)
        values = patient.numerics()
        seen.append((values["ecmo_flow"], values["ecmo_p_drain"]))
    return seen


def test_a_fast_pump_on_little_blood_makes_the_line_chatter_and_a_slower_one_carries_more() -> None:
    flows, pressures = zip(*chatter(3000), strict=True)
    assert max(flows) - min(flows) > 0.8
    assert sum(flows) / len(flows) == pytest.approx(2.45, abs=0.1)
    assert sum(pressures) / len(pressures) == pytest.approx(-132, abs=10)
    assert 0.30 <= pstdev(flows[::20]) <= 0.57, "once a second, as the rule of section 2.4 has it"
    calm, _ = zip(*chatter(2750), strict=True)
    assert max(calm) - min(calm) < 0.01
    assert sum(calm) / len(calm) == pytest.approx(3.22, abs=0.02)


def test_the_flow_of_a_chattering_line_goes_as_low_and_as_high_as_in_the_reference() -> None:
    patient = Patient(conditions=Conditions(volume=-900.0, collapsible=True))
    flows = momentary_flows(patient, 20)
    assert (min(flows), max(flows)) == pytest.approx((0.86, 3.71), abs=0.01)
    assert patient.numerics()["cvp"] == pytest.approx(2.0, abs=0.1)


def test_a_weaker_collapse_sucks_the_vein_shut_without_a_surge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.physiology.loop.R_COLLAPSED", 4.0)  # section 5.1
    # What is remembered settled with the other one.
    monkeypatch.setattr(patient_module, "_settled", patient_module._settled.__wrapped__)
    flows, _ = zip(*chatter(3000), strict=True)
    assert max(flows) - min(flows) < 0.01
    assert flows[-1] < 2.5


def test_a_still_faster_pump_sucks_the_vein_shut_and_stays_there() -> None:
    flows, pressures = zip(*chatter(4000), strict=True)
    assert max(flows) - min(flows) < 0.01
    assert flows[-1] == pytest.approx(1.64, abs=0.02)
    assert pressures[-1] == pytest.approx(-421, abs=0.6)


def test_before_the_blood_is_lost_the_pumps_of_both_events_carry_what_the_reference_says() -> None:
    for rpm, flow in ((3000.0, 3.51), (4000.0, 5.11)):
        patient = Patient(conditions=Conditions(rpm=rpm, collapsible=True))
        assert patient.numerics()["ecmo_flow"] == pytest.approx(flow, abs=0.01)
