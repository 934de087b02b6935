from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acquisition.archive.episodes.chain import Action
from acquisition.archive.episodes.file import NAME
from acquisition.archive.episodes.join import subject_at, unassigned
from acquisition.archive.episodes.registry import Consent, Registry, Stay
from acquisition.archive.episodes.writing import Draft, record
from acquisition.errors import ConfigError

T0 = 1_790_000_000_000_000_000
H = 3_600_000_000_000
NOW = T0 + 1000 * H
ONE, TWO = "LEV-03-012", "LEV-03-013"


class Desk:
    """A registry on disk that takes short words."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, action: Action, subject: str, hour: float = 0, **data: Any) -> None:
        key = "time_ns"
        if action in (Action.START, Action.TRANSFER, Action.RUN_START, Action.COVARIATE_START, Action.CONSENT):
            key = "from_ns"
        if action in (Action.STOP, Action.RUN_STOP, Action.COVARIATE_STOP):
            key = "to_ns"
        if action is not Action.AMEND:
            data[key] = T0 + round(hour * H)
        record(self.path, [Draft(action, subject, data)], actor="op", now_ns=NOW)

    @property
    def registry(self) -> Registry:
        return Registry.open(self.path)

    def stay(self, subject: str = ONE) -> Stay:
        return self.registry.stay(subject)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / NAME)


@pytest.fixture
def begun(desk: Desk) -> Desk:
    desk(Action.START, ONE, 0, bed="b1")
    return desk


def hours(*intervals: Any) -> list[tuple[float, float | None]]:
    return [((i.from_ns - T0) / H, None if i.to_ns is None else (i.to_ns - T0) / H) for i in intervals]


def test_a_stay_with_a_transfer_and_a_return_has_its_beds_in_order(begun: Desk) -> None:
    begun(Action.TRANSFER, ONE, 5, bed="b2", devices=["pump"])
    begun(Action.STOP, ONE, 9)
    begun(Action.START, ONE, 20, bed="b1")
    beds = begun.stay().beds
    assert [bed.bed for bed in beds] == ["b1", "b2", "b1"]
    assert hours(*beds) == [(0, 5), (5, 9), (20, None)]
    assert beds[1].devices == ("pump",)


def test_a_stay_may_have_several_runs_and_a_new_oxygenator_is_an_event_of_one(begun: Desk) -> None:
    begun(Action.RUN_START, ONE, 1, configuration="fem-fem")
    begun(Action.RUN_EVENT, ONE, 2, what="oxygenator_change")
    begun(Action.RUN_STOP, ONE, 5, why="weaned")
    begun(Action.RUN_START, ONE, 8)
    runs = begun.stay().runs
    assert hours(*runs) == [(1, 5), (8, None)]
    assert [event.what for event in runs[0].events] == ["oxygenator_change"]
    assert (runs[0].configuration, runs[0].reason, runs[1].events) == ("fem-fem", "weaned", ())


def test_consent_lasts_until_the_next_state_and_may_be_entered_late(begun: Desk) -> None:
    begun(Action.CONSENT, ONE, 30, state="patient")
    begun(Action.CONSENT, ONE, 1, state="emergency")
    assert hours(*begun.stay().consent) == [(1, 30), (30, None)]
    assert begun.stay().consent_at(T0) is Consent.NONE
    assert begun.stay().consent_at(T0 + 2 * H) is Consent.EMERGENCY


def test_two_unloading_devices_may_work_at_once(begun: Desk) -> None:
    begun(Action.COVARIATE_START, ONE, 1, name="unloading_device", value="iabp")
    begun(Action.COVARIATE_START, ONE, 2, name="unloading_device", value="surgical_vent")
    begun(Action.COVARIATE_STOP, ONE, 3, name="unloading_device", value="iabp")
    assert hours(*begun.stay().covariates) == [(1, 3), (2, None)]


def test_a_correction_rewrites_nothing_and_keeps_what_stood_there(begun: Desk) -> None:
    before = begun.path.read_bytes()
    begun(Action.AMEND, "", entry=1, changes={"bed": "b7"}, void=False, reason="typed wrong")
    begun(Action.AMEND, "", entry=1, changes={"bed": "b8"}, void=False, reason="and again")
    assert begun.path.read_bytes().startswith(before)
    assert begun.stay().beds[0].bed == "b8"
    last = begun.registry.entries[-1].data
    assert last is not None
    assert (last["earlier"], last["changes"], last["reason"]) == ({"bed": "b7"}, {"bed": "b8"}, "and again")


def test_an_entry_that_should_never_have_been_is_struck_out(begun: Desk) -> None:
    begun(Action.NOTE, ONE, 1, text="of somebody else")
    begun(Action.AMEND, "", entry=2, changes={}, void=True, reason="wrong subject")
    assert begun.stay().notes == ()
    with pytest.raises(ConfigError, match="struck out"):
        begun(Action.AMEND, "", entry=2, changes={}, void=True, reason="again")


@pytest.mark.parametrize(
    ("action", "subject", "hour", "data", "why"),
    [
        (Action.START, ONE, 2, {"bed": "b2"}, "begins at .* while one is open"),
        (Action.START, TWO, 2, {"bed": "b1"}, "LEV-03-012 and LEV-03-013 would be in it at once"),
        (Action.STOP, ONE, -1, {}, "no stay has begun before its end"),
        (Action.STOP, ONE, 0, {}, "no stay has begun before its end"),
        (Action.STOP, ONE, 2000, {}, "is in the future"),
        (Action.STOP, ONE, -400_000, {}, "to_ns"),
        (Action.RUN_START, ONE, -1, {}, "--elsewhere"),
        (Action.RUN_STOP, ONE, 3, {}, "no ECMO run has begun"),
        (Action.RUN_EVENT, ONE, 3, {"what": "oxygenator_change"}, "at a time of no ECMO run"),
        (Action.RUN_EVENT, ONE, 3, {"what": "oxygen_change"}, "did you mean 'oxygenator_change'"),
        (Action.RANDOMISE, ONE, -1, {}, "randomisation at .* is outside of the stay"),
        (Action.NOTE, ONE, -1, {"text": "x"}, "note at .* is outside of the stay"),
        (Action.ECHO, ONE, 1, {"uncertainty_ns": 0, "values": {}}, "an echo without a value"),
        (Action.ECHO, ONE, 1, {"uncertainty_ns": 0, "values": {"lvef": 120.0}}, "lvef 120 is not possible"),
        (Action.ECHO, ONE, 1, {"uncertainty_ns": 0, "values": {"lvfe": 20.0}}, "did you mean 'lvef'"),
        (Action.CONSENT, ONE, 1, {"state": "maybe"}, "maybe"),
        (Action.COVARIATE_START, ONE, 1, {"name": "unloading_device", "value": "iapb"}, "did you mean 'iabp'"),
        (Action.NOTE, "LEV-03-021", 1, {"text": "x"}, "unknown subject .* did you mean 'LEV-03-012'"),
        (Action.NOTE, ONE, 1, {"text": "born 1.2.1950"}, "may be that of a birth"),
        (Action.NOTE, ONE, 1, {"text": "see 1 50 02 75 116 001"}, "seven digits"),
        (Action.NOTE, ONE, 1, {"text": "on levosimendan"}, "the trial is blind"),
        (Action.RUN_STOP, ONE, 1, {"successfully_weaned": True}, "never computed and never recorded"),
        (Action.RANDOMISE, ONE, 1, {"arm": "A"}, "the arm is never stored"),
        (Action.AMEND, "", 0, {"entry": 1, "changes": {"bed": "x"}, "void": False}, "a correction needs a reason"),
        (Action.AMEND, "", 0, {"entry": 9, "changes": {}, "void": True, "reason": "r"}, "entry 9 is not"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason_and_nothing_is_written(
    begun: Desk, action: Action, subject: str, hour: float, data: dict[str, Any], why: str
) -> None:
    before = begun.path.read_bytes()
    with pytest.raises(ConfigError, match=why):
        begun(action, subject, hour, **data)
    assert begun.path.read_bytes() == before


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("Martin", "looks like a name"),
        ("MARTIN^JEAN", "looks like a name"),
        ("Jean Martin 12", "looks like a name"),
        ("12345678", "looks like a hospital number"),
        ("1 50 02 75", "looks like a name|looks like a hospital number"),
        ("LEV-03-00123456", "looks like a hospital number"),
        ("lev-03-12", "is no study id"),
    ],
)
def test_names_and_hospital_numbers_are_no_subjects_and_are_not_repeated(desk: Desk, given: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        desk(Action.START, given, 0, bed="b1")
    if "study id;" not in str(refused.value):
        assert given not in str(refused.value)
    assert desk.registry.entries == ()


def test_a_stay_cannot_end_before_the_run_in_it(begun: Desk) -> None:
    begun(Action.RUN_START, ONE, 1)
    with pytest.raises(ConfigError, match="ends after the stay"):
        begun(Action.STOP, ONE, 5)
    begun(Action.RUN_STOP, ONE, 4)
    begun(Action.STOP, ONE, 5)


@pytest.mark.parametrize(
    ("action", "subject", "hour", "data", "why"),
    [
        (Action.START, TWO, 4, {"bed": "b1"}, "bed b1: LEV-03-012 and LEV-03-013 would be in it at once"),
        (Action.START, TWO, -5, {"bed": "b1"}, "bed b1: LEV-03-013 and LEV-03-012 would be in it at once"),
        (Action.TRANSFER, TWO, 7, {"bed": "b1"}, "unknown subject .* begin with: ecmo-daq episode start"),
        (Action.START, ONE, 5, {"bed": "b3"}, "a stay begins at .* while one is open since .* in bed b1"),
        (Action.RUN_START, ONE, 3, {}, "an? ECMO run begins at .* while one is open"),
        (Action.RUN_START, ONE, 6, {}, "the ECMO run of .* ends after the stay"),
        (Action.RUN_STOP, ONE, 5, {}, "no ECMO run has begun before its end at .*; one was over at"),
        (Action.RUN_STOP, ONE, 3, {}, "no ECMO run has begun before its end"),
        (Action.COVARIATE_START, ONE, 3, {"name": "rrt"}, "rrt yes begins at .* while one is open"),
        (Action.COVARIATE_STOP, ONE, 7, {"name": "rrt"}, "no rrt yes has begun before its end"),
        (Action.CONSENT, ONE, 2, {"state": "withdrawn"}, "two states of consent begin"),
    ],
)
def test_what_is_entered_late_must_not_overlap_what_is_there(
    begun: Desk, action: Action, subject: str, hour: float, data: dict[str, Any], why: str
) -> None:
    begun(Action.RUN_START, ONE, 2)
    begun(Action.RUN_STOP, ONE, 4)
    begun(Action.COVARIATE_START, ONE, 2, name="rrt")
    begun(Action.COVARIATE_STOP, ONE, 4, name="rrt")
    begun(Action.CONSENT, ONE, 2, state="surrogate")
    begun(Action.STOP, ONE, 8)
    before = begun.path.read_bytes()
    with pytest.raises(ConfigError, match=why):
        begun(action, subject, hour, **data)
    assert begun.path.read_bytes() == before


def test_each_state_of_consent_can_be_entered_and_is_told_apart(begun: Desk) -> None:
    for hour, state in enumerate(Consent):
        begun(Action.CONSENT, ONE, hour, state=state.value)
    assert [interval.state for interval in begun.stay().consent] == list(Consent)
    assert {state.value for state in Consent} == {
        "none", "emergency", "surrogate", "patient", "withdrawn", "opposed"
    }  # fmt: skip


def test_a_correction_that_makes_the_rest_impossible_is_refused(begun: Desk) -> None:
    begun(Action.STOP, ONE, 10)
    begun(Action.START, TWO, 10, bed="b1")
    with pytest.raises(ConfigError, match="would be in it at once"):
        begun(Action.AMEND, "", entry=2, changes={"to_ns": T0 + 11 * H}, void=False, reason="late")
    with pytest.raises(ConfigError, match="would be in it at once"):
        begun(Action.AMEND, "", entry=2, changes={}, void=True, reason="late")


def test_a_second_randomisation_names_the_entry_to_amend(begun: Desk) -> None:
    begun(Action.RANDOMISE, ONE, 1)
    with pytest.raises(ConfigError, match="amend entry 2"):
        begun(Action.RANDOMISE, ONE, 2)


def test_an_unknown_subject_is_answered_with_the_nearest(begun: Desk) -> None:
    with pytest.raises(ConfigError, match="did you mean 'LEV-03-012'"):
        begun.stay("LEV-03-021")


def test_a_reading_is_its_subjects_by_bed_device_and_time(begun: Desk) -> None:
    begun(Action.TRANSFER, ONE, 5, bed="b2", devices=["pump"])
    begun(Action.START, TWO, 6, bed="b1")
    stays = begun.registry.stays()

    def whose(bed: str, device: str, hour: float) -> str | None:
        return subject_at(stays, bed=bed, device=device, time_ns=T0 + round(hour * H))

    assert whose("b1", "mon", 0) == ONE
    assert whose("b1", "mon", 5) is None, "an interval ends before its end"
    assert whose("b1", "mon", 7) == TWO
    assert whose("b2", "pump", 5) == ONE
    assert whose("b2", "mon", 5) is None


def test_what_belongs_to_no_episode_is_unassigned(begun: Desk) -> None:
    begun(Action.STOP, ONE, 5)
    begun(Action.START, TWO, 8, bed="b1", devices=["pump"])
    stays = begun.registry.stays()

    def free(device: str | None) -> list[tuple[float, float | None]]:
        return hours(*unassigned(stays, bed="b1", from_ns=T0 - 2 * H, to_ns=T0 + 20 * H, device=device))

    assert free(None) == [(-2, 0), (5, 8)]
    assert free("pump") == [(-2, 0), (5, 8)]
    assert free("mon") == [(-2, 0), (5, 20)]
    assert hours(*unassigned(stays, bed="b9", from_ns=T0, to_ns=T0 + H)) == [(0, 1)]
