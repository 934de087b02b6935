"""Whose data it is: stay, beds, ECMO runs, consent, covariates and manual measurements (CLINICAL.md section 6.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Consent(StrEnum):
    """On what ground a subject's data is kept, from a time on."""

    NONE = "none"
    EMERGENCY = "emergency"
    SURROGATE = "surrogate"
    PATIENT = "patient"
    WITHDRAWN = "withdrawn"
    OPPOSED = "opposed"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """From a time on, up to and without another; times are UTC nanoseconds.

    Attributes:
        from_ns: When it begins.
        to_ns: When it is over; None: it lasts.
    """

    from_ns: int
    to_ns: int | None = None

    def overlaps(self, other: Interval) -> bool:
        """Whether there is an instant in both."""
        return (other.to_ns is None or self.from_ns < other.to_ns) and (
            self.to_ns is None or other.from_ns < self.to_ns
        )

    def covers(self, time_ns: int) -> bool:
        """Whether the instant lies within."""
        return self.from_ns <= time_ns and (self.to_ns is None or time_ns < self.to_ns)


@dataclass(frozen=True, kw_only=True)
class BedInterval(Interval):
    """A subject in a bed.

    Attributes:
        bed: Code of the bed, as in `[site]` of the configuration.
        devices: Ids of the devices that stood at the bed for this subject; empty: all that the bed has.
    """

    bed: str
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunEvent:
    """Something done to the circuit in the course of a run, such as a change of the oxygenator."""

    time_ns: int
    what: str


@dataclass(frozen=True, kw_only=True)
class Run(Interval):
    """One ECMO run, from cannulation to the removal of the cannulas.

    Attributes:
        configuration: How it is cannulated, such as `fem-fem`; empty: not told.
        reason: Why the cannulas were removed; never whether weaning succeeded, which is known 30 days later.
        elsewhere: Whether it began before the stay, in another place.
        events: What happened to the circuit, in the order of time.
    """

    configuration: str = ""
    reason: str = ""
    elsewhere: bool = False
    events: tuple[RunEvent, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ConsentInterval(Interval):
    """A state of consent; it lasts until the next one begins."""

    state: Consent


@dataclass(frozen=True, kw_only=True)
class Covariate(Interval):
    """What an analysis must know besides the signals, such as `unloading_device` = `iabp`."""

    name: str
    value: str


@dataclass(frozen=True)
class Echo:
    """Values that a person measured.

    Attributes:
        time_ns: When they were measured, not when they were entered.
        uncertainty_ns: How far from that the measurement may have been.
        values: Name to value, in the units of `rules.ECHO_VALUES`.
        snapshot: What the bed's signals were within five minutes of it, frozen; None: the journal could not be read.
        entry: Number of the registry's entry.
    """

    time_ns: int
    uncertainty_ns: int
    values: Mapping[str, float]
    snapshot: Mapping[str, Any] | None
    entry: int


@dataclass(frozen=True)
class Note:
    """Free text of a person at a time of the stay."""

    time_ns: int
    text: str
    actor: str
    entry: int


@dataclass(frozen=True)
class Stay:
    """All that the registry holds to be true of a subject, every correction applied.

    Attributes:
        subject: Study id.
        beds: In the order of time, no two at once; more than one after a transfer or a return.
        runs: ECMO runs, in the order of time.
        randomised_ns: When; the arm is never stored here.
        consent: States of consent without a gap, the last one open.
        covariates: In the order of time.
        echoes: In the order of measurement.
        notes: In the order of time.
        purged: Whether the subject's data was deleted; then there is nothing else here.
    """

    subject: str
    beds: tuple[BedInterval, ...] = ()
    runs: tuple[Run, ...] = ()
    randomised_ns: int | None = None
    consent: tuple[ConsentInterval, ...] = ()
    covariates: tuple[Covariate, ...] = ()
    echoes: tuple[Echo, ...] = ()
    notes: tuple[Note, ...] = ()
    purged: bool = False

    def bed_at(self, time_ns: int) -> BedInterval | None:
        """Where the subject was; None: in no bed that is registered."""
        return next((bed for bed in self.beds if bed.covers(time_ns)), None)

    def consent_at(self, time_ns: int) -> Consent:
        """The state of consent at a time."""
        states = (each.state for each in self.consent if each.covers(time_ns))
        return next(states, Consent.NONE)
