"""Puts what a sink rejected to it once more, after a person has mended the cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from acquisition.errors import SinkRejectedError, SinkTooLargeError
from acquisition.interfaces import Sink
from acquisition.journal.cursors import Quarantined
from acquisition.journal.quarantine import Quarantine, observation_of

AT_ONCE = 500
"""Entries of one delivery; a batch in which the sink rejects something is halved until that stands alone."""


@dataclass(slots=True)
class Outcome:
    """What became of the entries so far."""

    taken: int = 0
    rejected: int = 0


async def resend(quarantine: Quarantine, entries: Sequence[Quarantined], sink: Sink[Any], outcome: Outcome) -> None:
    """Delivers each entry once: what is taken is struck off at once, what is rejected stays with its new reason.

    They are not appended to the journal again: there they still are, and a second copy would be another reading. The
    point that the sink writes is the very one it rejected, with its own time, so that a repetition writes over itself.

    Args:
        quarantine: Where the entries are.
        entries: All of the one sink.
        sink: Already entered.
        outcome: Counts, also when this ends with an error.

    Raises:
        SinkUnavailableError: the sink cannot be reached; the entries that are left stay as they are.
        JournalError: the quarantine cannot be written; what was delivered stays listed, and may be delivered again.
    """
    pieces = [entries[begin : begin + AT_ONCE] for begin in range(0, len(entries), AT_ONCE)][::-1]
    while pieces:
        piece = pieces.pop()
        try:
            await sink.deliver(sink.prepare([observation_of(entry) for entry in piece]))
        except (SinkRejectedError, SinkTooLargeError) as error:
            if len(piece) > 1:
                middle = len(piece) // 2
                pieces += [piece[middle:], piece[:middle]]
            else:
                quarantine.renew(piece[0], str(error))
                outcome.rejected += 1
        else:
            for entry in piece:
                quarantine.strike_off(entry)
            outcome.taken += len(piece)
