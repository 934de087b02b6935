"""What is not there, in a sentence: channels that nothing recorded, times without readings, beds of other journals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from acquisition.archive.chunk import Window
from acquisition.archive.export.blinding import CHANNELS
from acquisition.archive.question import Question
from acquisition.archive.scope import EVER, Scope
from acquisition.archive.source import JournalSource, Source
from acquisition.clock import rfc3339
from acquisition.errors import ConfigError
from acquisition.mistakes import nearest


def nothing(source: Source, question: Question) -> ConfigError:
    """Why there is no answer: what was never recorded, or else from when to when there are readings.

    Raises:
        AcquisitionError: the source cannot be read.
    """
    if unheard := list(never_recorded(source, question)):
        return ConfigError(unheard)
    beds = dict.fromkeys(window.bed for window in question.scope.windows)
    held = [found for bed in beds if (found := source.extent(Window(bed, 0, EVER))) is not None]
    if not held:
        return ConfigError([f"{_who(question.scope)}: there are no readings at all; is this the right place?"])
    first, last = min(each.from_ns for each in held), max(each.to_ns for each in held)
    ends = f"the first of all is of {rfc3339(first)}, the last of {rfc3339(last - 1)}"
    return ConfigError([f"{_who(question.scope)}: there are no readings in that time, of that quality ({ends})"])


def never_recorded(source: Source, question: Question) -> Iterator[str]:
    """Each asked channel and device that the source does not have, with the nearest that it has.

    Raises:
        AcquisitionError: the source cannot be read.
    """
    series = {
        each
        for window in question.scope.windows
        for each in source.series(window)
        if question.unblinded or each.channel not in CHANNELS
    }
    for kind, asked, known in (
        ("channel", question.channels, {each.channel for each in series}),
        ("device", question.devices, {each.device for each in series}),
    ):
        if known:
            yield from (
                f"{_who(question.scope)}: no {kind} {name!r} was recorded{nearest(name, known)}"
                for name in sorted((asked or set()) - known)
            )


def elsewhere(source: Source, windows: Iterable[Window]) -> list[str]:
    """Beds of these windows that are not the journal's; a database has all."""
    beds = (
        dict.fromkeys(window.bed or "" for window in windows if not source.holds(window))
        if isinstance(source, JournalSource)
        else {}
    )
    return list(beds)


def told_elsewhere(source: Source, scope: Scope) -> str:
    """What to say of a subject of whom another journal has a part; nothing if this one has all."""
    beds = elsewhere(source, scope.windows)
    if not beds or len(beds) == len(scope.beds):
        return ""
    also = f"{scope.label} was also in {', '.join(beds)}, and what was recorded there is not in this journal"
    return f"{also}: read it from the journal of that bed, or all of it from an InfluxDB"


def _who(scope: Scope) -> str:
    return scope.label if scope.stay is not None or scope.beds else "this journal"
