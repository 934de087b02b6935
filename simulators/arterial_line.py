"""The arterial line between patient and monitor: what is done to it changes what is shown, not the patient."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

RESOLUTION = 0.1
FLUSHED_MMHG = 300.0
DAMPED_TO = 0.3
"""What damping leaves of the pulse."""
LEAST_PULSE = 3.0
"""Below this a monitor finds no beats: it has a mean and neither systolic nor diastolic pressure."""


class ArterialLine:
    """The pressure as the monitor samples it: 125 Hz, 0.1 mmHg."""

    rate_hz = 125.0
    resolution = RESOLUTION

    def __init__(self) -> None:
        self._waiting: list[float] = []

    def extend(self, pressures: list[float]) -> None:
        """More of the pressure, mmHg."""
        self._waiting += pressures

    def take(self, n: int) -> NDArray[np.int32]:
        """The next `n` samples as counts; the last one is held if the patient is late."""
        while len(self._waiting) < n:
            self._waiting.append(self._waiting[-1] if self._waiting else 0.0)
        taken, self._waiting = self._waiting[:n], self._waiting[n:]
        return np.round(np.array(taken) / RESOLUTION).astype(np.int32)


def shown(values: Mapping[str, float], line: str) -> dict[str, float]:
    """What a monitor shows of what is true, with its line in that state (`simulators.physiology.conditions.LINES`)."""
    seen = dict(values)
    mean = seen["abp_mean"]
    if line == "damped":
        for name in ("abp_sys", "abp_dia"):
            seen[name] = mean + DAMPED_TO * (seen[name] - mean)
    elif line != "ok":
        seen["abp_mean"] = FLUSHED_MMHG if line == "flush" else 0.0
        del seen["abp_sys"], seen["abp_dia"]
        return seen
    if seen["abp_sys"] - seen["abp_dia"] < LEAST_PULSE:
        del seen["abp_sys"], seen["abp_dia"]
    return seen


def shown_wave(pressures: list[float], line: str) -> list[float]:
    """The same for samples, mmHg."""
    if line == "damped" and pressures:
        mean = sum(pressures) / len(pressures)
        return [mean + DAMPED_TO * (each - mean) for each in pressures]
    return pressures if line == "ok" else [FLUSHED_MMHG if line == "flush" else 0.0] * len(pressures)
