"""A Modbus driver on a line in virtual time: what it sends goes to a device, what that returns comes when it says."""

from __future__ import annotations

import asyncio
import heapq
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from acquisition.catalogue import Catalogue, shipped_config
from acquisition.clock import SystemClock
from acquisition.driver import Emission, Notice, Reading
from acquisition.transports.url import open_link
from drivers.modbus import ModbusDriver

MS = 1_000_000
S = 1_000_000_000

Arrivals = Iterable[tuple[int, bytes]]
"""Nanoseconds after the request, and the bytes."""
Device = Callable[[bytes, int], Arrivals]


def shipped(profile: str, **options: Any) -> ModbusDriver:
    content = tomllib.loads((shipped_config() / "devices" / f"{profile}.toml").read_text(encoding="utf-8"))
    return ModbusDriver.build(options, Catalogue.shipped(), content)


def build(*registers: Mapping[str, Any], options: Mapping[str, Any] | None = None, **profile: Any) -> ModbusDriver:
    content = {"name": "Test device", "source": "a test", "register": list(registers), **profile}
    return ModbusDriver.build(options or {}, Catalogue.shipped(), content)


class Bench:
    """Pumps a driver as a session does, and keeps what happened with its time; `watch` sees each reading at once."""

    def __init__(
        self, driver: ModbusDriver, device: Device, watch: Callable[[Reading], None] = lambda reading: None
    ) -> None:
        self.driver = driver
        self.most_kept = 0
        self.now = 0
        self.sent: list[tuple[int, bytes]] = []
        self.emitted: list[tuple[int, Emission]] = []
        self.pieces: list[tuple[int, str, bytes]] = []
        self._device = device
        self._watch = watch
        self._arrivals: list[tuple[int, int, bytes]] = []
        self._order = 0
        self.reopen()

    def reopen(self) -> None:
        self.driver.start(self.now)
        self._after(woken=False)

    def inject(self, at: int, data: bytes) -> None:
        self._order += 1
        heapq.heappush(self._arrivals, (at, self._order, data))

    def run(self, until: int) -> Bench:
        while True:
            arrival = self._arrivals[0][0] if self._arrivals else None
            deadline = self.driver.deadline
            due = min(each for each in (arrival, deadline, until) if each is not None)
            if due >= until:
                self.now = until
                return self
            self.now = max(self.now, due)
            if arrival is not None and arrival <= self.now:
                data = heapq.heappop(self._arrivals)[2]
                self.pieces.append((self.now, "<", data))
                self.driver.receive(data, self.now)
            woken = self.driver.deadline is not None and self.now >= self.driver.deadline
            self.driver.tick(self.now)
            self._after(woken=woken)

    @property
    def readings(self) -> list[tuple[int, Reading]]:
        return [(at, each) for at, each in self.emitted if isinstance(each, Reading)]

    @property
    def notices(self) -> list[Notice]:
        return [each for _, each in self.emitted if isinstance(each, Notice)]

    def _after(self, *, woken: bool) -> None:
        frames = self.driver.take_frames()
        if woken and not frames:
            self.pieces.append((self.now, ">", b""))
        self.most_kept = max(self.most_kept, len(self.driver.buffer))
        for emission in self.driver.take_emissions():
            self.emitted.append((self.now, emission))
            if isinstance(emission, Reading):
                self._watch(emission)
        for frame in frames:
            self.sent.append((self.now, frame))
            self.pieces.append((self.now, ">", frame))
            for delay, data in self._device(frame, self.now):
                self.inject(self.now + delay, data)


def shifted(remainder: int) -> int:
    for _ in range(8):
        remainder = remainder >> 1 ^ 0xA001 if remainder & 1 else remainder >> 1
    return remainder


SHIFTED = [shifted(byte) for byte in range(256)]


def crc(data: bytes) -> bytes:
    remainder = 0xFFFF
    for byte in data:
        remainder = remainder >> 8 ^ SHIFTED[(remainder ^ byte) & 0xFF]
    return remainder.to_bytes(2, "little")


def rtu(unit: int, function: int, data: bytes) -> bytes:
    body = bytes((unit, function)) + data
    return body + crc(body)


def registers_reply(request: bytes, registers: Mapping[int, int]) -> bytes:
    """What a faultless RTU device answers to a read of registers."""
    address, count = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
    wanted = range(address, address + count)
    if any(each not in registers for each in wanted):
        return rtu(request[0], request[1] | 0x80, b"\x02")
    data = b"".join((registers[each] & 0xFFFF).to_bytes(2, "big") for each in wanted)
    return rtu(request[0], request[1], bytes((len(data),)) + data)


async def converse(driver: ModbusDriver, link: str, enough: Callable[[list[Reading]], bool]) -> list[Reading]:
    """Lets a driver talk over a real link, in real time, until the readings are enough."""
    clock, readings = SystemClock(), list[Reading]()
    async with asyncio.timeout(45), open_link(link) as transport:
        driver.start(clock.now().mono_ns)
        while not enough(readings):
            for frame in driver.take_frames():
                await transport.send(frame)
            wait = None if driver.deadline is None else clock.seconds_until(driver.deadline)
            data = await transport.receive(wait)
            now = clock.now().mono_ns
            if data:
                driver.receive(data, now)
            driver.tick(now)
            readings += [each for each in driver.take_emissions() if isinstance(each, Reading)]
    return readings
