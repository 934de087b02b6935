from __future__ import annotations

import asyncio
import errno
import os
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from acquisition.errors import TransportError
from acquisition.transports import serial
from acquisition.transports.serial import Parity, SerialTransport

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("no_descriptor_left")]


class Pty:
    """A pseudo-terminal whose slave stays open here, so that closing the link does not hang it up."""

    def __init__(self, link: Path) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.link = link
        self.name = os.ttyname(self.slave)
        link.unlink(missing_ok=True)
        link.symlink_to(self.name)

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def pty(tmp_path: Path, no_descriptor_left: None) -> Iterator[Pty]:
    made = Pty(tmp_path / "port")
    yield made
    made.close()


async def polling(link: SerialTransport) -> None:
    while True:
        await link.send(b"poll now")
        await link.receive(0)


@pytest.mark.parametrize("parity", ["none", "even", "odd"])
@pytest.mark.parametrize(("bytesize", "stopbits", "rtscts"), [(8, 1, False), (7, 2, True)])
async def test_a_pseudo_terminal_takes_every_setting(
    pty: Pty, parity: Parity, bytesize: int, stopbits: int, rtscts: bool
) -> None:
    link = SerialTransport(str(pty.link), 57600, bytesize, parity, stopbits, rtscts)
    async with link:
        _, _, cflag, _, ispeed, ospeed, _ = termios.tcgetattr(pty.slave)
        assert (ispeed, ospeed) == (termios.B57600, termios.B57600)
        assert bool(cflag & termios.CSTOPB) is (stopbits == 2)
        os.write(pty.master, b"\x00\x11\x13\x80\xff\r\n")
        assert await link.receive(2) == b"\x00\x11\x13\x80\xff\r\n"


async def test_a_missing_port_is_told_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match=r"absent: cannot be opened: No such file.*check cable.*by-path"):
        await SerialTransport(str(tmp_path / "absent")).__aenter__()


async def test_a_file_that_is_no_port_is_told_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TransportError, match="that is not a serial port"):
        await SerialTransport(str(tmp_path / "file")).__aenter__()


async def test_a_port_that_refuses_its_settings_is_told_with_a_hint_and_closed(
    pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial, "_PTY_MAJORS", range(0))
    with pytest.raises(TransportError, match="does not support these line settings"):
        await SerialTransport(str(pty.link), parity="even").__aenter__()


async def test_a_port_in_use_is_told_with_a_hint(pty: Pty) -> None:
    async with SerialTransport(str(pty.link)):
        with pytest.raises(TransportError, match="another program has the port open"):
            await SerialTransport(str(pty.link)).__aenter__()
    async with SerialTransport(str(pty.link)):
        pass


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "dialout"),
        (errno.EBUSY, "another program"),
        (errno.EIO, "check cable"),
        (errno.ENODEV, "check cable"),
    ],
)
def test_what_an_operator_can_mend_has_a_hint(number: int, words: str) -> None:
    assert words in str(serial._cannot_open("/dev/x", OSError(number, "words")))


@pytest.mark.parametrize("successor", [True, False])
async def test_a_port_whose_name_is_gone_is_lost_though_the_old_one_says_nothing(
    pty: Pty, monkeypatch: pytest.MonkeyPatch, successor: bool
) -> None:
    monkeypatch.setattr(serial, "WATCH_S", 0.01)
    link = SerialTransport(str(pty.link))
    async with link:
        assert await link.receive(0.05) == b""
        following = None
        if successor:
            following = Pty(pty.link)
        else:
            pty.link.unlink()
        with pytest.raises(TransportError, match="the port has gone"):
            await link.receive(2)
        with pytest.raises(TransportError, match="the port has gone"):
            await link.send(b"x")
    if following is not None:
        async with link:
            os.write(following.master, b"again")
            assert await link.receive(2) == b"again"
        following.close()


def test_an_unplugged_port_is_seen_within_two_seconds() -> None:
    assert serial.WATCH_S < 2


async def test_a_link_left_at_once_lets_the_port_go(pty: Pty) -> None:
    for _ in range(3):
        async with SerialTransport(str(pty.link)):
            pass


async def test_closing_never_discards_what_the_other_end_has_not_read_yet(pty: Pty) -> None:
    link = SerialTransport(str(pty.link))
    for _ in range(100):  # a race: the terminal hands bytes over in its own time
        async with link:
            await link.send(b"release")
        got = b""
        while len(got) < 7:
            got += await asyncio.to_thread(os.read, pty.master, 7)
        assert got == b"release"


async def test_a_device_that_takes_nothing_never_stops_the_loop(pty: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acquisition.transports.stream.SEND_TIMEOUT_S", 0.05)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.005)

    running = asyncio.ensure_future(other())
    async with asyncio.timeout(45), SerialTransport(str(pty.link)) as link:
        with pytest.raises(TransportError, match="nothing could be sent"):
            await polling(link)
    running.cancel()
    assert turns >= 5


async def test_a_poll_to_a_port_that_has_died_is_a_transport_error(tmp_path: Path) -> None:
    pty = Pty(tmp_path / "port")
    async with SerialTransport(str(pty.link)) as link:
        pty.close()
        with pytest.raises(TransportError):
            await polling(link)


async def test_a_pseudo_terminal_is_not_left_marked_for_the_next_process(pty: Pty) -> None:
    async with SerialTransport(str(pty.link)):
        other = os.open(pty.name, os.O_RDWR | os.O_NOCTTY)
        os.close(other)
