"""What the bed's signals were around a measurement, frozen: small enough for an entry, with the hash of every reading.

Pulse pressure is that of the catalogue's `pp_num`. While an unloading device works it is not native pulsatility; the
registry's covariates say when that was so.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from acquisition.archive.episodes.chain import canonical
from acquisition.catalogue import Catalogue
from acquisition.clock import NS
from acquisition.model import Numerics, Observation, Quality

CHANNELS = ("ecmo_flow", "ecmo_rpm", "abp_mean", "pp_num")
HALF_NS = 300 * NS
_EVERY_NS = 10 * NS


def window(time_ns: int) -> tuple[int, int]:
    """From five minutes before a measurement up to five minutes after it, UTC nanoseconds."""
    return time_ns - HALF_NS, time_ns + HALF_NS


def snapshot(observations: Iterable[Observation], time_ns: int, catalogue: Catalogue) -> dict[str, Any]:
    """The signals around a measurement as JSON values.

    Args:
        observations: Of the bed; what is outside of the window or of other channels is passed over.
        time_ns: Of the measurement.
        catalogue: For the units.

    Returns:
        The window, `sha256` of all its readings, and for each device and channel: unit, counts by quality, states,
        mean, median, quartiles and extremes of the values that are not bad, and the median of every ten seconds (None
        where there is none).
    """
    from_ns, to_ns = window(time_ns)
    series: defaultdict[tuple[str, str], list[tuple[int, float, str]]] = defaultdict(list)
    states: defaultdict[tuple[str, str], int] = defaultdict(int)
    readings: list[list[str | int | float]] = []
    for each in observations:
        if not isinstance(each, Numerics) or not from_ns <= each.time_ns < to_ns:
            continue
        for channel in CHANNELS:
            key = each.device, channel
            if channel in each.states:
                states[key] += 1
                readings.append([*key, each.time_ns, each.states[channel].value, ""])
            if channel in each.values:
                quality = each.quality.get(channel, Quality.GOOD).value
                series[key].append((each.time_ns, each.values[channel], quality))
                readings.append([*key, each.time_ns, each.values[channel], quality])
    readings.sort(key=lambda row: (row[0], row[1], row[2], str(row[3])))
    return {
        "from_ns": from_ns,
        "to_ns": to_ns,
        "readings": len(readings),
        "sha256": hashlib.sha256(canonical(readings)).hexdigest(),
        "channels": [
            {
                "device": key[0],
                "channel": key[1],
                "unit": catalogue.unit(key[1]),
                "states": states.get(key, 0),
                **_summary(series.get(key, []), from_ns, to_ns),
            }
            for key in sorted(series.keys() | states.keys())
        ],
    }


def _summary(rows: list[tuple[int, float, str]], from_ns: int, to_ns: int) -> dict[str, Any]:
    counts = {quality.value: sum(row[2] == quality.value for row in rows) for quality in Quality}
    usable = [(time_ns, value) for time_ns, value, quality in rows if quality != Quality.BAD.value]
    summary: dict[str, Any] = {"counts": counts}
    if usable:
        values = np.array([value for _, value in usable])
        low, q1, median, q3, high = (round(float(each), 6) for each in np.percentile(values, (0, 25, 50, 75, 100)))
        summary |= {"mean": round(float(values.mean()), 6), "median": median, "q1": q1, "q3": q3}
        summary |= {"min": low, "max": high}
    bins: defaultdict[int, list[float]] = defaultdict(list)
    for time_ns, value in usable:
        bins[(time_ns - from_ns) // _EVERY_NS].append(value)
    summary["every_10s"] = [
        round(float(np.median(bins[number])), 6) if number in bins else None
        for number in range((to_ns - from_ns) // _EVERY_NS)
    ]
    return summary
