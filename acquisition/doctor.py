"""Looks at what a bed stands on, before and beside the daemon: a line each, well or not, and what to do.

It sends one event to each sink, marked as the doctor's, because only a write shows that writing is allowed.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import shutil
import socket
import ssl
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from acquisition.clock import Clock, KernelClock
from acquisition.config import RESERVED_DEVICE, Config
from acquisition.errors import SinkError
from acquisition.interfaces import Sink
from acquisition.model import Event, EventKind
from acquisition.sink_config import AnySink, MqttConfig

GB = 1_000_000_000
BY_PATH = Path("/dev/serial/by-path")
ACCOUNT = "ecmo-daq"
MOST_EXPOSURE = 1.5
LEAST_DAYS = 14
"""Of a certificate's life, before somebody should renew it."""
_WORN = 80


class Verdict(StrEnum):
    """What a line says."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do about it."""

    verdict: Verdict
    what: str
    todo: str = ""

    def __str__(self) -> str:
        """As it is shown."""
        return f"{self.verdict:4}  {self.what}" + (f": {self.todo}" if self.todo else "")


def ok(what: str) -> Finding:
    """All is well with it."""
    return Finding(Verdict.OK, what)


def warn(what: str, todo: str) -> Finding:
    """Works, but not for ever or not as well as it could."""
    return Finding(Verdict.WARN, what, todo)


def fail(what: str, todo: str) -> Finding:
    """Does not work."""
    return Finding(Verdict.FAIL, what, todo)


def config_file(path: Path) -> Finding:
    """Whether strangers can change or read the configuration."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o022:
        return warn(f"{path} may be changed by others than its owner", f"chmod 0640 {path}")
    return ok(f"{path} is valid and safe from others")


def journal(directory: Path, min_free_gb: float) -> Iterator[Finding]:
    """Whether the journal's directory exists and belongs to the service, and how much room its disk has."""
    there = next((path for path in (directory, *directory.parents) if path.exists()), Path("/"))
    if there != directory:
        yield warn(f"journal {directory} is not there yet", "the service makes it when it starts")
    elif os.geteuid() == 0:
        try:
            account = pwd.getpwnam(ACCOUNT)
        except KeyError:
            yield fail(f"there is no account {ACCOUNT}", "install the package")
        else:
            if directory.stat().st_uid == account.pw_uid:
                yield ok(f"journal {directory} belongs to {ACCOUNT}")
            else:
                yield fail(f"journal {directory} belongs to another account", f"chown -R {ACCOUNT}: {directory}")
    elif os.access(directory, os.W_OK):
        yield ok(f"journal {directory} can be written")
    else:
        yield warn(f"journal {directory} cannot be written by you", "ask as root to learn about the service")
    free = shutil.disk_usage(there).free
    text = f"{free / GB:.1f} GB free for the journal"
    least = max(min_free_gb, 1.0) * GB
    yield ok(text) if free > 2 * least else fail(text, "free space on this disk, or give the journal a larger one")
    yield from disk(there)


