"""One device without a daemon: a trace through the production driver, or a link into a trace."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from acquisition.catalogue import Catalogue
from acquisition.clock import SystemClock
from acquisition.driver import Driver
from acquisition.errors import ConfigError, TransportError
from acquisition.model import Observation
from acquisition.recording import TraceRecorder
from acquisition.registry import build_driver
from acquisition.session import Keeper, Session
from acquisition.stamping import Stamper
from acquisition.trace import read_trace
from acquisition.transports.trace import Gate, TraceTransport
from acquisition.transports.url import check_link, open_link

RAW = "raw"
"""Driver name in the header of a trace that was recorded without one."""


class Handing:
    """A keeper that hands each observation on and calls it safe: for replay and for listening, not for a bed.

    Args:
        take: Gets every observation in order.
        acknowledges: Whether senders may be told that their message is safe.

    Attributes:
        withheld: Messages whose senders were not told so.
    """

    def __init__(self, take: Callable[[Observation], None], *, acknowledges: bool) -> None:
        self.withheld = 0
        self._take = take
        self._acknowledges = acknowledges
        self._answer: asyncio.Future[None] | None = None

    def append(self, observations: Sequence[Observation], keys: Sequence[tuple[str, str]] = ()) -> asyncio.Future[None]:
        """Hands on at once; the future is cancelled where nothing may be acknowledged."""
        for observation in observations:
            self._take(observation)
        if not self._acknowledges:
            self.withheld += len(keys)
        if self._answer is None:
            self._answer = asyncio.get_running_loop().create_future()
            if self._acknowledges:
                self._answer.set_result(None)
            else:
                self._answer.cancel()
        return self._answer


@dataclass(frozen=True, slots=True)
class Replayed:
    """How a replay went.

    Attributes:
        damage: What was wrong with the file where the replay ended; None for a sound one.
        cut_short: Whether something may follow the damage.
        unmatched: Frames sent now and not then, or then and not now.
        pacing_errors_ns: How late each paced piece was handed out, sorted.
    """

    damage: str | None
    cut_short: bool
    unmatched: int
    pacing_errors_ns: tuple[int, ...]

    def pacing_ms(self, part: float) -> float:
        """The pacing error that `part` of all pieces do not exceed, milliseconds."""
        errors = self.pacing_errors_ns
        return errors[min(len(errors) - 1, int(part * len(errors)))] / 1e6


async def replay(
    trace: Path | Sequence[Path],
    driver: Driver,
    take: Callable[[Observation], None],
    *,
    device: str | None = None,
    speed: float | None = None,
    zone: ZoneInfo | None = None,
    gate: Gate | None = None,
    keeper: Keeper | None = None,
) -> Replayed:
    """Runs a trace through a driver, a session and a stamper, as a live link would be.

    Args:
        trace: The file, or the files of a rotating recording in order; a damaged one is played up to the damage.
        driver: Fresh.
        take: Gets every observation in order.
        device: Id in the observations; the driver's name by default.
        speed: A factor; as fast as possible by default.
        zone: Zone of the device's own clock.
        gate: Awaited before each piece.
        keeper: A journal that observations go to besides.

    Raises:
        TraceError: the file is no trace.
    """
    device = device or type(driver).__module__.rpartition(".")[2]
    transport = TraceTransport(trace, speed, gate=gate)
    stamper = Stamper(device, Catalogue.shipped(), zone=zone)
    driver.shares_line = transport.header.shared
    session = Session(
        device,
        driver,
        transport,
        transport.clock,
        keeper or Handing(take, acknowledges=True),
        stamper,
        floor=transport if driver.shares_line else None,
        listener=take if keeper else None,
        first_retry_s=0.0,
    )
    await session.run()
    return Replayed(
        transport.damage,
        transport.cut_short,
        transport.sends_unmatched,
        tuple(sorted(transport.pacing_errors_ns)),
    )


def driver_for(trace: Path, name: str | None, profile: str | None, options: Mapping[str, Any]) -> Driver:
    """A fresh driver for a trace, the one that recorded it unless another is named.

    Raises:
        ConfigError: no such driver, profile or option, or the trace names none.
        TraceError: the file is no trace.
    """
    header, pieces = read_trace(trace)
    pieces.close()
    name = name or header.driver
    if not name or name == RAW:
        raise ConfigError([f"{trace}: the trace names no driver; give --driver"])
    return build_driver(name, profile, options, Catalogue.shipped(), (trace.parent, Path()))


def zone_of(name: str) -> ZoneInfo:
    """The zone of that name.

    Raises:
        ConfigError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigError([f"--timezone {name}: unknown; use an IANA name such as Europe/Paris"]) from None


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
