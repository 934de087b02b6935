"""One production session over a real link, for end-to-end tests of a driver against its simulator."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from acquisition.catalogue import Catalogue
from acquisition.clock import SystemClock
from acquisition.driver import Driver
from acquisition.model import Numerics, Observation
from acquisition.registry import build_driver
from acquisition.replay import Handing
from acquisition.session import Session
from acquisition.stamping import Stamper
from acquisition.transports.url import open_link


async def numerics_of(
    link: str,
    driver: str,
    profile: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    until: Callable[[list[Numerics]], bool] = lambda found: len(found) >= 2,
    seconds: float = 45.0,
) -> tuple[list[Numerics], Driver]:
    """The numerics of a link until there are enough of them, and the driver that read them."""
    built = build_driver(driver, profile, options or {}, Catalogue.shipped(), ())
    found: list[Numerics] = []
    enough = asyncio.Event()

    def take(observation: Observation) -> None:
        if isinstance(observation, Numerics):
            found.append(observation)
            if until(found):
                enough.set()

    transport = open_link(link, defaults=built.link_defaults)
    stamper = Stamper("device", Catalogue.shipped())
    session = Session("device", built, transport, SystemClock(), Handing(take, acknowledges=True), stamper)
    running = asyncio.create_task(session.run())
    try:
        await asyncio.wait_for(enough.wait(), seconds)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    return found, built
