"""What sinks rejected, for people: listed beside a running daemon or without one, and struck off when it was taken."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from acquisition.errors import JournalError
from acquisition.journal.cursors import FILE, Quarantined
from acquisition.journal.salvage import disk_errors
from acquisition.journal.schema import reading
from acquisition.model import MISSING_COUNT, Observation, Quality, Waveform, json_line, parse_line


def line_of(observation: Observation) -> str:
    """The observation as `json_line` writes it; a waveform with scale and offset, so that it can be made again."""
    line = json_line(observation)
    if isinstance(observation, Waveform):
        return json.dumps(json.loads(line) | {"scale": observation.scale, "offset": observation.offset})
    return line


def observation_of(entry: Quarantined) -> Observation:
    """The observation that was rejected, exactly.

    Raises:
        JournalError: the entry is damaged.
    """
    try:
        return _made_again(entry)
    except (ValueError, KeyError, TypeError) as error:
        raise JournalError(f"{FILE}: what {entry.sink} rejected is damaged: {error}") from error


def _made_again(entry: Quarantined) -> Observation:
    body = json.loads(entry.line)
    if body["kind"] != "waveform":
        return parse_line(entry.line)
    scale, offset, samples = body.pop("scale"), body.pop("offset"), body.pop("samples")
    counts = [MISSING_COUNT if sample is None else round((sample - offset) / scale) for sample in samples]
    raw = np.array(counts, dtype="<i4").tobytes()
    quality = Quality(body.pop("quality"))
    return Waveform(**body, quality=quality, raw=raw, scale=scale, offset=offset)


class Quarantine:
    """The rejected observations of a journal.

    A forwarder that ended before its cursor was written rejects again what it had rejected; such an entry is one here.

    Args:
        directory: Of the journal.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE

    def entries(self, sink: str | None = None) -> list[Quarantined]:
        """What a sink, or any, rejected, oldest first, each with the newest reason.

        Raises:
            JournalError: it cannot be read.
        """
        if not self._path.exists():
            return []
        with disk_errors(), reading(self._path) as connection:
            rows = (
                []
                if connection is None
                else connection.execute(
                    "SELECT sink, line, reason FROM quarantine WHERE ?1 IS NULL OR sink = ?1 ORDER BY id", (sink,)
                ).fetchall()
            )
        reasons: dict[tuple[str, str], str] = {}
        for name, line, reason in rows:
            reasons[name, line] = reason
        return [Quarantined(name, reason, line) for (name, line), reason in reasons.items()]

    def strike_off(self, entry: Quarantined) -> None:
        """Forgets an entry, because its sink has it now; synced.

        Raises:
            JournalError: the disk refuses.
        """
        with self._writing() as connection:
            connection.execute("DELETE FROM quarantine WHERE sink = ? AND line = ?", (entry.sink, entry.line))

    def renew(self, entry: Quarantined, reason: str) -> None:
        """Keeps an entry with another reason; synced.

        Raises:
            JournalError: the disk refuses.
        """
        with self._writing() as connection:
            connection.execute(
                "UPDATE quarantine SET reason = ? WHERE sink = ? AND line = ?", (reason, entry.sink, entry.line)
            )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        # Not by the journal's own writer: a daemon that records goes on recording, and SQLite lets one write at a time.
        with (
            disk_errors(),
            closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=rw", uri=True)) as connection,
        ):
            connection.execute("PRAGMA synchronous=FULL")
            with connection:
                yield connection
