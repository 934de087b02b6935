"""Observations as rows for people: the long form, one value, sample or state a row."""

from __future__ import annotations

from collections.abc import Iterator

from acquisition.catalogue import Catalogue
from acquisition.clock import rfc3339
from acquisition.model import Event, Numerics, Observation, Waveform

COLUMNS = ("time", "time_ns", "device", "channel", "value", "unit", "state", "quality", "device_time")


def rows(observation: Observation, catalogue: Catalogue) -> Iterator[tuple[object, ...]]:
    """The rows of one observation, in the order of COLUMNS."""
    device, time_ns = observation.device, observation.time_ns
    if isinstance(observation, Numerics):
        when = rfc3339(time_ns)
        for channel in [
            *observation.values,
            *(state for state in observation.states if state not in observation.values),
        ]:
            yield (
                when, time_ns, device, channel, observation.values.get(channel, ""), catalogue.unit(channel),
                observation.states.get(channel, ""), observation.quality.get(channel, ""),
                observation.device_time or "",
            )  # fmt: skip
    elif isinstance(observation, Waveform):
        unit = catalogue.unit(observation.channel)
        for number, value in enumerate(observation.samples.tolist()):
            sample_ns = time_ns + number * observation.period_ns
            shown = "" if value != value else value
            yield (
                rfc3339(sample_ns), sample_ns, device, observation.channel, shown, unit, "",
                observation.quality.value, "",
            )  # fmt: skip
    else:
        yield _event_row(observation)


def _event_row(event: Event) -> tuple[object, ...]:
    return (rfc3339(event.time_ns), event.time_ns, event.device, event.event.value, event.text, "", "", "", "")
