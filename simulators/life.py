"""A patient who lives through a scenario: interventions take effect to the step, slow ones bit by bit."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from simulators.physiology import Patient
from simulators.physiology.patient import SETTLE_S
from simulators.scenario import Intervention, Scenario

RAMP_STEP_S = 0.1
GRAIN_S = 1e-9


@dataclass(frozen=True, slots=True)
class Ramp:
    """A number on its way.

    Attributes:
        name: Of the condition.
        begin_s: When it set off.
        over_s: How long it takes.
        first: Where it set off.
        last: Where it goes.
    """

    name: str
    begin_s: float
    over_s: float
    first: float
    last: float

    def at(self, time_s: float) -> float:
        """Where it is."""
        part = (time_s - self.begin_s) / self.over_s
        return self.last if part >= 1.0 - GRAIN_S else self.first + (self.last - self.first) * part


class Life:
    """One run of a scenario.

    Args:
        scenario: What happens.

    Attributes:
        patient: To whom.
        time_s: Scenario time that has passed.
        off: Devices that are switched off at this moment.
        happened: Interventions so far.
        clock_set_s: By how much somebody has set the clock of a device forward.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.patient = Patient(scenario.phenotype, seed=scenario.seed, conditions=scenario.conditions())
        self.time_s = 0.0
        self.off: set[str] = set()
        self.happened: list[Intervention] = []
        self.clock_set_s: dict[str, float] = {}
        self._coming = list(scenario.interventions)
        self._ramps: list[Ramp] = []
        self._begin_due()

    @property
    def over(self) -> bool:
        """Whether the scenario has come to its end."""
        return self.time_s >= self.scenario.duration_s - GRAIN_S

    def advance(self, seconds: float) -> None:
        """Lets time pass, beyond the end of the scenario if need be."""
        end = self.time_s + seconds
        while self.time_s < end - GRAIN_S:
            until = end
            if self._ramps:
                until = min(until, self.time_s + RAMP_STEP_S)
            if self._coming:
                until = min(until, max(self._coming[0].at_s, self.time_s))
            self.patient.advance(until - self.time_s)
            self.time_s = until
            self._move_ramps()
            self._begin_due()

    def _begin_due(self) -> None:
        while self._coming and self._coming[0].at_s <= self.time_s + GRAIN_S:
            self._begin(self._coming.pop(0))

    def _begin(self, what: Intervention) -> None:
        self.happened.append(what)
        now = self.patient.conditions
        for name, value in what.conditions.items():
            self._ramps = [ramp for ramp in self._ramps if ramp.name != name]
            if what.over_s and isinstance(value, float):
                self._ramps.append(Ramp(name, what.at_s, what.over_s, getattr(now, name), value))
            else:
                setattr(now, name, value)
        if what.drug:
            self.patient.levosimendan_s = self.time_s + SETTLE_S
        self.off = (self.off | set(what.off)) - set(what.on)
        for device, by in what.clock_s.items():
            self.clock_set_s[device] = self.clock_set_s.get(device, 0.0) + by

    def _move_ramps(self) -> None:
        for ramp in self._ramps:
            setattr(self.patient.conditions, ramp.name, ramp.at(self.time_s))
        self._ramps = [ramp for ramp in self._ramps if self.time_s < ramp.begin_s + ramp.over_s - GRAIN_S]

    def state(self) -> dict[str, object]:
        """Everything that is true at this moment, as the ground truth has it."""
        values = {**self.patient.numerics(), **self.patient.hidden(), "levosimendan": self.patient.levosimendan_gain}
        return {
            "values": {name: round(value, 4) for name, value in values.items()},
            "conditions": asdict(self.patient.conditions),
            "off": sorted(self.off),
        }
