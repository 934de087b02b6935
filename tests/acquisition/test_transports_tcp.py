from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator

import pytest

from acquisition.errors import TransportError
from acquisition.transports import tcp
from acquisition.transports.tcp import TcpClientTransport, TcpListenerTransport

pytestmark = pytest.mark.usefixtures("no_descriptor_left")

LOOPBACK = "127.0.0.1"


@pytest.fixture
async def listener(no_descriptor_left: None) -> AsyncIterator[TcpListenerTransport]:
    link = TcpListenerTransport(LOOPBACK, 0)
    async with asyncio.timeout(45):
        try:
            yield link
        finally:
            await link.aclose()


@contextlib.asynccontextmanager
async def device(
    link: TcpListenerTransport, address: str = LOOPBACK
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(LOOPBACK, link.port, local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def until_lost(link: TcpListenerTransport) -> tuple[bytes, str]:
    got = b""
    while True:
        try:
            got += await link.receive(2)
        except TransportError as error:
            return got, str(error)


def free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as taken:
        return int(taken.getsockname()[1])


async def test_a_listener_is_open_before_anybody_comes(listener: TcpListenerTransport) -> None:
    async with listener:
        assert listener.peer == f"listening on {LOOPBACK}:{listener.port}"
        assert await listener.receive(0.001) == b""
        with pytest.raises(TransportError, match="nobody has connected yet"):
            await listener.send(b"?")
        async with device(listener) as (_, writer):
            writer.write(b"hello")
            assert await listener.receive(2) == b"hello"
            port = writer.get_extra_info("sockname")[1]
            assert listener.peer.startswith(f"{LOOPBACK}:{port} on ")


async def test_the_same_address_again_takes_the_place_of_a_half_open_link(listener: TcpListenerTransport) -> None:
    async with contextlib.AsyncExitStack() as devices:
        async with listener:
            _, old = await devices.enter_async_context(device(listener))
            old.write(b"half a mess")
            assert await listener.receive(2) == b"half a mess"
            _, new = await devices.enter_async_context(device(listener))
            new.write(b"a whole message")
            got, reason = await until_lost(listener)
            assert got == b""
            assert "connected again" in reason
        async with listener:
            assert await listener.receive(2) == b"a whole message"
            assert listener.refused_peers == 0


async def test_bytes_of_the_old_link_come_before_its_end_and_never_in_the_new(listener: TcpListenerTransport) -> None:
    async with contextlib.AsyncExitStack() as devices:
        async with listener:
            reader, old = await devices.enter_async_context(device(listener))
            old.write(b"old")
            await asyncio.sleep(0.01)
            await devices.enter_async_context(device(listener))
            assert (await until_lost(listener))[0] == b"old"
            assert await reader.read() == b""  # the old link is closed, not left open
        async with listener:
            assert await listener.receive(0.001) == b""


async def test_another_address_is_refused_while_a_peer_is_there(listener: TcpListenerTransport) -> None:
    async with listener, device(listener) as (_, writer):
        writer.write(b"mine")
        assert await listener.receive(2) == b"mine"
        async with device(listener, "127.0.0.2") as (stranger, intruding):
            intruding.write(b"not mine")
            with contextlib.suppress(ConnectionError):
                assert await stranger.read() == b""
        assert listener.refused_peers == 1
        writer.write(b"still mine")
        assert await listener.receive(2) == b"still mine"


async def test_another_address_is_welcome_after_the_peer_has_gone(listener: TcpListenerTransport) -> None:
    async with listener:
        async with device(listener) as (_, writer):
            writer.write(b"one")
            assert await listener.receive(2) == b"one"
        await until_lost(listener)
    async with listener, device(listener, "127.0.0.2") as (_, writer):
        writer.write(b"two")
        assert await listener.receive(2) == b"two"
        assert listener.peer.startswith("127.0.0.2:")


async def test_a_device_that_comes_back_between_two_entries_is_not_refused(listener: TcpListenerTransport) -> None:
    async with listener:
        async with device(listener) as (_, writer):
            writer.write(b"one")
        assert (await until_lost(listener))[0] == b"one"
    async with device(listener) as (_, writer):
        writer.write(b"two")
        await asyncio.sleep(0.01)
        async with listener:
            assert await listener.receive(2) == b"two"


async def test_a_connection_for_each_message_loses_none_and_mixes_none(listener: TcpListenerTransport) -> None:
    async with listener:
        pass
    for number in range(5):
        async with device(listener) as (_, writer):
            writer.write(b"message %d" % number)
    async with device(listener):  # says nothing and is not handed out
        pass
    await asyncio.sleep(0.01)
    for number in range(5):
        async with listener:
            assert (await until_lost(listener))[0] == b"message %d" % number
    async with listener:
        assert await listener.receive(0.001) == b""


async def test_too_many_conversations_that_nobody_takes_are_refused_and_counted(
    listener: TcpListenerTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "MAX_WAITING", 2)
    async with listener:
        pass
    for _ in range(3):
        async with device(listener) as (_, writer):
            writer.write(b"x")
        await asyncio.sleep(0.01)
    assert listener.refused_peers == 1


async def test_after_aclose_nobody_listens_and_entering_listens_again(listener: TcpListenerTransport) -> None:
    async with listener:
        port = listener.port
    await listener.aclose()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(LOOPBACK, port)
    async with listener, device(listener) as (_, writer):
        writer.write(b"back")
        assert await listener.receive(2) == b"back"


async def test_a_port_that_is_taken_is_told_with_a_hint() -> None:
    with (
        socket.create_server((LOOPBACK, 0)) as taken,
        pytest.raises(TransportError, match="another program or link listens"),
    ):
        await TcpListenerTransport(*taken.getsockname()).__aenter__()


async def test_a_refused_connection_is_told_with_a_hint() -> None:
    port = free_port()
    with pytest.raises(TransportError, match=f"{LOOPBACK}:{port}: cannot connect.*nothing listens on this port"):
        await TcpClientTransport(LOOPBACK, port).__aenter__()


async def test_a_host_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "CONNECT_S", 0.02)
    with contextlib.ExitStack() as opened:
        full = opened.enter_context(socket.create_server((LOOPBACK, 0), backlog=0))
        for _ in range(3):  # a full backlog answers nothing
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        with pytest.raises(TransportError, match=r"no answer within 0\.02 s.*check power, cable"):
            await TcpClientTransport(*full.getsockname()).__aenter__()


def test_an_unknown_name_is_told_as_such() -> None:
    error = tcp.cannot("monitor:4001", "cannot connect", socket.gaierror(socket.EAI_NONAME, "x"))
    assert "unknown host" in str(error)


@pytest.mark.parametrize("number", [errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EACCES])
def test_what_an_operator_can_mend_has_a_hint(number: int) -> None:
    assert tcp.cannot("x:1", "cannot connect", OSError(number, "words")).hint


async def test_a_silent_peer_is_found_out_by_keepalive_and_small_pieces_leave_at_once() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        seen: dict[int, int] = {}
        real = tcp._tune

        def spy(transport: asyncio.Transport) -> None:
            real(transport)
            opened: socket.socket = transport.get_extra_info("socket")
            options = ("TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
            for option in options:
                number = getattr(socket, option)
                seen[number] = opened.getsockopt(socket.IPPROTO_TCP, number)
            seen[-1] = opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tcp, "_tune", spy)
            async with TcpClientTransport(*server.getsockname()):
                assert list(seen.values()) == [1, 10, 5, 3, 20_000, 1]


async def test_a_link_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acquisition.transports.stream.SEND_TIMEOUT_S", 0.02)
    with socket.create_server((LOOPBACK, 0)) as server:
        async with TcpClientTransport(*server.getsockname()) as link:
            with pytest.raises(TransportError, match=r"nothing could be sent for 0\.02 s"):
                await link.send(bytes(20_000_000))
            with pytest.raises(TransportError, match="nothing could be sent"):
                await link.receive(None)


async def test_what_was_handed_over_before_leaving_still_leaves(
    listener: TcpListenerTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acquisition.transports.stream.FAREWELL_S", 5)
    async with contextlib.AsyncExitStack() as devices:
        async with listener:
            reader, writer = await devices.enter_async_context(device(listener))
            writer.write(b"hello")
            await listener.receive(2)
            sending = asyncio.ensure_future(listener.send(bytes(16_000_000)))
            await asyncio.sleep(0)
            assert not sending.done()
            reading = asyncio.ensure_future(reader.readexactly(16_000_000))
        assert len(await reading) == 16_000_000
        await sending
