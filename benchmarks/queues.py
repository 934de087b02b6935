"""Points taken while the server is down, and acknowledged ones lost at SIGKILL, beside vmagent and a gateway."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks import queue_vmagent
from benchmarks.disk import median
from benchmarks.processes import BUILD, PEERS, NotMeasuredError, scratch
from benchmarks.result import Result

PIECES = 10_000
ROUNDS = 5
SECONDS = 8.0
KILLS = 3
RATE = 1000
OURS = (sys.executable, "-m", "benchmarks.queue_ours")
GATEWAY_NAME = "thingsboard-gateway, SQLite"
GATEWAY = (str(PEERS / "python"), str(Path(__file__).with_name("queue_gateway.py")))


def measure(pieces: int = PIECES, seconds: float = SECONDS) -> list[Result]:
    """Pieces of a hundred values: as fast as they are taken, and then ten a second until a SIGKILL."""
    floods: dict[str, Callable[[], float]] = {
        "ours": partial(flood, OURS, pieces),
        "vmagent": partial(queue_vmagent.flood, pieces),
        GATEWAY_NAME: partial(flood, GATEWAY, pieces),
    }
    rates = in_turn(floods)
    notes = {
        "vmagent": "theirs answers before it is on the disk",
        GATEWAY_NAME: "theirs until its last commit, no sync",
    }
    targets = {"vmagent": "", GATEWAY_NAME: "faster"}
    taken = [rate_row(rates["ours"], peer, rates[peer], note, targets[peer]) for peer, note in notes.items()]
    ways = (
        ("ours", partial(_lost, OURS, seconds)),
        ("vmagent", partial(queue_vmagent.lost, seconds)),
        (GATEWAY_NAME, partial(_lost, GATEWAY, seconds)),
    )
    with ThreadPoolExecutor(len(ways) * KILLS) as pool:  # all at once: nothing here is short of time
        losses = {name: [pool.submit(way) for _ in range(KILLS)] for name, way in ways}
    kept = max(each.result() for each in losses.pop("ours"))
    return [*taken, *(_loss(kept, peer, kills) for peer, kills in losses.items())]


def in_turn(floods: Mapping[str, Callable[[], float]]) -> dict[str, list[float] | NotMeasuredError]:
    """Rates of each, in the order of size; one after the other and then again, so that a busy moment hits all alike."""
    rates: dict[str, list[float] | NotMeasuredError] = {name: [] for name in floods}
    for _ in range(ROUNDS):
        for name, once in floods.items():
            before = rates[name]
            if isinstance(before, NotMeasuredError):
                continue
            try:
                rates[name] = sorted([*before, once()])
            except NotMeasuredError as why:
                rates[name] = why
    return rates


def rate_row(
    ours: list[float] | NotMeasuredError, peer: str, theirs: list[float] | NotMeasuredError, note: str, target: str
) -> Result:
    """Medians and ranges of both, or why there are none of theirs."""
    if isinstance(ours, NotMeasuredError):
        raise ours
    what = f"points into the queue, server down, 100 in a piece, median of {ROUNDS}"
    if isinstance(theirs, NotMeasuredError):
        return Result(what, median(ours), "points/s", target, peer, None, str(theirs))
    spread = f"ours {_range(ours)}, theirs {_range(theirs)} M/s"
    return Result(what, median(ours), "points/s", target, peer, median(theirs), f"{note}; {spread}")


def _range(rates: Sequence[float]) -> str:
    return f"{rates[0] / 1e6:.2f} to {rates[-1] / 1e6:.2f}"


def _loss(lost: int, peer: str, kills: Sequence[Future[int]]) -> Result:
    what = f"acknowledged points lost at SIGKILL, worst of {KILLS}, at {RATE} a second"
    try:
        theirs = [kill.result() for kill in kills]
    except NotMeasuredError as why:
        return Result(what, lost, "points", "0", peer, None, str(why))
    told = ", ".join(f"{each / RATE:.1f}" for each in theirs)
    return Result(what, lost, "points", "0", peer, max(theirs), f"ours at worst {lost / RATE:.1f} s; theirs {told} s")


def flood(command: Sequence[str], pieces: int) -> float:
    """Points a second that a child takes.

    Raises:
        NotMeasuredError: it cannot be started, or fails.
    """
    with scratch() as directory:
        return float(_said(command, "flood", directory, str(pieces)))


def _lost(command: Sequence[str], seconds: float) -> int:
    """Points that were acknowledged before a SIGKILL and are not there after a restart."""
    with scratch() as directory:
        with _start(command, "steady", directory) as child:
            time.sleep(seconds + random.uniform(0, 1))
            child.send_signal(signal.SIGKILL)
            said, complaint = child.communicate()
        acknowledged = len(said.split())
        if not acknowledged:
            raise NotMeasuredError(_last_line(complaint))
        return acknowledged * RATE // 10 - int(_said(command, "count", directory, str(acknowledged)))


def _said(command: Sequence[str], what: str, directory: Path, *more: str) -> str:
    """The last line that a child says."""
    with _start(command, what, directory, *more) as child:
        said, complaint = child.communicate()
    if child.returncode:
        raise NotMeasuredError(_last_line(complaint))
    return _last_line(said)


def _start(command: Sequence[str], what: str, directory: Path, *more: str) -> subprocess.Popen[str]:
    if not Path(command[0]).exists():
        raise NotMeasuredError("its environment is not there: make bench makes it")
    environment = {**os.environ, "PYTHONPATH": str(BUILD.parent)}
    return subprocess.Popen(
        [*command, what, str(directory), *more],
        cwd=BUILD.parent, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1][-120:]
