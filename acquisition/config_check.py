"""What only the whole can tell of a configuration: what drivers, links and secrets say to it, and what clashes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from pydantic import TypeAdapter, ValidationError

from acquisition.catalogue import Catalogue
from acquisition.errors import ConfigError
from acquisition.mistakes import Mistake
from acquisition.registry import DriverConfigError, build_driver
from acquisition.sink_config import AnySink, SinkConfig, anchored, read_secret
from acquisition.sinks.tls import client_context
from acquisition.transports.url import check_link

LISTENING = {"tcp-listen": "TCP port", "udp": "UDP port"}
EVERY_ADDRESS = frozenset({"", "0.0.0.0", "[::]"})  # noqa: S104 - compared with, not bound to
_SINK: TypeAdapter[AnySink] = TypeAdapter(SinkConfig)


def device_mistakes(data: Mapping[str, Any], search: tuple[Path, ...]) -> Iterator[Mistake]:
    """What drivers, profiles and links find wrong with the devices, and which would take the same port."""
    addresses: dict[int, str] = {}
    for number, device in _tables(data, "device"):
        place, defaults = ("device", number), ""
        driver, profile, options = device.get("driver"), device.get("profile"), device.get("options", {})
        if isinstance(driver, str) and isinstance(profile, str | None) and isinstance(options, dict):
            try:
                built = build_driver(driver, profile, options, Catalogue.shipped(), search)
                defaults = built.link_defaults
                if built.line_address is not None:
                    addresses[number] = built.line_address
            except DriverConfigError as error:
                yield from (Mistake((*place, *within), text) for within, text in error.mistakes)
        if isinstance(link := device.get("link"), str):
            yield from (Mistake((*place, "link"), text) for text in check_link(link, defaults=defaults))
    yield from _clashes_of_links(data, addresses)


def repeated_ids(data: Mapping[str, Any]) -> Iterator[Mistake]:
    """Ids given twice."""
    for name in ("device", "sink"):
        ids: dict[str, int] = {}
        for number, table in _tables(data, name):
            first = ids.setdefault(str(table.get("id", f"#{number}")), number)
            if first != number:
                yield Mistake((name, number, "id"), f"{table['id']!r} is already the id of {name} {first + 1}")


def _clashes_of_links(data: Mapping[str, Any], addresses: Mapping[int, str]) -> Iterator[Mistake]:
    """Devices with an address each may share a line; all others want their port for themselves."""
    taken: list[tuple[int, str, _Claim]] = []
    lines: dict[tuple[str, str], int] = {}
    for number, device in _tables(data, "device"):
        link = str(device.get("link", ""))
        if number in addresses:
            first = lines.setdefault((link, addresses[number]), number)
            if first != number:
                yield Mistake(("device", number, "options"), f"{addresses[number]} is already device {first + 1} there")
        claim = _claim(link)
        if claim is None:
            continue
        for earlier, other_link, held in taken:
            if claim.excludes(held) and not (link == other_link and {number, earlier} <= addresses.keys()):
                yield Mistake(("device", number, "link"), f"{claim} is already taken by device {earlier + 1}")
        taken.append((number, link, claim))


class _Claim(NamedTuple):
    """What one device takes from all others: a serial port, or a port that is listened on."""

    kind: str
    name: str
    host: str = ""

    def excludes(self, other: _Claim) -> bool:
        """Whether both cannot be had; an address that means all of this computer's meets every other."""
        one_host = self.host == other.host or not {self.host, other.host}.isdisjoint(EVERY_ADDRESS)
        return self[:2] == other[:2] and one_host

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def _claim(link: str) -> _Claim | None:
    scheme, _, location = link.partition("?")[0].partition("://")
    if scheme == "serial":
        return _Claim("port", os.path.realpath(unquote(location)))
    if scheme in LISTENING:
        host, _, port = location.rpartition(":")
        return _Claim(LISTENING[scheme], port, host)
    return None


def secret_mistakes(data: Mapping[str, Any], base: Path) -> Iterator[Mistake]:
    """Secrets that are not where the sinks say they are, and certificates that cannot be used."""
    for number, table in _tables(data, "sink"):
        try:
            sink = anchored(_SINK.validate_python(table), base)
        except ValidationError:
            continue  # told by the model
        try:
            client_context(verify=sink.verify_tls, ca_file=sink.ca_file)
        except OSError as error:
            yield Mistake(("sink", number, "ca_file"), str(error))
        try:
            read_secret(sink)
        except ConfigError as error:
            for problem in error.problems:
                key, _, text = problem.partition(": ")
                yield Mistake(("sink", number, key), text)


def _tables(data: Mapping[str, Any], name: str) -> list[tuple[int, dict[str, Any]]]:
    tables = data.get(name)
    return [(n, each) for n, each in enumerate(tables) if isinstance(each, dict)] if isinstance(tables, list) else []
