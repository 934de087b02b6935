"""File systems small enough to fill, for system tests; they need root, and fail without it."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def tmpfs(where: Path, kib: int) -> Iterator[Path]:
    """A file system in memory."""
    with _mounted(where, "mount", "-t", "tmpfs", "-o", f"size={kib}k", "none"):
        yield where


@contextlib.contextmanager
def ext4(where: Path, mib: int) -> Iterator[Path]:
    """A real one on a loop device."""
    image = where.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(mib << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
    with _mounted(where, "mount", "-o", "loop", str(image)):
        yield where


@contextlib.contextmanager
def _mounted(where: Path, *command: str) -> Iterator[None]:
    where.mkdir()
    subprocess.run([*command, str(where)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(where)], check=True)


def fail_for_good(where: Path) -> None:
    """What the kernel does with a file system that has an error: read-only until it is mounted anew."""
    subprocess.run(["mount", "-o", "remount,abort", str(where)], check=True)


def fill(where: Path) -> Path:
    """Takes the last byte; the file to delete when there shall be space again."""
    ballast = where / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(descriptor, b"\0" * size)
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        (where / "probe").write_bytes(b"\0" * 4096)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            (where / "probe").unlink(missing_ok=True)
            return ballast
        raise
    raise AssertionError(f"{where} could not be filled")
