"""Which readings are meant: a subject's beds and times by the registry, or one bed from a time to a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from acquisition.archive.chunk import Window
from acquisition.archive.episodes.registry import Consent, ConsentInterval, Registry, Stay
from acquisition.clock import rfc3339
from acquisition.errors import ConfigError

EVER = 2**63 - 1
WITHDRAWN = (Consent.WITHDRAWN, Consent.OPPOSED)
"""States of consent in which nothing is read; of who is opposed in the end, nothing of before either."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is asked for.

    Attributes:
        label: Study id of the subject, or the name of the bed.
        windows: Where and when, in the order of time; not empty.
        stay: What the registry says of the subject; None where a bed was asked for.
    """

    label: str
    windows: tuple[Window, ...]
    stay: Stay | None = None

    @property
    def beds(self) -> tuple[str, ...]:
        """Each bed once, in the order of time."""
        return tuple(dict.fromkeys(window.bed for window in self.windows if window.bed is not None))


def of_subject(
    registry: Registry, subject: str, *, from_ns: int = 0, to_ns: int = EVER, bed: str | None = None
) -> Scope:
    """The times that a subject was in some bed and had not withdrawn consent, cut to the asked window and bed.

    Raises:
        ConfigError: nobody of that id, one whose data was deleted or must not be used, or no time is left.
    """
    stay = registry.stay(subject)
    if stay.purged:
        raise ConfigError([f"{subject}: the data of this subject was deleted"])
    if stay.consent and stay.consent[-1].state is Consent.OPPOSED:
        since = rfc3339(stay.consent[-1].from_ns)
        raise ConfigError([f"{subject}: is opposed to any use of the data, since {since} (ecmo-daq episode purge)"])
    _in_order(from_ns, to_ns)
    windows = [
        Window(
            each.bed, max(from_ns, each.from_ns), min(to_ns, EVER if each.to_ns is None else each.to_ns), each.devices
        )
        for each in stay.beds
        if bed is None or each.bed == bed
    ]
    there = [window for window in windows if window.length_ns > 0]
    left = tuple(part for window in there for part in _consented(window, stay))
    if there and not left:
        raise ConfigError([told_withdrawn(stay) + ", and nothing is left of that time"])
    if not left:
        where = ", ".join(
            f"{each.bed} from {rfc3339(each.from_ns)} to {'now' if each.to_ns is None else rfc3339(each.to_ns)}"
            for each in stay.beds
        )
        raise ConfigError([f"{subject}: was not there then (was in {where or 'no bed'})"])
    return Scope(subject, left, _told_with_consent(stay))


def told_withdrawn(stay: Stay | None) -> str:
    """What to say of a subject whose consent was withdrawn; nothing of others."""
    times = [
        f"from {rfc3339(each.from_ns)} to {'now' if each.to_ns is None else rfc3339(each.to_ns)}"
        for each in _withdrawn(stay)
    ]
    return f"{stay.subject}: without consent {' and '.join(times)}: left out" if stay is not None and times else ""


def _withdrawn(stay: Stay | None) -> list[ConsentInterval]:
    return [each for each in stay.consent if each.state in WITHDRAWN] if stay is not None else []


def _consented(window: Window, stay: Stay) -> Iterator[Window]:
    """The window without the times in which consent was withdrawn."""
    begin = window.from_ns
    for each in _withdrawn(stay):
        end = min(window.to_ns, each.from_ns)
        if begin < end:
            yield replace(window, from_ns=begin, to_ns=end)
        begin = max(begin, EVER if each.to_ns is None else each.to_ns)
    if begin < window.to_ns:
        yield replace(window, from_ns=begin)


def _told_with_consent(stay: Stay) -> Stay:
    """The stay without what people measured and wrote while consent was withdrawn."""
    gone = _withdrawn(stay)
    return replace(
        stay,
        echoes=tuple(each for each in stay.echoes if not any(one.covers(each.time_ns) for one in gone)),
        notes=tuple(each for each in stay.notes if not any(one.covers(each.time_ns) for one in gone)),
        covariates=tuple(each for each in stay.covariates if not any(one.covers(each.from_ns) for one in gone)),
    )


def of_bed(bed: str | None, *, from_ns: int = 0, to_ns: int = EVER) -> Scope:
    """One bed from a time to a time; None is whatever bed the source holds.

    Raises:
        ConfigError: the window is empty.
    """
    _in_order(from_ns, to_ns)
    return Scope(bed or "bed", (Window(bed, from_ns, to_ns),))


def one_bed(registry: Registry, bed: str | None) -> None:
    """Refuses to take one journal, whose bed nobody told, for that of a subject, where there are more beds than one.

    Raises:
        ConfigError: there are.
    """
    beds = sorted({each.bed for stay in registry.stays() for each in stay.beds})
    if bed is None and len(beds) > 1:
        told = "and a journal is of one bed: give --config, or --bed"
        raise ConfigError([f"the registry tells of the beds {', '.join(beds)}, {told}"])


def _in_order(from_ns: int, to_ns: int) -> None:
    if from_ns >= to_ns:
        raise ConfigError([f"the range is empty: from {rfc3339(from_ns)} to {rfc3339(to_ns)}"])


def devices_of(window: Window, asked: Iterable[str] | None) -> frozenset[str] | None:
    """Devices that are both at the subject's bed and asked for; None: all."""
    if asked is None:
        return frozenset(window.devices) or None
    return frozenset(asked) & frozenset(window.devices) if window.devices else frozenset(asked)
