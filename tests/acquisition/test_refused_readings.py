"""Readings that the journal did not take are a gap with the cause quota."""

from __future__ import annotations

import pytest

from acquisition.catalogue import Catalogue
from acquisition.clock import NS, Instant, from_rfc3339
from acquisition.driver import Notice, Reading
from acquisition.model import Event, EventKind, Observation
from acquisition.stamping import Stamper

T0 = from_rfc3339("2026-01-01T00:00:00Z")


def at(seconds: float) -> Instant:
    return Instant(T0 + round(seconds * NS), round(seconds * NS))


@pytest.fixture
def stamper() -> Stamper:
    stamper = Stamper("pump", Catalogue.shipped())
    stamper.stamp([Reading({"ecmo_flow": 3.0})], at(0))
    return stamper


def gaps(observations: list[Observation]) -> list[tuple[str, float, float]]:
    return [
        (each.detail["cause"], (each.detail["from_ns"] - T0) / NS, (each.detail["to_ns"] - T0) / NS)
        for each in observations
        if isinstance(each, Event) and each.event is EventKind.GAP
    ]


def test_one_refused_reading_is_a_gap_however_short(stamper: Stamper) -> None:
    stamper.refused(stamper.stamp([Reading({"ecmo_flow": 3.1})], at(1)), "disk full")
    after = stamper.stamp([Reading({"ecmo_flow": 3.2})], at(2))
    assert gaps(after) == [("quota", 1.0, 2.0)]
    assert [each.text for each in after if isinstance(each, Event)] == ["no readings for 1.0 s: disk full"]
    assert gaps(stamper.stamp([Reading({"ecmo_flow": 3.3})], at(3))) == []


def test_a_gap_that_is_refused_itself_is_told_again_from_the_same_beginning_and_counted_once(stamper: Stamper) -> None:
    for second in range(1, 10):
        stamper.refused(stamper.stamp([Reading({"ecmo_flow": 3.1})], at(second)), "disk full")
    assert gaps(stamper.stamp([Reading({"ecmo_flow": 3.2})], at(10))) == [("quota", 1.0, 10.0)]
    assert stamper.gaps == 1


def test_a_silence_whose_gap_was_refused_begins_where_the_silence_began(stamper: Stamper) -> None:
    stamper.refused(stamper.stamp([Reading({"ecmo_flow": 3.1})], at(60)), "disk full")
    assert gaps(stamper.stamp([Reading({"ecmo_flow": 3.2})], at(61))) == [("quota", 0.0, 61.0)]


def test_a_refused_event_alone_is_no_gap(stamper: Stamper) -> None:
    stamper.refused(stamper.stamp([Notice(EventKind.ALARM, "low flow", {})], at(1)), "disk full")
    assert gaps(stamper.stamp([Reading({"ecmo_flow": 3.2})], at(2))) == []
