"""Sums and extremes over one beat, from which everything that is shown or known is averaged."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from simulators.physiology.coefficients import C_PV, C_SV, L_PER_MIN, LVOT_AREA_CM2


class Beat:
    """One beat.

    Attributes:
        period_s: Its length as the heart began it.
        steps: Integration steps in it.
    """

    __slots__ = (
        "drain", "ejected", "flow", "lv_max", "lv_min", "pao", "pao_max", "pao_min", "period_s", "post", "pre",
        "pv", "steps", "sv",
    )  # fmt: skip

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self.steps = 0
        self.flow = self.drain = self.pre = self.post = 0.0
        self.sv = self.pv = self.pao = self.ejected = 0.0
        self.pao_max = self.lv_max = -inf
        self.pao_min = self.lv_min = inf

    def add_circuit(self, flow: float, drain: float, pre: float, post: float) -> None:
        """Takes one step of the circuit into account: L/min and mmHg."""
        self.flow += flow
        self.drain += drain
        self.pre += pre
        self.post += post

    def add_body(self, lv: float, sv: float, pv: float, q_av: float, pao: float) -> None:
        """Takes one step of the patient into account: mL, mL/s and mmHg."""
        self.steps += 1
        self.sv += sv
        self.pv += pv
        self.pao += pao
        self.ejected += q_av
        if pao > self.pao_max:
            self.pao_max = pao
        if pao < self.pao_min:
            self.pao_min = pao
        if lv > self.lv_max:
            self.lv_max = lv
        if lv < self.lv_min:
            self.lv_min = lv


def circuit_of(beats: Sequence[Beat]) -> dict[str, float]:
    """What the circuit's sensors show over these beats, by catalogue id."""
    steps = sum(beat.steps for beat in beats)
    return {
        "ecmo_flow": sum(beat.flow for beat in beats) / steps,
        "ecmo_p_drain": sum(beat.drain for beat in beats) / steps,
        "ecmo_p_pre": sum(beat.pre for beat in beats) / steps,
        "ecmo_p_post": sum(beat.post for beat in beats) / steps,
    }


def pressures_of(beats: Sequence[Beat]) -> dict[str, float]:
    """What a monitor shows over these beats, by catalogue id."""
    steps = sum(beat.steps for beat in beats)
    return {
        "abp_sys": sum(beat.pao_max for beat in beats) / len(beats),
        "abp_dia": sum(beat.pao_min for beat in beats) / len(beats),
        "abp_mean": sum(beat.pao for beat in beats) / steps,
        "hr": 60.0 * len(beats) / sum(beat.period_s for beat in beats),
        "cvp": sum(beat.sv for beat in beats) / steps / C_SV,
    }


def heart_of(beats: Sequence[Beat]) -> dict[str, float]:
    """What no device shows: native output in L/min, LAP in mmHg, VTI in cm, LVEF in %, beats that open the valve."""
    steps = sum(beat.steps for beat in beats)
    ejected = sum(beat.ejected for beat in beats) / steps
    full = sum(beat.lv_max for beat in beats) / len(beats)
    empty = sum(beat.lv_min for beat in beats) / len(beats)
    return {
        "native_output": ejected * L_PER_MIN,
        "lap": sum(beat.pv for beat in beats) / steps / C_PV,
        "lvot_vti": ejected * sum(beat.period_s for beat in beats) / len(beats) / LVOT_AREA_CM2,
        "lvef": 100.0 * (full - empty) / full,
        "valve_opens": sum(beat.ejected > 0.0 for beat in beats) / len(beats),
    }
