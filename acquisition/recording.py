"""Keeps the raw bytes of a link as a trace; identity is cut before anything is written (promise 9)."""

from __future__ import annotations

import logging
from pathlib import Path

from acquisition.clock import Clock, Instant, rfc3339
from acquisition.driver import TraceCut
from acquisition.errors import TraceError
from acquisition.trace import Direction, TraceHeader, TraceWriter
from acquisition.wire.identity import Redactor

logger = logging.getLogger(__name__)


class TraceRecorder:
    """Writes what a session receives and sends; when the disk refuses, recording ends and acquisition goes on.

    Args:
        path: The trace file; its suffix chooses the compression.
        link: URL of the link, for the header.
        driver: Name of the driver, for the header.
        clock: The session's clock; the trace begins now.
        shared: Whether other devices are on the line.
        cut: The driver's own, for a protocol in which identity has a form of its own.

    Attributes:
        error: Why recording ended early, if it did.

    Raises:
        TraceError: the file cannot be created.
    """

    def __init__(
        self,
        path: Path,
        *,
        link: str,
        driver: str,
        clock: Clock,
        shared: bool = False,
        cut: TraceCut | None = None,
    ) -> None:
        start = clock.now()
        self._start = start.mono_ns
        self._cut_received: TraceCut = cut or Redactor()
        self._cut_sent = Redactor()  # an acknowledgement repeats names that its request gave
        self._pieces = 0
        self._last = 0
        self.error: TraceError | None = None
        self._writer = TraceWriter(
            _unused(path), TraceHeader(link=link, driver=driver, started=rfc3339(start.utc_ns, 9), shared=shared)
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
        """Finishes the file; never raises."""
        try:
            self._writer.close()
        except TraceError as error:
            self._end(error)

    def _write(self, direction: Direction, data: bytes, instant: Instant) -> None:
        if self.error is not None:
            return
        # A reply that had to wait for the link bears an instant before what was received meanwhile.
        self._last = max(self._last, instant.mono_ns - self._start)
        try:
            self._writer.write(self._last, direction, data)
        except TraceError as error:
            self._end(error)
        else:
            self._pieces += 1

    def _end(self, error: TraceError) -> None:
        if self.error is None:
            self.error = error
            logger.error("recording ends after %d pieces: %s", self._pieces, error)


def _unused(path: Path) -> Path:
    """The path, or the same with a number before the suffix if a trace of an earlier run is there."""
    name, dot, suffix = path.name.partition(".")
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{name}-{number}{dot}{suffix}")
    return candidate
