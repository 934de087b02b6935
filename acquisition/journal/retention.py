"""What goes from the disk, and in which order: a pure plan over the day files (decision 0011)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """How much of a day file goes."""

    WAVEFORMS = "waveforms"
    ALL = "everything"


class Why(StrEnum):
    """What asks for it."""

    AGE = "age"
    QUOTA = "quota"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much disk the journal may take.

    Attributes:
        quota_bytes: Of all day files together; None is no bound.
        min_free_bytes: What must stay free on the disk.
        keep_days: Days after which a delivered day file goes, if there are files of as many newer days; None keeps it
            until the space is needed.
    """

    quota_bytes: int | None = None
    min_free_bytes: int = 0
    keep_days: int | None = None

    def overdraft(self, used: int, free: int) -> int:
        """Bytes that must be given back; not positive while all is well."""
        beyond = used - self.quota_bytes if self.quota_bytes is not None else -free
        return max(beyond, self.min_free_bytes - free)


@dataclass(frozen=True, slots=True)
class DayFile:
    """What the plan knows of one day file.

    Attributes:
        name: Of the file, beginning with its UTC day.
        size: Bytes on the disk, log included; of the present day's file without the pages that it will use again.
        waveform_bytes: Estimate of what its waveforms take; 0 if they cannot go alone.
        acknowledged: There are sinks, and all of them have every block.
        present: The daemon writes its day.
    """

    name: str
    size: int
    waveform_bytes: int
    acknowledged: bool
    present: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        name: Of the file.
        part: How much of it goes.
        why: What asks for it.
        need: Bytes that were missing before this step.
    """

    name: str
    part: Part
    why: Why
    need: int = 0


def plan(files: Sequence[DayFile], limits: Limits, *, free: int, cutoff: str | None, sinks: bool) -> list[Step]:
    """What to do, in order.

    By age goes what is older than `cutoff`, unless a sink still wants it. The newest `keep_days` days of which there
    are files stay all the same: a clock that is years ahead, and has written so already, must not empty the journal.
    At the quota go, oldest first each: files that every sink has, waveforms, files. Of the present day only waveforms
    go.

    Args:
        files: Oldest first.
        limits: How much disk the journal may take.
        free: Bytes free on the disk, and pages that the present day's file will use again.
        cutoff: Days before this one are too old; None if no age is.
        sinks: Whether there are any.
    """
    days = sorted({_day(each) for each in files})
    young = days[-limits.keep_days :] if limits.keep_days else []
    aged = [each for each in files if _day(each) not in young and _aged(each, cutoff, sinks=sinks)]
    steps = [Step(each.name, Part.ALL, Why.AGE) for each in aged]
    rest = [each for each in files if each not in aged]
    need = limits.overdraft(sum(each.size for each in rest), free + sum(each.size for each in aged))
    for each, part, gain in _candidates(rest):
        if need <= 0:
            break
        steps.append(Step(each.name, part, Why.QUOTA, need))
        need -= gain
    return steps


def _day(file: DayFile) -> str:
    return file.name[:10]


def _aged(file: DayFile, cutoff: str | None, *, sinks: bool) -> bool:
    return cutoff is not None and file.name < cutoff and not file.present and (file.acknowledged or not sinks)


def _candidates(files: Sequence[DayFile]) -> Iterator[tuple[DayFile, Part, int]]:
    delivered = [each for each in files if each.acknowledged and not each.present]
    wanted = [each for each in files if each not in delivered]
    for each in delivered:
        yield each, Part.ALL, each.size
    for each in wanted:
        if each.waveform_bytes:
            yield each, Part.WAVEFORMS, each.waveform_bytes
    for each in wanted:
        if not each.present:
            yield each, Part.ALL, each.size - each.waveform_bytes
