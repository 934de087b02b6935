"""Parts of a batch: how many points it has, and how it falls apart when a sink does not take it whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from acquisition.model import Numerics, Observation, Waveform

Piece = tuple[Observation, ...]
Divisible = TypeVar("Divisible", Numerics, Waveform)


def points(piece: Piece) -> int:
    """Points in it; a sample of a waveform is a point."""
    return sum(len(one.raw) // 4 if isinstance(one, Waveform) else 1 for one in piece)


def halves(piece: Piece, *, samples: bool) -> list[Piece]:
    """Two smaller pieces, earlier first; none if this is the smallest there is.

    Numerics fall apart into channels, so that one that the server rejects does not keep the others from it. With
    `samples`, a block of a waveform falls apart into two.
    """
    if len(piece) > 1:
        middle = len(piece) // 2
        return [piece[:middle], piece[middle:]]
    match piece[0]:
        case Numerics() as numerics:
            channels = list(dict.fromkeys([*numerics.values, *numerics.states]))
            if len(channels) > 1:
                middle = len(channels) // 2
                return [(_only(numerics, channels[:middle]),), (_only(numerics, channels[middle:]),)]
        case Waveform() as wave if samples and len(wave.raw) > 4:
            middle = len(wave.raw) // 8 * 4
            later = wave.time_ns + middle // 4 * wave.period_ns
            return [(_changed(wave, raw=wave.raw[:middle]),), (_changed(wave, raw=wave.raw[middle:], time_ns=later),)]
    return []


def _only(numerics: Numerics, channels: Sequence[str]) -> Numerics:
    return _changed(
        numerics,
        values={channel: value for channel, value in numerics.values.items() if channel in channels},
        states={channel: state for channel, state in numerics.states.items() if channel in channels},
        quality={channel: quality for channel, quality in numerics.quality.items() if channel in channels},
    )


def _changed(observation: Divisible, **changes: object) -> Divisible:
    # Not model_copy, which would carry the cached counts of a waveform along.
    return type(observation).model_validate(observation.model_dump() | changes)
