from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from acquisition.catalogue import Catalogue
from acquisition.model import Numerics, Observation
from acquisition.recording import TraceRecorder
from acquisition.replay import Handing, replay
from acquisition.session import Session
from acquisition.stamping import Stamper
from acquisition.trace import Piece, TraceHeader, TraceWriter, read_trace
from simulators.memory_link import MemoryLink
from simulators.virtual_time import LoopClock, run
from tests.contracts.coded_devices import SIMULATORS, WITHOUT_CHECK_CODE, present, spoken_by, virtual

__all__ = ["virtual"]

READINGS = 3
FLIPS, MOST_FLIPS = 40, 400
LOOK_S = 0.05


async def recorded(name: str, trace: Path) -> None:
    """A conversation up to the third reading."""
    clock, driver = LoopClock(), spoken_by(name)()
    heard: list[Observation] = []
    recorder = TraceRecorder(trace, link="memory://", driver=name, clock=clock)
    session = Session(
        "device", driver, MemoryLink(SIMULATORS[name].create(present)), clock,
        Handing(heard.append, acknowledges=True), Stamper("device", Catalogue.shipped()), recorder=recorder,
    )  # fmt: skip
    running = asyncio.create_task(session.run())
    while len(numerics(heard)) < READINGS:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(LOOK_S)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    recorder.close()


def numerics(observed: list[Observation]) -> list[dict[str, float]]:
    return [each.values for each in observed if isinstance(each, Numerics)]


async def read_back(name: str, trace: Path) -> list[dict[str, float]]:
    heard: list[Observation] = []
    await replay(trace, spoken_by(name)(), heard.append)
    return numerics(heard)


def invented(found: list[dict[str, float]], true: list[dict[str, float]]) -> bool:
    """Whether a reading has a value that the device did not say together with the others."""
    return any(all(values.items() - each.items() for each in true) for values in found)


@pytest.mark.system  # hundreds of replays take their time
@pytest.mark.usefixtures("virtual")
@pytest.mark.parametrize("name", SIMULATORS)
def test_a_flipped_bit_is_a_wrong_number_that_nobody_can_know_where_a_protocol_has_no_check_code_and_only_there(
    name: str, tmp_path: Path
) -> None:
    run(recorded(name, tmp_path / "true.trace"))
    header, source = read_trace(tmp_path / "true.trace")
    pieces = list(source)

    async def taken_for_true() -> int:
        true = await read_back(name, tmp_path / "true.trace")
        assert len(true) >= READINGS - 1
        for turn, (number, at) in enumerate(some_of(pieces, FLIPS if name not in WITHOUT_CHECK_CODE else MOST_FLIPS)):
            data = bytearray(pieces[number].data)
            data[at] ^= 1 << turn % 3
            changed = [*pieces[:number], pieces[number]._replace(data=bytes(data)), *pieces[number + 1 :]]
            write(tmp_path / f"{turn}.trace", header, changed)
            if invented(await read_back(name, tmp_path / f"{turn}.trace"), true):
                return 1
        return 0

    assert asyncio.run(taken_for_true()) == (name in WITHOUT_CHECK_CODE)


def some_of(pieces: list[Piece], most: int) -> list[tuple[int, int]]:
    """Places of bytes that the device said after the first reading, evenly."""
    said = [(number, at) for number, each in enumerate(pieces) if each.direction == "<" for at in range(len(each.data))]
    said = said[len(said) // READINGS :]
    return said[:: 1 + len(said) // most]


def write(target: Path, header: TraceHeader, pieces: list[Piece]) -> None:
    with TraceWriter(target, header) as writer:
        for piece in pieces:
            writer.write(*piece)
