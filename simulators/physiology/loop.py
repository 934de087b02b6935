"""The closed loop of heart, vessels and circuit, integrated in steps of 2 ms: the clinical reference, section 5.1.

The ventricles are time-varying elastances; everything else is one compliance and one resistance each. There is no
baroreflex, no gas exchange and no wave travel: it is made to exercise the recording, not to predict a patient.

The step is our own: second-order Adams-Bashforth, with the circuit's friction taken implicitly. The valves kink the
right-hand side at every beat, so that a higher order buys nothing: at 2 ms this is within 0.01 mmHg of an adaptive
solver for one evaluation a step, where a Runge-Kutta step takes four; a library's solver cannot be asked for less than
a function call into Python each. The friction is implicit because a kinked cannula at high flow is stiffer than 2 ms.
"""

from __future__ import annotations

from collections import deque
from math import cos, exp, pi, sin, sqrt

from simulators.physiology.beat import Beat
from simulators.physiology.coefficients import (
    A_LV,
    A_RV,
    B_LV,
    B_RV,
    C_LOC,
    C_PA,
    C_PV,
    C_SA,
    C_SV,
    CLOSES_MMHG,
    COLLAPSE_TAU_S,
    DRAIN_SHARE,
    HEAD_A,
    HEAD_C,
    INERTANCE,
    K_DRAIN,
    K_RETURN,
    L_PER_MIN,
    MEMBRANE_SHARE,
    OPENS_MMHG,
    R_AV,
    R_COLLAPSED,
    R_LOC,
    R_MV,
    R_OXYGENATOR,
    R_PUL,
    R_PVV,
    R_TUBING,
    R_TV,
    RETURN_SHARE,
    TOTAL_VOLUME,
    V0_LV,
    V0_RV,
    V_LOC,
    ZC,
    Phenotype,
)
from simulators.physiology.conditions import Conditions
from simulators.physiology.drugs import DILATATION, RIGHT_SHARE
from simulators.physiology.rhythm import Rhythm

STEP_NS = 2_000_000
STEP_S = 0.002
STEPS_PER_SAMPLE = 4
KEPT_SAMPLES = 125 * 60
KEPT_S = 4.0
"""How much of the past is kept in whole beats: what a monitor averages."""


