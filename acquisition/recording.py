"""Keeps the raw bytes of a link as a trace; identity is cut before anything is written (promise 9)."""

from __future__ import annotations

from pathlib import Path

from acquisition.clock import Clock, Instant, rfc3339
from acquisition.trace import Direction, TraceHeader, TraceWriter
from acquisition.wire.identity import Redactor


class TraceRecorder:
    """Writes what a session receives and sends.

    Args:
        path: The trace file; its suffix chooses the compression.
        link: URL of the link, for the header.
        driver: Name of the driver, for the header.
        clock: The session's clock; the trace begins now.
    """

    def __init__(self, path: Path, *, link: str, driver: str, clock: Clock) -> None:
        start = clock.now()
        self._start = start.mono_ns
        self._cut_received = Redactor()
        self._cut_sent = Redactor()  # an acknowledgement repeats names that its request gave
        self._pieces = 0
        self._writer = TraceWriter(
            _unused(path), TraceHeader(link=link, driver=driver, started=rfc3339(start.utc_ns, 9))
        )

    def received(self, data: bytes, instant: Instant) -> None:
        """Bytes that came."""
        kept = self._cut_received.feed(data)
        if kept:
            self._write("<", kept, instant)

    def sent(self, data: bytes, instant: Instant) -> None:
        """Bytes that left; empty when the driver was woken and sent nothing."""
        self._write(">", self._cut_sent.feed(data), instant)

    @property
    def pieces(self) -> int:
        """Pieces written so far."""
        return self._pieces

    def close(self) -> None:
        """Finishes the file."""
        self._writer.close()

    def _write(self, direction: Direction, data: bytes, instant: Instant) -> None:
        self._pieces += 1
        self._writer.write(instant.mono_ns - self._start, direction, data)


def _unused(path: Path) -> Path:
    """The path, or the same with a number before the suffix if a trace of an earlier run is there."""
    name, dot, suffix = path.name.partition(".")
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{name}-{number}{dot}{suffix}")
    return candidate
