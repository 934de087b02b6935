"""Says damaged things to every driver, thousands a second, and checks what must hold whatever comes; seeded."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial

from acquisition.catalogue import Catalogue
from acquisition.driver import Driver, Emission, Reading, Samples
from acquisition.errors import WireError
from acquisition.model import EventKind, State
from tests.contracts.cases import AHEAD_NS, Bench, Case, all_cases
from tests.contracts.seals import Numbers, damaged_within, exchanged

AFRESH = 125
"""A driver is begun anew after so many inputs, so that damage meets every phase of a conversation."""
MOST_TICKS = 50
PATIENCE_NS = 2_000_000_000
LONGEST = 2048
"""Bytes of a piece; longer ones are cut up, as a link does."""
MOST_NAMES = 256
MOST_TEXT = 2000
STRANGE = (0x00, 0x01, 0x0B, 0x0D, 0x1C, 0x30, 0x7F, 0x80, 0xFF)


def drivers() -> list[str]:
    """Every driver that has cases."""
    return sorted({case.settings["driver"] for case in all_cases()})


def damaged(piece: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """The piece with a few bytes changed, lost, added, exchanged or doubled, or spliced with another one."""
    data = bytearray(piece)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(7):
            case 0:
                data[place : place + 1] = bytes((chance.choice(STRANGE),))
            case 1:
                data[place : place + 1] = bytes((chance.randrange(256),))
            case 2:
                if place < len(data):
                    data[place] ^= 1 << chance.randrange(8)
            case 3:
                del data[place : place + chance.randrange(1, 9)]
            case 4:
                data[place:place] = chance.randbytes(chance.randrange(1, 9))
            case 5:
                data[place:place] = data[max(0, place - chance.randrange(1, 33)) : place]
            case _:
                other = chance.choice(others)
                data[place:] = other[chance.randrange(len(other) + 1) :]
    return bytes(data[: 2 * LONGEST])


@cache
def _cases(driver: str) -> list[Case]:
    return [case for case in all_cases() if case.settings["driver"] == driver]


@cache
def _said(case: Case) -> list[tuple[int, bytes]]:
    """What the device said in the case and when, cut up where it is long; nothing where the driver spoke."""
    return [
        (piece.t_ns, piece.data[at : at + LONGEST] if piece.direction == "<" else b"")
        for piece in case.pieces
        for at in range(0, max(1, len(piece.data)), LONGEST)
    ]


@cache
def _opening(case: Case) -> int:
    """How many pieces of a case come before something is measured: until then damage meets the greeting alone."""
    bench = Bench(case.build())
    bench.start(0)
    for piece in case.pieces:
        bench.run([piece])
        if bench.outcome.measured:
            return sum(t_ns <= piece.t_ns for t_ns, _ in _said(case))
    return len(_said(case))


def harmed(driver: str, data: bytes, everything: list[bytes], chance: random.Random) -> bytes:
    """The piece damaged: anyhow, or with its lengths and checksums left right so that what is within is looked at."""
    match chance.randrange(4):
        case 0:
            return damaged(data, everything, chance)
        case 1:
            return damaged_within(driver, data, partial(damaged, others=everything, chance=chance))
        case _:
            return damaged_within(driver, data, partial(exchanged, chance=chance))


def inputs(case: Case, chance: random.Random) -> Iterator[tuple[int, bytes | None]]:
    """Pieces of a case in their order and at their times, but some damaged, lost, repeated, late or of no case.

    None in place of a piece is a link that was lost and opened again.
    """
    said = _said(case)
    everything = [data for _, data in said if data]
    harm = chance.choice((0.05, 0.3, 0.8))
    late = begin = 0
    unharmed = chance.choice((0, 5, _opening(case), _opening(case)))
    while True:
        for at, data in said[begin:]:
            unharmed -= 1
            if not data or unharmed >= 0 or chance.random() >= harm:
                yield at + late, data
                continue
            late += chance.choice((0, 0, 0, 0, 1_000_000, 700_000_000, 11_000_000_000))
            match chance.randrange(10):
                case 0:
                    yield at + late, chance.randbytes(chance.choice((1, 7, 64, 300)))
                case 1:
                    yield at + late, data
                    yield at + late, data
                case 2:
                    continue
                case 3:
                    yield at + late, chance.choice(everything)
                case _:
                    yield at + late, harmed(case.settings["driver"], data, everything, chance)
        late += said[-1][0] + 1_000_000
        begin = chance.choice((0, 0, chance.randrange(len(said))))
        if begin == 0:
            yield late, None
            unharmed = chance.choice((0, _opening(case)))


def fuzz(driver: str, count: int, seed: int) -> Counter[str]:
    """Says so many things to drivers of a kind; returns what they counted.

    Raises:
        AssertionError: something came out that may not, or something is kept without bound; the text has the seed.
    """
    chance = random.Random(f"{driver} {seed}")
    counted: Counter[str] = Counter()
    said, turn = 0, 0
    cases = chance.sample(_cases(driver), len(_cases(driver)))
    while said < count:
        case, turn = cases[turn % len(cases)], turn + 1
        turns = min(AFRESH, count - said)
        try:
            counted += _converse(case, chance, turns)
        except Exception as error:  # whatever it is, without the seed nobody could say it again
            raise AssertionError(f"{case}, seed {seed}, after {said} inputs: {error!r}") from error
        said += turns
    return counted


def _converse(case: Case, chance: random.Random, turns: int) -> Counter[str]:
    """One driver's hearing: what the case says, or, where it has asked what is known, sometimes the answer to that."""
    driver, cut = case.build(), case.build().trace_cut()
    numbers = Numbers([piece.data for piece in case.pieces if piece.direction == ">"])
    driver.start(0)
    asked = _check(driver)
    now = 0
    source = inputs(case, chance)
    everything = [data for _, data in _said(case) if data]
    said = 0
    while said < turns:
        numbers.heed(asked)
        answers = [answer for question in asked[-1:] for answer in case.answers.get(question, ())]
        if answers and chance.random() < 0.7:
            now += 10_000_000
            data = chance.choice(answers)
            data = harmed(case.settings["driver"], data, everything, chance) if chance.random() < 0.3 else data
        else:
            at, piece = next(source)
            asked = _wake(driver, at - AHEAD_NS, at, numbers=numbers)[1] or asked
            now = max(now, at)
            if not piece:
                if piece is None:
                    driver.start(now)
                else:
                    driver.tick(now)
                asked = _check(driver) or asked
                continue
            data = numbers.fit(piece)
        if cut is not None:
            cut.feed(data)
        said += 1
        try:
            driver.receive(data, now)
            driver.tick(now)
        except WireError:
            driver.counters["gave_up"] += 1
            driver.start(now)
        asked = _check(driver)
        if case.answers and not asked:
            now, asked = _wake(driver, now + PATIENCE_NS, now, until_asked=True, numbers=numbers)
    driver.stop(now)
    _check(driver)
    return driver.counters


