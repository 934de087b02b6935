"""One daemon process under a full load from another process: how much of a core, how much memory."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.messages import second
from benchmarks.result import Result

SECONDS = 30
CONFIG = """\
site = {{ site = "bench", bed = "b1", timezone = "UTC" }}
journal = {{ directory = "journal", min_free_gb = 0 }}
device = [{{ id = "mon", driver = "hl7", link = "tcp-listen://127.0.0.1:{port}" }}]
"""


def measure(seconds: int = SECONDS) -> list[Result]:
    """Runs `ecmo-daq run` for `seconds` with 8 waves at 500 Hz and 100 numerics at 1 Hz, at the wire's own pace."""
    with tempfile.TemporaryDirectory() as directory:
        port = _free_port()
        config = Path(directory) / "bed.toml"
        config.write_text(CONFIG.format(port=port), encoding="utf-8")
        daemon = subprocess.Popen([sys.executable, "-m", "acquisition.cli", "run", "--config", str(config)])
        try:
            with _connected(port) as link:
                _send(link, range(3))  # imports and first allocations are not the steady state
                before = _cpu_s(daemon.pid)
                start = time.monotonic()
                _send(link, range(3, 3 + seconds))
                used, elapsed = _cpu_s(daemon.pid) - before, time.monotonic() - start
                memory = _rss_mb(daemon.pid)
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(10)
        size = sum(path.stat().st_size for path in (Path(directory) / "journal").glob("*.journal*"))
    return [
        Result("daemon, 8 waves at 500 Hz + 100 numerics at 1 Hz", 100 * used / elapsed, "% of a core", "under 10"),
        Result("the same, resident memory", memory, "MB"),
        Result("the same, journal on disk", size / (8 * 500 * (seconds + 3)), "byte/sample"),
    ]


def _send(link: socket.socket, numbers: range) -> None:
    """A message a second, each after the acknowledgement of the one before."""
    due = time.monotonic()
    for number in numbers:
        link.sendall(second(number))
        answer = b""
        while not answer.endswith(b"\x1c\r"):
            answer += link.recv(4096)
        if f"MSA|AA|B{number}".encode() not in answer:
            raise RuntimeError(f"not acknowledged: {answer!r}")
        due += 1.0
        time.sleep(max(0.0, due - time.monotonic()))


def _connected(port: int) -> socket.socket:
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the daemon does not listen")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    return int(found[1]) / 1024 if found else 0.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
