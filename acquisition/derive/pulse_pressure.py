"""`pp_num`: systolic minus diastolic arterial pressure of one device (CLINICAL.md section 4)."""

from __future__ import annotations

from collections.abc import Mapping

from acquisition.model import State

CHANNEL = "pp_num"
SYSTOLIC = "abp_sys"
DIASTOLIC = "abp_dia"
WITHIN_NS = 2_000_000_000


class PulsePressure:
    """Pairs systolic and diastolic of one device.

    The two come together, or at most 2 s apart. A value is used once and never carried forward; if either is a state
    in place of a number there is no pulse pressure, and a mean without the two gives none.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[int, float]] = {}

    def update(self, values: Mapping[str, float], states: Mapping[str, State], time_ns: int) -> float | None:
        """The pulse pressure in mm[Hg] that the values of this instant complete, if they do."""
        for channel in (SYSTOLIC, DIASTOLIC):
            if channel in states:
                self._waiting.clear()
            elif channel in values:
                self._waiting[channel] = (time_ns, values[channel])
        if SYSTOLIC not in self._waiting or DIASTOLIC not in self._waiting:
            return None
        (systolic_ns, systolic), (diastolic_ns, diastolic) = self._waiting[SYSTOLIC], self._waiting[DIASTOLIC]
        if abs(systolic_ns - diastolic_ns) > WITHIN_NS:
            older = SYSTOLIC if systolic_ns < diastolic_ns else DIASTOLIC
            del self._waiting[older]
            return None
        self._waiting.clear()
        # Both are at the device's resolution; nine decimals remove what binary subtraction adds.
        return round(systolic - diastolic, 9)
