from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from acquisition.archive.episodes.chain import Action
from acquisition.archive.episodes.join import subject_at
from acquisition.archive.episodes.registry import Registry
from acquisition.archive.episodes.writing import Draft, record
from acquisition.errors import ConfigError

T0 = 1_790_000_000_000_000_000
HOUR = 3_600_000_000_000
HOURS = 12
SUBJECTS = ("LEV-03-001", "LEV-03-002", "LEV-03-003")
BEDS = ("b1", "b2")


class AgainstAPlainDict(RuleBasedStateMachine):
    """The model: what was said of each subject, and an hour by hour table of who lies where."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "episodes.jsonl"
        self.said: dict[str, dict[int, tuple[int, int, str]]] = {}
        self.entries = 0

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    @rule(subject=st.sampled_from(SUBJECTS), hour=st.integers(0, HOURS - 1), bed=st.sampled_from(BEDS))
    def start(self, subject: str, hour: int, bed: str) -> None:
        self.try_to(subject, Action.START, (hour, 1, bed), {"from_ns": T0 + hour * HOUR, "bed": bed})

    @rule(subject=st.sampled_from(SUBJECTS), hour=st.integers(0, HOURS - 1))
    def stop(self, subject: str, hour: int) -> None:
        self.try_to(subject, Action.STOP, (hour, 0, ""), {"to_ns": T0 + hour * HOUR})

    @rule(number=st.integers(1, 12), hour=st.integers(0, HOURS - 1))
    def amend_time(self, number: int, hour: int) -> None:
        owner = next((subject for subject, own in self.said.items() if number in own), None)
        if owner is None:
            return
        old, order, bed = self.said[owner][number]
        changed = {**self.said, owner: {**self.said[owner], number: (hour, order, bed)}}
        data = {"entry": number, "void": False, "reason": "r"}
        data["changes"] = {"from_ns" if order else "to_ns": T0 + hour * HOUR}
        self.write(Draft(Action.AMEND, "", data), changed, old != hour and table(changed) is not None)

    @rule(number=st.integers(1, 12))
    def strike(self, number: int) -> None:
        owner = next((subject for subject, own in self.said.items() if number in own), None)
        if owner is None:
            return
        left = {key: value for key, value in self.said[owner].items() if key != number}
        changed = {**self.said, owner: left}
        data = {"entry": number, "void": True, "reason": "r", "changes": {}}
        self.write(Draft(Action.AMEND, "", data), changed, table(changed) is not None)

    def try_to(self, subject: str, action: Action, said: tuple[int, int, str], data: dict[str, object]) -> None:
        own = {**self.said.get(subject, {}), self.entries + 1: said}
        changed = {**self.said, subject: own}
        known = bool(self.said.get(subject)) or action is Action.START
        self.write(Draft(action, subject, data), changed, known and table(changed) is not None)

    def write(self, draft: Draft, changed: dict[str, dict[int, tuple[int, int, str]]], possible: bool) -> None:
        if possible:
            record(self.path, [draft], actor="op", now_ns=T0 + 100 * HOUR)
            self.said, self.entries = changed, self.entries + 1
        else:
            with pytest.raises(ConfigError):
                record(self.path, [draft], actor="op", now_ns=T0 + 100 * HOUR)

    @invariant()
    def every_hour_of_every_bed_is_whose_the_table_says(self) -> None:
        registry = Registry.open(self.path)
        assert len(registry.entries) == self.entries
        assert registry.problems == ()
        expected = table(self.said)
        assert expected is not None
        for bed in BEDS:
            for hour in range(HOURS):
                at = T0 + hour * HOUR + HOUR // 2
                assert subject_at(registry.stays(), bed=bed, device="d", time_ns=at) == expected.get((bed, hour))


def table(said: dict[str, dict[int, tuple[int, int, str]]]) -> dict[tuple[str, int], str] | None:
    """Bed and hour to subject; None if it cannot be."""
    taken: dict[tuple[str, int], str] = {}
    for subject, own in said.items():
        bed, since = "", 0
        for hour, begins, where in [*sorted(own.values()), (HOURS + 1, 0, "")]:
            if begins == bool(bed) and not (hour > HOURS):
                return None
            if begins:
                bed, since = where, hour
                continue
            for each in range(since, hour) if bed else ():
                if (bed, each) in taken:
                    return None
                taken[bed, each] = subject
            bed = ""
    return taken


TestAgainstAPlainDict = AgainstAPlainDict.TestCase
TestAgainstAPlainDict.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
