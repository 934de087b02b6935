"""The part of an observation that lies in an asked window of time and channels."""

from __future__ import annotations

from acquisition.model import Event, Observation, Waveform


def within(observation: Observation, from_ns: int, to_ns: int) -> Observation | None:
    """The part with `from_ns <= time < to_ns`; a waveform is cut between samples."""
    if not isinstance(observation, Waveform):
        return observation if from_ns <= observation.time_ns < to_ns else None
    size, start, period = len(observation.raw) // 4, observation.time_ns, observation.period_ns
    begin = min(size, max(0, -((start - from_ns) // period)))
    end = max(begin, min(size, -((start - to_ns) // period)))
    if begin == end:
        return None
    if (begin, end) == (0, size):
        return observation
    return Waveform(
        device=observation.device,
        channel=observation.channel,
        time_ns=start + begin * period,
        period_ns=period,
        raw=observation.raw[4 * begin : 4 * end],
        scale=observation.scale,
        offset=observation.offset,
        quality=observation.quality,
    )


def only(observation: Observation, channels: frozenset[str]) -> Observation | None:
    """The part that is of the asked channels; an event is of none and passes."""
    if isinstance(observation, Waveform):
        return observation if observation.channel in channels else None
    if isinstance(observation, Event):
        return observation
    values = {channel: value for channel, value in observation.values.items() if channel in channels}
    states = {channel: state for channel, state in observation.states.items() if channel in channels}
    quality = {channel: quality for channel, quality in observation.quality.items() if channel in channels}
    if not values and not states:
        return None
    return observation.model_copy(update={"values": values, "states": states, "quality": quality})
