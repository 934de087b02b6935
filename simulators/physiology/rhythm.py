"""The next beat: how long it lasts and how strongly it contracts, from a seeded source."""

from __future__ import annotations

import random
from math import pi, sin
from typing import NamedTuple

from simulators.physiology.conditions import Conditions

ECTOPIC_EVERY = 8
VT_RATE, VT_STRENGTH = 180.0, 0.5
VF_PERIOD_S = 0.25
PAUSE_S = 1.0
SINUS_ARRHYTHMIA = 0.5
"""Part of the variation that follows breathing."""
MEMORY = 0.6
"""How much of one beat's deviation is left in the next."""


class Contraction(NamedTuple):
    """A beat that begins.

    Attributes:
        period_s: Time to the next one.
        strength: Factor of both ventricles' activation.
    """

    period_s: float
    strength: float


class Rhythm:
    """Makes beats.

    Args:
        seed: Of the variation.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"rhythm {seed}")
        self._drift = 0.0
        self._beats = 0
        self._pause = 0.0

    def next_beat(self, rate: float, conditions: Conditions, time_s: float) -> Contraction:
        """The beat that begins at `time_s`, for a sinus rate in beats a minute."""
        self._beats += 1
        size = conditions.variability
        period = 60.0 / rate
        strength = 1.0
        if conditions.rhythm == "vf":
            return Contraction(VF_PERIOD_S, 0.02 + 0.02 * self._random.random())
        if conditions.rhythm == "asystole":
            return Contraction(PAUSE_S, 0.0)
        if conditions.rhythm == "vt":
            period, strength = 60.0 / VT_RATE, VT_STRENGTH
        elif conditions.rhythm == "af":
            period *= min(2.0, max(0.5, self._random.gauss(1.0, 0.2)))
            strength = 0.95
        elif conditions.rhythm == "pvc":
            if self._pause:
                period, self._pause = period + self._pause, 0.0
            elif self._beats % ECTOPIC_EVERY == 0:
                self._pause = 0.4 * period
                period, strength = 0.6 * period, 0.6
        if size:
            self._drift = MEMORY * self._drift + self._random.gauss(0.0, size)
            breathing = SINUS_ARRHYTHMIA * size * sin(2 * pi * time_s * conditions.breaths / 60.0)
            period *= max(0.5, 1.0 + self._drift + breathing)
            strength *= max(0.0, 1.0 + self._random.gauss(0.0, size))
        return Contraction(period, strength)
