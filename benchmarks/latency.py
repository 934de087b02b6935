"""From the last byte of a message to its acknowledgement, which leaves when the message is on the disk."""

from __future__ import annotations

import random
import socket
import time

from benchmarks.disk import fsync_s, median, p99
from benchmarks.messages import second
from benchmarks.processes import daemon, receive, scratch
from benchmarks.result import Result

MESSAGES = 300
SPACING_S = (0.205, 0.295)
"""Longer than a commit interval, so that every message waits for a group of its own."""


def measure(messages: int = MESSAGES) -> list[Result]:
    """Messages of a hundred numerics over loopback to the whole daemon, at random moments."""
    taken, syncs = list[float](), list[float]()
    with scratch() as directory, daemon(directory) as (_, link):
        _answer_s(link, 0)  # imports and first allocations are not the steady state
        for number in range(1, messages + 1):
            taken.append(_answer_s(link, number))
            syncs += fsync_s(directory, 1)
            time.sleep(max(0.0, random.uniform(*SPACING_S) - taken[-1]))
    syncs.sort()
    taken.sort()
    note = "100 numerics in a message, commit interval 200 ms"
    return [
        Result("HL7 message to durable acknowledgement, median", 1e3 * median(taken), "ms", "", "fsync of a page",
               1e3 * median(syncs), note),
        Result("HL7 message to durable acknowledgement, p99", 1e3 * p99(taken), "ms", "at most 220", "fsync of a page",
               1e3 * p99(syncs), "the disk's part is theirs, measured after each message"),
    ]  # fmt: skip


def _answer_s(link: socket.socket, number: int) -> float:
    """Seconds until the message is acknowledged."""
    message = second(number, waves=0)
    start = time.perf_counter()
    link.sendall(message)
    answer = receive(link, b"\x1c\r")
    taken = time.perf_counter() - start
    if f"MSA|AA|B{number}".encode() not in answer:
        raise RuntimeError(f"not acknowledged: {answer!r}")
    return taken