def _wake(
    driver: Driver, until: int, now: int, *, numbers: Numbers, until_asked: bool = False
) -> tuple[int, list[bytes]]:
    """Wakes a driver whenever it wants before then; returns when it did so last, and what it asked then."""
    asked: list[bytes] = []
    for _ in range(MOST_TICKS):
        deadline = driver.deadline
        if deadline is None or deadline >= until:
            break
        now = deadline
        driver.tick(now)
        asked = _check(driver)
        numbers.heed(asked)
        if asked and until_asked:
            break
    return now, asked


def _check(driver: Driver) -> list[bytes]:
    assert len(driver.buffer) <= driver.max_buffer
    assert len(driver.counters) <= MOST_NAMES
    assert sum(map(len, driver.identity.values())) <= MOST_TEXT
    for emission in driver.take_emissions():
        _check_emission(emission)
    driver.stored(driver.take_keys())
    frames = driver.take_frames()
    assert all(map(driver.may_send, frames)), frames
    return frames


@cache
def _admitted(channel: str) -> bool:
    return Catalogue.shipped().admits(channel)


def _check_emission(emission: Emission) -> None:
    if isinstance(emission, Reading):
        assert emission.values or emission.states
        assert all(map(math.isfinite, emission.values.values()))
        assert all(map(_admitted, emission.values))
        assert all(map(_admitted, emission.states))
        assert all(isinstance(state, State) for state in emission.states.values())
    elif isinstance(emission, Samples):
        assert emission.counts.size
        assert emission.period_ns > 0
        assert math.isfinite(emission.scale)
        assert emission.scale
        assert math.isfinite(emission.offset)
        assert _admitted(emission.channel)
    else:
        assert isinstance(emission.event, EventKind)
        assert 0 < len(emission.text) <= MOST_TEXT
