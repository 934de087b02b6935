"""Stores what each device says it is, when it first says it and whenever that changes, so that an export can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from acquisition.clock import Clock, Instant
from acquisition.health import told
from acquisition.model import Event, EventKind


class _Driver(Protocol):
    @property
    def identity(self) -> Mapping[str, str]: ...


class _Stamper(Protocol):
    def event(self, kind: EventKind, text: str, detail: Mapping[str, object], instant: Instant) -> Event: ...


class Told(Protocol):
    """What is asked of a session."""

    @property
    def device(self) -> str:
        """Configured id."""
        ...

    @property
    def driver(self) -> _Driver:
        """Has the identity."""
        ...

    @property
    def stamper(self) -> _Stamper:
        """Makes the event."""
        ...


class IdentityWatch:
    """To be asked about once a second.

    Args:
        sessions: One for each device whose time is the daemon's.
        clock: The daemon's.
        store: Takes events; the future fails if they are not safe, and then they are told again.
    """

    def __init__(
        self, sessions: Sequence[Told], clock: Clock, store: Callable[[Sequence[Event]], asyncio.Future[None]]
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._store = store
        self._known: dict[str, dict[str, str]] = {}

    def look(self) -> None:
        """Stores an event for each device that has said something new of itself."""
        for session in self._sessions:
            identity = {key: text for key, text in session.driver.identity.items() if text}
            if identity and identity != self._known.get(session.device):
                self._known[session.device] = identity
                text = f"the device says it is {told(identity)}"
                detail = {"identity": identity}
                event = session.stamper.event(EventKind.IDENTITY, text, detail, self._clock.now())
                self._store([event]).add_done_callback(partial(self._stored, session.device))

    def _stored(self, device: str, future: asyncio.Future[None]) -> None:
        if not future.cancelled() and future.exception() is not None:
            self._known.pop(device, None)
