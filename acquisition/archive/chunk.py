"""What a source answers with: values of one channel of one device in the order of time, as columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from acquisition.model import Quality, State

QUALITIES = tuple(quality.value for quality in Quality)
"""By the number that stands in `Chunk.quality`; best first."""
STATES = ("", *(state.value for state in State))
"""By the number that stands in `Chunk.state`; the first is none."""


@dataclass(frozen=True, slots=True)
class Window:
    """One bed from a time to a time.

    Attributes:
        bed: Bed; None is whatever bed the source holds.
        from_ns: UTC nanoseconds, included.
        to_ns: UTC nanoseconds, excluded.
        devices: Ids of those that are meant; empty: all that the bed has.
    """

    bed: str | None
    from_ns: int
    to_ns: int
    devices: tuple[str, ...] = ()

    @property
    def length_ns(self) -> int:
        """Nanoseconds from its beginning to its end."""
        return max(0, self.to_ns - self.from_ns)

    def hears(self, device: str) -> bool:
        """Whether what this device tells is meant; the daemon speaks of all."""
        return not self.devices or device in self.devices or device == "daemon"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Readings of one channel of one device, all arrays of shape (n,).

    Attributes:
        device: Configured id of the device.
        channel: Channel id.
        time_ns: UTC nanoseconds, rising; int64.
        values: In the catalogue's unit; NaN where only a state was said; float64.
        quality: Numbers of QUALITIES; uint8.
        state: Numbers of STATES; None where there is none, as in every waveform; uint8.
        period_ns: Nanoseconds between samples, where the source knows it and it is one throughout.
        scale: Catalogue units per count, where the source knows it and it is one throughout.
        offset: Catalogue units at count zero, likewise.
    """

    device: str
    channel: str
    time_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    quality: NDArray[np.uint8]
    state: NDArray[np.uint8] | None = None
    period_ns: int | None = None
    scale: float | None = None
    offset: float | None = None

    def __len__(self) -> int:
        return self.time_ns.size

    def at(self, where: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Chunk:
        """The readings at these places."""
        return replace(
            self,
            time_ns=self.time_ns[where],
            values=self.values[where],
            quality=self.quality[where],
            state=None if self.state is None else self.state[where],
        )

    def at_least(self, worst: Quality) -> Chunk:
        """The readings of this quality or a better one; a state without a value is kept with the bad."""
        limit = QUALITIES.index(worst.value)
        return self if limit == len(QUALITIES) - 1 else self.at(self.quality <= limit)


def joined(chunks: list[Chunk]) -> Chunk:
    """Chunks of one channel of one device as one, in the order of time."""
    if len(chunks) == 1:
        whole = chunks[0]
    else:
        first = chunks[0]
        states = [np.zeros(len(each), np.uint8) if each.state is None else each.state for each in chunks]
        whole = Chunk(
            first.device,
            first.channel,
            np.concatenate([each.time_ns for each in chunks]),
            np.concatenate([each.values for each in chunks]),
            np.concatenate([each.quality for each in chunks]),
            None if all(each.state is None for each in chunks) else np.concatenate(states),
            first.period_ns if all(each.period_ns == first.period_ns for each in chunks) else None,
            first.scale if all(each.scale == first.scale for each in chunks) else None,
            first.offset if all(each.offset == first.offset for each in chunks) else None,
        )
    rising = whole.time_ns.size < 2 or bool(np.all(whole.time_ns[1:] >= whole.time_ns[:-1]))
    return whole if rising else whole.at(np.argsort(whole.time_ns, kind="stable"))
