"""What a simulated device asks when it has something to show: the patient's values at that moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

Readings: TypeAlias = Callable[[], Mapping[str, float]]
"""The present values by channel id; what a device's sensor cannot tell is absent."""
Shown: TypeAlias = Callable[[], Mapping[str, float | str]]
"""The same of a monitor, which shows words in the place of some numbers."""
