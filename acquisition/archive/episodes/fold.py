"""What the entries of the registry amount to: each stay with corrections applied, and what cannot be true."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from acquisition.archive.episodes.chain import Action, Entry
from acquisition.archive.episodes.model import (
    BedInterval,
    Consent,
    ConsentInterval,
    Covariate,
    Echo,
    Interval,
    Note,
    Run,
    RunEvent,
    Stay,
)
from acquisition.clock import rfc3339

_END = 2**63 - 1


class Fact(NamedTuple):
    """An entry as it stands now, every amendment applied."""

    entry: Entry
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Folded:
    """The state of a registry.

    Attributes:
        stays: Subject to stay; purged subjects too.
        facts: Number of the entry to what it says now; entries that were struck out or purged are not here.
        problems: What cannot be true, one sentence each; empty in a registry that only this program wrote.
    """

    stays: Mapping[str, Stay]
    facts: Mapping[int, Fact]
    problems: tuple[str, ...]


class _Mark(NamedTuple):
    """The beginning or the end of an interval; at the same time, an end comes first."""

    time_ns: int
    begins: bool
    number: int
    data: Mapping[str, Any]


class _Span(NamedTuple):
    from_ns: int
    to_ns: int | None
    first: Mapping[str, Any]
    last: Mapping[str, Any]


def fold(entries: Iterable[Entry]) -> Folded:
    """The state that the entries of one chain amount to."""
    facts: dict[int, Fact] = {}
    purged: set[str] = set()
    for entry in entries:
        if entry.action is Action.PURGE:
            purged.add(entry.subject)
            facts = {number: fact for number, fact in facts.items() if fact.entry.subject != entry.subject}
        elif entry.data is not None and entry.action is Action.AMEND:
            _amend(facts, entry.data)
        elif entry.data is not None:
            facts[entry.number] = Fact(entry, entry.data)
    problems: list[str] = []
    stays = {subject: Stay(subject, purged=True) for subject in purged}
    by_subject: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in facts.values():
        by_subject[fact.entry.subject].append(fact)
    for subject, own in by_subject.items():
        stay = _Folder(subject, own, problems).stay()
        stays[subject] = stay
        problems += _impossible(stay)
    problems += _shared_beds(stays.values())
    return Folded(stays, facts, tuple(problems))


def _amend(facts: dict[int, Fact], data: Mapping[str, Any]) -> None:
    target = facts.pop(data["entry"], None)
    if target is not None and not data["void"]:
        facts[data["entry"]] = Fact(target.entry, {**target.data, **data["changes"]})


class _Folder:
    """Builds one subject's stay; what does not fit goes into `problems`."""

    def __init__(self, subject: str, facts: Sequence[Fact], problems: list[str]) -> None:
        self._subject = subject
        self._facts = facts
        self._problems = problems

    def stay(self) -> Stay:
        beds = self._spans("stay", self._marks((Action.START, Action.TRANSFER), (Action.STOP, Action.TRANSFER)))
        return Stay(
            self._subject,
            beds=tuple(
                BedInterval(
                    from_ns=span.from_ns, to_ns=span.to_ns, bed=span.first["bed"], devices=tuple(span.first["devices"])
                )
                for span in beds
            ),
            runs=tuple(self._runs()),
            randomised_ns=self._randomised(),
            consent=tuple(self._consent()),
            covariates=tuple(sorted(self._covariates(), key=lambda each: (each.from_ns, each.name, each.value))),
            echoes=tuple(
                Echo(
                    data["time_ns"], data["uncertainty_ns"], dict(data["values"]), data["snapshot"], entry.number
                )
                for entry, data in self._timed(Action.ECHO)
            ),
            notes=tuple(
                Note(data["time_ns"], data["text"], entry.actor, entry.number)
                for entry, data in self._timed(Action.NOTE)
            ),
        )  # fmt: skip

    def _runs(self) -> Iterator[Run]:
        happened = [RunEvent(data["time_ns"], data["what"]) for _, data in self._timed(Action.RUN_EVENT)]
        placed = 0
        for span in self._spans("ECMO run", self._marks((Action.RUN_START,), (Action.RUN_STOP,))):
            interval = Interval(from_ns=span.from_ns, to_ns=span.to_ns)
            within = tuple(event for event in happened if interval.covers(event.time_ns))
            placed += len(within)
            yield Run(
                from_ns=span.from_ns,
                to_ns=span.to_ns,
                configuration=span.first["configuration"],
                reason=span.last.get("why", ""),
                elsewhere=span.first["elsewhere"],
                events=within,
            )
        if placed < len(happened):
            self._problems.append(f"{self._subject}: something happened to the circuit at a time of no ECMO run")

    def _randomised(self) -> int | None:
        found = self._timed(Action.RANDOMISE)
        if len(found) > 1:
            self._problems.append(
                f"{self._subject} is already randomised, at {rfc3339(found[0].data['time_ns'])}; "
                f"amend entry {found[0].entry.number} if that is wrong"
            )
        return found[0].data["time_ns"] if found else None

    def _consent(self) -> Iterator[ConsentInterval]:
        found = self._timed(Action.CONSENT)
        ends = [*(fact.data["from_ns"] for fact in found[1:]), None][: len(found)]
        for (_, data), end in zip(found, ends, strict=True):
            if end == data["from_ns"]:
                self._problems.append(f"{self._subject}: two states of consent begin at {rfc3339(end)}")
            yield ConsentInterval(from_ns=data["from_ns"], to_ns=end, state=Consent(data["state"]))

    def _covariates(self) -> Iterator[Covariate]:
        keys = {
            (data["name"], data["value"]): None
            for entry, data in self._facts
            if entry.action in (Action.COVARIATE_START, Action.COVARIATE_STOP)
        }
        for name, value in keys:
            marks = self._marks((Action.COVARIATE_START,), (Action.COVARIATE_STOP,))
            own = [mark for mark in marks if (mark.data["name"], mark.data["value"]) == (name, value)]
            for span in self._spans(f"{name} {value}", own):
                yield Covariate(from_ns=span.from_ns, to_ns=span.to_ns, name=name, value=value)

    def _timed(self, action: Action) -> list[Fact]:
        own = [fact for fact in self._facts if fact.entry.action is action]
        return sorted(own, key=lambda fact: (_time(fact.data), fact.entry.number))

    def _marks(self, begin: Sequence[Action], end: Sequence[Action]) -> list[_Mark]:
        ends = [_Mark(_time(data), False, entry.number, data) for entry, data in self._facts if entry.action in end]
        begins = [_Mark(_time(data), True, entry.number, data) for entry, data in self._facts if entry.action in begin]
        return sorted([*ends, *begins], key=lambda mark: mark[:3])

    def _spans(self, what: str, marks: Iterable[_Mark]) -> Iterator[_Span]:
        opened: _Mark | None = None
        stopped: _Mark | None = None
        for mark in marks:
            when = rfc3339(mark.time_ns, 0)
            if mark.begins and opened is not None:
                self._problems.append(
                    f"{self._subject}: a {what} begins at {when} while one is open since "
                    f"{rfc3339(opened.time_ns, 0)}{_place(opened.data)} (entry {opened.number})"
                )
            elif mark.begins:
                opened, stopped = mark, None
            elif opened is None:
                told = f"; one was over at {rfc3339(stopped.time_ns, 0)} (entry {stopped.number})" if stopped else ""
                self._problems.append(f"{self._subject}: no {what} has begun before its end at {when}{told}")
            else:
                yield _Span(opened.time_ns, mark.time_ns, opened.data, mark.data)
                opened, stopped = None, mark
        if opened is not None:
            yield _Span(opened.time_ns, None, opened.data, {})


