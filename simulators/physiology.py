"""A patient on veno-arterial ECMO in closed loop: turn the pump, and flow, pressures and the pulse answer together."""

from __future__ import annotations

import random
from collections import deque
from math import inf, pi, sin

from simulators.patient import (
    C_PV,
    C_SA,
    C_SV,
    DRAIN_SHARE,
    HEAD_A,
    K_DRAIN,
    K_RETURN,
    LVOT_AREA_CM2,
    MEMBRANE_SHARE,
    PHENOTYPES,
    R_OXYGENATOR,
    R_TUBING,
    RETURN_SHARE,
    TOTAL_VOLUME,
    ZC,
    Volumes,
    activation,
    at_rest,
    rates_of,
)

STEP_NS = 2_000_000
STEP_S = 0.002
ABP_RATE_HZ = 125
STEPS_PER_SAMPLE = 4
SETTLE_S = 45.0
AVERAGED_S = 4.0
KEPT_ABP_S = 60
L_PER_MIN = 0.06

HYDRAULIC_W = 2.2218e-3
"""Watts for each mmHg x L/min (clinical reference, section 4, `p_hyd`)."""
IDLE_POWER_W, EFFICIENCY = 3.0, 0.4
"""What the motor takes besides; plausible numbers, of no particular console."""
STEADY = {
    "spo2": (97.0, 0.5),
    "ecmo_svo2": (68.0, 0.6),
    "ecmo_sweep": (3.0, 0.01),
    "ecmo_fdo2": (60.0, 0.0),
    "ecmo_temp_art": (36.8, 0.05),
    "ecmo_temp_ven": (36.3, 0.05),
    "temp_core": (36.6, 0.03),
}
"""What this model does not compute: catalogue id to value and the size of its slow wandering."""


