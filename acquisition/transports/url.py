"""From a link's URL to its transport, or to every mistake in it in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from acquisition.errors import ConfigError
from acquisition.interfaces import Transport
from acquisition.transports.serial import SerialTransport
from acquisition.transports.tcp import TcpClientTransport, TcpListenerTransport
from acquisition.transports.trace import TraceTransport
from acquisition.transports.udp import UdpTransport

_TRUTH = {"true": True, "false": False}


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"use {', '.join(choices[:-1])} or {choices[-1]}")
        return text

    return parse


def _number_of(*choices: int) -> Callable[[str], int]:
    parse = _one_of(*map(str, choices))
    return lambda text: int(parse(text))


def _baud(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 4_000_000):
        raise ValueError("use bits per second, such as 9600, 57600 or 115200")
    return int(text)


def _truth(text: str) -> bool:
    return _TRUTH[_one_of(*_TRUTH)(text)]


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ValueError("use max, or a number such as 1 or 10")
    return speed


def _peer(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname and parts.port and not parts.path:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise ValueError("use host:port, such as 192.0.2.7:24105")


_PARAMETERS: Mapping[str, Mapping[str, Callable[[str], Any]]] = {
    "serial": {
        "baud": _baud,
        "bytesize": _number_of(5, 6, 7, 8),
        "parity": _one_of("none", "even", "odd"),
        "stopbits": _number_of(1, 2),
        "rtscts": _truth,
    },
    "tcp": {},
    "tcp-listen": {},
    "udp": {"peer": _peer},
    "trace": {"speed": _speed},
}
_EXAMPLES = {
    "serial": "serial:///dev/serial/by-path/...?baud=9600",
    "tcp": "tcp://192.0.2.7:502",
    "tcp-listen": "tcp-listen://0.0.0.0:2575",
    "udp": "udp://0.0.0.0:24005",
    "trace": "trace:///path/of/file.trace",
}


@dataclass(slots=True)
class _Link:
    """A URL taken apart; `problems` has what is wrong with it."""

    scheme: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def check_link(url: str, *, defaults: str = "") -> list[str]:
    """Every mistake in a link's URL, each a sentence with a hint; empty if there is none.

    Args:
        url: As `serial:///dev/ttyS0?baud=57600&parity=even`.
        defaults: Parameters for what the URL does not say, as in a URL's query; what is not for this kind of link
            is left out.
    """
    return _take_apart(url, defaults).problems


def open_link(url: str, *, defaults: str = "", speed: float | None = None) -> Transport:
    """The transport that a link's URL names; entering it opens the link.

    Args:
        url: As for `check_link`.
        defaults: As for `check_link`.
        speed: Of a trace, in place of what its URL says; infinity for as fast as possible.

    Raises:
        ConfigError: with everything that `check_link` finds.
        TraceError: the URL names a trace that cannot be read.
    """
    link = _take_apart(url, defaults)
    if link.problems:
        raise ConfigError([f"{url}: {problem}" for problem in link.problems])
    match link.scheme:
        case "serial":
            return SerialTransport(link.path, **link.options)
        case "tcp":
            return TcpClientTransport(link.host, link.port)
        case "tcp-listen":
            return TcpListenerTransport(link.host, link.port)
        case "udp":
            return UdpTransport(link.host, link.port, **link.options)
        case _:
            return TraceTransport(link.path, link.options.get("speed") if speed is None else speed)


def _take_apart(url: str, defaults: str) -> _Link:
    link = _Link()
    try:
        parts = urlsplit(url)
    except ValueError as error:
        link.problems.append(f"not a URL: {error}")
        return link
    link.scheme = parts.scheme
    if link.scheme not in _PARAMETERS:
        what = f"unknown kind of link {link.scheme!r}" if link.scheme else "no kind of link"
        known = ", ".join(f"{scheme}:" for scheme in _PARAMETERS)
        link.problems.append(f"{what}; use one of {known} such as {_EXAMPLES['serial']}")
        return link
    if parts.fragment:
        link.problems.append("'#' has no meaning in a link; write %23 if it belongs to a name")
    if link.scheme in ("serial", "trace"):
        _set_path(link, parts)
    else:
        _set_address(link, parts)
    _set_options(link, parts, defaults)
    return link


def _set_path(link: _Link, parts: SplitResult) -> None:
    link.path = unquote(parts.netloc + parts.path)
    if not link.path:
        link.problems.append(f"the path is missing; write {_EXAMPLES[link.scheme]}")
    elif link.scheme == "serial" and parts.netloc:
        link.problems.append(f"a port's path starts with a slash; write {_EXAMPLES['serial']}")


def _set_address(link: _Link, parts: SplitResult) -> None:
    example = _EXAMPLES[link.scheme]
    link.host = parts.hostname or ""
    if not link.host:
        every = " (0.0.0.0 is every address of this computer)" if link.scheme != "tcp" else ""
        link.problems.append(f"the host is missing; write {example}{every}")
    try:
        link.port = parts.port or 0
    except ValueError:
        link.port = 0
    if not link.port:
        link.problems.append(f"the port must be a number from 1 to 65535; write {example}")
    if parts.path.strip("/"):
        link.problems.append(f"nothing may follow the port but ?; write {example}")
    if parts.username is not None:
        link.problems.append(f"a link takes no user; write {example}")


def _set_options(link: _Link, parts: SplitResult, defaults: str) -> None:
    known = _PARAMETERS[link.scheme]
    given = {key: text for key, text in parse_qsl(defaults) if key in known}
    for key, text in parse_qsl(parts.query, keep_blank_values=True):
        if key in known:
            given[key] = text
        else:
            choice = f"it takes {', '.join(known)}" if known else "it takes none"
            link.problems.append(f"unknown parameter {key!r} of a {link.scheme}: link; {choice}")
    for key, text in given.items():
        try:
            link.options[key] = known[key](text)
        except ValueError as error:
            link.problems.append(f"{key}={text} cannot be; {error}")
