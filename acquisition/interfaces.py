"""What the session needs of a link and the forwarder of a destination: Transport, Floor and Sink."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

from acquisition.model import Observation

Prepared = TypeVar("Prepared")


class Transport(Protocol):
    """A link to one device: bytes, split anywhere. Entering opens it, leaving closes it; it can be entered again.

    `__aenter__` raises TransportError when the link cannot be opened, with what the operator can do as hint.
    """

    async def __aenter__(self) -> Self:
        """Opens the link; a listener is open as soon as it listens.

        Raises:
            TransportError: port missing, refused, no permission, in use.
        """
        ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the link; never raises and never blocks for long."""
        ...

    async def receive(self, timeout_s: float | None) -> bytes:
        """The next bytes; empty when `timeout_s` has passed without any. A UDP datagram comes as one piece.

        Raises:
            TransportError: the link was lost; a listener's peer has gone.
            LinkEndedError: there will never be more (a trace is over).
        """
        ...

    async def send(self, data: bytes) -> None:
        """Hands bytes to the link in the order of the calls.

        Raises:
            TransportError: the link was lost.
        """
        ...

    async def aclose(self) -> None:
        """Gives up what outlives a conversation, such as a listener's port; the link is not entered again."""
        ...

    @property
    def peer(self) -> str:
        """Who is at the other end, for people: a path, an address and port."""
        ...


class Floor(Protocol):
    """The right to speak on a line that several devices share."""

    async def claim(self) -> None:
        """Returns when no other device speaks; until `release` none will."""
        ...

    def release(self) -> None:
        """Lets the next device speak; nothing if it was not claimed."""
        ...


class Sink(Protocol[Prepared]):
    """A destination. It delivers a whole batch now or says why not; it never buffers and never retries.

    Delivering a batch twice is harmless. `Prepared` is a batch in the form in which it goes over the line.
    """

    async def __aenter__(self) -> Self:
        """Prepares to deliver; does not need the server to be there, and raises nothing."""
        ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes connections."""
        ...

    def prepare(self, observations: Sequence[Observation]) -> Prepared:
        """The batch as `deliver` wants it; pure, for any thread, before the sink is entered too."""
        ...

    async def deliver(self, prepared: Prepared) -> None:
        """Returns when the server has said that it has the whole batch.

        Raises:
            SinkUnavailableError: the same batch again, later.
            SinkRefusedError: likewise, but a person must mend token, bucket or rights first.
            SinkTooLargeError: a smaller batch.
            SinkRejectedError: something in the batch will never be taken.
        """
        ...
