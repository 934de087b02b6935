"""A patient on veno-arterial ECMO in closed loop: turn the pump, and flow, pressures and the pulse answer together."""

from __future__ import annotations

from simulators.physiology.coefficients import PHENOTYPES, Phenotype
from simulators.physiology.conditions import Conditions
from simulators.physiology.patient import Patient

__all__ = ["PHENOTYPES", "Conditions", "Patient", "Phenotype"]
