"""What goes wrong on a wire or in a device, put there on purpose, by a seeded schedule and with a log of each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from acquisition.clock import NS, Clock
from acquisition.errors import TransportError
from acquisition.interfaces import Transport
from simulators.links import Device
from simulators.memory_link import MemoryLink

MOST_DELAY_S = 3.0
MOST_NOISE = 64
LOOK_S = 0.2
"""How soon a device notices that the other end has gone."""


class FaultKind(StrEnum):
    """One thing that goes wrong. The first ten befall what is on the wire, the others the device itself."""

    DROP = "drop"
    CUT = "cut"
    FLIP = "flip"
    REPEAT = "repeat"
    DELAY = "delay"
    REORDER = "reorder"
    NOISE = "noise"
    STALL = "stall"
    HALF = "half"
    DISCONNECT = "disconnect"
    LATE = "late"
    REBOOT = "reboot"
    CLOCK_JUMP = "clock_jump"
    ROLL_OVER = "roll_over"
    WRONG_UNIT = "wrong_unit"


OF_THE_WIRE = tuple(FaultKind)[:10]
OF_THE_DEVICE = tuple(FaultKind)[10:]
_OF_REQUESTS = (FaultKind.DROP, FaultKind.CUT, FaultKind.FLIP, FaultKind.REPEAT, FaultKind.NOISE)


@dataclass(frozen=True, slots=True)
class Injected:
    """One fault that was injected.

    Attributes:
        mono_ns: When, on the clock's monotonic scale.
        direction: `<` befell what the device said, `>` what it was told.
    """

    mono_ns: int
    kind: FaultKind
    direction: str
    detail: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """As a line of JSON Lines."""
        return json.dumps({"mono_ns": self.mono_ns, "fault": self.kind.value, "d": self.direction, **self.detail})


class Schedule:
    """Says when which fault is due; equal seeds and equal calls give equal faults.

    Args:
        seed: Of all chance, also of what a fault does.
        kinds: Which faults; one is drawn each time.
        every_s: Mean time from one to the next.
        until_s: After so long nothing more goes wrong.
    """

    def __init__(
        self, seed: int, kinds: Iterable[FaultKind], *, every_s: float = 10.0, until_s: float | None = None
    ) -> None:
        self.chance = random.Random(seed)
        self._kinds = tuple(kinds)
        self._every_s = every_s
        self._until_ns = None if until_s is None else round(until_s * NS)
        self._due: int | None = None

    def due(self, mono_ns: int) -> FaultKind | None:
        """The fault that has come due, if one has; asked at every piece."""
        if self._due is None:
            self._until_ns = None if self._until_ns is None else self._until_ns + mono_ns
            self._draw(mono_ns)
        if self._due is None or mono_ns < self._due or (self._until_ns is not None and mono_ns > self._until_ns):
            return None
        self._draw(mono_ns)
        return self.chance.choice(self._kinds)

    def _draw(self, mono_ns: int) -> None:
        self._due = mono_ns + round(self.chance.uniform(0.5, 1.5) * self._every_s * NS)


class FaultyTransport:
    """A link on which things go wrong.

    Args:
        inner: The link.
        schedule: When what.
        clock: Tells the time of faults, and delays by it.
        log: Gets each fault that was injected.
        provoke: Makes the device at the other end misbehave; whether it can.
    """

    def __init__(
        self,
        inner: Transport,
        schedule: Schedule,
        clock: Clock,
        log: Callable[[Injected], None],
        provoke: Callable[[FaultKind], bool] | None = None,
    ) -> None:
        self._inner = inner
        self._schedule = schedule
        self._clock = clock
        self._log = log
        self._provoke = provoke
        self._coming: deque[tuple[int, bytes]] = deque()
        self._held: bytes | None = None
        self._for_request: FaultKind | None = None
        self._not_before = 0

    @property
    def peer(self) -> str:
        """Of the inner link."""
        return self._inner.peer

    async def __aenter__(self) -> Self:
        self._clear()
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(exc_type, exc, traceback)

    async def aclose(self) -> None:
        """Gives up the inner link."""
        await self._inner.aclose()

    async def receive(self, timeout_s: float | None) -> bytes:
        """What is left of what the device said, when it is allowed to arrive.

        Raises:
            TransportError: the link was lost, or a fault says so.
        """
        until = None if timeout_s is None else self._clock.now().mono_ns + round(timeout_s * NS)
        while True:
            now = self._clock.now().mono_ns
            if self._coming and self._coming[0][0] <= now:
                return self._coming.popleft()[1]
            ends = [time for time in (until, self._coming[0][0] if self._coming else None) if time is not None]
            wait = self._clock.seconds_until(min(ends)) if ends else None
            data = await self._inner.receive(wait)
            if data:
                self._befall(data)
            elif until is not None and self._clock.now().mono_ns >= until and not self._ready():
                return b""

    async def send(self, data: bytes) -> None:
        """Tells the device, or what is left of it.

        Raises:
            TransportError: the link was lost.
        """
        kind, self._for_request = self._for_request, None
        if kind is None:
            await self._inner.send(data)
            return
        self._note(kind, ">", bytes=len(data))
        for piece in self._altered(kind, data):
            await self._inner.send(piece)

    def _clear(self) -> None:
        self._coming.clear()
        self._held = self._for_request = None
        self._not_before = 0

    def _ready(self) -> bool:
        return bool(self._coming) and self._coming[0][0] <= self._clock.now().mono_ns

    def _note(self, kind: FaultKind, direction: str, **detail: Any) -> None:
        self._log(Injected(self._clock.now().mono_ns, kind, direction, detail))

    def _befall(self, data: bytes) -> None:
        now, chance = self._clock.now().mono_ns, self._schedule.chance
        kind = self._schedule.due(now)
        if kind in OF_THE_DEVICE and kind is not None:
            if self._provoke is not None and self._provoke(kind):
                self._note(kind, "<")
            kind = None
        if kind in _OF_REQUESTS and chance.random() < 0.25:
            self._for_request, kind = kind, None
        if kind is FaultKind.DISCONNECT:
            self._note(kind, "<", bytes=len(data))
            raise TransportError("the link was cut on purpose")
        if kind is FaultKind.REORDER and self._held is None:
            self._note(kind, "<", bytes=len(data))
            self._held = data
            return
        delay = 0.0
        if kind in (FaultKind.DELAY, FaultKind.STALL):
            delay = chance.uniform(0.2, MOST_DELAY_S)
            self._not_before = max(self._not_before, now + round(delay * NS))
        if kind is not None and kind is not FaultKind.REORDER:
            self._note(kind, "<", bytes=len(data), **({"seconds": delay} if delay else {}))
        if kind is FaultKind.HALF:
            middle = max(1, len(data) // 2)
            self._arrive(data[:middle], now)
            self._not_before = max(self._not_before, now + round(chance.uniform(0.05, 0.6) * NS))
            data = data[middle:]
            kind = None
        for piece in self._altered(kind, data):
            self._arrive(piece, now)
        if kind is FaultKind.DELAY:
            self._not_before = now  # only this piece was late; what follows comes behind it as a wire delivers in order
        if self._held is not None:
            held, self._held = self._held, None
            self._arrive(held, now)

    def _arrive(self, data: bytes, now: int) -> None:
        if data:
            before = self._coming[-1][0] if self._coming else now
            self._coming.append((max(now, self._not_before, before), data))

    def _altered(self, kind: FaultKind | None, data: bytes) -> list[bytes]:
        chance = self._schedule.chance
        if kind is FaultKind.DROP:
            return []
        if kind is FaultKind.CUT:
            return [data[: chance.randrange(len(data))]]
        if kind is FaultKind.FLIP:
            place, bit = chance.randrange(len(data)), 1 << chance.randrange(8)
            return [data[:place] + bytes((data[place] ^ bit,)) + data[place + 1 :]]
        if kind is FaultKind.REPEAT:
            return [data, data]
        if kind is FaultKind.NOISE:
            return [chance.randbytes(chance.randint(1, MOST_NOISE)), data]
        return [data]


class FaultyDevice:
    """A simulated device on whose wire things go wrong; attached like the device itself.

    Args:
        device: The device.
        schedule: When what.
        clock: Tells the time of faults, and delays by it.
        log: Gets each fault that was injected.
        again: Makes the device anew, as it is when it has restarted; without it there is no reboot.
    """

    def __init__(
        self,
        device: Device,
        schedule: Schedule,
        clock: Clock,
        log: Callable[[Injected], None],
        again: Callable[[], Device] | None = None,
    ) -> None:
        self._wire = MemoryLink(device)
        self._again = again
        self._link = FaultyTransport(self._wire, schedule, clock, log, self.provoke)

    def provoke(self, kind: FaultKind) -> bool:
        """Makes the device misbehave or restart; whether it can."""
        if kind is FaultKind.REBOOT and self._again is not None:
            self._wire.device = self._again()
            self._wire.hang_up("the device restarted")
            return True
        able: Callable[[FaultKind], bool] | None = getattr(self._wire.device, "provoke", None)
        return able is not None and able(kind)

    def extend(self, pressures: list[float]) -> None:
        """More of the arterial pressure, mmHg at 125 Hz, for a device that shows it as a wave."""
        hear: Callable[[list[float]], None] | None = getattr(self._wire.device, "extend", None)
        if hear is not None:
            hear(pressures)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speaks as the device does, or as what is left of it; a disconnection hangs up."""
        async with self._link:
            listening = asyncio.create_task(self._listen(reader))
            try:
                while not listening.done():
                    if data := await self._link.receive(LOOK_S):
                        writer.write(data)
                        await writer.drain()
            except TransportError as error:
                raise ConnectionError(str(error)) from None
            finally:
                listening.cancel()
                with contextlib.suppress(asyncio.CancelledError, TransportError):
                    await listening

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(4096):
            await self._link.send(data)
