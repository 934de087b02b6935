"""`ecmo-daq check --devices`: opens each link for a moment and tells what the device says it is, and what came."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from acquisition.catalogue import Catalogue
from acquisition.clock import SystemClock
from acquisition.config import DeviceConfig
from acquisition.errors import AcquisitionError
from acquisition.health import told
from acquisition.live import LiveView
from acquisition.registry import build_driver
from acquisition.replay import Handing
from acquisition.session import Session
from acquisition.stamping import Stamper
from acquisition.transports.links import Links


async def listen_to(
    device: DeviceConfig, seconds: float, profiles: tuple[Path, ...], links: Links, *, acknowledge: bool = False
) -> str:
    """Opens a device's link for a moment and tells all that came, for `check --devices`; nothing is stored.

    A sender that waits for an acknowledgement says no more than its first message without one; with one, what it said
    is gone. So it gets one only if `acknowledge` says so.
    """
    catalogue = Catalogue.shipped()
    driver = build_driver(device.driver, device.profile, device.options, catalogue, profiles)
    clock = SystemClock()
    live = LiveView(catalogue)
    transport, floor = links.open(device.link, driver.link_defaults, driver.line_address)
    driver.shares_line = floor is not None
    keeper = Handing(lambda _: None, acknowledges=acknowledge)
    session = Session(
        device.id,
        driver,
        transport,
        clock,
        keeper,
        Stamper(device.id, catalogue),
        floor=floor,
        listener=live,
    )
    with contextlib.suppress(TimeoutError, AcquisitionError):
        async with asyncio.timeout(seconds):
            await session.run()
    channels = {value.channel for value in live.values()} | {channel for _, channel in live.waves()}
    if channels:
        what = told(driver.identity) or "it does not say what it is"
        more = "; nothing was acknowledged, so it may have more to say: --acknowledge" if keeper.withheld else ""
        return f"ok: {what}: {', '.join(sorted(channels))}{more}"
    if session.status.error:
        return f"FAILED: {session.status.error}"
    bad, count = driver.counters["frames_bad"], driver.counters["bytes"]
    return f"FAILED: the link opens, but in {seconds:g} s nothing usable came ({count} bytes, {bad} bad frames)"
