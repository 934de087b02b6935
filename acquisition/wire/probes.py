"""Probes of a half-duplex line: reads whose answer proves that no reply to an earlier request is still on its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, count

from acquisition.errors import ConfigError
from acquisition.wire.modbus import Read


class Probes:
    """Says which probe to send, from one doubt about the line to the next.

    A line delivers in order, so an answer vouches for all that was asked before its probe. Within one doubt nothing
    but the same probe is sent, and the answer to any of them will do. The next doubt has the other probe: answers to
    probes of the last one may still be on their way, behind polls that came after.

    Args:
        polls: What is read, at least one.
        asked: The two to use, if any; by default the beginning of a block, or more than a block has.

    Raises:
        ConfigError: those asked for will not do.
    """

    def __init__(self, polls: Sequence[Read], asked: Sequence[Read] = ()) -> None:
        self.both = _pair(polls, asked)
        self._turn = 0
        self._tries = 0
        self._loose: int | None = None

    def next(self) -> Read:
        """The probe to send now."""
        self._tries += 1
        return self.both[self._turn]

    def settle(self) -> None:
        """The doubt is over."""
        self._loose = self._turn if self._tries > 1 else None
        self._turn, self._tries = 1 - self._turn, 0

    def restart(self) -> None:
        """The link was opened again: the first probe's turn, unless answers to it may still come."""
        self._turn = 1 if self._loose == 0 else 0


def _pair(polls: Sequence[Read], asked: Sequence[Read]) -> tuple[Read, Read]:
    """Two reads whose replies can be taken neither for a reply to any poll nor for one to the other."""
    shapes = {poll.shape for poll in polls}
    if asked:
        first, second = asked
        if shapes & {first.shape, second.shape} or first.shape == second.shape:
            raise ConfigError(["probe: the two replies must differ in length from each other and from every poll's"])
        return first, second
    shorter = (replace(poll, count=n) for poll in polls for n in range(1, poll.count))
    longer = (replace(polls[0], count=n) for n in count(polls[0].count + 1))
    free = (read for read in chain(shorter, longer) if read.shape not in shapes)
    first = next(free)
    return first, next(read for read in free if read.shape != first.shape)
