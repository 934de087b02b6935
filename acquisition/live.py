"""The newest value of every channel, for the terminal and the page; shows what devices say."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from acquisition.catalogue import Catalogue
from acquisition.model import Event, Numerics, Observation, Quality, State, Waveform

KEPT_EVENTS = 50
KEPT_SAMPLES_S = 6


@dataclass(frozen=True, slots=True)
class LiveValue:
    """The newest reading of one channel."""

    device: str
    channel: str
    time_ns: int
    value: float | None
    state: State | None
    quality: Quality | None


class LiveView:
    """Listens to sessions and remembers the newest of each channel.

    Args:
        catalogue: To leave hidden and derived channels out: nobody at the bed is shown what we computed.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._catalogue = catalogue
        self._values: dict[tuple[str, str], LiveValue] = {}
        self._waves: dict[tuple[str, str], deque[tuple[int, float]]] = {}

    def __call__(self, observation: Observation) -> None:
        """Takes note of an observation."""
        if isinstance(observation, Numerics):
            for channel in observation.values.keys() | observation.states.keys():
                self._values[observation.device, channel] = LiveValue(
                    observation.device,
                    channel,
                    observation.time_ns,
                    observation.values.get(channel),
                    observation.states.get(channel),
                    observation.quality.get(channel),
                )
        elif isinstance(observation, Waveform):
            wave = self._waves.setdefault((observation.device, observation.channel), deque())
            times = range(observation.time_ns, observation.end_ns, observation.period_ns)
            wave.extend(zip(times, observation.samples.tolist(), strict=True))
            while wave and wave[0][0] < observation.end_ns - KEPT_SAMPLES_S * 1_000_000_000:
                wave.popleft()
        else:
            self.events.append(observation)

    def values(self) -> Iterator[LiveValue]:
        """The newest values that devices sent, by device and then in the catalogue's order; nothing derived."""
        order = {channel.id: number for number, channel in enumerate(self._catalogue)}
        shown = (
            value
            for value in self._values.values()
            if not ((channel := self._catalogue.get(value.channel)) and (channel.hidden or channel.derived))
        )
        yield from sorted(shown, key=lambda value: (value.device, order.get(value.channel, len(order)), value.channel))

    def waves(self) -> dict[tuple[str, str], list[float]]:
        """The last seconds of each waveform, device and channel to samples in the catalogue's unit."""
        return {key: [value for _, value in wave] for key, wave in self._waves.items()}
