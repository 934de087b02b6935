"""The unit that runs a bed: whether it starts at boot and is shut in, and what it may write, read and reach."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from acquisition.config import Config
from acquisition.doctor.commands import told
from acquisition.doctor.findings import Finding, fail, ok, warn

CONFIGURATION = Path("/etc/ecmo-daq")
MOST_EXPOSURE = 1.5
PLACES = {"StateDirectory": "/var/lib", "RuntimeDirectory": "/run", "LogsDirectory": "/var/log", "ReadWritePaths": ""}
"""Settings that let it write, and where their paths begin (systemd.exec(5))."""
_SHOWN = ("UnitFileState", "NeedDaemonReload", "IPAddressAllow", "IPAddressDeny", *PLACES)
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
        settings = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
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
    if unit.settings.get("NeedDaemonReload") == "yes":
        todo = f"systemctl daemon-reload; systemctl restart {name}"
        yield warn(f"{name} has been changed and systemd does not know it", todo)
    if unit.exposure is not None:
        text = f"{name} is shut in, exposure {unit.exposure}"
        loosened = warn(text, f"a drop-in has loosened its sandbox: systemctl cat {name}")
        yield ok(text) if unit.exposure <= MOST_EXPOSURE else loosened


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
    for sink in config.sink:
        way, name = sink.secret_source or ("", "")
        if way == "credential" and name not in unit.credentials:
            todo = f"systemctl edit {unit.name}, [Service] LoadCredential={name}:{CONFIGURATION}/credentials/{name}"
            yield fail(f"sink {sink.id}: {unit.name} is not given the secret {name}", todo)


def reach(unit: Unit | None, name: str, addresses: Sequence[str]) -> Iterator[Finding]:
    """Addresses of a sink that its firewall hides from the service, though not from us."""
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
