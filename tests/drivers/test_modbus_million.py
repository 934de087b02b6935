from __future__ import annotations

import heapq
import multiprocessing
import random
from collections import Counter

import pytest

from acquisition.driver import Reading
from tests.drivers.modbus_bench import MS
from tests.drivers.test_modbus_hostile import KEPT, NOISE, OrderlyLine, Trouble, device, watching

POLLS = 1_000_000
SHARE = 50_000
TROUBLED = 0.12


def trouble(chance: random.Random) -> Trouble:
    """Mostly none; else late, lost, repeated, foreign, broken, or refused, and any of it at once."""
    if chance.random() >= TROUBLED:
        return Trouble(delay=chance.randrange(40) * MS)
    late = chance.choice((0, 60, 400, 700, 900, 1100, 6000))
    return Trouble(
        delay=chance.randrange(late + 1) * MS,
        copies=chance.choice((1, 1, 1, 0, 2, 3)),
        again=chance.randrange(61) * MS,
        before=chance.choice((b"", b"", chance.choice(NOISE), chance.randbytes(chance.randrange(61)))),
        keep=chance.choice((None, None, None, chance.randrange(9))),
        flip=chance.choice((None, None, None, chance.randrange(13))),
        unit=chance.choice((1, 1, 1, 2)),
        exception=chance.choice((0, 0, 0, 2, 6, 11)),
        pieces=chance.randrange(1, 5),
    )


def poll(mode: str, seed: int, count: int) -> Counter[str]:
    """Polls a hostile device so often in virtual time; every value is held against what was asked for it.

    Raises:
        AssertionError: a value is not the answer to its own request, or the buffer grows without bound.
    """
    chance = random.Random(seed)
    driver, tcp = device(mode), mode == "tcp"
    line = OrderlyLine([], tcp)
    watch = watching(line)
    arrivals: list[tuple[int, int, bytes]] = []
    now = sent = order = values = 0
    driver.start(now)
    while sent < count:
        for frame in driver.take_frames():
            sent += 1
            each = trouble(chance)
            # TCP itself takes care of wrong and missing bytes.
            line.troubles.append(Trouble(each.delay, each.copies, each.again, each.before) if tcp else each)
            for delay, data in line(frame, now):
                order += 1
                heapq.heappush(arrivals, (now + delay, order, data))
        assert driver.deadline is not None
        if arrivals and arrivals[0][0] <= driver.deadline:
            now = max(now, arrivals[0][0])
            driver.receive(heapq.heappop(arrivals)[2], now)
        else:
            now = max(now, driver.deadline)
        driver.tick(now)
        assert len(driver.buffer) <= KEPT
        for emission in driver.take_emissions():
            if isinstance(emission, Reading):
                values += len(emission.values)
                watch(emission)
    return Counter(polls=sent, values=values) + driver.counters


@pytest.mark.parametrize("mode", ["rtu", "tcp"])
def test_many_thousand_polls_of_a_hostile_device_give_no_wrong_value(mode: str) -> None:
    counted = poll(mode, 1, 4000)
    assert counted["values"] > 2000
    assert min(counted["timeout"], counted["rejected_late"], counted["bytes_noise"]) > 20


@pytest.mark.system
@pytest.mark.alone  # takes every core
@pytest.mark.timeout(600)
def test_a_million_polls_of_a_hostile_device_give_no_wrong_value() -> None:
    shares = [("rtu" if seed % 5 else "tcp", seed, SHARE) for seed in range(POLLS // SHARE)]
    with multiprocessing.get_context("spawn").Pool() as pool:
        counted = sum(pool.starmap(poll, shares, chunksize=1), Counter[str]())
    assert counted["polls"] >= POLLS
    assert counted["values"] > POLLS / 2
    assert counted["rejected_late"] > POLLS / 100
    print(f"{counted['polls']:,} polls, {counted['values']:,} values, {counted['rejected_late']:,} late or foreign")
