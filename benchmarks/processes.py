"""Processes that are measured: their directories, their free ports, their life."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BUILD = Path(__file__).parents[1] / "build"
"""Here and not in /tmp, which may be memory: a sync to memory costs nothing and proves nothing."""

PEERS = BUILD / "peers" / "bin"
"""Environment of the peers that are Python packages; `make bench` makes it."""

READERS = BUILD / "readers" / "bin"
"""Environment of the peers that read waves; likewise."""

START_S = 30.0
BED = """\
site = {{ site = "bench", bed = "b1", timezone = "UTC" }}
journal = {{ directory = "journal", min_free_gb = 0 }}
device = [{{ id = "mon", driver = "hl7", link = "tcp-listen://127.0.0.1:{port}" }}]
"""


class NotMeasuredError(Exception):
    """Why a peer could not be measured, in words for its row."""


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory on the disk of the tree, gone afterwards."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as directory:
        yield Path(directory)


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str) -> str:
    """Path of a server's program.

    Raises:
        NotMeasuredError: it is not installed.
    """
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin:/bin")
    if found is None:
        raise NotMeasuredError(f"{name} is not installed")
    return found


def get(url: str) -> str:
    """The body of an answer of success from a server of loopback."""
    with urllib.request.urlopen(url, timeout=START_S) as answer:  # noqa: S310 - http of loopback, made here
        return str(answer.read().decode())


@contextmanager
def running(
    command: Sequence[str | Path], directory: Path, ready: str = "", environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its output in `directory/log`; ended in order afterwards, unless it ended before.

    Args:
        command: Program and arguments.
        directory: Where it runs.
        ready: What answers when it is ready; empty if nobody needs to wait.
        environment: Beside that of this process.

    Raises:
        NotMeasuredError: it ended, or did not become ready.
    """
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=directory, stdout=log, stderr=log, env={**os.environ, **(environment or {})}
        )
    try:
        due = time.monotonic() + START_S
        while ready and not _answers(ready):
            if process.poll() is not None or time.monotonic() > due:
                last = (directory / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
                raise NotMeasuredError(f"{Path(command[0]).name} does not start: {''.join(last)[-120:]}")
            time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        get(url)
    except OSError:
        return False
    return True


@contextmanager
def daemon(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """`ecmo-daq run` for one monitor on a listening link, and a connection to that."""
    port = free_port()
    config = directory / "bed.toml"
    config.write_text(BED.format(port=port), encoding="utf-8")
    command = [sys.executable, "-m", "acquisition.cli", "run", "--config", str(config)]
    environment = {"PYTHONPATH": str(BUILD.parent)}
    with running(command, directory, environment=environment) as process, _connected(port) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield process, link


def _connected(port: int) -> socket.socket:
    due = time.monotonic() + START_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except OSError:
            if time.monotonic() > due:
                raise
            time.sleep(0.1)


def receive(link: socket.socket, end: bytes) -> bytes:
    """What comes up to and with `end`."""
    answer = b""
    while not answer.endswith(end):
        piece = link.recv(65_536)
        if not piece:
            raise ConnectionError("the other end hung up")
        answer += piece
    return answer
