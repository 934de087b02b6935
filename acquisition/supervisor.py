"""Keeps services running: one that fails unexpectedly is logged, counted and started again, and harms no other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

FIRST_RESTART_S = 0.5
LAST_RESTART_S = 60.0
STEADY_S = 300.0
"""After a run this long the waits begin again with the shortest."""


@dataclass(slots=True)
class Service:
    """One supervised service and what became of it."""

    name: str
    run: Callable[[], Awaitable[None]]
    restarts: int = 0
    error: str = ""
    ended: bool = False


class Supervisor:
    """Runs services side by side until cancelled.

    Args:
        sleep: Waits between restarts; tests replace it.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self.services: list[Service] = []
        self._sleep = sleep

    def add(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Adds a service; `run` is called again for each restart and may return when its work is over."""
        self.services.append(Service(name, run))

    async def run(self) -> None:
        """Runs all services; returns when each has ended by itself."""
        async with asyncio.TaskGroup() as group:
            for service in self.services:
                group.create_task(self._keep_running(service), name=service.name)

    async def _keep_running(self, service: Service) -> None:
        loop = asyncio.get_running_loop()
        delay = FIRST_RESTART_S
        while True:
            started = loop.time()
            try:
                await service.run()
            except (Exception, asyncio.CancelledError) as error:  # here any failure means: start it again
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                    raise
                # Not ours to end by: something the service waited for was cancelled.
                service.restarts += 1
                service.error = f"{type(error).__name__}: {error}"
                logger.exception("%s failed and starts again (restart %d)", service.name, service.restarts)
            else:
                service.ended = True
                return
            if loop.time() - started > STEADY_S:
                delay = FIRST_RESTART_S
            await self._sleep(delay)
            delay = min(2 * delay, LAST_RESTART_S)
