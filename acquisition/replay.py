"""One device without a daemon: a trace through the production driver, or a link into a trace."""

from __future__ import annotations

import asyncio
import contextlib
import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from acquisition.archive.tables import COLUMNS, rows
from acquisition.catalogue import Catalogue
from acquisition.clock import SystemClock
from acquisition.driver import Driver
from acquisition.errors import ConfigError, TransportError
from acquisition.model import Observation, json_line
from acquisition.recording import TraceRecorder
from acquisition.registry import build_driver
from acquisition.session import Session
from acquisition.stamping import Stamper
from acquisition.trace import read_trace
from acquisition.transports.trace import TraceTransport
from acquisition.transports.url import check_link, open_link

RAW = "raw"
"""Driver name in the header of a trace that was recorded without one."""


class Handing:
    """A keeper that hands each observation on and calls it safe: for replay and for listening, not for a bed.

    Args:
        take: Gets every observation in order.
        acknowledges: Whether senders may be told that their message is safe.
    """

    def __init__(self, take: Callable[[Observation], None], *, acknowledges: bool) -> None:
        self._take = take
        self._acknowledges = acknowledges

    def append(self, observations: Sequence[Observation], keys: Sequence[tuple[str, str]] = ()) -> asyncio.Future[None]:
        """Hands on at once; the future is cancelled where nothing may be acknowledged."""
        for observation in observations:
            self._take(observation)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._acknowledges:
            future.set_result(None)
        else:
            future.cancel()
        return future


async def replay(
    trace: Path,
    driver: Driver,
    take: Callable[[Observation], None],
    *,
    device: str | None = None,
    speed: float | None = None,
    zone: ZoneInfo | None = None,
) -> str | None:
    """Runs a trace through a driver, a session and a stamper, as a live link would be.

    Args:
        trace: The file.
        driver: Fresh.
        take: Gets every observation in order.
        device: Id in the observations; the driver's name by default.
        speed: A factor; as fast as possible by default.
        zone: Zone of the device's own clock.

    Returns:
        What was wrong with the last line of the file, if it was cut off.

    Raises:
        TraceError: the file is damaged before its last line.
    """
    device = device or type(driver).__module__.rpartition(".")[2]
    transport = TraceTransport(trace, speed)
    stamper = Stamper(device, Catalogue.shipped(), zone=zone)
    keeper = Handing(take, acknowledges=True)
    driver.shares_line = transport.header.shared
    floor = transport if driver.shares_line else None
    session = Session(device, driver, transport, transport.clock, keeper, stamper, floor=floor)
    await session.run()
    return transport.damage


async def replay_trace(
    trace: Path,
    driver_name: str | None,
    profile: str | None,
    options: Mapping[str, Any],
    speed: float | None,
    timezone: str,
    out: TextIO,
    *,
    as_json: bool,
) -> str:
    """The command `replay`: observations to `out`, as JSON Lines or CSV.

    Returns:
        What was seen, in one sentence.

    Raises:
        ConfigError: no such driver, profile, option or zone.
        TraceError: the file is damaged before its last line.
    """
    header, pieces = read_trace(trace)
    pieces.close()
    name = driver_name or header.driver
    if not name or name == RAW:
        raise ConfigError([f"{trace}: the trace names no driver; give --driver"])
    driver = build_driver(name, profile, options, Catalogue.shipped(), (trace.parent, Path()))
    take, count = _printer(out, as_json=as_json)
    damage = await replay(trace, driver, take, speed=speed, zone=zone_of(timezone))
    counters = ", ".join(f"{key} {number}" for key, number in sorted(driver.counters.items()))
    return f"{trace}: {count()} observations ({counters})" + (f"; {damage}" if damage else "")


async def record_link(
    link: str,
    trace: Path,
    driver_name: str | None,
    profile: str | None,
    options: Mapping[str, Any],
    seconds: float | None,
) -> int:
    """The command `record`: raw bytes of a link to a trace until cancelled or `seconds` have passed.

    Without a driver it only listens. With one it polls as the daemon would, but acknowledges nothing.

    Returns:
        Pieces written.

    Raises:
        ConfigError: the link, driver, profile or an option is wrong.
        TransportError: the link cannot be opened.
        TraceError: the trace cannot be written.
    """
    if problems := check_link(link):
        raise ConfigError([f"{link}: {problem}" for problem in problems])
    clock = SystemClock()
    driver = None
    if driver_name is not None:
        driver = build_driver(driver_name, profile, options, Catalogue.shipped(), (Path(),))
    cut = driver.trace_cut() if driver else None
    recorder = TraceRecorder(trace, link=link, driver=driver_name or RAW, clock=clock, cut=cut)
    transport = open_link(link, defaults=driver.link_defaults if driver else "")
    try:
        # Ctrl-C is how a recording normally ends.
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(seconds):
                if driver is None:
                    async with transport:
                        while recorder.error is None:
                            data = await transport.receive(None)
                            recorder.received(data, clock.now())
                else:
                    keeper = Handing(lambda _: None, acknowledges=False)
                    stamper = Stamper("device", Catalogue.shipped())
                    await Session("device", driver, transport, clock, keeper, stamper, recorder=recorder).run()
    except TransportError:
        if recorder.pieces == 0:
            raise
    finally:
        recorder.close()
        await transport.aclose()
    if recorder.error is not None:
        raise recorder.error
    return recorder.pieces


def _printer(out: TextIO, *, as_json: bool) -> tuple[Callable[[Observation], None], Callable[[], int]]:
    counted = 0
    table = csv.writer(out, lineterminator="\n")
    if not as_json:
        table.writerow(COLUMNS)

    def take(observation: Observation) -> None:
        nonlocal counted
        counted += 1
        if as_json:
            out.write(json_line(observation) + "\n")
        else:
            table.writerows(rows(observation, Catalogue.shipped()))

    return take, lambda: counted


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name.

    Raises:
        ConfigError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigError([f"--timezone {name}: unknown; use an IANA name such as Europe/Paris"]) from None
