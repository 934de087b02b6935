"""What every link promises, held against each of them; the far end is a real socket, a pseudo-terminal or a wire."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from acquisition.errors import TransportError
from acquisition.interfaces import Transport
from tests.contracts.far_ends import (
    ClientEnd,
    DatagramEnd,
    FarEnd,
    MemoryEnd,
    SerialEnd,
    ServerEnd,
    SharedEnd,
)

pytestmark = pytest.mark.usefixtures("no_descriptor_left")

Maker = Callable[[Path], FarEnd]
KEEPING = [
    pytest.param(MemoryEnd, id="memory"),
    pytest.param(ServerEnd, id="tcp"),
    pytest.param(ClientEnd, id="tcp-listen"),
    pytest.param(SharedEnd, id="shared"),
]
STREAMS = [*KEEPING, pytest.param(SerialEnd, id="serial", marks=pytest.mark.system)]
LINKS = [*STREAMS, pytest.param(DatagramEnd, id="udp")]
every_link = pytest.mark.parametrize("maker", LINKS)
every_stream = pytest.mark.parametrize("maker", STREAMS)


@pytest.fixture
async def far(maker: Maker, tmp_path: Path, no_descriptor_left: None) -> AsyncIterator[FarEnd]:
    end = maker(tmp_path)
    async with asyncio.timeout(45):
        try:
            yield end
        finally:
            await end.end()


async def collected(link: Transport, count: int) -> bytes:
    got = b""
    while len(got) < count:
        piece = await link.receive(2)
        assert piece, f"only {len(got)} of {count} bytes came"
        got += piece
    return got


@every_link
async def test_bytes_arrive_in_order_however_they_are_split(far: FarEnd) -> None:
    rng = random.Random(1)
    pieces = [rng.randbytes(rng.randint(1, 400)) for _ in range(40)]
    async with far.link:
        for piece in pieces:
            await far.put(piece)
        whole = b"".join(pieces)
        assert await collected(far.link, len(whole)) == whole
        assert await far.link.receive(0) == b""


@every_link
async def test_a_byte_that_comes_during_the_wait_ends_it(far: FarEnd) -> None:
    async with far.link:
        waiting = asyncio.ensure_future(far.link.receive(None))
        await asyncio.sleep(0)
        await far.put(b"x")
        assert await waiting == b"x"


@every_link
@pytest.mark.parametrize("timeout_s", [0, 0.01])
async def test_a_timeout_without_bytes_returns_empty(far: FarEnd, timeout_s: float) -> None:
    async with far.link:
        assert await far.link.receive(timeout_s) == b""
        await far.put(b"later")
        assert await collected(far.link, 5) == b"later"


@every_link
async def test_a_cancelled_wait_loses_nothing(far: FarEnd) -> None:
    async with far.link:
        waiting = asyncio.ensure_future(far.link.receive(None))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await far.put(b"kept")
        assert await collected(far.link, 4) == b"kept"


@every_link
async def test_what_is_sent_arrives_in_the_order_of_the_calls(far: FarEnd) -> None:
    async with far.link:
        await far.put(b"hello")
        await collected(far.link, 5)
        frames = [bytes([number]) * (number + 1) for number in range(50)]
        for frame in frames:
            await far.link.send(frame)
        assert await far.get(sum(map(len, frames))) == b"".join(frames)


@every_link
async def test_a_farewell_sent_just_before_closing_still_leaves(far: FarEnd) -> None:
    async with far.link:
        await far.put(b"hello")
        await collected(far.link, 5)
        await far.link.send(b"release")
    assert await far.get(7) == b"release"


@every_stream
async def test_a_peer_that_goes_is_a_transport_error_after_its_last_bytes(far: FarEnd) -> None:
    async with far.link:
        await far.put(b"last words")
        assert await collected(far.link, 10) == b"last words"
        await far.leave()
        for _ in range(2):
            with pytest.raises(TransportError):
                await far.link.receive(2)
        with pytest.raises(TransportError):
            await far.link.send(b"still there?")


# Not a pseudo-terminal: one that is closed discards what was not read.
@pytest.mark.parametrize("maker", KEEPING)
async def test_bytes_received_before_the_loss_are_delivered(far: FarEnd) -> None:
    async with far.link:
        await far.put(b"last words")
        await far.leave()
        assert await collected(far.link, 10) == b"last words"
        with pytest.raises(TransportError):
            await far.link.receive(2)


@every_stream
async def test_a_lost_link_can_be_entered_again(far: FarEnd) -> None:
    for round_trip in (b"one", b"two", b"three"):
        async with far.link:
            await far.put(round_trip)
            assert await collected(far.link, len(round_trip)) == round_trip
            await far.link.send(round_trip)
            assert await far.get(len(round_trip)) == round_trip
            await far.leave()
            with pytest.raises(TransportError):
                await far.link.receive(2)


@every_link
async def test_a_link_that_was_left_is_not_open(far: FarEnd) -> None:
    async with far.link:
        assert far.link.peer
    with pytest.raises(TransportError, match="not open"):
        await far.link.receive(0)
    with pytest.raises(TransportError, match="not open"):
        await far.link.send(b"x")


@every_stream
async def test_a_slow_reader_holds_the_sender_back_and_loses_nothing(far: FarEnd) -> None:
    sent = random.Random(2).randbytes(far.large)
    async with far.link:
        sender = asyncio.ensure_future(far.put(sent))
        await asyncio.sleep(0.05)
        assert not sender.done(), "the bytes went into a buffer without a bound"
        got = bytearray()
        while len(got) < len(sent):
            piece = await far.link.receive(2)
            assert piece
            got += piece
            if len(got) % 7 == 0:
                await asyncio.sleep(0.001)
        assert got == sent
        await sender


@every_stream
async def test_a_large_transfer_to_a_slow_device_loses_nothing(far: FarEnd) -> None:
    sent = random.Random(3).randbytes(200_000)
    async with far.link:
        await far.put(b"hello")
        await collected(far.link, 5)
        sender = asyncio.ensure_future(far.link.send(sent))
        got = b""
        while len(got) < len(sent):
            got += await far.get(min(20_000, len(sent) - len(got)))
            await asyncio.sleep(0.001)
        assert got == sent
        await sender


@every_stream
async def test_leaving_never_hangs_even_with_bytes_unread_and_unsent(far: FarEnd) -> None:
    async with far.link:
        await far.put(b"hello")
        await collected(far.link, 5)
        await far.put(b"unread")
        sender = asyncio.ensure_future(far.link.send(bytes(far.large)))
        await asyncio.sleep(0.01)
        assert not sender.done()
        start = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - start < 1
    with pytest.raises(TransportError):
        await sender
