"""Whose a reading is, by bed, device and time, and what is nobody's; decided when it is read, never stored with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from acquisition.archive.episodes.model import BedInterval, Interval, Stay


def subject_at(stays: Iterable[Stay], *, bed: str, device: str, time_ns: int) -> str | None:
    """Whose a reading is; None: nobody's that is registered."""
    for stay in stays:
        place = stay.bed_at(time_ns)
        if place is not None and place.bed == bed and _has(place, device):
            return stay.subject
    return None


def assigned(stays: Iterable[Stay], *, bed: str, device: str | None = None) -> list[tuple[BedInterval, str]]:
    """The intervals in which a bed is somebody's, in the order of time, each with the subject.

    Args:
        stays: Of a registry.
        bed: Code of the bed.
        device: Only intervals to which this device belongs; None: any.
    """
    found = [
        (place, stay.subject)
        for stay in stays
        for place in stay.beds
        if place.bed == bed and (device is None or _has(place, device))
    ]
    return sorted(found, key=lambda each: each[0].from_ns)


def unassigned(
    stays: Iterable[Stay], *, bed: str, from_ns: int, to_ns: int, device: str | None = None
) -> Iterator[Interval]:
    """The parts of a window in which what a bed, or one of its devices, says belongs to no episode.

    Args:
        stays: Of a registry.
        bed: Code of the bed.
        from_ns: Begin of the window.
        to_ns: Its end.
        device: None: what is nobody's whatever the device.
    """
    at = from_ns
    for place, _ in assigned(stays, bed=bed, device=device):
        if place.from_ns >= to_ns:
            break
        if place.from_ns > at:
            yield Interval(from_ns=at, to_ns=place.from_ns)
        if place.to_ns is None:
            return
        at = max(at, place.to_ns)
    if at < to_ns:
        yield Interval(from_ns=at, to_ns=to_ns)


def _has(place: BedInterval, device: str) -> bool:
    return not place.devices or device in place.devices
