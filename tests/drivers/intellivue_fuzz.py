"""Damages messages of a monitor, thousands a second, and checks what must hold whatever comes."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

from acquisition.catalogue import Catalogue
from acquisition.driver import Driver, Reading, Samples
from acquisition.errors import WireError
from acquisition.wire.intellivue import framing
from drivers.intellivue import IntelliVueDriver
from simulators.intellivue_screen import WAVES
from tests.drivers import intellivue_vectors as vectors
from tests.drivers.intellivue_bench import SHOWN, Bench, Ramp

AFRESH = 400
"""A driver is begun anew after so many inputs, so that damage meets every phase."""
STEP_NS = 40_000_000
MOST_BUFFERED = 1 << 15


def said() -> list[bytes]:
    """What a monitor says to a fresh driver, in order, whole and in parts, and what the document has besides."""
    bench = Bench(SHOWN, {name: Ramp() for name in WAVES})
    bench.run(1.5)
    linked = Bench(SHOWN, {name: Ramp() for name in WAVES})
    linked.monitor.wrong.parts = 2
    linked.run(1.5)
    heard = [piece.data for one in (bench, linked) for piece in one.pieces if piece.direction == "<"]
    return [
        *heard, vectors.ACCEPTED, vectors.MDS_CREATE, vectors.CONNECT_INDICATION, vectors.WAVE_LIST, vectors.REFUSAL,
        vectors.NUMERICS, vectors.WAVE,
    ]  # fmt: skip


def damaged(message: bytes, chance: random.Random) -> bytes:
    """The message with a few bytes changed, cut, doubled or exchanged; sometimes as it was."""
    data = bytearray(message)
    for _ in range(chance.choice((0, 1, 1, 2, 5))):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[place : place + 1] = bytes((chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256))),))
            case 1:
                del data[place : place + chance.randrange(1, 9)]
            case 2:
                data[place:place] = chance.randbytes(chance.randrange(1, 9))
            case 3:
                data[place : place + 2] = data[place : place + 2][::-1]
            case _:
                data[place:place] = data[max(0, place - 8) : place]
    return bytes(data)


def feed(count: int, seed: int, *, mib: bool = False) -> Counter[str]:
    """Feeds so many damaged messages to drivers in every phase; returns what they counted.

    Raises:
        AssertionError: something came out that may not, or was kept without bound.
    """
    chance, messages = random.Random(seed), said()
    counted: Counter[str] = Counter()
    driver, now = _begun(messages, 9, mib=mib)
    for number in range(1, count + 1):
        if number % AFRESH == 0:
            counted += driver.counters
            driver, now = _begun(messages, chance.choice((0, 1, 9, 9, 9, 9)), mib=mib)
        now += STEP_NS
        message = damaged(chance.choice(messages), chance)
        data = damaged(framing.frame(message), chance) if mib else message
        try:
            driver.receive(data, now)
            driver.tick(now)
        except WireError:
            driver.start(now)
        _check(driver)
    return counted + driver.counters


def _begun(messages: Sequence[bytes], heard: int, *, mib: bool) -> tuple[Driver, int]:
    """A driver that has heard so much of a sound conversation, and the time."""
    driver = IntelliVueDriver.build({"mode": "mib" if mib else "lan"}, Catalogue.shipped())
    driver.start(0)
    now = 0
    for message in messages[:heard]:
        driver.receive(framing.frame(message) if mib else message, now)
        for _ in range(2):
            now += STEP_NS
            driver.tick(now)
    _check(driver)
    return driver, now


def _check(driver: Driver) -> None:
    assert len(driver.buffer) <= MOST_BUFFERED
    assert driver.deadline is not None
    for emission in driver.take_emissions():
        if isinstance(emission, Reading):
            assert all(math.isfinite(value) for value in emission.values.values())
            assert all(driver.catalogue.admits(name) for name in (*emission.values, *emission.states))
        elif isinstance(emission, Samples):
            assert emission.counts.size
            assert emission.period_ns > 0
            assert math.isfinite(emission.scale)
            assert math.isfinite(emission.offset)
            assert emission.scale
            assert driver.catalogue.admits(emission.channel)
    assert all(driver.may_send(frame) for frame in driver.take_frames())
