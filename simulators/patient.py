"""Equations of a heart, its vessels and a veno-arterial circuit, as given in the clinical reference, section 5.

Volumes in mL, pressures in mmHg, time in s; circuit coefficients per L/min as pumps and cannulae are specified. The
ventricles are time-varying elastances; everything else is one compliance and one resistance each. There is no
baroreflex, no gas exchange and no wave travel: it is made to exercise the recording, not to predict a patient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, exp, pi, sqrt
from typing import NamedTuple, TypeAlias

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

LVOT_AREA_CM2 = 3.8


@dataclass(frozen=True, slots=True)
class Phenotype:
    """What differs from patient to patient (section 5.3).

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

    @property
    def period_s(self) -> float:
        """Length of a beat."""
        return 60.0 / self.heart_rate


PHENOTYPES = {
    "P0": Phenotype(0.30, 0.25, 0.85, 105.0),
    "P1": Phenotype(0.60, 0.32, 0.62, 96.0),
    "P2": Phenotype(0.75, 0.34, 0.56, 96.0),
    "P3": Phenotype(1.10, 0.45, 0.52, 88.0),
}
"""Severe stunning; the median of the LEVOECMO trial at baseline; that one with more contractility; weanable."""


class Volumes(NamedTuple):
    """State of the model: volumes in mL and the circuit's flow in mL/s.

    The pulmonary veins hold what the others do not, so that volume is conserved exactly.
    """

    lv: float
    rv: float
    sa: float
    sv: float
    pa: float
    q: float


RatesOf: TypeAlias = Callable[
    [float, float, float, float, float, float, float, float],
    tuple[float, float, float, float, float, float, float],
]


def at_rest(heart: Phenotype) -> Volumes:
    """A state from which the model settles within half a minute."""
    return Volumes(lv=110.0, rv=110.0, sa=75.0 * C_SA, sv=10.0 * C_SV, pa=26.0 * C_PA, q=40.0 * heart.r_sys)


def activation(time_s: float, period_s: float) -> float:
    """How far the ventricles are contracted, 0..1, at a time since the beginning of a beat."""
    root = sqrt(period_s)
    peak, end = 0.30 * root, 0.45 * root
    time_s %= period_s
    if time_s < peak:
        return (1.0 - cos(pi * time_s / peak)) / 2.0
    if time_s < end:
        return (1.0 + cos(pi * (time_s - peak) / (end - peak))) / 2.0
    return 0.0


def rates_of(heart: Phenotype, *, clamped: bool) -> RatesOf:
    """The right-hand side for one patient.

    Plain floats in and out, because a tuple of names costs a third of the speed.

    Args:
        heart: The patient.
        clamped: The circuit is clamped: no flow in it.

    Returns:
        A function of activation, pump head at zero flow in mmHg, and the fields of `Volumes`; it returns the changes of
        those fields per second, and the flow through the aortic valve in mL/s.
    """
    ees_lv, ees_rv, r_sys = heart.ees_lv, heart.ees_rv, heart.r_sys
    r_ejection = R_AV + ZC
    quadratic = K_RETURN + K_DRAIN + HEAD_C
    linear = R_OXYGENATOR + R_TUBING

    def rates(
        e: float, head: float, lv: float, rv: float, sa: float, sv: float, pa: float, q: float
    ) -> tuple[float, float, float, float, float, float, float]:
        relaxed = 1.0 - e
        v_lv, v_rv = lv - V0_LV, rv - V0_RV
        p_lv = e * ees_lv * v_lv + relaxed * A_LV * (exp(B_LV * v_lv) - 1.0)
        p_rv = e * ees_rv * v_rv + relaxed * A_RV * (exp(B_RV * v_rv) - 1.0)
        p_sa, p_sv, p_pa = sa / C_SA, sv / C_SV, pa / C_PA
        p_pv = (TOTAL_VOLUME - lv - rv - sa - sv - pa) / C_PV
        q_mv = (p_pv - p_lv) / R_MV if p_pv > p_lv else 0.0
        q_av = (p_lv - p_sa) / r_ejection if p_lv > p_sa else 0.0
        q_tv = (p_sv - p_rv) / R_TV if p_sv > p_rv else 0.0
        q_pvv = (p_rv - p_pa) / R_PVV if p_rv > p_pa else 0.0
        q_s = (p_sa - p_sv) / r_sys
        litres = q * 0.06
        d_q = (p_sv - p_sa + head - (quadratic * abs(litres) + linear) * litres) / INERTANCE
        return (
            q_mv - q_av,
            q_tv - q_pvv,
            q_av + q - q_s,
            q_s - q_tv - q,
            q_pvv - (p_pa - p_pv) / R_PUL,
            0.0 if clamped else d_q,
            q_av,
        )

    return rates
