"""Levosimendan as a course in time: contractility rises over a day, holds while its metabolite does, and fades."""

from __future__ import annotations

from math import exp

HOUR_S = 3600.0
GAIN = 0.25
INFUSION_H, RISE_H, HOLD_H, FADE_H = 24.0, 6.0, 84.0, 72.0
RIGHT_SHARE, DILATATION = 0.25, 0.4
"""Of the gain: what the right ventricle gets, and what the systemic resistance loses (P1 to P2, section 5.3)."""


def levosimendan_gain(since_s: float) -> float:
    """The gain in left-ventricular elastance, 0 to 0.25, at a time since the infusion began (section 5.4)."""
    hours = since_s / HOUR_S
    if hours <= 0.0:
        return 0.0
    risen = (1.0 - exp(-min(hours, INFUSION_H) / RISE_H)) / (1.0 - exp(-INFUSION_H / RISE_H))
    return GAIN * risen * exp(-max(0.0, hours - HOLD_H) / FADE_H)
