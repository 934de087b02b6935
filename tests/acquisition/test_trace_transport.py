from __future__ import annotations

import asyncio
import contextlib
import math
from pathlib import Path

import pytest

from acquisition.errors import LinkEndedError, TransportError
from acquisition.trace import Piece, TraceHeader, TraceWriter
from acquisition.transports.trace import TraceTransport
from simulators.virtual_time import run

HEADER = TraceHeader(link="serial:///dev/ttyS0", driver="pump", started="2026-01-01T00:00:00Z")
SECOND = 10**9
STARTED = 1_767_225_600 * SECOND


def recorded(folder: Path, *pieces: Piece) -> Path:
    path = folder / "a.trace"
    with TraceWriter(path, HEADER) as writer:
        for piece in pieces:
            writer.write(*piece)
    return path


async def test_the_clock_starts_at_the_recording_and_stands_at_each_piece(tmp_path: Path) -> None:
    link = TraceTransport(recorded(tmp_path, Piece(5, "<", b"a"), Piece(3 * SECOND, "<", b"b")))
    assert link.clock.now() == (STARTED, 0)
    async with link:
        assert await link.receive(None) == b"a"
        assert link.clock.now() == (STARTED + 5, 5)
        assert await link.receive(None) == b"b"
        assert link.clock.now().mono_ns == 3 * SECOND
        with pytest.raises(LinkEndedError):
            await link.receive(None)


async def test_a_deadline_before_the_next_piece_passes_first(tmp_path: Path) -> None:
    link = TraceTransport(recorded(tmp_path, Piece(10 * SECOND, "<", b"late")))
    async with link:
        assert await link.receive(4.0) == b""
        assert link.clock.now().mono_ns == 4 * SECOND
        assert await link.receive(6.0) == b"late"


async def test_a_piece_a_little_after_the_deadline_is_the_true_instant_of_the_turn(tmp_path: Path) -> None:
    path = recorded(tmp_path, Piece(SECOND + 2_000_000, ">", b"poll"), Piece(SECOND + 30_000_000, "<", b"reply"))
    link = TraceTransport(path)
    async with link:
        assert await link.receive(1.0) == b""
        assert link.clock.now().mono_ns == SECOND + 2_000_000
        await link.send(b"poll")
        assert await link.receive(0.5) == b"reply"
    assert link.sends_unmatched == 0


async def test_a_turn_in_which_nothing_was_sent_is_an_empty_one_at_its_instant(tmp_path: Path) -> None:
    link = TraceTransport(recorded(tmp_path, Piece(SECOND, ">", b""), Piece(2 * SECOND, "<", b"x")))
    async with link:
        assert await link.receive(0.9) == b""
        assert link.clock.now().mono_ns == SECOND
        assert await link.receive(None) == b"x"
    assert link.sends_unmatched == 0


async def test_an_answer_sent_before_the_recorded_one_is_met_still_pairs(tmp_path: Path) -> None:
    link = TraceTransport(recorded(tmp_path, Piece(1, "<", b"ask"), Piece(2, ">", b"answer")))
    async with link:
        await link.receive(None)
        await link.send(b"answer")
        await link.receive(None)
    assert link.sends_unmatched == 0


async def test_one_send_too_few_or_too_many_is_one_unmatched(tmp_path: Path) -> None:
    pieces = [Piece(number, ">", bytes([number])) for number in range(10)]
    link = TraceTransport(recorded(tmp_path, *pieces))
    async with link:
        for number in range(10):
            await link.receive(None)
            if number != 4:
                await link.send(bytes([number]))
            if number == 7:
                await link.send(b"extra")
    assert link.sends_unmatched == 2


async def test_entering_again_goes_on_where_it_was_left(tmp_path: Path) -> None:
    link = TraceTransport(recorded(tmp_path, Piece(1, "<", b"a"), Piece(2, "<", b"b"), Piece(3, "<", b"c")))
    async with link:
        assert await link.receive(None) == b"a"
    with pytest.raises(TransportError, match="not open"):
        await link.receive(None)
    async with link:
        assert await link.receive(None) == b"b"
        assert await link.receive(None) == b"c"
    async with link:
        with pytest.raises(LinkEndedError):
            await link.receive(None)


async def test_a_damaged_last_line_is_known_at_the_end(tmp_path: Path) -> None:
    path = recorded(tmp_path, Piece(1, "<", b"a"))
    path.write_text(path.read_text() + '{"t":2,"d')
    link = TraceTransport(path)
    async with link:
        assert await link.receive(None) == b"a"
        with pytest.raises(LinkEndedError):
            await link.receive(None)
    assert link.damage is not None
    assert "line 3" in link.damage


@pytest.mark.parametrize("speed", [None, math.inf])
async def test_as_fast_as_possible_never_waits_and_lets_others_run(tmp_path: Path, speed: float | None) -> None:
    link = TraceTransport(recorded(tmp_path, *(Piece(number * SECOND, "<", b"x") for number in range(2000))), speed)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.ensure_future(other())
    async with asyncio.timeout(30), link:
        for _ in range(2000):
            assert await link.receive(None) == b"x"
    running.cancel()
    assert turns >= 2000 // 256


async def handed_out(path: Path, speed: float, busy_s: float = 0.0) -> tuple[list[float], TraceTransport]:
    """When each piece was handed out, seconds of the loop since the first, by somebody who is busy after the third."""
    link, loop = TraceTransport(path, speed), asyncio.get_running_loop()
    times = []
    async with link:
        with contextlib.suppress(LinkEndedError):
            while True:
                await link.receive(None)
                times.append(loop.time())
                if len(times) == 3:
                    await asyncio.sleep(busy_s)
    return [at - times[0] for at in times], link


@pytest.mark.parametrize("speed", [0.5, 1.0, 4.0, 100.0])
def test_a_paced_trace_keeps_to_its_times_at_every_speed(tmp_path: Path, speed: float) -> None:
    at = [0.0, 0.05, 0.051, 3.0, 3.0, 90.25, 86_400.0]
    path = recorded(tmp_path, *(Piece(round(each * SECOND), "<", b"x") for each in at))
    times, link = run(handed_out(path, speed))
    assert times == pytest.approx([each / speed for each in at], abs=1e-9)
    assert len(link.pacing_errors_ns) == len(at)
    assert max(map(abs, link.pacing_errors_ns)) <= 1


def test_a_piece_that_comes_late_makes_none_after_it_late_and_is_reported(tmp_path: Path) -> None:
    path = recorded(tmp_path, *(Piece(number * SECOND, "<", b"x") for number in range(8)))
    times, link = run(handed_out(path, 1.0, busy_s=2.25))
    assert times == pytest.approx([0, 1, 2, 4.25, 4.25, 5, 6, 7], abs=1e-9)
    assert list(link.pacing_errors_ns) == pytest.approx([0, 0, 0, 1.25 * SECOND, 0.25 * SECOND, 0, 0, 0], abs=2)


def test_a_paced_deadline_is_waited_for_too(tmp_path: Path) -> None:
    async def waited() -> float:
        link, loop = TraceTransport(path, 1000), asyncio.get_running_loop()
        async with link:
            await link.receive(None)
            start = loop.time()
            assert await link.receive(20.0) == b""
            return loop.time() - start

    path = recorded(tmp_path, Piece(0, "<", b"x"), Piece(100 * SECOND, "<", b"y"))
    assert run(waited()) == pytest.approx(0.020, abs=1e-9)
