"""One daemon under the load of a whole bed: how much of a core, how much memory; beside peers that do nothing."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.footprint import Footprint, measured
from benchmarks.idle import PEERS, Idle
from benchmarks.messages import second
from benchmarks.processes import NotMeasuredError, daemon, receive, scratch
from benchmarks.result import Result

SECONDS, FAST_SECONDS = 60, 20
WARM_UP = 3
"""Seconds of load before the measurement: imports and first allocations are not the steady state."""


def measure(seconds: int = SECONDS, fast_seconds: int = FAST_SECONDS) -> list[Result]:
    """Runs `ecmo-daq run` with 8 waves and 100 numerics, at the wire's own pace, and the peers with nothing to do."""
    bed, per_sample = _loaded(250, seconds)
    fast, _ = _loaded(500, fast_seconds)
    with ThreadPoolExecutor() as pool:
        idle = dict(zip(PEERS, pool.map(_idle, PEERS.values()), strict=True))
    rows = [row for peer, theirs in idle.items() for row in _beside(bed, peer, theirs)]
    return [
        *sorted(rows, key=lambda row: row.unit),
        Result("the same, journal on disk", per_sample, "byte/sample", note="the numerics' bytes included"),
        Result("daemon, 8 waves at 500 Hz + 100 numerics at 1 Hz", fast.core_percent, "% of a core", "under 10"),
    ]


def _beside(bed: Footprint, peer: str, theirs: Footprint | NotMeasuredError) -> list[Result]:
    what, memory = "daemon, 8 waves at 250 Hz + 100 numerics at 1 Hz", "the same, resident memory"
    if isinstance(theirs, NotMeasuredError):
        return [
            Result(what, bed.core_percent, "% of a core", "at most 3", peer, None, str(theirs)),
            Result(memory, bed.rss_mb, "MB", "at most 90", peer, None, str(theirs)),
        ]
    shared = f"proportional: ours {bed.pss_mb:.0f}, theirs {theirs.pss_mb:.0f} MB"
    return [
        Result(what, bed.core_percent, "% of a core", "at most 3", peer, theirs.core_percent, "theirs does nothing"),
        Result(memory, bed.rss_mb, "MB", "at most 90", peer, theirs.rss_mb, shared),
    ]


def _idle(peer: Idle) -> Footprint | NotMeasuredError:
    try:
        return peer()
    except NotMeasuredError as why:
        return why


def _loaded(rate: int, seconds: int) -> tuple[Footprint, float]:
    """What the daemon takes, and the bytes of its journal for each sample."""
    with scratch() as directory:
        with daemon(directory) as (process, link):
            _send(link, rate, range(WARM_UP))
            with measured(process.pid) as footprint:
                _send(link, rate, range(WARM_UP, WARM_UP + seconds))
        size = sum(path.stat().st_size for path in (directory / "journal").glob("*.journal*"))
    return footprint[0], size / (8 * rate * (WARM_UP + seconds))


def _send(link: socket.socket, rate: int, numbers: range) -> None:
    """A message a second, each after the acknowledgement of the one before."""
    due = time.monotonic()
    for number in numbers:
        link.sendall(second(number, rate=rate))
        answer = receive(link, b"\x1c\r")
        if f"MSA|AA|B{number}".encode() not in answer:
            raise RuntimeError(f"not acknowledged: {answer!r}")
        due += 1.0
        time.sleep(max(0.0, due - time.monotonic()))
