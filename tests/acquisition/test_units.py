from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acquisition.errors import UnitError
from acquisition.units import _DIMENSIONS, MDC_UNITS, conversion, is_known

PAIRS = [(a, b) for units in _DIMENSIONS.values() for a in units for b in units]


def convert(value: float, source: str, target: str) -> float:
    factor, offset = conversion(source, target)
    return value * factor + offset


@pytest.mark.parametrize(
    ("value", "source", "expected", "target"),
    [
        (16.0, "kPa", 120.00987, "mm[Hg]"),
        (760.0, "mm[Hg]", 101.325, "kPa"),
        (10.0, "cm[H2O]", 0.980665, "kPa"),
        (25.0, "cm[H2O]", 18.388981, "mm[Hg]"),
        (1013.25, "mbar", 760.0, "mm[Hg]"),
        (1.0, "bar", 100.0, "kPa"),
        (14.695949, "[psi]", 1.01325, "bar"),
        (4200.0, "mL/min", 4.2, "L/min"),
        (3.6, "L/h", 60.0, "mL/min"),
        (6.0, "mL/h", 0.1, "mL/min"),
        (50.0, "mL/s", 3.0, "L/min"),
        (98.6, "[degF]", 37.0, "Cel"),
        (-40.0, "[degF]", -40.0, "Cel"),
        (310.15, "K", 37.0, "Cel"),
        (37.0, "Cel", 310.15, "K"),
        (310.15, "K", 98.6, "[degF]"),
        (1.2, "Hz", 72.0, "/min"),
        (72.0, "{beat}/min", 72.0, "/min"),
        (0.21, "1", 21.0, "%"),
        (120.0, "g/L", 12.0, "g/dL"),
        (1500.0, "uV", 1.5, "mV"),
        (0.001, "mg/kg/min", 1.0, "ug/kg/min"),
    ],
)
def test_a_value_becomes_what_was_worked_out_by_hand(value: float, source: str, expected: float, target: str) -> None:
    assert convert(value, source, target) == pytest.approx(expected, rel=1e-6)
    assert convert(expected, target, source) == pytest.approx(value, rel=1e-6)


@given(st.sampled_from(PAIRS), st.floats(-1e6, 1e6))
def test_there_and_back_again_is_the_same_value(pair: tuple[str, str], value: float) -> None:
    source, target = pair
    assert convert(convert(value, source, target), target, source) == pytest.approx(value, rel=1e-9, abs=1e-6)


def test_a_unit_becomes_itself_without_a_change_even_if_nobody_knows_it() -> None:
    assert conversion("kPa", "kPa") == (1.0, 0.0)
    assert conversion("furlong", "furlong") == (1.0, 0.0)


def test_an_unknown_unit_is_refused_with_the_list_of_those_that_would_do() -> None:
    with pytest.raises(UnitError, match="unit 'inHg' cannot become 'mm\\[Hg\\]'") as caught:
        conversion("inHg", "mm[Hg]")
    assert caught.value.hint == "use one of: mm[Hg], kPa, cm[H2O], mbar, bar, [psi]"


@pytest.mark.parametrize(
    ("source", "target"), [("L/min", "mm[Hg]"), ("L/min", "L/min/m2"), ("%", "Cel"), ("kPa", "furlong")]
)
def test_units_of_different_quantities_never_become_each_other(source: str, target: str) -> None:
    with pytest.raises(UnitError, match="cannot become"):
        conversion(source, target)


def test_no_unit_measures_two_quantities() -> None:
    units = [unit for units in _DIMENSIONS.values() for unit in units]
    assert len(units) == len(set(units))


@pytest.mark.parametrize("code", MDC_UNITS)
def test_every_unit_code_of_11073_is_in_its_partition_and_can_be_converted(code: int) -> None:
    assert code >> 16 == 4
    assert is_known(MDC_UNITS[code])


def test_it_knows_what_it_does_not_know() -> None:
    assert is_known("mm[Hg]")
    assert not is_known("mmHg")
