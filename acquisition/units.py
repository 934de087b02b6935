"""UCUM units: which ones measure the same quantity, and the factor between them.

Sources: UCUM case-sensitive codes; ISO/IEEE 11073-10101 unit codes (partition 4) as listed in the HL7 and
IntelliVue material of the reference.
"""

from __future__ import annotations

from acquisition.errors import UnitError

_DIMENSIONS: dict[str, dict[str, tuple[float, float]]] = {
    # quantity: {unit: (factor, offset)}, value_in_base = value * factor + offset
    "pressure": {"mm[Hg]": (1.0, 0.0), "kPa": (7.500616827, 0.0), "cm[H2O]": (0.735559240, 0.0),
                 "mbar": (0.750061683, 0.0), "bar": (750.061683, 0.0), "[psi]": (51.714932572, 0.0)},
    "flow": {"L/min": (1.0, 0.0), "mL/min": (0.001, 0.0), "mL/s": (0.06, 0.0),
             "L/h": (1 / 60, 0.0), "mL/h": (1 / 60000, 0.0)},
    "rate": {"/min": (1.0, 0.0), "{beat}/min": (1.0, 0.0), "{rev}/min": (1.0, 0.0), "{breath}/min": (1.0, 0.0),
             "/s": (60.0, 0.0), "Hz": (60.0, 0.0)},
    "temperature": {"Cel": (1.0, 0.0), "K": (1.0, -273.15), "[degF]": (5 / 9, -160 / 9)},
    "fraction": {"1": (1.0, 0.0), "%": (0.01, 0.0)},
    "voltage": {"mV": (1.0, 0.0), "uV": (0.001, 0.0), "V": (1000.0, 0.0)},
    "power": {"W": (1.0, 0.0), "mW": (0.001, 0.0)},
    "concentration": {"g/dL": (1.0, 0.0), "g/L": (0.1, 0.0)},
    "amount": {"mmol/L": (1.0, 0.0)},
    "mass": {"kg": (1.0, 0.0), "g": (0.001, 0.0)},
    "length": {"cm": (1.0, 0.0), "m": (100.0, 0.0), "mm": (0.1, 0.0)},
    "velocity": {"cm/s": (1.0, 0.0), "m/s": (100.0, 0.0)},
    "time": {"s": (1.0, 0.0), "ms": (0.001, 0.0), "min": (60.0, 0.0), "h": (3600.0, 0.0)},
    "dose": {"ug/kg/min": (1.0, 0.0), "mg/kg/min": (1000.0, 0.0)},
    "flow index": {"L/min/m2": (1.0, 0.0), "L/(min.m2)": (1.0, 0.0)},
}  # fmt: skip

_QUANTITY = {unit: quantity for quantity, units in _DIMENSIONS.items() for unit in units}

MDC_UNITS: dict[int, str] = {
    262656: "1",
    262688: "%",
    264320: "s",
    264338: "ms",
    264608: "/s",
    264640: "Hz",
    264864: "{beat}/min",
    264928: "{breath}/min",
    264992: "L/min/m2",
    265216: "L/min",
    265234: "mL/min",
    265987: "kPa",
    266016: "mm[Hg]",
    266048: "cm[H2O]",
    266418: "mV",
    268192: "Cel",
}
"""ISO/IEEE 11073-10101 unit code (partition 4) to UCUM."""


def is_known(unit: str) -> bool:
    """Whether this module can convert from and to `unit`."""
    return unit in _QUANTITY


def conversion(source: str, target: str) -> tuple[float, float]:
    """Factor and offset so that `value * factor + offset` turns `source` into `target`.

    Raises:
        UnitError: one of the units is unknown, or they measure different quantities.
    """
    if source == target:
        return 1.0, 0.0
    quantity = _QUANTITY.get(source)
    if quantity is None or quantity != _QUANTITY.get(target):
        known = ", ".join(_DIMENSIONS[_QUANTITY[target]]) if target in _QUANTITY else target
        raise UnitError(f"unit {source!r} cannot become {target!r}", hint=f"use one of: {known}")
    factor, offset = _DIMENSIONS[quantity][source]
    target_factor, target_offset = _DIMENSIONS[quantity][target]
    return factor / target_factor, (offset - target_offset) / target_factor
