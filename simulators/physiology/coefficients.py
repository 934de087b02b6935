"""Coefficients of a heart, its vessels and a veno-arterial circuit: the clinical reference, sections 5.2 and 5.3.

Volumes in mL, pressures in mmHg, time in s; circuit coefficients per L/min as pumps and cannulae are specified.
"""

from __future__ import annotations

from dataclasses import dataclass

A_LV, B_LV, A_RV, B_RV, V0_LV, V0_RV = 0.9, 0.0175, 0.6, 0.024, 10.0, 10.0
R_MV, R_AV, R_TV, R_PVV, R_PUL, ZC = 0.010, 0.015, 0.010, 0.010, 0.10, 0.05
C_SA, C_SV, C_PA, C_PV = 1.3, 60.0, 4.0, 12.0
TOTAL_VOLUME = 1300.0 + V0_LV + V0_RV

HEAD_A, HEAD_C = 3.2e-5, 2.15
K_RETURN, K_DRAIN = 8.5, 3.0
R_OXYGENATOR, R_TUBING = 11.0, 4.0
INERTANCE = 0.045
DRAIN_SHARE, MEMBRANE_SHARE, RETURN_SHARE = 0.45, 0.10, 0.45
"""Parts of the tubing before the pump, around the membrane, after it."""

C_LOC, R_LOC, V_LOC = 5.0, 0.05, 50.0
"""The vein around the drainage cannula, where it can collapse; it comes with its own blood."""
CLOSES_MMHG, OPENS_MMHG, COLLAPSE_TAU_S, R_COLLAPSED = -1.0, 1.0, 0.08, 15.0

LVOT_AREA_CM2 = 3.8
L_PER_MIN = 0.06
"""L/min in each mL/s."""


@dataclass(frozen=True, slots=True)
class Phenotype:
    """What differs from patient to patient.

    Attributes:
        ees_lv: End-systolic elastance of the left ventricle, mmHg/mL.
        ees_rv: Of the right ventricle.
        r_sys: Systemic resistance, mmHg s/mL.
        heart_rate: Beats a minute.
    """

    ees_lv: float
    ees_rv: float
    r_sys: float
    heart_rate: float


PHENOTYPES = {
    "P0": Phenotype(0.30, 0.25, 0.85, 105.0),
    "P1": Phenotype(0.60, 0.32, 0.62, 96.0),
    "P2": Phenotype(0.75, 0.34, 0.56, 96.0),
    "P3": Phenotype(1.10, 0.45, 0.52, 88.0),
}
"""Severe stunning; the median of the LEVOECMO trial at baseline; that one with more contractility; weanable."""