def disk(path: Path, sys: Path = Path("/sys")) -> Iterator[Finding]:
    """How worn the disk under `path` says it is, where it says anything."""
    device = os.stat(path).st_dev
    node = sys / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}"
    if not node.exists():
        return
    whole = node.resolve() if not (node / "partition").exists() else node.resolve().parent
    life = whole / "device" / "life_time"  # eMMC: two numbers, tenths of its life (JESD84-B51, EXT_CSD 268 and 269)
    if life.exists():
        used = max(int(word, 16) for word in life.read_text(encoding="ascii").split()) * 10
        yield _wear(whole.name, used)
    elif (smartctl := shutil.which("smartctl")) is not None and os.geteuid() == 0:
        told = subprocess.run([smartctl, "-A", f"/dev/{whole.name}"], capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
        words = [line.split(":")[1].strip(" %") for line in told.stdout.splitlines() if line.startswith("Percentage U")]
        if words and words[0].isdigit():  # NVMe: smartctl(8), "Percentage Used"
            yield _wear(whole.name, int(words[0]))


def _wear(name: str, percent: int) -> Finding:
    text = f"disk {name} has used {percent} % of its life"
    return ok(text) if percent < _WORN else warn(text, "plan its replacement: docs/how-to/replace-a-mini-pc.md")


def serial_port(device: str, link: str, by_path: Path = BY_PATH) -> Iterator[Finding]:
    """Whether a serial link's port is there, named by its socket, and open to the service."""
    path = Path(unquote(urlsplit(link).path))
    if not path.exists():
        yield fail(f"device {device}: {path} is not there", "check cable and power; see ls -l /dev/serial/by-path/")
        return
    node = path.stat()
    if not stat.S_ISCHR(node.st_mode):
        yield fail(f"device {device}: {path} is no serial port", "give the port of the adapter")
        return
    names = sorted(each for each in by_path.glob("*") if each.resolve() == path.resolve()) if by_path.exists() else []
    if names and path not in names:
        yield warn(f"device {device}: {path} may be another port after a restart", f"use {names[0]} in its link")
    if node.st_gid not in _groups() and not node.st_mode & 0o006:
        group = grp.getgrgid(node.st_gid).gr_name
        yield fail(f"device {device}: {path} is not open to {ACCOUNT}", f"usermod -aG {group} {ACCOUNT}")
    else:
        yield ok(f"device {device}: {path} is there")


def _groups() -> set[int]:
    """Groups of the service's account, or our own where there is none."""
    try:
        account = pwd.getpwnam(ACCOUNT)
    except KeyError:
        return set(os.getgroups())
    return set(os.getgrouplist(account.pw_name, account.pw_gid))


def clock(state: KernelClock | None) -> Finding:
    """Whether somebody steers the system's clock."""
    if state is None:
        return warn("the state of the system clock is not known", "the kernel does not tell it here")
    if not state.synchronised:
        todo = "install chrony and give it the hospital's time server; recording goes on meanwhile"
        return warn("the system clock is not synchronised", todo)
    return ok(f"the system clock is synchronised, estimated error {state.estimated_error_ns / 1e6:.1f} ms")


async def sink(config: AnySink, make: Callable[[], Sink[object]], clock: Clock) -> Sequence[Finding]:
    """Whether a sink's name resolves, its certificate holds, and it takes a point."""
    host, port, tls = _address(config)
    name = f"sink {config.id}"
    try:
        await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return [fail(f"{name}: {host} has no address: {error.strerror}", "check the name, and the DNS server")]
    found = [ok(f"{name}: {host} has an address")]
    if tls:
        found.append(await _certificate(name, host, port, config, clock))
    event = Event(
        device=RESERVED_DEVICE, time_ns=clock.now().utc_ns, event=EventKind.DAEMON, text="doctor: test of the sink",
        detail={"sink": config.id},
    )  # fmt: skip
    try:
        async with make() as opened:
            await opened.deliver(opened.prepare([event]))
    except (SinkError, OSError) as error:
        return [*found, fail(f"{name}: {error}", "until then everything is kept in the journal")]
    return [*found, ok(f"{name}: takes what it is sent")]


def _address(config: AnySink) -> tuple[str, int, bool]:
    if isinstance(config, MqttConfig):
        return config.host, config.port, config.tls
    parts = urlsplit(config.url)
    tls = parts.scheme == "https"
    return parts.hostname or "", parts.port or (443 if tls else 80), tls


async def _certificate(name: str, host: str, port: int, config: AnySink, clock: Clock) -> Finding:
    if not config.verify_tls:
        return warn(f"{name}: its certificate is not checked", "give its authority as ca_file, and verify_tls = true")
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        async with asyncio.timeout(config.timeout_s):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        return fail(f"{name}: its certificate does not hold: {error.verify_message}", "renew it, or set ca_file")
    except (OSError, TimeoutError) as error:
        return fail(f"{name}: no TLS with {host}:{port}: {error}", "is it running, and is nothing in between?")
    certificate = writer.get_extra_info("peercert")
    writer.close()
    days = int((ssl.cert_time_to_seconds(certificate["notAfter"]) * 1e9 - clock.now().utc_ns) / 86_400e9)
    text = f"{name}: its certificate holds for {days} days"
    return ok(text) if days >= LEAST_DAYS else warn(text, "have it renewed")


def unit(name: str = "ecmo-daq.service") -> Iterator[Finding]:
    """Whether the service is installed, starts at boot, and is shut in as it was shipped."""
    if not Path("/run/systemd/system").exists():
        yield warn("this machine has no systemd", "nothing starts the daemon again")
        return
    told = _systemd("show", "-P", "UnitFileState", name)
    if told in ("enabled", "enabled-runtime"):
        yield ok(f"{name} starts at boot")
    elif not told:
        yield warn(f"{name} is not installed", "install the package: docs/how-to/install.md")
        return
    else:
        yield fail(f"{name} does not start at boot", f"systemctl enable --now {name}")
    changed = _systemd("show", "-P", "NeedDaemonReload", name)
    if changed == "yes":
        yield warn(f"{name} has been changed and systemd does not know it", "systemctl daemon-reload")
    words = _run("systemd-analyze", "security", "--no-pager", name).split()
    if f"{name}:" in words:  # "Overall exposure level for NAME: 1.2 OK"
        exposure = float(words[words.index(f"{name}:") + 1])
        text = f"{name} is shut in, exposure {exposure}"
        loosened = warn(text, "a drop-in has loosened its sandbox: systemctl cat " + name)
        yield ok(text) if exposure <= MOST_EXPOSURE else loosened


def _systemd(*words: str) -> str:
    return _run("systemctl", *words)


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)  # noqa: S603 - fixed
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


async def examine(
    config: Config, path: Path, make: Callable[[AnySink], Sink[object]], clock_now: Clock
) -> list[Finding]:
    """Everything about one bed.

    Args:
        config: Of the bed.
        path: Where it was read from.
        make: The sink that a table asks for.
        clock_now: For times of events and certificates.
    """
    found = [config_file(path), *journal(config.journal.directory, config.journal.min_free_gb)]
    for device in config.device:
        if device.link.startswith("serial:"):
            found += serial_port(device.id, device.link)
    found.append(clock(KernelClock.read()))
    for each in config.sink:
        found += await sink(each, partial(make, each), clock_now)
    found += unit()
    return found