class Patient:
    """One patient with circuit, settled at the speed given.

    Fixed-step Runge-Kutta of fourth order at 2 ms: within 0.012 mmHg of an adaptive solver (clinical reference, 5.4).
    The same calls give the same numbers.

    Args:
        phenotype: Key of `simulators.patient.PHENOTYPES`.
        rpm: Pump speed.
        seed: Of the slow wandering of what is not computed.

    Attributes:
        rpm: Pump speed; may be set at any time.
        clamped: The circuit is clamped; may be set at any time.
    """

    def __init__(self, phenotype: str = "P1", rpm: float = 3000.0, seed: int = 0) -> None:
        self.heart = PHENOTYPES[phenotype]
        self.rpm = rpm
        self.clamped = False
        self._state = at_rest(self.heart)
        self._phase_s = 0.0
        self._steps = 0
        self._due_ns = 0
        self._abp: deque[float] = deque(maxlen=ABP_RATE_HZ * KEPT_ABP_S)
        self._beat = _Beat()
        self._beats: deque[_Beat] = deque(maxlen=max(1, int(AVERAGED_S / self.heart.period_s)))
        wander = random.Random(seed)
        self._wander = {channel: (wander.uniform(0, 2 * pi), wander.uniform(40, 90)) for channel in STEADY}
        self.advance(SETTLE_S)
        self._abp.clear()

    @property
    def time_s(self) -> float:
        """Simulated seconds so far, those of settling included."""
        return self._steps * STEP_S

    def advance(self, seconds: float) -> None:
        """Lets time pass; what does not fill a step of 2 ms is kept for the next call."""
        self._due_ns += round(seconds * 1e9)
        count = self._due_ns // STEP_NS
        self._due_ns -= count * STEP_NS
        self._run(count)

    def _run(self, count: int) -> None:
        period, phase, steps = self.heart.period_s, self._phase_s, self._steps
        rates = rates_of(self.heart, clamped=self.clamped)
        head = HEAD_A * self.rpm * self.rpm
        beat, abp = self._beat, self._abp
        lv, rv, sa, sv, pa, q = self._state
        if self.clamped:
            q = 0.0
        h, half, sixth = STEP_S, STEP_S / 2, STEP_S / 6
        e0 = activation(phase, period)
        for _ in range(count):
            e1, e2 = activation(phase + half, period), activation(phase + h, period)
            a1, b1, c1, d1, f1, g1, q_av = rates(e0, head, lv, rv, sa, sv, pa, q)
            pao = sa / C_SA + ZC * q_av
            beat.add(lv, rv, sa, sv, pa, q, q_av, pao)
            if steps % STEPS_PER_SAMPLE == 0:
                abp.append(pao)
            a2, b2, c2, d2, f2, g2, _ = rates(
                e1, head, lv + half * a1, rv + half * b1, sa + half * c1, sv + half * d1, pa + half * f1, q + half * g1
            )
            a3, b3, c3, d3, f3, g3, _ = rates(
                e1, head, lv + half * a2, rv + half * b2, sa + half * c2, sv + half * d2, pa + half * f2, q + half * g2
            )
            a4, b4, c4, d4, f4, g4, _ = rates(
                e2, head, lv + h * a3, rv + h * b3, sa + h * c3, sv + h * d3, pa + h * f3, q + h * g3
            )
            lv += sixth * (a1 + 2.0 * (a2 + a3) + a4)
            rv += sixth * (b1 + 2.0 * (b2 + b3) + b4)
            sa += sixth * (c1 + 2.0 * (c2 + c3) + c4)
            sv += sixth * (d1 + 2.0 * (d2 + d3) + d4)
            pa += sixth * (f1 + 2.0 * (f2 + f3) + f4)
            q += sixth * (g1 + 2.0 * (g2 + g3) + g4)
            e0 = e2
            steps += 1
            phase += h
            if phase >= period:
                phase -= period
                self._beats.append(beat)
                beat = _Beat()
        self._state = Volumes(lv, rv, sa, sv, pa, q)
        self._phase_s, self._steps, self._beat = phase, steps, beat

    def take_abp(self) -> list[float]:
        """Arterial line pressure in mmHg, 125 a second, since the last call; at most the last minute."""
        taken = list(self._abp)
        self._abp.clear()
        return taken

    def numerics(self) -> dict[str, float]:
        """What console and monitor show, by catalogue id: means of the whole beats in the last four seconds."""
        beats = self._beats
        steps = sum(beat.steps for beat in beats)
        flow = sum(beat.flow for beat in beats) / steps
        square = sum(beat.flow_square for beat in beats) / steps
        venous = sum(beat.sv for beat in beats) / steps / C_SV
        post = sum(beat.sa for beat in beats) / steps / C_SA + K_RETURN * square + RETURN_SHARE * R_TUBING * flow
        values = {
            "ecmo_flow": flow,
            "ecmo_rpm": self.rpm,
            "ecmo_rpm_set": self.rpm,
            "ecmo_p_drain": venous - K_DRAIN * square - DRAIN_SHARE * R_TUBING * flow,
            "ecmo_p_pre": post + (R_OXYGENATOR + MEMBRANE_SHARE * R_TUBING) * flow,
            "ecmo_p_post": post,
            "abp_sys": sum(beat.pao_max for beat in beats) / len(beats),
            "abp_dia": sum(beat.pao_min for beat in beats) / len(beats),
            "abp_mean": sum(beat.pao for beat in beats) / steps,
            "hr": self.heart.heart_rate,
            "cvp": venous,
        }
        head = values["ecmo_p_pre"] - values["ecmo_p_drain"]
        values["ecmo_power"] = IDLE_POWER_W + HYDRAULIC_W * head * flow / EFFICIENCY
        for channel, (value, size) in STEADY.items():
            phase, period_s = self._wander[channel]
            values[channel] = value + size * sin(phase + 2 * pi * self.time_s / period_s)
        return values

    def hidden(self) -> dict[str, float]:
        """What no device at the bed shows: native output in L/min, LAP in mmHg, VTI in cm, LVEF in %."""
        beats = self._beats
        steps = sum(beat.steps for beat in beats)
        output = sum(beat.ejected for beat in beats) / steps * L_PER_MIN
        full, empty = (sum(values) / len(beats) for values in zip(*((b.lv_max, b.lv_min) for b in beats), strict=True))
        return {
            "native_output": output,
            "lap": sum(beat.pv for beat in beats) / steps / C_PV,
            "lvot_vti": output / L_PER_MIN * self.heart.period_s / LVOT_AREA_CM2,
            "lvef": 100.0 * (full - empty) / full,
        }


class _Beat:
    """Sums and extremes over one beat."""

    __slots__ = (
        "ejected", "flow", "flow_square", "lv_max", "lv_min", "pao", "pao_max", "pao_min", "pv", "sa", "steps", "sv"
    )  # fmt: skip

    def __init__(self) -> None:
        self.steps = 0
        self.flow = self.flow_square = self.sa = self.sv = self.pv = self.pao = self.ejected = 0.0
        self.pao_max = self.lv_max = -inf
        self.pao_min = self.lv_min = inf

    def add(self, lv: float, rv: float, sa: float, sv: float, pa: float, q: float, q_av: float, pao: float) -> None:
        """Takes one step into account."""
        litres = q * L_PER_MIN
        self.steps += 1
        self.flow += litres
        self.flow_square += litres * abs(litres)
        self.sa += sa
        self.sv += sv
        self.pv += TOTAL_VOLUME - lv - rv - sa - sv - pa
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
