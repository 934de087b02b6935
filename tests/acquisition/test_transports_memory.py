from __future__ import annotations

import asyncio

import pytest

from acquisition.errors import TransportError
from acquisition.transports.memory import memory_pair


async def test_a_cut_wire_is_lost_at_both_ends_and_opens_again() -> None:
    one, other = memory_pair()
    async with one, other:
        await one.send(b"before")
        one.drop()
        assert await other.receive(None) == b"before"
        for end in (one, other):
            with pytest.raises(TransportError, match="the wire was cut"):
                await end.receive(None)
            with pytest.raises(TransportError, match="the wire was cut"):
                await end.send(b"x")
    async with one, other:
        await other.send(b"after")
        assert await one.receive(None) == b"after"


async def test_a_wait_is_not_ended_by_the_timeout_of_an_earlier_one() -> None:
    one, other = memory_pair()
    async with one, other:
        waiting = asyncio.ensure_future(one.receive(0.01))
        await asyncio.sleep(0)
        await other.send(b"x")
        assert await waiting == b"x"
        start = asyncio.get_running_loop().time()
        assert await one.receive(0.04) == b""
        assert asyncio.get_running_loop().time() - start >= 0.039


async def test_a_wire_splits_as_it_is_told() -> None:
    one, other = memory_pair()
    one.piece_bytes = 2
    async with one, other:
        await one.send(b"abcde")
        assert [await other.receive(0) for _ in range(4)] == [b"ab", b"cd", b"e", b""]


async def test_what_was_sent_before_the_other_end_opens_waits_for_it() -> None:
    one, other = memory_pair()
    async with one:
        await one.send(b"early")
        async with other:
            assert await other.receive(0) == b"early"


async def test_a_new_conversation_never_reaches_an_end_that_is_still_in_the_old() -> None:
    one, other = memory_pair()
    async with other:
        async with one:
            pass
        async with one:
            with pytest.raises(TransportError, match="other end has closed"):
                await one.send(b"new")
        with pytest.raises(TransportError, match="other end has closed"):
            await other.receive(0)
