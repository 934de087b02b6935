"""Tells parts that get on with their work from parts that hang."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from acquisition.clock import NS


@dataclass(frozen=True, slots=True)
class _Mark:
    mark: Hashable
    since_ns: int
    patience_ns: int


class Progress:
    """What each part showed last, and since when it has been the same."""

    def __init__(self) -> None:
        self._marks: dict[str, _Mark] = {}

    def saw(self, part: str, mark: Hashable, mono_ns: int, patience_s: float) -> None:
        """Notes where a part is.

        Args:
            part: Its name, for people.
            mark: What changes whenever it gets on; None while it has nothing to do, or waits for others with reason.
            mono_ns: Now, monotonic.
            patience_s: How long the mark may stay the same.
        """
        old = self._marks.get(part)
        if old is None or old.mark != mark:
            self._marks[part] = _Mark(mark, mono_ns, round(patience_s * NS))

    def stuck(self, mono_ns: int) -> list[str]:
        """The parts whose mark has been the same for longer than they may be patient, a sentence each."""
        return [
            f"{part} has made no progress for {(mono_ns - each.since_ns) // NS} s"
            for part, each in self._marks.items()
            if each.mark is not None and mono_ns - each.since_ns > each.patience_ns
        ]
