"""Feeds vmagent's persistent queue with line protocol, its remote end down; after a kill a victoria-metrics takes it.

A piece is acknowledged when vmagent answers 204.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import free_port, get, program, receive, running, scratch

VALUES, PIECE_S = 100, 0.1
STEP_NS = 100_000_000
QUIET_S = 5.0
STRIDE = 50
"""Requests on their way at once; a client that waits for each answer would be measured, not vmagent."""
NO_CONTENT = b"HTTP/1.1 204"


@contextmanager
def vmagent(directory: Path, port: int, remote: int) -> Iterator[subprocess.Popen[bytes]]:
    """A vmagent that listens on `port` and sends to `remote`."""
    command = [
        program("vmagent"),
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-remoteWrite.url=http://127.0.0.1:{remote}/api/v1/write",
        f"-remoteWrite.tmpDataPath={directory}/queue",
        "-loggerLevel=ERROR",
    ]
    with running(command, directory, ready=f"http://127.0.0.1:{port}/health") as process:
        yield process


@contextmanager
def victoria_metrics(directory: Path, port: int) -> Iterator[str]:
    """The URL of a server that keeps what it gets."""
    command = [
        program("victoria-metrics"),
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={directory}/data",
        "-loggerLevel=ERROR",
    ]
    url = f"http://127.0.0.1:{port}"
    with running(command, directory, ready=f"{url}/health"):
        yield url


def flood(pieces: int) -> float:
    """Points a second that vmagent takes while nobody takes them from it."""
    start_ns = time.time_ns() - pieces * STEP_NS
    with scratch() as directory:
        port = free_port()
        requests = [_request(start_ns, number) for number in range(pieces)]
        with vmagent(directory, port, free_port()), socket.create_connection(("127.0.0.1", port)) as link:
            start = time.perf_counter()
            for first in range(0, pieces, STRIDE):
                some = requests[first : first + STRIDE]
                link.sendall(b"".join(some))
                _wait_for_answers(link, len(some))
            return pieces * VALUES / (time.perf_counter() - start)


def lost(seconds: float) -> int:
    """Points that were acknowledged before a SIGKILL and never arrive after a restart."""
    start_ns = time.time_ns()
    with scratch() as directory:
        port, remote = free_port(), free_port()
        acknowledged = 0
        with vmagent(directory, port, remote) as process:
            with socket.create_connection(("127.0.0.1", port)) as link:
                start = time.monotonic()
                until = start + seconds + random.uniform(0, 1)
                while time.monotonic() < until:
                    link.sendall(_request(start_ns, acknowledged))
                    _wait_for_answers(link, 1)
                    acknowledged += 1
                    time.sleep(max(0.0, start + acknowledged * PIECE_S - time.monotonic()))
                process.kill()
            process.wait()
        (directory / "server").mkdir()
        with victoria_metrics(directory / "server", remote) as url, vmagent(directory, port, remote):
            return acknowledged * VALUES - _arrived(url, port, acknowledged, start_ns)


def _request(start_ns: int, number: int) -> bytes:
    fields = ",".join(f"c{at}={70.0 + (at + number) % 13}" for at in range(VALUES))
    body = f"bed,device=mon {fields} {start_ns + number * STEP_NS}\n".encode()
    return b"POST /write HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _wait_for_answers(link: socket.socket, number: int) -> None:
    answers = b""
    while answers.count(NO_CONTENT) < number or not answers.endswith(b"\r\n\r\n"):
        answers += receive(link, b"\r\n\r\n")


def _arrived(url: str, port: int, pieces: int, start_ns: int) -> int:
    """Points of the first so many pieces in the server, once vmagent has no more and they grow no more for a while."""
    found, since = -1, time.monotonic()
    first, last = start_ns // 10**6, (start_ns + (pieces - 1) * STEP_NS) // 10**6
    while time.monotonic() < since + QUIET_S and found < pieces * VALUES:
        get(f"{url}/internal/force_flush")
        lines = get(f"{url}/api/v1/export?match[]=%7B__name__=~%22bed_.*%22%7D&start={first / 1e3 - 60:.3f}")
        now = sum(first <= at <= last for line in lines.splitlines() for at in json.loads(line)["timestamps"])
        if now != found or _pending(port):
            found, since = now, time.monotonic()
        time.sleep(0.2)
    return found


def _pending(port: int) -> bool:
    """Whether a vmagent still has something to send, as it says itself."""
    lines = get(f"http://127.0.0.1:{port}/metrics").splitlines()
    return any(float(line.split()[-1]) for line in lines if line.startswith("vmagent_remotewrite_pending_data_bytes"))
