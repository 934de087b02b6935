"""Puts the answers to one extended poll in order: repetitions go, parts are joined, what never came is counted.

Source: PROTOCOLS.md sections 1.5 and 1.8: answers are numbered, parts of a long one are linked. Whether each part has a
number of its own, and what its count counts, is not said there; so neither is relied on to throw anything away.
"""

from __future__ import annotations

from collections import Counter

from acquisition.wire.intellivue.messages import Result

MOST_PARTS = 64
Answer = tuple[Result, ...]
"""All parts of one answer, in order."""


class Answers:
    """The answers to one extended poll.

    Args:
        after: The monitor's running time of the last answer used, if the poll before this one had any.

    Attributes:
        noted: What was out of the ordinary: `duplicate`, `late`, `linked_incomplete`, `numbering_restarted`.
        missing: Answers that never came; whoever reads it sets it back.
        latest: The monitor's running time of the last answer used.
    """

    def __init__(self, after: int | None = None) -> None:
        self.noted: Counter[str] = Counter()
        self.missing = 0
        self.latest = after
        self._number: int | None = None
        self._parts: list[Result] = []

    def take(self, result: Result) -> list[Answer]:
        """The answers that are complete, or will never be, now that this one or part of one has come."""
        if not self._follows(result):
            return []
        self._number = result.sequence
        if self.latest is None or _signed(result.relative - self.latest, 32) > 0:
            self.latest = result.relative
        if result.first:
            done = self.rest()
        else:
            done = []
            if not self._parts or result.part != ((self._parts[-1].part or 0) + 1) % 256:
                self.noted["linked_incomplete"] += 1
        self._parts.append(result)
        if result.last or len(self._parts) >= MOST_PARTS:
            done.append(tuple(self._parts))
            self._parts = []
        return done

    def rest(self) -> list[Answer]:
        """An answer whose last part never came; what it says is true all the same."""
        if not self._parts:
            return []
        self.noted["linked_incomplete"] += 1
        done, self._parts = [tuple(self._parts)], []
        return done

    def _follows(self, result: Result) -> bool:
        if result in self._parts:
            self.noted["duplicate"] += 1
            return False
        old = self.latest is not None and _signed(result.relative - self.latest, 32) <= 0
        if self._number is None:
            self.noted["duplicate"] += old
            return not old
        step = _signed((result.sequence or 0) - self._number, 16)
        if step > 0:
            self.missing += step - 1
            return True
        if step == 0 and self._parts and not result.first:
            return True
        if old:
            self.noted["late" if step else "duplicate"] += 1
            return False
        self.noted["numbering_restarted"] += 1
        return True


def _signed(difference: int, bits: int) -> int:
    half = 1 << bits - 1
    return (difference + half) % (2 * half) - half
