from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from acquisition.upkeep.notify import EVERY_S, MORE_S, notify, patiently, watchdog_s
from tests.system.beds import daemon, device, until, write_config


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        yield listener


def test_assignments_go_to_the_named_socket_in_one_datagram(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    notify("READY=1")
    notify("WATCHDOG=1", "STATUS=2 of 3 devices connected, 37 °C")
    assert listener.recv(1024) == b"READY=1"
    assert listener.recv(1024).decode() == "WATCHDOG=1\nSTATUS=2 of 3 devices connected, 37 °C"


def test_an_at_sign_names_an_abstract_socket(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"ecmo-daq-test-{os.getpid()}"
    listener.bind("\0" + name)
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
    notify("STOPPING=1")
    assert listener.recv(1024) == b"STOPPING=1"


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_named_socket_nothing_is_opened(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object) -> None:
        pytest.fail("a socket was opened")

    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if value is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", value)
    monkeypatch.setattr(socket, "socket", opened)
    notify("READY=1")


def test_a_listener_that_has_gone_ends_nothing(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener.bind(str(tmp_path / "notify"))
    listener.close()
    for path in ("notify", "was never there"):
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / path))
        notify("WATCHDOG=1")


@pytest.mark.parametrize(("told", "patience_s"), [("3000000", 3.0), ("0", None), ("", None), ("soon", None)])
def test_systemd_says_how_patient_its_watchdog_is(
    told: str, patience_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", told)
    assert watchdog_s() == patience_s
    monkeypatch.delenv("WATCHDOG_USEC")
    assert watchdog_s() is None


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_systemd_waits_for_a_start_that_takes_minutes_and_is_told_what_for(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    turns, opened = asyncio.Semaphore(0), asyncio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[str]:
        await opened.wait()
        yield "journal"
        opened.clear()

    async def sleep(seconds: float) -> None:
        assert 2 * seconds < MORE_S, "one that is lost does not end the start"
        await turns.acquire()

    async def start() -> None:
        async with patiently("opening it", slow(), sleep) as journal:
            assert journal == "journal"

    starting = asyncio.create_task(start())
    for number in range(10):
        await settled()
        told = listener.recv(1024).decode().splitlines()
        assert told[0] == f"STATUS=opening it, for {number * EVERY_S} s; nothing is recorded yet"
        assert told[1] == f"EXTEND_TIMEOUT_USEC={MORE_S * 1_000_000}"
        turns.release()
    await settled()
    assert listener.recv(1024)
    opened.set()
    await starting
    assert not opened.is_set()
    turns.release()
    await settled()
    with pytest.raises(BlockingIOError):
        listener.recv(1024)


async def test_the_daemon_opens_its_journal_so(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    async with daemon(write_config(tmp_path, device("pump", "hl7", "tcp://127.0.0.1:9"))) as running:
        await until(lambda: running.latest is not None)
    assert listener.recv(1024).startswith(b"STATUS=opening the journal, for 0 s")