class Loop:
    """The state of patient and circuit, and what the last seconds were.

    Args:
        heart: The patient.
        seed: Of the beat-to-beat variation.

    Attributes:
        steps: Steps taken so far.
        abp: Arterial pressure, mmHg, 125 a second, until somebody takes it; at most the last minute.
        beats: Whole beats of the last four seconds, oldest first.
    """

    def __init__(self, heart: Phenotype, seed: int) -> None:
        self.steps = 0
        self.abp: deque[float] = deque(maxlen=KEPT_SAMPLES)
        self.beats: deque[Beat] = deque()
        self._heart = heart
        self._rhythm = Rhythm(seed)
        # A state from which it settles within half a minute; the pulmonary veins hold what the others do not, so that
        # volume is conserved exactly.
        self._state = (110.0, 110.0, 75.0 * C_SA, 10.0 * C_SV, 26.0 * C_PA, 40.0 * heart.r_sys, 0.0)
        self._before = (0.0,) * 7
        self._total = TOTAL_VOLUME
        self._given = 0.0
        self._collapsible = self._closed = False
        self._collapse = 0.0
        self._phase = 0.0
        self._strength = 1.0
        self._beat = Beat(60.0 / heart.heart_rate)
        self._fresh = True

    def run(self, count: int, now: Conditions, gain: float) -> None:
        """Takes steps under these conditions.

        Args:
            count: How many steps.
            now: What holds.
            gain: Of contractility by levosimendan.
        """
        self._let_volume_in(now)
        heart = self._heart
        ees_lv = heart.ees_lv * now.contractility * (1.0 + gain)
        ees_rv = heart.ees_rv * (1.0 + RIGHT_SHARE * gain)
        r_sys = heart.r_sys * now.resistance * (1.0 - DILATATION * gain)
        a_lv, a_rv = A_LV * now.stiffness, A_RV * now.stiffness
        head = HEAD_A * now.rpm * now.rpm
        k_return, k_drain = K_RETURN * now.return_cannula, K_DRAIN * now.drainage_cannula
        r_oxygenator = R_OXYGENATOR * now.oxygenator
        quadratic, linear = k_return + k_drain + HEAD_C, r_oxygenator + R_TUBING
        r_drain, r_return = DRAIN_SHARE * R_TUBING, RETURN_SHARE * R_TUBING
        r_membrane = r_oxygenator + MEMBRANE_SHARE * R_TUBING
        r_ejection = R_AV + ZC
        breath = 2.0 * pi * now.breaths / 60.0
        collapsible, clamped = now.collapsible, now.clamped
        total, steps, phase, h = self._total, self.steps, self._phase, STEP_S
        lv, rv, sa, sv, pa, q, loc = self._state
        d_lv0, d_rv0, d_sa0, d_sv0, d_pa0, push0, d_loc0 = self._before
        collapse, closed, beat, thorax, balloon = self._collapse, self._closed, self._beat, 0.0, 0.0
        if clamped:
            q = 0.0
        peak, end = _contraction(beat.period_s)
        for _ in range(count):
            if phase < peak:
                e = self._strength * (1.0 - cos(pi * phase / peak)) / 2.0
            elif phase < end:
                e = self._strength * (1.0 + cos(pi * (phase - peak) / (end - peak))) / 2.0
            else:
                e = 0.0
            if now.balloon:
                balloon = now.balloon * sin(pi * (phase - end) / (beat.period_s - end)) if phase > end else 0.0
            if now.respiration:
                thorax = now.respiration * (0.5 + 0.5 * sin(breath * steps * h))
            relaxed, v_lv, v_rv = 1.0 - e, lv - V0_LV, rv - V0_RV
            p_lv = e * ees_lv * v_lv + relaxed * a_lv * (exp(B_LV * v_lv) - 1.0) + thorax
            p_rv = e * ees_rv * v_rv + relaxed * a_rv * (exp(B_RV * v_rv) - 1.0) + thorax
            pv = total - lv - rv - sa - sv - pa - loc
            p_sa, p_sv, p_pa, p_pv = sa / C_SA, sv / C_SV, pa / C_PA + thorax, pv / C_PV + thorax
            q_mv = (p_pv - p_lv) / R_MV if p_pv > p_lv else 0.0
            q_av = (p_lv - p_sa) / r_ejection if p_lv > p_sa else 0.0
            q_tv = (p_sv - p_rv) / R_TV if p_sv > p_rv else 0.0
            q_pvv = (p_rv - p_pa) / R_PVV if p_rv > p_pa else 0.0
            q_s = (p_sa - p_sv) / r_sys
            inlet, taken = p_sv, q
            if collapsible:
                p_loc = loc / C_LOC
                taken = (p_sv - p_loc) / R_LOC
                closed = p_loc < (OPENS_MMHG if closed else CLOSES_MMHG)
                collapse += h * ((R_COLLAPSED if closed else 0.0) - collapse) / COLLAPSE_TAU_S
                inlet = p_loc
            d_lv, d_rv, d_sa = q_mv - q_av, q_tv - q_pvv, q_av + q - q_s
            d_sv, d_pa, d_loc = q_s - q_tv - taken, q_pvv - (p_pa - p_pv) / R_PUL, taken - q
            litres = q * L_PER_MIN
            size, push, felt = abs(litres), inlet - p_sa + head, inlet - collapse * q
            pao = p_sa + ZC * q_av + balloon
            post = p_sa + (k_return * size + r_return) * litres
            beat.add_body(lv, sv, pv, q_av, pao)
            beat.add_circuit(litres, felt - (k_drain * size + r_drain) * litres, post + r_membrane * litres, post)
            if steps % STEPS_PER_SAMPLE == 0:
                self.abp.append(pao)
            if self._fresh:
                self._fresh = False
                d_lv0, d_rv0, d_sa0, d_sv0, d_pa0, push0, d_loc0 = d_lv, d_rv, d_sa, d_sv, d_pa, push, d_loc
            lv += h * (1.5 * d_lv - 0.5 * d_lv0)
            rv += h * (1.5 * d_rv - 0.5 * d_rv0)
            sa += h * (1.5 * d_sa - 0.5 * d_sa0)
            sv += h * (1.5 * d_sv - 0.5 * d_sv0)
            pa += h * (1.5 * d_pa - 0.5 * d_pa0)
            if collapsible:
                loc += h * (1.5 * d_loc - 0.5 * d_loc0)
            if not clamped:
                friction = (quadratic * size + linear) * litres + collapse * q
                stiffness = (2.0 * quadratic * size + linear) * L_PER_MIN + collapse
                q += h * (1.5 * push - 0.5 * push0 - friction) / (INERTANCE + 0.5 * h * stiffness)
            d_lv0, d_rv0, d_sa0, d_sv0, d_pa0, push0, d_loc0 = d_lv, d_rv, d_sa, d_sv, d_pa, push, d_loc
            steps += 1
            phase += h
            if phase >= beat.period_s:
                phase -= beat.period_s
                beat = self._begin_beat(beat, now, steps)
                peak, end = _contraction(beat.period_s)
        self.steps, self._phase = steps, phase
        self._collapse, self._closed, self._beat = collapse, closed, beat
        self._state = (lv, rv, sa, sv, pa, q, loc)
        self._before = (d_lv0, d_rv0, d_sa0, d_sv0, d_pa0, push0, d_loc0)

    def _begin_beat(self, ended: Beat, now: Conditions, steps: int) -> Beat:
        self.beats.append(ended)
        while len(self.beats) > 1 and sum(beat.steps for beat in self.beats) * STEP_S > KEPT_S:
            self.beats.popleft()
        rate = now.heart_rate or self._heart.heart_rate
        period, self._strength = self._rhythm.next_beat(rate, now, steps * STEP_S)
        return Beat(period)

    def _let_volume_in(self, now: Conditions) -> None:
        """Gives or takes blood by the great veins, and fills the collapsible one when there is to be one."""
        lv, rv, sa, sv, pa, q, loc = self._state
        given = now.volume - self._given
        self._given = now.volume
        self._total += given
        sv += given
        if now.collapsible != self._collapsible:
            self._collapsible = now.collapsible
            self._collapse, self._closed = 0.0, False
            if now.collapsible:
                loc = V_LOC
                self._total += V_LOC
            else:
                sv += loc - V_LOC
                loc = 0.0
                self._total -= V_LOC
        self._state = (lv, rv, sa, sv, pa, q, loc)


def _contraction(period_s: float) -> tuple[float, float]:
    """When activation peaks and when it ends, in a beat of this length."""
    root = sqrt(period_s)
    return 0.30 * root, 0.45 * root
