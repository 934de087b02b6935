from __future__ import annotations

import math
from pathlib import Path

import pytest

from acquisition.errors import ConfigError, TraceError
from acquisition.trace import TraceHeader, TraceWriter
from acquisition.transports.serial import SerialTransport
from acquisition.transports.tcp import TcpClientTransport, TcpListenerTransport
from acquisition.transports.trace import TraceTransport
from acquisition.transports.udp import UdpTransport
from acquisition.transports.url import check_link, open_link

BY_PATH = "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0"


@pytest.mark.parametrize(
    ("url", "kind", "peer"),
    [
        (f"serial://{BY_PATH}?baud=57600&parity=even&stopbits=2&bytesize=7&rtscts=true", SerialTransport, BY_PATH),
        ("tcp://192.0.2.7:4001", TcpClientTransport, "192.0.2.7:4001"),
        ("tcp://[2001:db8::7]:4001", TcpClientTransport, "[2001:db8::7]:4001"),
        ("tcp-listen://0.0.0.0:2575", TcpListenerTransport, "listening on 0.0.0.0:2575"),
        ("udp://0.0.0.0:24005?peer=192.0.2.7:24105", UdpTransport, "bound to 0.0.0.0:24005"),
    ],
)
def test_a_url_names_its_transport(url: str, kind: type, peer: str) -> None:
    assert check_link(url) == []
    link = open_link(url)
    assert type(link) is kind
    assert link.peer == peer


def settings(url: str, defaults: str = "") -> dict[str, object]:
    link = open_link(url, defaults=defaults)
    assert isinstance(link, SerialTransport)
    return link.settings


def test_every_serial_parameter_reaches_the_port() -> None:
    assert settings("serial:///dev/x?baud=57600&parity=even&stopbits=2&bytesize=7&rtscts=true") == {
        "baudrate": 57600,
        "parity": "E",
        "stopbits": 2,
        "bytesize": 7,
        "rtscts": True,
    }


def test_a_serial_link_without_parameters_is_9600_8n1() -> None:
    assert settings("serial:///dev/x") == {
        "baudrate": 9600,
        "parity": "N",
        "stopbits": 1,
        "bytesize": 8,
        "rtscts": False,
    }


def test_the_url_overrides_the_profile_and_the_profile_the_default() -> None:
    found = settings("serial:///dev/x?baud=19200", "baud=57600&parity=odd")
    assert (found["baudrate"], found["parity"], found["stopbits"]) == (19200, "O", 1)


def test_a_profiles_line_parameters_are_left_out_of_other_links() -> None:
    assert check_link("tcp://192.0.2.7:4001", defaults="baud=57600&parity=even") == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", ["no kind of link", "serial:"]),
        ("/dev/ttyUSB0", ["no kind of link"]),
        ("memory:", ["unknown kind of link 'memory'"]),
        ("http://x:1", ["unknown kind of link 'http'", "tcp-listen:"]),
        ("serial://", ["path is missing"]),
        ("serial://dev/ttyUSB0", ["starts with a slash", "serial:///dev"]),
        ("serial:///dev/x?baud=fast", ["baud=fast", "57600"]),
        ("serial:///dev/x?baud=0", ["baud=0"]),
        ("serial:///dev/x?baud=", ["baud="]),
        ("serial:///dev/x?baud=%C2%B2", ["baud"]),
        ("serial:///dev/x?parity=E", ["parity=E", "none, even or odd"]),
        ("serial:///dev/x?stopbits=3", ["stopbits=3", "1 or 2"]),
        ("serial:///dev/x?bytesize=9", ["bytesize=9"]),
        ("serial:///dev/x?rtscts=yes", ["rtscts=yes", "true or false"]),
        ("serial:///dev/x?speed=1", ["unknown parameter 'speed'", "baud"]),
        ("serial:///dev/a#b", ["%23"]),
        ("tcp://:4001", ["host is missing", "tcp://192.0.2.7:502"]),
        ("tcp-listen://:2575", ["host is missing", "0.0.0.0"]),
        ("tcp://192.0.2.7", ["port must be"]),
        ("tcp://192.0.2.7:0", ["port must be"]),
        ("tcp://192.0.2.7:65536", ["port must be"]),
        ("tcp://192.0.2.7:http", ["port must be"]),
        ("tcp://192.0.2.7:1/path", ["nothing may follow"]),
        ("tcp://user@192.0.2.7:1", ["no user"]),
        ("tcp://192.0.2.7:1?baud=9600", ["unknown parameter 'baud'", "takes none"]),
        ("tcp://[::1:1", ["not a URL"]),
        ("udp://0.0.0.0:1?peer=192.0.2.7", ["peer=192.0.2.7", "host:port"]),
        ("udp://0.0.0.0:1?peer=192.0.2.7:x", ["host:port"]),
        ("trace://", ["path is missing"]),
        ("trace:///a?speed=0", ["speed=0", "max"]),
        ("trace:///a?speed=nan", ["speed=nan"]),
        ("trace:///a?speed=fast", ["speed=fast"]),
    ],
)
def test_a_mistake_is_told_in_one_sentence_with_a_hint(url: str, words: list[str]) -> None:
    (problem,) = check_link(url)
    for word in words:
        assert word in problem
    with pytest.raises(ConfigError):
        open_link(url)


def test_every_mistake_is_told_at_once() -> None:
    problems = check_link("serial://dev/x?baud=fast&parity=E&color=red")
    assert len(problems) == 4


def test_a_mistake_in_a_profile_is_told_as_well() -> None:
    (problem,) = check_link("serial:///dev/x", defaults="parity=E")
    assert "parity=E" in problem


def recorded(path: Path) -> Path:
    TraceWriter(path, TraceHeader("l", "d", "2026-01-01T00:00:00Z")).close()
    return path


def test_a_trace_is_found_by_an_absolute_and_by_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dir").mkdir()
    path = recorded(tmp_path / "dir" / "A B.trace")
    monkeypatch.chdir(tmp_path)
    assert open_link(f"trace://{path}").peer == str(path)
    assert open_link("trace://dir/A%20B.trace").peer == "dir/A B.trace"
    monkeypatch.chdir(tmp_path / "dir")
    assert open_link("trace://A B.trace").peer == "A B.trace"


def test_an_absent_trace_is_a_trace_error(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no such trace"):
        open_link(f"trace://{tmp_path}/absent.trace")


@pytest.mark.parametrize(
    ("query", "asked", "speed"),
    [
        ("", None, None),
        ("?speed=max", None, None),
        ("?speed=10", None, 10.0),
        ("?speed=10", 2.0, 2.0),
        ("?speed=10", math.inf, None),
    ],
)
def test_the_speed_of_a_trace_is_the_callers_then_the_urls_then_max(
    tmp_path: Path, query: str, asked: float | None, speed: float | None
) -> None:
    link = open_link(f"trace://{recorded(tmp_path / 'a.trace')}{query}", speed=asked)
    assert isinstance(link, TraceTransport)
    assert link.speed == speed
