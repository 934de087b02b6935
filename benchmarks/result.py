"""What one measurement says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table.

    Attributes:
        what: What was measured, with its load.
        ours: Our figure.
        unit: Of both figures.
        target: What the design asks for, in words.
        peer: Name of what was measured beside it, if there is such a thing.
        theirs: The peer's figure.
    """

    what: str
    ours: float
    unit: str
    target: str = ""
    peer: str = ""
    theirs: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours over theirs."""
        return None if not self.theirs else self.ours / self.theirs
