"""What a session read, in memory, for tests that wait until there is enough of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from acquisition.model import Observation


class Kept(list[Observation]):
    """The journal of a session, in memory; says when it grows."""

    def __init__(self) -> None:
        self.grown = asyncio.Event()

    def take(self, observation: Observation) -> None:
        self.append(observation)
        self.grown.set()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(45):
            while not done():
                self.grown.clear()
                await self.grown.wait()
