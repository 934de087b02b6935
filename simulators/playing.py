"""Plays a recording through a simulated monitor, so that a real patient's wave arrives in that monitor's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Protocol

from acquisition.clock import Clock, ScaledClock, SystemClock
from simulators.links import Device, attached
from simulators.recordings import RecordedNumerics, RecordedWave, Recording

LOOK_S = 0.1


class Player(Device, Protocol):
    """A simulated monitor that plays a recording.

    A simulator module that can has `play(numerics, waves, clock)`, which makes one.
    """

    def stop(self) -> None:
        """Measures nothing more; what waits is still delivered."""
        ...

    @property
    def waiting(self) -> int:
        """What was measured and is not delivered yet."""
        ...


Play = Callable[[RecordedNumerics, Mapping[str, RecordedWave], Clock], Player]


def players(devices: Mapping[str, ModuleType]) -> dict[str, Play]:
    """What can play a recording, by the first word of the simulator's name: `hl7`, `dri`."""
    return {name.partition("_")[0]: module.play for name, module in devices.items() if hasattr(module, "play")}


async def play(recording: Recording, make: Play, link: str, speed: float, tell: Callable[[str], None]) -> None:
    """Plays a recording once and returns when the other end has everything.

    Args:
        recording: What is played.
        make: Makes the monitor.
        link: As for `links.attached`.
        speed: How many times as fast as it was recorded.
        tell: Gets the link's URL for the other end when it is up.
    """
    clock: Clock = SystemClock() if speed == 1 else ScaledClock(speed)
    player = make(RecordedNumerics(recording, clock), recording.waves, clock)
    begun = clock.now().mono_ns
    async with attached(link, player) as url:
        tell(url)
        await asyncio.sleep(clock.seconds_until(begun + round((recording.seconds + 1) * 1e9)))
        while not all(wave.exhausted for wave in recording.waves.values()):  # noqa: ASYNC110 - the other end was away
            await asyncio.sleep(LOOK_S)
        player.stop()
        while player.waiting:  # noqa: ASYNC110 - as above
            await asyncio.sleep(LOOK_S)
