"""What one measurement says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table.

    Attributes:
        what: What was measured, with its load.
        ours: Our figure; None in a row that is a peer's alone.
        unit: Of both figures.
        target: What the design asks for, in words.
        peer: Name of what was measured beside it, if there is such a thing.
        theirs: The peer's figure; None if it was not measured, and then `note` says why.
        note: What the figures alone would not tell.
    """

    what: str
    ours: float | None
    unit: str
    target: str = ""
    peer: str = ""
    theirs: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over theirs."""
        return None if self.ours is None or not self.theirs else self.ours / self.theirs

    @property
    def peer_missing(self) -> bool:
        """Whether there should be a peer's figure and is none."""
        return bool(self.peer) and self.theirs is None
