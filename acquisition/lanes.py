"""What a sink has of the journal, and which part it gets next: the newest and the oldest take turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

LIVE_NS = 2_000_000_000
"""What is no older than this is live."""

LATE_NS = 10_000_000_000
"""A live lane that is further behind than this leaves what it missed to the backlog."""

MAX_AHEAD = 16
"""Spans kept apart ahead of the cursor; there is one more after every outage that falls into a drain."""


class Span(NamedTuple):
    """The blocks with `after < seq <= upto`."""

    after: int
    upto: int

    def __bool__(self) -> bool:
        return self.upto > self.after


@dataclass(frozen=True, slots=True)
class Progress:
    """What a sink has.

    Attributes:
        cursor: Everything up to here.
        ahead: And these, in ascending order; something that it has not lies before each.
    """

    cursor: int = 0
    ahead: tuple[Span, ...] = ()

    def having(self, *spans: Span) -> Progress:
        """The progress once these are delivered too, in whatever order and however they overlap."""
        cursor, ahead = self.cursor, list[Span]()
        for span in sorted(span for span in (*self.ahead, *spans) if span):
            if span.after <= cursor:
                cursor = max(cursor, span.upto)
            elif ahead and span.after <= ahead[-1].upto:
                ahead[-1] = Span(ahead[-1].after, max(ahead[-1].upto, span.upto))
            else:
                ahead.append(span)
        return Progress(cursor, tuple(ahead))


@dataclass(frozen=True, slots=True)
class End:
    """Where the journal ends.

    Attributes:
        last: Number of the last block.
        live: Last block before what is live; see `LIVE_NS`.
        late: Last block that is older than `LATE_NS`.
    """

    last: int
    live: int
    late: int


class Turn(StrEnum):
    """Whose turn it is, if both lanes have something to send."""

    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class Lanes:
    """Decides what is read next; each batch that leaves some of the backlog behind it gives the turn to the newest."""

    progress: Progress = field(default_factory=Progress)
    turn: Turn = Turn.OLDEST

    def next_span(self, end: End) -> Span:
        """What to read from; false if the sink has everything up to the end."""
        return (self.turn is Turn.NEWEST and self._newest(end)) or self._oldest(end)

    def delivered(self, asked: Span, upto: int) -> Lanes:
        """How it goes on once the first blocks of `asked`, up to and with `upto`, are delivered."""
        some_is_left = asked.after == self.progress.cursor and upto < asked.upto
        progress = self.progress.having(Span(asked.after, upto))
        return Lanes(progress, Turn.NEWEST if some_is_left else Turn.OLDEST)

    def _oldest(self, end: End) -> Span:
        cursor, ahead = self.progress.cursor, self.progress.ahead
        return Span(cursor, min(end.last, ahead[0].after) if ahead else end.last)

    def _newest(self, end: End) -> Span | None:
        """None if everything that is live comes with the oldest anyway, or is delivered."""
        cursor, ahead = self.progress.cursor, self.progress.ahead
        if not ahead:
            return Span(end.live, end.last) if end.live > cursor else None
        after = ahead[-1].upto
        if after < end.late and len(ahead) < MAX_AHEAD:
            after = end.live
        return Span(after, end.last) or None
