"""The unit that runs a bed: whether it starts at boot and is shut in, and what it may write, read and reach."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import unquote, urlsplit

from acquisition.config import Config, DeviceConfig
from acquisition.doctor.commands import told
from acquisition.doctor.findings import Finding, fail, ok, warn

DRIVERS = Path("/proc/devices")
CONFIGURATION = Path("/etc/ecmo-daq")
MOST_EXPOSURE = 1.5
PLACES = {"StateDirectory": "/var/lib", "RuntimeDirectory": "/run", "LogsDirectory": "/var/log", "ReadWritePaths": ""}
"""Settings that let it write, and where their paths begin (systemd.exec(5))."""
_SHOWN = (
    "UnitFileState", "ActiveState", "SubState", "NeedDaemonReload", "IPAddressAllow", "IPAddressDeny", "DevicePolicy",
    "DeviceAllow", *PLACES,
)  # fmt: skip
_CREDENTIAL = re.compile(r"^LoadCredential(?:Encrypted)?=([^:\s]+)", re.MULTILINE)


def unit_of(config: Path) -> str:
    """The unit that runs the bed of a configuration: the template's where it is not the machine's only one."""
    is_instance = config.parent == CONFIGURATION and config.stem != "acquisition"
    return f"ecmo-daq@{config.stem}.service" if is_instance else "ecmo-daq.service"


@dataclass(frozen=True, slots=True)
class Unit:
    """What systemd knows of a unit.

    Attributes:
        name: With its suffix.
        settings: As `systemctl show` tells them.
        credentials: Names of the secrets that it is given, by its files: systemd 252 does not show them.
        exposure: As `systemd-analyze security` judges it; None where it does not.
    """

    name: str
    settings: Mapping[str, str]
    credentials: frozenset[str] = frozenset()
    exposure: float | None = None

    @classmethod
    def ask(cls, name: str) -> Unit | None:
        """What systemd says now; None where systemd does not run."""
        if not Path("/run/systemd/system").exists():
            return None
        shown = told("systemctl", "show", *(f"--property={each}" for each in _SHOWN), name)
        settings: dict[str, str] = {}
        for key, _, value in (line.partition("=") for line in shown.splitlines()):
            settings[key] = f"{settings[key]} {value}" if key in settings else value  # DeviceAllow= has a line for each
        words = told("systemd-analyze", "security", "--no-pager", name).split()
        place = words.index(f"{name}:") + 1 if f"{name}:" in words else None  # "... level for NAME: 1.2 OK"
        credentials = frozenset(_CREDENTIAL.findall(told("systemctl", "cat", "--no-pager", name)))
        return cls(name, settings, credentials, None if place is None else float(words[place]))

    @property
    def is_installed(self) -> bool:
        """Whether systemd has its file."""
        return bool(self.settings.get("UnitFileState"))

    def may_write(self, path: Path) -> bool:
        """Whether its sandbox leaves it this place."""
        places = (
            Path(root, each.lstrip("-+") if not root else each)
            for setting, root in PLACES.items()
            for each in self.settings.get(setting, "").split()
        )
        return any(path.is_relative_to(place) for place in places)

    def may_reach(self, address: str) -> bool:
        """Whether its firewall lets it speak with an IP address."""
        one = ipaddress.ip_address(address.partition("%")[0])
        allowed = [ipaddress.ip_network(each) for each in self.settings.get("IPAddressAllow", "").split()]
        return not self.settings.get("IPAddressDeny") or any(one in each for each in allowed)

    def may_open(self, node: Path, drivers: str) -> bool:
        """Whether its sandbox leaves it this device.

        Args:
            node: Of a character device.
            drivers: /proc/devices, where the drivers' names are.
        """
        if self.settings.get("DevicePolicy", "auto") == "auto" and not self.settings.get("DeviceAllow"):
            return True
        allowed = ["char-pts", *self.settings.get("DeviceAllow", "").split()]
        names = {f"char-{name}" for name in drivers_of(node, drivers)} | {str(node), str(node.resolve())}
        return any(fnmatch(name, each) for name in names for each in allowed)


def drivers_of(node: Path, drivers: str) -> list[str]:
    """Names of the drivers that a character device may belong to, by its major number."""
    number = str(os.major(node.stat().st_rdev))
    lines = [line.split() for line in drivers.partition("Block devices:")[0].splitlines()]
    return [words[1] for words in lines if len(words) == 2 and words[0] == number]


def boot(unit: Unit | None) -> Iterator[Finding]:
    """Whether it is installed, starts at boot, and is shut in as it was shipped."""
    if unit is None:
        yield warn("this machine has no systemd", "nothing starts the daemon again")
        return
    name = unit.name
    if not unit.is_installed:
        yield warn(f"{name} is not installed", "install the package: docs/how-to/install.md")
        return
    if unit.settings["UnitFileState"] in ("enabled", "enabled-runtime"):
        yield ok(f"{name} starts at boot")
    else:
        yield fail(f"{name} does not start at boot", f"systemctl enable --now {name}")
    yield _running(unit)
    if unit.settings.get("NeedDaemonReload") == "yes":
        todo = f"systemctl daemon-reload; systemctl restart {name}"
        yield warn(f"{name} has been changed and systemd does not know it", todo)
    if unit.exposure is not None:
        text = f"{name} is shut in, exposure {unit.exposure}"
        loosened = warn(text, f"a drop-in has loosened its sandbox: systemctl cat {name}")
        yield ok(text) if unit.exposure <= MOST_EXPOSURE else loosened


def _running(unit: Unit) -> Finding:
    name, state = unit.name, unit.settings.get("ActiveState", "")
    if state in ("active", "reloading"):
        return ok(f"{name} runs")
    if unit.settings.get("SubState") in ("start", "start-pre", "start-post"):
        return warn(f"{name} is not ready yet", f"systemctl status {name}, and look again in a minute")
    if state == "activating":
        return fail(f"{name} ends as often as it starts: nothing is recorded", f"journalctl -u {name} -n 20")
    return fail(f"{name} does not run: nothing is recorded", f"systemctl start {name}")


def rights(unit: Unit | None, config: Config) -> Iterator[Finding]:
    """What the configuration asks for and the unit does not allow; an installed one is assumed to run it."""
    if unit is None or not unit.is_installed:
        return
    paths = {"journal": config.journal.directory, "status": (config.status.file or config.status_file).parent}
    paths |= {f"device {each.id}: record": each.record.file.parent for each in config.device if each.record}
    for what, path in paths.items():
        if not unit.may_write(path):
            todo = f"systemctl edit {unit.name}, [Service] ReadWritePaths={path}, or give one of {_own(unit)}"
            yield fail(f"{what}: {unit.name} may not write {path}", todo)
    for device in config.device:
        yield from _link(unit, device)
    for sink in config.sink:
        way, name = sink.secret_source or ("", "")
        if way == "credential" and name not in unit.credentials:
            todo = f"systemctl edit {unit.name}, [Service] LoadCredential={name}:{CONFIGURATION}/credentials/{name}"
            yield fail(f"sink {sink.id}: {unit.name} is not given the secret {name}", todo)


def _link(unit: Unit, device: DeviceConfig) -> Iterator[Finding]:
    name, link = f"device {device.id}", urlsplit(device.link)
    if link.scheme in ("tcp", "udp"):
        with contextlib.suppress(ValueError):  # a name, or one that the configuration's own check tells of
            yield from reach(unit, name, [str(ipaddress.ip_address(link.hostname or ""))])
    port = Path(unquote(link.path))
    drivers = DRIVERS.read_text(encoding="ascii") if DRIVERS.exists() else ""
    if link.scheme == "serial" and port.is_char_device() and not unit.may_open(port, drivers):
        kind = next((f"char-{each}" for each in drivers_of(port, drivers)), str(port))
        todo = f"systemctl edit {unit.name}, [Service] DeviceAllow={kind} rw"
        yield fail(f"{name}: {unit.name} may not open {port}", todo)


def reach(unit: Unit | None, name: str, addresses: Sequence[str]) -> Iterator[Finding]:
    """Addresses of a sink or a device that its firewall hides from the service, though not from us."""
    if unit is None or not unit.is_installed:
        return
    for address in addresses:
        if not unit.may_reach(address):
            todo = f"systemctl edit {unit.name}, [Service] IPAddressAllow={address}"
            yield fail(f"{name}: {unit.name} may not reach {address}", todo)


def _own(unit: Unit) -> str:
    own = (
        f"{root}/{unit.settings[setting]}" for setting, root in PLACES.items() if root and unit.settings.get(setting)
    )
    return ", ".join(own)
