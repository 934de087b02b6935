"""What events and registry say beside the readings: clocks, identities of devices, and the subject's episode."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from acquisition.archive.episodes.model import Echo
from acquisition.archive.episodes.registry import Stay
from acquisition.archive.episodes.rules import CONFIGURATIONS, RUN_EVENTS
from acquisition.archive.export.axis import Axis
from acquisition.archive.export.blinding import tells
from acquisition.archive.export.request import Request
from acquisition.archive.export.side import Row
from acquisition.catalogue import Catalogue
from acquisition.model import Event, EventKind

BEFORE = (EventKind.CLOCK, EventKind.DAEMON, EventKind.IDENTITY)
"""Of these the last one before a time still holds then."""
_NAMED = ("make", "model", "serial", "firmware", "software")
_SHOWN = frozenset({"make", "model", "firmware", "software"})
"""What is said of a device under new names: nothing that one device alone has."""


def still_true(events: Iterable[Event]) -> list[Event]:
    """Of events before a time those that tell of a state: the clock's synchronisation, version, identities."""
    last: dict[tuple[str, EventKind], Event] = {}
    for event in events:
        if event.event is EventKind.CLOCK and "synchronised" not in event.detail:
            continue
        if event.event is EventKind.DAEMON and "version" not in event.detail:
            continue
        last[event.device, event.event] = event
    return list(last.values())


def clock(events: Iterable[Event], axis: Axis, subject: str, request: Request) -> Iterator[Row]:
    """Offset and drift of each device's clock against the host's, and whether and how well the host's was synchronised.

    Args:
        events: Of the subject's time.
        axis: Time line.
        subject: As named in the data set.
        request: What is wanted.
    """
    for event in events:
        if event.event is EventKind.CLOCK:
            detail = event.detail
            device = request.pseudonyms.device(event.device)
            track = (*(_seconds(detail.get(key)) for key in ("ahead_ns", "uncertainty_ns", "by_ns")),)
            errors = (_seconds(detail.get(key)) for key in ("estimated_error_ns", "max_error_ns"))
            synchronised = str(detail.get("synchronised", "")).lower()
            yield (
                subject, device, axis.told(event.time_ns), track[0], detail.get("drift_ppm"), *track[1:], synchronised,
                *errors,
            )  # fmt: skip


def identities(events: Iterable[Event], axis: Axis, subject: str, request: Request) -> Iterator[Row]:
    """What each device said it is, from then on; under new names without what one device alone has."""
    for event in events:
        told = event.detail.get("identity")
        if event.event is not EventKind.IDENTITY or not isinstance(told, Mapping):
            continue
        shown = {key: text for key, text in told.items() if not request.pseudonyms.active or key in _SHOWN}
        other = {key: text for key, text in shown.items() if key not in _NAMED}
        device = request.pseudonyms.device(event.device)
        named = [shown.get(key, "") for key in _NAMED]
        yield subject, device, axis.told(event.time_ns), *named, _json(other) if other else ""


def episodes(stay: Stay, axis: Axis, subject: str, request: Request) -> Iterator[Row]:
    """All that the registry holds true of a subject, one fact a row; the arm is never there."""
    for row in _facts(stay, axis, request):
        yield subject, *row, *[""] * (7 - len(row))


def _facts(stay: Stay, axis: Axis, request: Request) -> Iterator[Row]:
    told, names = axis.told, request.pseudonyms
    for bed in stay.beds:
        yield "bed", told(bed.from_ns), told(bed.to_ns), names.bed(bed.bed), ""
    if stay.randomised_ns is not None:
        yield "randomisation", told(stay.randomised_ns), "", "", ""
    for number, run in enumerate(stay.runs, 1):
        yield (
            "ecmo_run",
            told(run.from_ns),
            told(run.to_ns),
            f"run {number}",
            request.word(run.configuration, CONFIGURATIONS),
        )
        if run.reason:
            yield "ecmo_run_end", told(run.to_ns), "", f"run {number}", run.reason
        for each in run.events:
            yield "circuit_event", told(each.time_ns), "", f"run {number}", request.word(each.what, RUN_EVENTS)
    for consent in stay.consent:
        yield "consent", told(consent.from_ns), told(consent.to_ns), consent.state.value, ""
    for covariate in stay.covariates:
        if request.unblinded or not tells(f"{covariate.name} {covariate.value}"):
            yield "covariate", told(covariate.from_ns), told(covariate.to_ns), covariate.name, covariate.value
    for echo in stay.echoes:
        yield from _echo(echo, axis, request)
    for note in stay.notes:
        if words := request.text(note.text):
            yield "note", told(note.time_ns), "", request.pseudonyms.person(note.actor), words


def _echo(echo: Echo, axis: Axis, request: Request) -> Iterator[Row]:
    """What was measured, then what the bed's signals were around it as they were frozen when it was entered."""
    unit = Catalogue.shipped().unit
    at = axis.told(echo.time_ns)
    for name, value in echo.values.items():
        yield "echo", at, "", name, value, unit(name), _json({"uncertainty_s": echo.uncertainty_ns / 1e9})
    if echo.snapshot is None:
        yield "echo_snapshot", at, "", "none", ""
        return
    frozen = echo.snapshot
    begin, end = axis.told(frozen["from_ns"]), axis.told(frozen["to_ns"])
    # Of the readings under their own names and times, so that it would be a way back to them.
    proof = {} if request.pseudonyms.active else {"sha256": frozen["sha256"]}
    yield "echo_snapshot", begin, end, "readings", frozen["readings"], "", _json({"measured": at, **proof})
    for signal in frozen["channels"]:
        if not request.wants(signal["channel"]):
            continue
        figures = {key: each for key, each in signal.items() if key not in ("device", "channel", "unit", "median")}
        name = f"{signal['channel']}@{request.pseudonyms.device(signal['device'])}"
        yield "echo_signal", begin, end, name, signal.get("median", ""), signal["unit"], _json(figures)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _seconds(nanoseconds: object) -> float | None:
    return nanoseconds / 1e9 if isinstance(nanoseconds, int) else None
