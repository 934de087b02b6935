"""Which readings are meant: a subject's beds and times by the registry, or one bed from a time to a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from acquisition.archive.chunk import Window
from acquisition.archive.episodes.registry import Registry, Stay
from acquisition.clock import rfc3339
from acquisition.errors import ConfigError

EVER = 2**63 - 1


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
    """The times that a subject was in some bed, cut to the asked window and bed.

    Raises:
        ConfigError: nobody of that id, one whose data was deleted, or no time is left.
    """
    stay = registry.stay(subject)
    if stay.purged:
        raise ConfigError([f"{subject}: the data of this subject was deleted"])
    _in_order(from_ns, to_ns)
    windows = tuple(
        Window(
            each.bed, max(from_ns, each.from_ns), min(to_ns, EVER if each.to_ns is None else each.to_ns), each.devices
        )
        for each in stay.beds
        if bed is None or each.bed == bed
    )
    left = tuple(window for window in windows if window.length_ns > 0)
    if not left:
        where = ", ".join(
            f"{each.bed} from {rfc3339(each.from_ns)} to {'now' if each.to_ns is None else rfc3339(each.to_ns)}"
            for each in stay.beds
        )
        raise ConfigError([f"{subject}: was not there then (was in {where or 'no bed'})"])
    return Scope(subject, left, stay)


def of_bed(bed: str | None, *, from_ns: int = 0, to_ns: int = EVER) -> Scope:
    """One bed from a time to a time; None is whatever bed the source holds.

    Raises:
        ConfigError: the window is empty.
    """
    _in_order(from_ns, to_ns)
    return Scope(bed or "bed", (Window(bed, from_ns, to_ns),))


def one_bed(scope: Scope, bed: str | None) -> None:
    """Refuses to read the beds of a subject who was moved from one journal whose bed is not known.

    Raises:
        ConfigError: that would happen.
    """
    if bed is None and len(scope.beds) > 1:
        beds = ", ".join(scope.beds)
        raise ConfigError([f"{scope.label} was in {beds}, and a journal is of one bed: give --config, or --bed"])


def _in_order(from_ns: int, to_ns: int) -> None:
    if from_ns >= to_ns:
        raise ConfigError([f"the range is empty: from {rfc3339(from_ns)} to {rfc3339(to_ns)}"])


def devices_of(window: Window, asked: Iterable[str] | None) -> frozenset[str] | None:
    """Devices that are both at the subject's bed and asked for; None: all."""
    if asked is None:
        return frozenset(window.devices) or None
    return frozenset(asked) & frozenset(window.devices) if window.devices else frozenset(asked)
