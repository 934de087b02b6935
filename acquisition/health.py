"""What the daemon tells of itself: devices, sinks, journal, clock. Written as JSON once a second, read by `status`."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from acquisition.errors import AcquisitionError

STALLED_MIN = 5
"""A sink that has taken nothing for so long, and has been owed something for so long, needs a person."""
UNSYNCHRONISED_NS = 3_600_000_000_000
"""The network and the right time may arrive after us; a clock that nobody has steered for so long needs a person."""
_SPACE = 4096
"""The file ends with blanks up to a multiple of this, and with so many at least, to have room on a full disk."""
STALE_NS = 10_000_000_000
"""A status file older than this belongs to a daemon that hangs or is gone."""


_NAMES = ("make", "model")


def told(identity: Mapping[str, str]) -> str:
    """What a device says it is, in a line: make and model, then the rest by its name; empty if it says nothing."""
    name = " ".join(identity[key] for key in _NAMES if identity.get(key))
    rest = [f"{key.replace('_', ' ')} {text}" for key, text in identity.items() if key not in _NAMES and text]
    return ", ".join([name, *rest] if name else rest)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DeviceHealth(_Part):
    """One device: its link, what it has said, what was wrong with it.

    Attributes:
        state: opening, open, lost or ended; `silent` when the link is open and nothing usable comes.
        identity: Make, model, serial, firmware and the like, as far as profile and device tell.
        frames_good: Messages that were used.
        frames_bad: Messages that were not, the late ones among them.
        frames_late: Replies that came when nobody waited for them any more.
        values: Values or samples stored, by channel.
        counters: Frames good and bad, bytes, rejections by reason, blocks that were repeated.
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
    frames_good: int = 0
    frames_bad: int = 0
    frames_late: int = 0
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
        backlog_bytes: About what they take in the journal.
        hours_left: How long an outage may go on from now until something that it does not have must be deleted, at the
            journal's growth over the last hour; a year at most. None in the first minute.
        oldest_unsent_ns: From when the oldest of them is; None if it has everything.
        points_per_second: What it took, over the last minute.
        last_error: What went wrong last, and what to mend if a person must; empty after a success.
        attempts: Deliveries tried in a row without success.
    """

    id: str
    state: str
    delivered: int = 0
    backlog: int = 0
    backlog_bytes: int = 0
    hours_left: float | None = None
    oldest_unsent_ns: int | None = None
    points_per_second: float = 0.0
    quarantined: int = 0
    last_error: str = ""
    last_success_ns: int | None = None
    attempts: int = 0


class JournalHealth(_Part):
    """The journal: where, how large, how long the disk lasts.

    Attributes:
        room_bytes: Until the quota or the least free space is reached.
        bytes_per_second: What is added, over the last hour; None in the first minute.
        hours_left: How long the room lasts at that; a year at most. None in the first minute.
        refusal: Why the disk takes nothing now; empty when it does.
        dropped: Points deleted at the quota since the start that some sink had not got, or nobody without sinks.
        dropped_last: The last such deletion, as a sentence.
    """

    directory: str
    size_bytes: int
    free_bytes: int
    room_bytes: int = 0
    bytes_per_second: float | None = None
    hours_left: float | None = None
    damaged: tuple[str, ...] = ()
    refusal: str = ""
    dropped: int = 0
    dropped_last: str = ""


class ClockHealth(_Part):
    """The clock: how far our UTC is ahead of the system's, the steps it saw, and what the kernel says of it.

    Attributes:
        synchronised: None where the kernel cannot be asked.
        unsynchronised_since_ns: Since when it has not been, as far as we saw.
        estimated_error_ns: How far off the system's clock probably is.
        max_error_ns: How far off it is at most.
    """

    ahead_ns: int
    steps: int
    synchronised: bool | None = None
    unsynchronised_since_ns: int | None = None
    estimated_error_ns: int | None = None
    max_error_ns: int | None = None


class Health(_Part):
    """Everything `ecmo-daq status` shows.

    Attributes:
        stuck: What hangs, so that the watchdog will start the service again.
        failure: Why the daemon could not start; nothing is recorded then.
    """

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
    stuck: tuple[str, ...] = ()
    failure: str = ""

    def is_stale(self, now_ns: int) -> bool:
        """Whether the daemon that wrote it hangs or is gone; one of the future is of before the clock was set back."""
        return abs(now_ns - self.time_ns) > STALE_NS

    def problems(self) -> list[str]:
        """What a person should look at, one sentence each; empty when all is well."""
        found = [f"nothing is recorded, the service cannot start: {self.failure}"] if self.failure else []
        found += self.stuck
        found += [f"device {d.id}: {d.error or 'the link is down'}" for d in self.devices if d.state == "lost"]
        found += [
            f"device {d.id}: the link is open but nothing usable comes" for d in self.devices if d.state == "silent"
        ]
        found += [f"device {d.id}: {d.lost} observations could not be stored" for d in self.devices if d.lost]
        found += [sentence for sink in self.sinks if (sentence := self._trouble(sink))]
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
        since_ns = self.clock.unsynchronised_since_ns
        if since_ns is not None and self.time_ns - since_ns > UNSYNCHRONISED_NS:
            hours = (self.time_ns - since_ns) // 3_600_000_000_000
            found.append(f"clock: the system's has not been synchronised for {hours} h: see chrony, systemd-timesyncd")
        found += [f"service {name}: restarted {count} times" for name, count in self.restarts.items()]
        return found

    def _trouble(self, sink: SinkHealth) -> str:
        failing = sink.state in ("refused", "waiting") or sink.attempts
        why = sink.last_error if failing else ""
        # Whatever it says of itself: what has been waiting for so long, while nothing was taken, will not go by itself.
        since_ns = max(sink.last_success_ns or self.started_ns, sink.oldest_unsent_ns or self.time_ns)
        minutes = (self.time_ns - since_ns) // 60_000_000_000
        if minutes >= STALLED_MIN:
            last = "" if sink.hours_left is None or sink.hours_left > 48 else f", room for {sink.hours_left:.0f} h more"
            told = f": {sink.last_error}" if sink.last_error else ""
            why = f"has taken nothing for {minutes} min, {sink.backlog:,} points wait{last}{told}"
        return f"sink {sink.id}: {why}" if why else ""

    def write(self, path: Path) -> None:
        """Replaces the status file in one step, so that a reader never sees half of it.

        On a full disk the old file is written over, within the space that it has: that is when people look.

        Raises:
            OSError: the file cannot be written.
        """
        text = self.model_dump_json().encode()
        fresh = path.with_name(f".{path.name}.new")
        try:
            fresh.write_bytes(text.ljust((len(text) // _SPACE + 2) * _SPACE))
            fresh.chmod(0o644)  # whatever the umask: it holds no reading and no secret, and anybody may need it
            os.replace(fresh, path)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            fresh.unlink(missing_ok=True)
            if len(text) > path.stat().st_size:
                raise
            with path.open("r+b", buffering=0) as old:
                old.write(text.ljust(path.stat().st_size))

    @classmethod
    def read(cls, path: Path) -> Health:
        """What the daemon wrote last.

        Raises:
            AcquisitionError: there is no such file or it is none of ours.
        """
        try:
            for _ in range(3):  # on a full disk one can meet the daemon in the middle of writing
                with contextlib.suppress(ValidationError):
                    return cls.model_validate_json(path.read_bytes())
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            hint = "is the daemon running with this configuration?"
            raise AcquisitionError(f"{path}: {error.strerror}", hint=hint) from None
        except ValidationError as error:
            raise AcquisitionError(f"{path}: not a status file ({error.error_count()} mistakes)") from None
