"""What the daemon tells of itself: devices, sinks, journal, clock. Written as JSON once a second, read by `status`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from acquisition.errors import AcquisitionError

STALE_NS = 10_000_000_000
"""A status file older than this belongs to a daemon that hangs or is gone."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DeviceHealth(_Part):
    """One device: its link, what it has said, what was wrong with it.

    Attributes:
        state: opening, open, lost or ended; `silent` when the link is open and nothing usable comes.
        values: Values or samples stored, by channel.
        counters: The driver's: frames good and bad, bytes, rejections by reason.
        flags: Judgements below good, by reason.
        clock_ahead_ns: How far its own clock is ahead of ours; None if it has none, or not yet known.
        clock_drift_ppm: How fast that grows.
        lost: Observations that the journal could not take.
    """

    id: str
    driver: str
    link: str
    state: str
    error: str = ""
    identity: Mapping[str, str] = {}
    last_reading_ns: int | None = None
    silent_since_ns: int | None = None
    values: Mapping[str, int] = {}
    counters: Mapping[str, int] = {}
    flags: Mapping[str, int] = {}
    clock_ahead_ns: int | None = None
    clock_drift_ppm: float | None = None
    gaps: int = 0
    lost: int = 0


class SinkHealth(_Part):
    """One sink: how far behind it is and why.

    Attributes:
        delivered: Points that it took since the start.
        backlog: Points that it does not have yet.
        oldest_unsent_ns: From when the oldest of them is; None if it has everything.
        points_per_second: What it took, over the last minute.
        last_error: What went wrong last, and what to mend if a person must; empty after a success.
    """

    id: str
    state: str
    delivered: int = 0
    backlog: int = 0
    oldest_unsent_ns: int | None = None
    points_per_second: float = 0.0
    quarantined: int = 0
    last_error: str = ""
    last_success_ns: int | None = None


class JournalHealth(_Part):
    """The journal: where, how large, how long the disk lasts.

    Attributes:
        hours_left: Until the quota or the least free space is reached, at the growth since the start.
        refusal: Why the disk takes nothing now; empty when it does.
        dropped: Points deleted at the quota since the start that some sink had not got, or nobody without sinks.
        dropped_last: The last such deletion, as a sentence.
    """

    directory: str
    size_bytes: int
    free_bytes: int
    hours_left: float | None = None
    damaged: tuple[str, ...] = ()
    refusal: str = ""
    dropped: int = 0
    dropped_last: str = ""


class ClockHealth(_Part):
    """The clock: how far our UTC is ahead of the system's, and the steps it saw."""

    ahead_ns: int
    steps: int


class Health(_Part):
    """Everything `ecmo-daq status` shows."""

    version: str
    site: str
    bed: str
    pid: int
    started_ns: int
    time_ns: int
    devices: tuple[DeviceHealth, ...]
    sinks: tuple[SinkHealth, ...]
    journal: JournalHealth
    clock: ClockHealth
    restarts: Mapping[str, int] = {}

    def problems(self) -> list[str]:
        """What a person should look at, one sentence each; empty when all is well."""
        found = [f"device {d.id}: {d.error or 'the link is down'}" for d in self.devices if d.state == "lost"]
        found += [
            f"device {d.id}: the link is open but nothing usable comes" for d in self.devices if d.state == "silent"
        ]
        found += [f"device {d.id}: {d.lost} observations could not be stored" for d in self.devices if d.lost]
        found += [
            f"sink {s.id}: {s.last_error}" for s in self.sinks if s.state in ("refused", "waiting") and s.last_error
        ]
        found += [f"journal: {text}" for text in self.journal.damaged]
        if self.journal.refusal:
            found.append(f"journal: nothing can be stored: {self.journal.refusal}")
        if self.journal.dropped:
            dropped, last = self.journal.dropped, self.journal.dropped_last
            found.append(f"journal: {dropped} points were deleted for want of space, the last of {last}")
        if abs(self.clock.ahead_ns) > 1_000_000_000:
            found.append(
                f"clock: our time is {self.clock.ahead_ns / 1e9:+.1f} s from the system's, after it was set back"
            )
        found += [f"service {name}: restarted {count} times" for name, count in self.restarts.items()]
        return found

    def write(self, path: Path) -> None:
        """Replaces the status file in one step, so that a reader never sees half of it.

        Raises:
            OSError: the file cannot be written.
        """
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(self.model_dump_json(), encoding="utf-8")
        os.replace(fresh, path)

    @classmethod
    def read(cls, path: Path) -> Health:
        """What the daemon wrote last.

        Raises:
            AcquisitionError: there is no such file or it is none of ours.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            hint = "is the daemon running with this configuration?"
            raise AcquisitionError(f"{path}: {error.strerror}", hint=hint) from None
        except ValidationError as error:
            raise AcquisitionError(f"{path}: not a status file ({error.error_count()} mistakes)") from None
