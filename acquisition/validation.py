"""Judges values by the catalogue: good, suspect or bad; nothing is dropped or changed (DESIGN.md section 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from acquisition.catalogue import Catalogue, Channel
from acquisition.model import Quality, State

NS = 1_000_000_000
FLAT_NS = 2 * NS
"""A waveform that does not move for this long is a flat line."""
RATE_OVER_NS = NS
"""Rate limits are meant for neighbours one second apart; closer ones may differ as much as those."""

_BY_STATE = {
    State.QUESTIONABLE: Quality.SUSPECT,
    State.BELOW_RANGE: Quality.SUSPECT,
    State.ABOVE_RANGE: Quality.SUSPECT,
}
_RANK = {Quality.GOOD: 0, Quality.SUSPECT: 1, Quality.BAD: 2}


def worst(*qualities: Quality) -> Quality:
    """The lowest of some qualities; good if there is none."""
    return max(qualities, key=_RANK.__getitem__, default=Quality.GOOD)


class Validator:
    """Judges the stream of one device; remembers one value per channel.

    Args:
        catalogue: Limits by channel.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.reasons: Counter[str] = Counter()
        self._catalogue = catalogue
        self._last: dict[str, tuple[int, float]] = {}
        self._flat: dict[str, tuple[int, int]] = {}

    def judge(self, values: Mapping[str, float], states: Mapping[str, State], time_ns: int) -> dict[str, Quality]:
        """A quality for each value of one instant."""
        return {channel: self._judge_value(channel, value, states, time_ns) for channel, value in values.items()}

    def judge_block(
        self, channel_id: str, counts: NDArray[np.int32], values: NDArray[np.float64], period_ns: int
    ) -> Quality:
        """One quality for a block of a waveform; `values` has NaN where there is no sample."""
        channel = self._catalogue.get(channel_id)
        present = values[~np.isnan(values)]
        if present.size == 0:
            return self._because("no_sample", Quality.BAD)
        quality = self._judge_flat(channel_id, counts, period_ns)
        if channel is None:
            return worst(quality, self._because("unmapped", Quality.SUSPECT))
        quality = worst(quality, self._judge_limits(channel, float(present.min()), float(present.max())))
        if channel.max_rate is not None and present.size > 1:
            steepest = float(np.abs(np.diff(present)).max()) * NS / period_ns
            if steepest > channel.max_rate:
                quality = worst(quality, self._because("step", Quality.SUSPECT))
        return quality

    def _judge_value(self, channel_id: str, value: float, states: Mapping[str, State], time_ns: int) -> Quality:
        quality = Quality.GOOD
        state = states.get(channel_id)
        if state is not None:
            quality = self._because(state.value, _BY_STATE.get(state, Quality.BAD))
        last = self._last.get(channel_id)
        self._last[channel_id] = (time_ns, value)
        channel = self._catalogue.get(channel_id)
        if channel is None:
            return worst(quality, self._because("unmapped", Quality.SUSPECT))
        limits = self._judge_limits(channel, value, value)
        if limits is not Quality.GOOD:
            quality = worst(quality, limits)
        if channel.max_rate is not None and last is not None:
            elapsed = max(time_ns - last[0], RATE_OVER_NS)
            if abs(value - last[1]) * NS > channel.max_rate * elapsed:
                quality = worst(quality, self._because("step", Quality.SUSPECT))
        return quality

    def _judge_limits(self, channel: Channel, low: float, high: float) -> Quality:
        if channel.hard is not None and not (channel.hard[0] <= low and high <= channel.hard[1]):
            return self._because("out_of_range", Quality.BAD)
        if channel.plausible is not None and not (channel.plausible[0] <= low and high <= channel.plausible[1]):
            return self._because("implausible", Quality.SUSPECT)
        return Quality.GOOD

    def _judge_flat(self, channel_id: str, counts: NDArray[np.int32], period_ns: int) -> Quality:
        first = int(counts[0])
        moved = bool((counts != first).any())
        level, since = self._flat.get(channel_id, (first, 0))
        run = 0 if moved else (since if level == first else 0) + counts.size * period_ns
        self._flat[channel_id] = (int(counts[-1]), run)
        return self._because("flat", Quality.SUSPECT) if run >= FLAT_NS else Quality.GOOD

    def _because(self, reason: str, quality: Quality) -> Quality:
        self.reasons[reason] += 1
        return quality
