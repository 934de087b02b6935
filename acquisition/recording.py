"""Keeps the raw bytes of a link as traces; identity is cut before anything is written (promise 9)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from acquisition.clock import NS, Clock, Instant, rfc3339
from acquisition.driver import TraceCut
from acquisition.errors import TraceError
from acquisition.model import EventKind
from acquisition.trace import Direction, Mark, TraceHeader, TraceWriter
from acquisition.wire.identity import Redactor

logger = logging.getLogger(__name__)

DAY_NS = 86_400 * NS
PATIENCE_NS = NS
"""A file that is full waits so long for a request to begin the next one with, so that no reply stands there alone."""


Tell = Callable[[int, EventKind, str, Mapping[str, object]], None]
"""UTC of an event, its kind, a sentence, values for a program."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a new file is begun, besides at midnight UTC, and how much is kept.

    Attributes:
        file_bytes: Of one file.
        quota_bytes: Of all files together; the oldest go.
    """

    file_bytes: int
    quota_bytes: int


class TraceRecorder:
    """Writes what a session receives and sends; when the disk refuses, recording ends and acquisition goes on.

    Args:
        path: The trace file; its suffix chooses the compression.
        link: URL of the link, for the header.
        driver: Name of the driver, for the header.
        clock: The session's clock; the trace begins now.
        shared: Whether other devices are on the line.
        rotation: Writes many files in place of one, each with the time of its beginning behind the name.
        cut: The driver's own, for a protocol in which identity has a form of its own.
        device: Whose link it is, for what is told.
        tell: Gets an event when files had to go for the quota, and when recording ended early.

    Attributes:
        error: Why recording ended early, if it did.
        removed: Files that went for the quota, and their bytes.

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
        rotation: Rotation | None = None,
        cut: TraceCut | None = None,
        device: str = "",
        tell: Tell | None = None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._header = TraceHeader(link, driver, started="", shared=shared)
        self._rotation = rotation
        self._cut_received: TraceCut = cut or Redactor()
        self._cut_sent = Redactor()  # an acknowledgement repeats names that its request gave
        self._pieces = 0
        self._start = self._last = self._day = 0
        self._full_since: int | None = None
        self._device = device
        self._tell = tell or _nobody
        self.removed = (0, 0)
        self.error: TraceError | None = None
        self._writer = self._begin(clock.now())

    def received(self, data: bytes, instant: Instant) -> None:
        """Bytes that came."""
        kept = self._cut_received.feed(data)
        if kept:
            self._write("<", kept, instant)

    def sent(self, data: bytes, instant: Instant) -> None:
        """Bytes that left; empty when the driver was woken and sent nothing."""
        self._write(">", self._cut_sent.feed(data), instant)

    def lost(self, why: str, instant: Instant) -> None:
        """The link was lost, or cannot be opened."""
        self._write(">", b"", instant, Mark("lost", why))

    def reopened(self, peer: str, instant: Instant) -> None:
        """The link is open again."""
        self._write(">", b"", instant, Mark("open", peer))

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

    def _write(self, direction: Direction, data: bytes, instant: Instant, mark: Mark | None = None) -> None:
        if self.error is not None:
            return
        try:
            self._rotate(instant, asks=direction == ">" and bool(data))
            # A reply that had to wait for the link bears an instant before what was received meanwhile.
            self._last = max(self._last, instant.mono_ns - self._start)
            self._writer.write(self._last, direction, data, mark)
        except TraceError as error:
            self._end(error)
        else:
            self._pieces += 1

    def _rotate(self, instant: Instant, *, asks: bool) -> None:
        if self._rotation is None:
            return
        if self._full_since is None:
            if instant.utc_ns // DAY_NS == self._day and self._writer.size < self._rotation.file_bytes:
                return
            self._full_since = instant.mono_ns
        if asks or instant.mono_ns - self._full_since >= PATIENCE_NS:
            self._writer.close()
            self._writer = self._begin(instant)

    def _begin(self, instant: Instant) -> TraceWriter:
        self._start, self._last = instant.mono_ns, 0
        self._day = instant.utc_ns // DAY_NS
        self._full_since = None
        path = self._path
        if self._rotation is not None:
            self._make_room(self._rotation, instant)
            name, dot, suffix = path.name.partition(".")
            began = rfc3339(instant.utc_ns).translate(str.maketrans("", "", "-:."))
            path = path.with_name(f"{name}-{began}{dot}{suffix}")
        header = replace(self._header, started=rfc3339(instant.utc_ns, 9))
        self._header = replace(self._header, continues=True)
        return TraceWriter(_unused(path), header)

    def _make_room(self, rotation: Rotation, instant: Instant) -> None:
        gone: list[Path] = []
        try:
            files = trace_files(self._path)
            sizes = {file: file.stat().st_size for file in files}
            while files and sum(map(sizes.__getitem__, files)) + rotation.file_bytes > rotation.quota_bytes:
                gone.append(files.pop(0))
                gone[-1].unlink(missing_ok=True)
        except OSError as error:
            raise TraceError(f"old traces of {self._path} cannot be removed: {error.strerror}") from error
        if not gone:
            return
        freed = sum(map(sizes.__getitem__, gone))
        self.removed = (self.removed[0] + len(gone), self.removed[1] + freed)
        text = f"{self._device}: {len(gone)} raw traces of {freed / 1e6:.1f} MB removed: the quota of "
        text += f"{rotation.quota_bytes / 1e6:g} MB is used up"
        logger.info("%s: %s", text, ", ".join(file.name for file in gone))
        detail: dict[str, object] = {"device": self._device, "files": len(gone), "bytes": freed}
        detail |= {"first": gone[0].name, "last": gone[-1].name, "quota_bytes": rotation.quota_bytes}
        detail |= {"files_in_all": self.removed[0], "bytes_in_all": self.removed[1]}
        self._tell(instant.utc_ns, EventKind.RETENTION, text, detail)

    def _end(self, error: TraceError) -> None:
        if self.error is None:
            self.error = error
            text = f"recording ends after {self._pieces} pieces: {error}"
            logger.error("%s", text)
            detail = {"device": self._device, "pieces": self._pieces}
            self._tell(self._clock.now().utc_ns, EventKind.DAEMON, f"{self._device}: raw traces: {text}", detail)


def trace_files(path: Path) -> list[Path]:
    """The files that a rotating recording to `path` has written, oldest first."""
    name, _, suffix = path.name.partition(".")
    return sorted(path.parent.glob(f"{name}-[0-9]*T[0-9]*Z*.{suffix}"))


def _nobody(utc_ns: int, kind: EventKind, text: str, detail: Mapping[str, object]) -> None:
    """Events of a recording that is no bed's."""


def _unused(path: Path) -> Path:
    """The path, or the same with a number before the suffix if a trace of an earlier run is there."""
    name, dot, suffix = path.name.partition(".")
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{name}-{number}{dot}{suffix}")
    return candidate
