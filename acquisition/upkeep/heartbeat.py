"""Feeds systemd's watchdog while sessions, journal and forwarders make progress, and says in a line how the bed is.

A server that cannot be reached is no reason for a restart, nor is a silent device: only what should get on and hangs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from acquisition.clock import Clock
from acquisition.forwarder import Forwarder, ForwarderState
from acquisition.health import Health
from acquisition.journal.journal import Journal
from acquisition.session import LinkState, Session
from acquisition.upkeep.notify import notify, watchdog_s
from acquisition.upkeep.progress import Progress

logger = logging.getLogger(__name__)

READY_S = 10.0
"""Ready at the latest, though a link is still being opened."""
JOURNAL_S = 30.0
"""As long as systemd itself is patient, where it says so: a disk that hangs is known after twice that."""
SESSION_S = 120.0
"""A shared line with many silent devices takes its time."""
FORWARDER_S = 120.0
"""On top of what the sink itself may take."""
_LINE = 300


class Heartbeat:
    """Beats about once a second.

    Args:
        sessions: Whose links are real: a trace carries its own time.
        forwarders: Each with the longest time of one delivery in seconds.
        journal: Asked for a sign of life of the thread that writes.
        clock: The daemon's.
    """

    def __init__(
        self, sessions: Sequence[Session], forwarders: Mapping[Forwarder, float], journal: Journal, clock: Clock
    ) -> None:
        self._sessions = sessions
        self._forwarders = forwarders
        self._journal = journal
        self._clock = clock
        self._journal_s = watchdog_s() or JOURNAL_S
        self._began_ns = clock.now().mono_ns
        self._ready = False
        self._progress = Progress()
        self._sign: asyncio.Future[None] | None = None
        self._signs = 0
        self._complaint = False

    def beat(self, health: Health | None) -> list[str]:
        """Tells systemd how things are.

        Args:
            health: As it was written last.

        Returns:
            What hangs; the watchdog is fed only when that is nothing.
        """
        now_ns = self._clock.now().mono_ns
        self._look(now_ns)
        stuck = self._progress.stuck(now_ns)
        if stuck and not self._complaint:
            logger.critical("%s; systemd will start the service again", "; ".join(stuck))
        self._complaint = bool(stuck)
        lines = [f"STATUS={_line(health, stuck)}"] if health is not None else []
        if not self._ready and (self._opened() or now_ns - self._began_ns > READY_S * 1e9):
            self._ready = True
            lines.append("READY=1")
        notify(*lines, *([] if stuck else ["WATCHDOG=1"]))
        return stuck

    def _opened(self) -> bool:
        """Every link has been tried: from then on all devices that are there are polled."""
        return all(session.status.state is not LinkState.OPENING for session in self._sessions)

    def _look(self, now_ns: int) -> None:
        if self._sign is None or self._sign.done():
            self._signs += 1
            self._sign = self._journal.sign_of_life()
        self._progress.saw("the journal's writer", self._signs, now_ns, self._journal_s)
        for session in self._sessions:
            deadline = session.driver.deadline if session.status.state is LinkState.OPEN else None
            overdue = deadline if deadline is not None and deadline < now_ns else None
            self._progress.saw(f"device {session.device}", overdue, now_ns, SESSION_S)
        for forwarder, longest_s in self._forwarders.items():
            mark = self._mark(forwarder)
            self._progress.saw(f"the forwarder to {forwarder.name}", mark, now_ns, FORWARDER_S + 2 * longest_s)

    def _mark(self, forwarder: Forwarder) -> tuple[object, ...] | None:
        status = forwarder.status
        waiting = status.backoff_until_ns is not None and status.backoff_until_ns > self._clock.now().utc_ns
        nothing = status.state is ForwarderState.IDLE and status.cursor >= self._journal.last_seq
        if waiting or nothing:
            return None
        return (status.state, status.delivered, status.quarantined, status.attempts, status.cursor)


def _line(health: Health, stuck: Sequence[str]) -> str:
    """One line for `systemctl status`."""
    connected = sum(device.state in ("open", "silent") for device in health.devices)
    told = [f"{connected} of {len(health.devices)} devices connected"]
    told += [f"{sink.id} {sink.backlog:,} points behind" for sink in health.sinks if sink.backlog > 1000]
    problems = [*stuck, *health.problems()]
    if problems:
        told.append(f"{len(problems)} need{'s' * (len(problems) == 1)} a person: {problems[0]}")
    line = "; ".join(told).replace("\n", " ")
    return line if len(line) <= _LINE else line[: _LINE - 1] + "…"
