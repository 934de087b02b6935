"""The machine under a bed: files and whose they are, serial ports, the clock."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from acquisition.clock import KernelClock
from acquisition.doctor.findings import Finding, fail, ok, warn

BY_PATH = Path("/dev/serial/by-path")
ACCOUNT = "ecmo-daq"


def config_file(path: Path) -> Finding:
    """Whether strangers can change the configuration."""
    if stat.S_IMODE(path.stat().st_mode) & 0o022:
        return warn(f"{path} may be changed by others than its owner", f"chmod 0640 {path}")
    return ok(f"{path} is valid and safe from others")


def secret_file(sink: str, path: Path) -> Finding:
    """Whether strangers can read a sink's secret."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return warn(f"sink {sink}: others than its owner may read {path}", f"chmod 0600 {path}")
    return ok(f"sink {sink}: only its owner may read {path}")


def existing(path: Path) -> Path:
    """The path itself, or the lowest directory above it that is there."""
    return next((each for each in (path, *path.parents) if each.exists()), Path("/"))


def journal(directory: Path, account_name: str = ACCOUNT) -> Finding:
    """Whether the journal's directory exists and belongs to the service."""
    if existing(directory) != directory:
        return warn(f"journal {directory} is not there yet", "the service makes it when it starts")
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        todo = "dmesg tells whether the disk fails: then replace it, docs/how-to/replace-a-mini-pc.md"
        return fail(f"journal: the disk of {directory} can only be read", todo)
    if os.geteuid() != 0:
        if os.access(directory, os.W_OK):
            return ok(f"journal {directory} can be written")
        return warn(f"journal {directory} cannot be written by you", "run this as root to learn about the service")
    try:
        account = pwd.getpwnam(account_name)
    except KeyError:
        return fail(f"there is no account {account_name}", "install the package: docs/how-to/install.md")
    foreign = [path for path in (directory, *sorted(directory.iterdir())) if _owner(path) not in (account.pw_uid, None)]
    if foreign:
        return fail(f"journal: {foreign[0]} belongs to another account", f"chown -R {account_name}: {directory}")
    return ok(f"journal {directory} belongs to {account_name}")


def _owner(path: Path) -> int | None:
    """None if it has gone: a running daemon makes and deletes files."""
    try:
        return path.stat().st_uid
    except FileNotFoundError:
        return None


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
    if (node.st_gid in _groups() and node.st_mode & 0o060 == 0o060) or node.st_mode & 0o006 == 0o006:
        yield ok(f"device {device}: {path} is there")
        return
    group = _group(node.st_gid)
    yield fail(
        f"device {device}: {path} is not open to {ACCOUNT}",
        f"usermod -aG {group} {ACCOUNT}, and systemctl restart {ACCOUNT}; chmod g+rw {path} if its mode is at fault",
    )


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


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
