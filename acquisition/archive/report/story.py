"""What the registry tells of a run, cut to what the data request may know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from acquisition.archive.episodes.registry import Echo, Run, Stay
from acquisition.archive.episodes.rules import CONFIGURATIONS, RUN_EVENTS
from acquisition.archive.export.blinding import tells
from acquisition.archive.export.request import Request

AROUND = ("ecmo_flow", "ecmo_rpm", "abp_mean", "pp_num")
"""Signals whose frozen medians stand beside an echo."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a time, with the short name that flags it in the pictures."""

    time_ns: int
    flag: str
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """Something that held from a time on, up to another; None: it lasts."""

    what: str
    from_ns: int
    to_ns: int | None
    more: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """An echo: what a person measured, and the medians of the signals in the five minutes around it."""

    flag: str
    time_ns: int
    values: Mapping[str, float]
    around: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Story:
    """What the registry tells, all in the order of time.

    Attributes:
        runs: ECMO runs; `more` has the configuration and why it ended.
        beds: Under the names of the data request.
        randomised_ns: When; never the arm.
        consent: States of consent.
        covariates: Such as an unloading device.
        echoes: Values that a person measured.
        notes: Free text; only where it is asked for.
        marks: All that is flagged in the pictures.
    """

    runs: tuple[Span, ...] = ()
    beds: tuple[Span, ...] = ()
    randomised_ns: int | None = None
    consent: tuple[Span, ...] = ()
    covariates: tuple[Span, ...] = ()
    echoes: tuple[Measured, ...] = ()
    notes: tuple[tuple[int, str], ...] = ()
    marks: tuple[Mark, ...] = ()


def story_of(stay: Stay, request: Request) -> Story:
    """What may be told of a stay."""
    bed = request.pseudonyms.bed
    covariates = tuple(
        Span(each.name.replace("_", " "), each.from_ns, each.to_ns, each.value)
        for each in stay.covariates
        if request.unblinded or not tells(f"{each.name} {each.value}")
    )
    return Story(
        runs=tuple(
            Span(
                f"ECMO run {number}" if len(stay.runs) > 1 else "ECMO run",
                run.from_ns,
                run.to_ns,
                ", ".join(_of_run(run, request)),
            )
            for number, run in enumerate(stay.runs, 1)
        ),
        beds=tuple(Span(bed(each.bed), each.from_ns, each.to_ns) for each in stay.beds),
        randomised_ns=stay.randomised_ns,
        consent=tuple(Span(each.state.value, each.from_ns, each.to_ns) for each in stay.consent),
        covariates=covariates,
        echoes=tuple(_measured(number, echo) for number, echo in enumerate(stay.echoes, 1)),
        notes=tuple((note.time_ns, words) for note in stay.notes if (words := request.text(note.text))),
        marks=tuple(_lettered(sorted(_happened(stay, covariates, request)), stay)),
    )


def _of_run(run: Run, request: Request) -> Iterator[str]:
    if how := request.word(run.configuration, CONFIGURATIONS):
        yield how
    if run.elsewhere:
        yield "begun elsewhere"
    if run.reason:
        yield run.reason


def _happened(stay: Stay, covariates: tuple[Span, ...], request: Request) -> Iterator[tuple[int, str]]:
    several = len(stay.runs) > 1
    for number, run in enumerate(stay.runs, 1):
        name = f"ECMO run {number}" if several else "ECMO"
        yield run.from_ns, f"{name} starts"
        if run.to_ns is not None:
            yield run.to_ns, f"{name} ends"
        for each in run.events:
            yield each.time_ns, (request.word(each.what, RUN_EVENTS) or "circuit event").replace("_", " ")
    if stay.randomised_ns is not None:
        yield stay.randomised_ns, "randomisation"
    for bed in stay.beds[1:]:
        yield bed.from_ns, f"moved to {request.pseudonyms.bed(bed.bed)}"
    for span in covariates:
        yield span.from_ns, f"{span.what}: {span.more}"
        if span.to_ns is not None:
            yield span.to_ns, f"{span.what}: {span.more} ends"


def _lettered(happened: list[tuple[int, str]], stay: Stay) -> Iterator[Mark]:
    """Letters in the order of time, doubled after Z; an echo has its number."""
    for number, (time_ns, text) in enumerate(happened):
        yield Mark(time_ns, chr(65 + number % 26) * (1 + number // 26), text)
    for number, echo in enumerate(stay.echoes, 1):
        yield Mark(echo.time_ns, f"e{number}", f"echo {number}")


def _measured(number: int, echo: Echo) -> Measured:
    around: dict[str, float] = {}
    for channel in (echo.snapshot or {}).get("channels", ()):
        if channel["channel"] in AROUND and "median" in channel:
            around.setdefault(channel["channel"], channel["median"])
    return Measured(f"e{number}", echo.time_ns, echo.values, around)
