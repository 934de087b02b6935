"""One patient as the devices at the bed and the ground truth see them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import astuple
from functools import lru_cache
from math import pi, sin
from typing import Any

from simulators.physiology.beat import Beat, circuit_of, heart_of, pressures_of
from simulators.physiology.coefficients import PHENOTYPES, Phenotype
from simulators.physiology.conditions import Conditions
from simulators.physiology.drugs import HOUR_S, INFUSION_H, levosimendan_gain
from simulators.physiology.loop import STEP_NS, STEP_S, Loop

SETTLE_S = 45.0
CIRCUIT_S = 0.9
"""The circuit's sensors show the beats of about the last second."""

HYDRAULIC_W = 2.2218e-3
"""Watts for each mmHg x L/min (clinical reference, section 4, `p_hyd`)."""
IDLE_POWER_W, EFFICIENCY = 3.0, 0.4
"""What the motor takes besides; plausible numbers, of no particular console."""
STEADY = {
    "spo2": (97.0, 0.5),
    "ecmo_svo2": (68.0, 0.6),
    "ecmo_sweep": (0.0, 0.01),
    "ecmo_temp_art": (36.8, 0.05),
    "ecmo_temp_ven": (36.3, 0.05),
    "temp_core": (36.6, 0.03),
}
"""What this model does not compute: catalogue id to value and the size of its slow wandering."""


class Patient:
    """One patient with circuit, settled under the conditions given.

    The same calls give the same numbers.

    Args:
        phenotype: Key of `PHENOTYPES`, or a patient of your own.
        rpm: Pump speed, where no conditions are given.
        seed: Of beat-to-beat variation and of the slow wandering of what is not computed.
        conditions: What holds at the beginning.

    Attributes:
        conditions: What holds; each may be set at any time.
        levosimendan_s: Time at which its infusion began, if it has.
    """

    def __init__(
        self,
        phenotype: str | Phenotype = "P1",
        rpm: float = 3000.0,
        seed: int = 0,
        conditions: Conditions | None = None,
    ) -> None:
        self.conditions = conditions or Conditions(rpm=rpm)
        self.levosimendan_s: float | None = None
        heart = PHENOTYPES[phenotype] if isinstance(phenotype, str) else phenotype
        self._loop = deepcopy(_settled(heart, seed, astuple(self.conditions)))
        self._due_ns = 0
        wander = random.Random(seed)
        self._wander = {channel: (wander.uniform(0, 2 * pi), wander.uniform(40, 90)) for channel in STEADY}

    @property
    def time_s(self) -> float:
        """Simulated seconds so far, those of settling included."""
        return self._loop.steps * STEP_S

    def advance(self, seconds: float) -> None:
        """Lets time pass; what does not fill a step of 2 ms is kept for the next call."""
        self._due_ns += round(seconds * 1e9)
        count = self._due_ns // STEP_NS
        self._due_ns -= count * STEP_NS
        self._loop.run(count, self.conditions, self.levosimendan_gain)

    @property
    def levosimendan_gain(self) -> float:
        """What levosimendan adds to contractility at this moment."""
        return 0.0 if self.levosimendan_s is None else levosimendan_gain(self.time_s - self.levosimendan_s)

    @property
    def infusing(self) -> bool:
        """Whether levosimendan is running in."""
        return self.levosimendan_s is not None and self.time_s - self.levosimendan_s < INFUSION_H * HOUR_S

    def take_abp(self) -> list[float]:
        """Arterial pressure in mmHg, 125 a second, since the last call; at most the last minute."""
        taken = list(self._loop.abp)
        self._loop.abp.clear()
        return taken

    def numerics(self) -> dict[str, float]:
        """What holds at the console and the monitor, by catalogue id.

        The circuit's numbers are means of the whole beats of about the last second, the monitor's of the last four.
        """
        conditions, beats = self.conditions, self._loop.beats
        values = {**circuit_of(_latest(beats)), **pressures_of(beats)}
        values["ecmo_rpm"] = values["ecmo_rpm_set"] = conditions.rpm
        head = values["ecmo_p_pre"] - values["ecmo_p_drain"]
        values["ecmo_power"] = IDLE_POWER_W + max(0.0, HYDRAULIC_W * head * values["ecmo_flow"] / EFFICIENCY)
        for channel, (value, size) in STEADY.items():
            phase, period_s = self._wander[channel]
            values[channel] = value + size * sin(phase + 2 * pi * self.time_s / period_s)
        values["ecmo_sweep"] = max(0.0, values["ecmo_sweep"] + conditions.sweep)
        values["ecmo_fdo2"] = conditions.fdo2
        return values

    def hidden(self) -> dict[str, float]:
        """What no device at the bed shows: see `simulators.physiology.beat.heart_of`."""
        return heart_of(self._loop.beats)


@lru_cache(maxsize=32)
def _settled(heart: Phenotype, seed: int, conditions: tuple[Any, ...]) -> Loop:
    """A loop after its first seconds, to be copied: those of equal patients are equal, and take long to compute."""
    loop = Loop(heart, seed)
    loop.run(round(SETTLE_S / STEP_S), Conditions(*conditions), 0.0)
    loop.abp.clear()
    return loop


def _latest(beats: Sequence[Beat]) -> list[Beat]:
    taken: list[Beat] = []
    for beat in reversed(beats):
        taken.append(beat)
        if sum(each.steps for each in taken) * STEP_S >= CIRCUIT_S:
            break
    return taken
