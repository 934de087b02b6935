"""One line of what the doctor says: what was looked at, how it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a line says."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line; whatever is not well says what to do."""

    verdict: Verdict
    what: str
    todo: str = ""

    def __str__(self) -> str:
        """As it is shown."""
        return f"{self.verdict:4}  {self.what}" + (f": {self.todo}" if self.todo else "")


def ok(what: str) -> Finding:
    """All is well with it."""
    return Finding(Verdict.OK, what)


def warn(what: str, todo: str) -> Finding:
    """Works, but not for ever or not as well as it could."""
    return Finding(Verdict.WARN, what, todo)


def fail(what: str, todo: str) -> Finding:
    """Does not work."""
    return Finding(Verdict.FAIL, what, todo)
