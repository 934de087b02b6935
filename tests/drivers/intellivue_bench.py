"""A simulated monitor and the driver, in virtual time and without a wire."""

from __future__ import annotations

from collections.abc import Mapping
from struct import pack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acquisition.catalogue import Catalogue
from acquisition.clock import ManualClock
from acquisition.driver import Notice, Reading, Samples
from acquisition.errors import WireError
from acquisition.model import EventKind
from acquisition.trace import Piece
from acquisition.wire.intellivue import polls
from drivers.intellivue import IntelliVueDriver
from simulators import intellivue_pdu as pdu
from simulators.intellivue import IntelliVue

NS = 1_000_000_000
STEP_NS = 4_000_000
SHOWN: dict[str, float | str] = {"abp_sys": 112.4, "abp_dia": 76.0, "abp_mean": 88.1, "hr": 72.0, "cvp": -1.5}


ROUND = 4096


class Ramp:
    """Samples that count, so that a lost or repeated one shows; from the beginning again after `ROUND`."""

    def __init__(self, rate_hz: float = 125.0, resolution: float = 1 / 16, first: int = 0) -> None:
        self.rate_hz, self.resolution = rate_hz, resolution
        self._next = first

    def take(self, n: int) -> NDArray[np.int32]:
        self._next += n
        return np.arange(self._next - n, self._next, dtype=np.int32) % ROUND


class Bench:
    """Lets both talk, a few milliseconds at a time; what passes is kept as pieces of a trace.

    Args:
        shown: What the monitor shows.
        waves: Its waves; a counting arterial pressure by default.
        ticks: Its running time at the beginning.
        options: Of the driver.
    """

    def __init__(
        self,
        shown: Mapping[str, float | str] | None = None,
        waves: Mapping[str, Any] | None = None,
        ticks: int = 86_400 * 8000,
        **options: Any,
    ) -> None:
        self.clock = ManualClock(utc_ns=1_767_254_400 * NS)
        self.shown = dict(SHOWN if shown is None else shown)
        waves = {"wf_abp": Ramp()} if waves is None else waves
        self.monitor = IntelliVue(lambda: self.shown, waves, clock=self.clock, ticks=ticks)
        self.driver = IntelliVueDriver.build(options, Catalogue.shipped())
        self.mib = options.get("mode") == "mib"
        self.readings: list[Reading] = []
        self.blocks: list[Samples] = []
        self.notices: list[Notice] = []
        self.pieces: list[Piece] = []
        self.frames: list[bytes] = []
        self.driver.start(0)
        self._exchange()

    @property
    def now(self) -> int:
        return self.clock.now().mono_ns

    @property
    def counters(self) -> Mapping[str, int]:
        return {name: count for name, count in self.driver.counters.items() if count}

    @property
    def texts(self) -> list[str]:
        return [notice.text for notice in self.notices]

    @property
    def gaps(self) -> list[Notice]:
        return [notice for notice in self.notices if notice.event is EventKind.GAP]

    def run(self, seconds: float) -> None:
        until = self.now + round(seconds * NS)
        while self.now < until:
            self.clock.advance_to(min(until, self.now + STEP_NS))
            for message in self.monitor.turn():
                self.receive(message)
            if self.driver.deadline is not None and self.driver.deadline <= self.now:
                self.driver.tick(self.now)
                self._exchange(woken=True)

    def receive(self, message: bytes) -> None:
        data = pdu.enveloped(message) if self.mib else message
        self.pieces.append(Piece(self.now, "<", data))
        try:
            self.driver.receive(data, self.now)
        except WireError as error:
            raise AssertionError("this driver never gives up the link") from error
        self._exchange()

    def stop(self) -> None:
        self.driver.stop(self.now)
        self._exchange()

    def _exchange(self, *, woken: bool = False) -> None:
        frames = self.driver.take_frames()
        if woken and not frames:
            self.pieces.append(Piece(self.now, ">", b""))
        for emission in self.driver.take_emissions():
            if isinstance(emission, Reading):
                self.readings.append(emission)
            elif isinstance(emission, Samples):
                self.blocks.append(emission)
            else:
                self.notices.append(emission)
        for frame in frames:
            self.frames.append(frame)
            self.pieces.append(Piece(self.now, ">", frame))
            message = pdu.opened(frame[1:-1]) if self.mib else frame
            assert message is not None
            for reply in self.monitor.hear(message, "us"):
                self.receive(reply)


def samples_of(blocks: list[Samples]) -> NDArray[np.float64]:
    """All samples of one channel in the catalogue's unit."""
    return np.concatenate([np.round(block.counts * block.scale + block.offset, 6) for block in blocks])


def seamless(blocks: list[Samples]) -> bool:
    """Whether a ramp came as it was drawn, each sample once."""
    drawn = np.concatenate([block.counts * block.scale + block.offset for block in blocks]) * 16
    return bool((np.round(np.diff(drawn)) % ROUND == 1).all())


def numerics_of(*objects: tuple[int, bytes]) -> bytes:
    """An answer to the numerics poll of a fresh driver (invoke 4, poll 3)."""
    return answer_of(6, *objects)


def answer_of(kind: int, *objects: tuple[int, bytes], sequence: int = 1, ticks: int = 8000) -> bytes:
    asked = pdu.Poll(polls.extended(*((4, 3) if kind == 6 else (5, 4)), kind, 0x0803 if kind == 6 else 0))
    shown = [pack(">H", handle) + attributes for handle, attributes in objects]
    return pdu.answer(asked, ticks, b"\xff" * 8, shown, sequence, None)


def number(term: int, value: float | None, unit: int = 3872, bits: int = 0) -> bytes:
    return pdu.listed([pdu.attribute(0x0950, pdu.observed(term, bits, unit, value))])


def pressure(base: int, *values: float) -> bytes:
    items = [pdu.observed(base + at, 0, 3872, value) for at, value in enumerate(values, start=1)]
    return pdu.listed([pdu.attribute(0x094B, pdu.listed(items))])


def quiet(**options: Any) -> Bench:
    """A driver that polls a monitor which says nothing of its own."""
    bench = Bench({}, {}, **options)
    bench.monitor.wrong.lose = 1000
    bench.run(0.5)
    bench.readings.clear()
    bench.notices.clear()
    return bench


def wave(term: int, *, scaled: bool, low: float = -40.0, high: float = 520.0, sample: int = 0x1000) -> bytes:
    samples = pack(">4H", *[sample] * 4)
    attributes = [pdu.attribute(0x096E, pack(">3H", term, 0, len(samples)) + samples)]
    if scaled:
        attributes += [
            pdu.attribute(0x096D, pack(">H2BH", 4, 16, 14, 0)),
            pdu.attribute(0x096F, pdu.decimal(low, 1) + pdu.decimal(high, 1) + pack(">2H", 0x00A0, 0x23A0)),
            pdu.attribute(0x098D, pack(">I", 64)),
            pdu.attribute(0x0996, pack(">H", 3872)),
        ]
    return pdu.listed(attributes)


def seconds_of(bench: Bench) -> list[float]:
    """When the blocks begin, on the scale of the monitor's running time."""
    return [block.start / NS for block in bench.blocks if isinstance(block.start, int)]
