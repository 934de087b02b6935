from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from acquisition.errors import TransportError
from acquisition.transports import udp
from acquisition.transports.udp import UdpTransport

pytestmark = pytest.mark.usefixtures("no_descriptor_left")

LOOPBACK = "127.0.0.1"


@contextlib.asynccontextmanager
async def datagrams(address: str = LOOPBACK) -> AsyncIterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind((address, 0))
        opened.setblocking(False)
        yield opened


async def tell(opened: socket.socket, link: UdpTransport, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendto(opened, data, (LOOPBACK, link.port))


async def test_one_datagram_is_one_piece() -> None:
    async with datagrams() as far, UdpTransport(LOOPBACK, 0) as link:
        for data in (b"one", b"", b"two", bytes(60_000)):
            await tell(far, link, data)
        assert [await link.receive(2) for _ in range(3)] == [b"one", b"two", bytes(60_000)]


async def test_a_reply_goes_to_the_last_sender() -> None:
    async with datagrams() as first, datagrams("127.0.0.2") as second, UdpTransport(LOOPBACK, 0) as link:
        with pytest.raises(TransportError, match=r"nobody to send to yet.*peer=host:port"):
            await link.send(b"?")
        for far in (first, second):
            await tell(far, link, b"ask")
            assert await link.receive(2) == b"ask"
            await link.send(b"answer")
            assert await asyncio.get_running_loop().sock_recv(far, 100) == b"answer"
            assert link.peer == "{}:{}".format(*far.getsockname())


async def test_a_configured_peer_is_sent_to_first_and_strangers_are_counted() -> None:
    async with (
        datagrams() as far,
        datagrams("127.0.0.2") as stranger,
        UdpTransport(LOOPBACK, 0, peer=far.getsockname()) as link,
    ):
        await link.send(b"ask")
        assert await asyncio.get_running_loop().sock_recv(far, 100) == b"ask"
        await tell(stranger, link, b"not for you")
        await tell(far, link, b"answer")
        assert await link.receive(2) == b"answer"
        assert link.strangers == 1


async def test_what_a_udp_link_cannot_keep_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "MAX_WAITING", 3)
    async with datagrams() as far, UdpTransport(LOOPBACK, 0) as link:
        for number in range(5):
            await tell(far, link, bytes([number]))
        await asyncio.sleep(0.01)
        assert link.overflowed == 2
        assert [await link.receive(0) for _ in range(4)] == [b"\0", b"\1", b"\2", b""]


async def test_a_new_entry_of_a_udp_link_starts_with_nothing() -> None:
    link = UdpTransport(LOOPBACK, 0)
    async with datagrams() as far:
        async with link:
            await tell(far, link, b"old")
            assert await link.receive(2) == b"old"
            await tell(far, link, b"unread")
            await asyncio.sleep(0.001)
        async with link:
            assert await link.receive(0.001) == b""
            with pytest.raises(TransportError, match="nobody to send to"):
                await link.send(b"x")


async def test_a_udp_port_that_is_taken_is_told_with_a_hint() -> None:
    async with datagrams() as taken:
        with pytest.raises(TransportError, match="another program or link listens"):
            await UdpTransport(*taken.getsockname()).__aenter__()


async def test_a_peer_that_is_no_address_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "x")

    link = UdpTransport(LOOPBACK, 0, peer=("monitor", 24105))
    real = asyncio.get_running_loop().getaddrinfo

    async def look_up(host: str, *rest: Any, **options: Any) -> Any:
        return await (unknown() if host == "monitor" else real(host, *rest, **options))

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    with pytest.raises(TransportError, match="monitor:24105: unknown host"):
        await link.__aenter__()