def _time(data: Mapping[str, Any]) -> int:
    for key in ("from_ns", "to_ns", "time_ns"):
        if key in data:
            return int(data[key])
    raise KeyError("time_ns")


def _place(data: Mapping[str, Any]) -> str:
    return f" in bed {data['bed']}" if "bed" in data else ""


def _impossible(stay: Stay) -> Iterator[str]:
    """What of a stay does not fit its own beds."""
    name = stay.subject
    if not stay.beds:
        yield f"{name} has no stay; start one first (ecmo-daq episode start)"
        return
    begin, last = stay.beds[0].from_ns, stay.beds[-1].to_ns
    end = _END if last is None else last
    since, until = rfc3339(begin, 0), "now" if last is None else rfc3339(last, 0)
    stay_is = f"the stay is from {since} to {until}"
    for run in stay.runs:
        when = rfc3339(run.from_ns, 0)
        if run.from_ns < begin and not run.elsewhere:
            yield f"{name}: an ECMO run begins at {when}, and {stay_is}; say so if it began elsewhere (--elsewhere)"
        if run.from_ns >= end or (run.to_ns is not None and run.to_ns <= begin):
            yield f"{name}: the ECMO run of {when} is outside of the stay: {stay_is}"
        elif last is not None and (run.to_ns is None or run.to_ns > last):
            yield f"{name}: the ECMO run of {when} ends after the stay: {stay_is}"
    outer = min([begin, *(run.from_ns for run in stay.runs)])
    times = [("randomisation", stay.randomised_ns, outer)]
    times += [("echo", echo.time_ns, begin) for echo in stay.echoes]
    times += [("note", note.time_ns, begin) for note in stay.notes]
    for what, time_ns, earliest in times:
        if time_ns is not None and not earliest <= time_ns <= end:
            yield f"{name}: {what} at {rfc3339(time_ns, 0)} is outside of the stay: {stay_is}"
    whole = Interval(from_ns=begin, to_ns=last)
    for each in stay.covariates:
        if not each.overlaps(whole):
            when = rfc3339(each.from_ns, 0)
            yield f"{name}: {each.name} {each.value} of {when} is outside of the stay: {stay_is}"


def _shared_beds(stays: Iterable[Stay]) -> Iterator[str]:
    taken: defaultdict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for stay in stays:
        for bed in stay.beds:
            taken[bed.bed].append((bed.from_ns, _END if bed.to_ns is None else bed.to_ns, stay.subject))
    for bed_code, intervals in taken.items():
        for (_, end, one), (begin, _, other) in pairwise(sorted(intervals)):
            if begin < end:
                yield f"bed {bed_code}: {one} and {other} would be in it at once, at {rfc3339(begin, 0)}"
