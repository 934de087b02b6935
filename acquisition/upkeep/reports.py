"""How one device and one sink stand, from the parts that know: what the status says of each."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from acquisition.clock import Clock
from acquisition.config import DeviceConfig
from acquisition.errors import JournalError
from acquisition.forwarder import Forwarder
from acquisition.health import DeviceHealth, JournalHealth, SinkHealth
from acquisition.journal.backlog import SinkBytes
from acquisition.journal.journal import Journal
from acquisition.session import LinkState, Session
from acquisition.upkeep.growth import hours


def device_health(clock: Clock, device: DeviceConfig, session: Session) -> DeviceHealth:
    """What is known of a device: its link, what it says it is, what was made of its bytes, its clock."""
    status, driver, stamper = session.status, session.driver, session.stamper
    silent = stamper.silent_since(clock.now(), driver.period_ns)
    never = status.state is LinkState.OPEN and status.last_reading_ns is None and status.opened > 0
    track = stamper.device_clock.latest
    quiet = status.state is LinkState.OPEN and (silent is not None or never)
    return DeviceHealth(
        id=session.device,
        driver=device.driver,
        link=device.link,
        state="silent" if quiet else status.state.value,
        error=status.error,
        identity=dict(driver.identity),
        last_reading_ns=status.last_reading_ns,
        silent_since_ns=silent,
        frames_good=driver.counters["frames_good"] + driver.counters["blocks_good"],
        frames_bad=driver.counters["frames_bad"],
        frames_late=driver.counters["rejected_late"],
        values=dict(status.values),
        counters={**driver.counters, **stamper.counters},
        flags=dict(stamper.validator.reasons),
        clock_ahead_ns=track.ahead_ns if track else None,
        clock_drift_ppm=track.drift_ppm if track else None,
        gaps=stamper.gaps,
        lost=status.lost,
    )


class _Unsent(NamedTuple):
    """What a sink does not have, as far as the journal could tell last: points, since when, on how much disk."""

    backlog: int = 0
    oldest_ns: int | None = None
    on_disk: SinkBytes = SinkBytes(0, 0)


class SinkReports:
    """Remembers what the journal told last of each sink, for as long as it cannot tell."""

    def __init__(self) -> None:
        self._unsent: dict[str, _Unsent] = {}

    def of(self, forwarder: Forwarder, journal: Journal, disk: JournalHealth) -> SinkHealth:
        """What one sink has and lacks, and how long an outage of it may last.

        Args:
            forwarder: The sink's.
            journal: Asked for its backlog.
            disk: Room and growth.
        """
        status = forwarder.status
        with contextlib.suppress(JournalError):  # the forwarder then says so; these stay as they were
            backlog, oldest_ns = journal.backlog(forwarder.name), journal.oldest_unsent(forwarder.name)
            self._unsent[forwarder.name] = _Unsent(backlog, oldest_ns, journal.sink_bytes(forwarder.name, backlog))
        unsent = self._unsent.get(forwarder.name, _Unsent())
        return SinkHealth(
            id=forwarder.name,
            state=status.state.value,
            delivered=status.delivered,
            backlog=unsent.backlog,
            backlog_bytes=unsent.on_disk.waiting,
            hours_left=hours(disk.room_bytes + unsent.on_disk.had, disk.bytes_per_second),
            oldest_unsent_ns=unsent.oldest_ns,
            points_per_second=status.points_per_second,
            quarantined=status.quarantined,
            last_error=status.last_error,
            last_success_ns=status.last_success_ns,
            attempts=status.attempts,
        )
