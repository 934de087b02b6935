"""Plays a recording through a simulated monitor, so that a real patient's wave arrives in that monitor's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

from acquisition.clock import Clock, ScaledClock, SystemClock
from simulators.links import Device, attached
from simulators.recordings import RecordedNumerics, RecordedWave, Recording

LOOK_S = 0.1
LINGER_S = 1.0
"""So long the wire is kept afterwards: the other end may not have read the last of it yet."""


class Player(Device, Protocol):
    """A simulated monitor that plays a recording."""

    def stop(self) -> None:
        """Measures nothing more; what waits is still delivered."""
        ...

    @property
    def waiting(self) -> int:
        """What was measured and is not delivered yet."""
        ...


Play = Callable[[RecordedNumerics, Mapping[str, RecordedWave], Clock], Player]


@dataclass(frozen=True, slots=True)
class Playable:
    """A kind of monitor that can play: its module has `play`, `CARRIES` and `DEFAULT_LINK`.

    Attributes:
        make: Makes one.
        carries: Channels that its protocol has words for.
        link: Where it usually hangs.
    """

    make: Play
    carries: frozenset[str]
    link: str


def players(devices: Mapping[str, ModuleType]) -> dict[str, Playable]:
    """What can play a recording, by the first word of the simulator's name: `hl7`, `dri`, `intellivue`."""
    return {
        name.partition("_")[0]: Playable(module.play, module.CARRIES, module.DEFAULT_LINK)
        for name, module in devices.items()
        if hasattr(module, "play")
    }


async def play(recording: Recording, make: Play, link: str, speed: float, tell: Callable[[str], None]) -> list[str]:
    """Plays a recording once, from when the other end first asks for it, until that end has everything.

    Args:
        recording: What is played.
        make: Makes the monitor.
        link: As for `links.attached`.
        speed: How many times as fast as it was recorded.
        tell: Gets the link's URL for the other end when it is up.

    Returns:
        Waves that the other end did not ask for.
    """
    clock: Clock = SystemClock() if speed == 1 else ScaledClock(speed)
    numerics = RecordedNumerics(recording, clock)
    waves = recording.waves
    player = make(numerics, waves, clock)
    async with attached(link, player) as url:
        tell(url)
        while not (numerics.over and _all_taken(waves)):  # noqa: ASYNC110 - the other end may be away for long
            await asyncio.sleep(LOOK_S)
        player.stop()
        while player.waiting:  # noqa: ASYNC110 - as above
            await asyncio.sleep(LOOK_S)
        await asyncio.sleep(LINGER_S)
    return [name for name, wave in waves.items() if not wave.begun]


def _all_taken(waves: Mapping[str, RecordedWave]) -> bool:
    return all(wave.exhausted or not wave.begun for wave in waves.values())
