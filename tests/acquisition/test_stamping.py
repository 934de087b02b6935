from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from acquisition.catalogue import Catalogue
from acquisition.clock import NS, Instant, from_rfc3339
from acquisition.driver import Emission, Notice, Reading, Samples, WallTime
from acquisition.model import Event, EventKind, GapCause, Numerics, Observation, Quality, State, Waveform
from acquisition.sample_clock import TOLERANCE_NS
from acquisition.stamping import TICK_NS, Stamper

T0 = from_rfc3339("2026-01-01T00:00:00Z")


def at(seconds: float) -> Instant:
    return Instant(T0 + round(seconds * NS), round(seconds * NS))


@pytest.fixture
def stamper() -> Stamper:
    return Stamper("mon", Catalogue.shipped(), zone=ZoneInfo("Europe/Paris"))


def numerics(observations: list[Observation]) -> list[Numerics]:
    return [o for o in observations if isinstance(o, Numerics)]


def gaps(observations: list[Observation]) -> list[Event]:
    return [o for o in observations if isinstance(o, Event) and o.event is EventKind.GAP]


def test_a_reading_is_stamped_with_the_host_time_of_its_receipt(stamper: Stamper) -> None:
    (reading,) = stamper.stamp([Reading({"abp_mean": 70.0})], at(1.5))
    assert reading == Numerics(
        device="mon", time_ns=T0 + 1_500_000_000, values={"abp_mean": 70.0}, quality={"abp_mean": Quality.GOOD}
    )


def test_two_readings_of_one_instant_never_share_a_timestamp(stamper: Stamper) -> None:
    first, second = numerics(stamper.stamp([Reading({"hr": 80.0}), Reading({"hr": 81.0})], at(0)))
    (third,) = numerics(stamper.stamp([Reading({"hr": 82.0})], at(0)))
    assert [o.time_ns - T0 for o in (first, second, third)] == [0, TICK_NS, 2 * TICK_NS]


def test_pulse_pressure_rides_with_its_inputs_and_takes_their_worst_quality(stamper: Stamper) -> None:
    states = {"abp_sys": State.QUESTIONABLE}
    (plain,) = numerics(stamper.stamp([Reading({"abp_sys": 91.0, "abp_dia": 66.0})], at(0)))
    (flagged,) = numerics(stamper.stamp([Reading({"abp_sys": 91.0, "abp_dia": 66.0}, states)], at(1)))
    assert (plain.values["pp_num"], plain.quality["pp_num"]) == (25.0, Quality.GOOD)
    assert "pp_num" not in flagged.values


def test_diastolic_above_systolic_gives_a_bad_pulse_pressure_not_a_missing_one(stamper: Stamper) -> None:
    (odd,) = numerics(stamper.stamp([Reading({"abp_sys": 60.0, "abp_dia": 66.0})], at(0)))
    assert (odd.values["pp_num"], odd.quality["pp_num"]) == (-6.0, Quality.BAD)


@pytest.mark.parametrize(
    ("wall", "host", "expected"),
    [
        (WallTime(2026, 1, 1, 1, 0, 5), at(0), "2026-01-01T01:00:05+01:00"),
        (WallTime(2026, 1, 1, 0, 0, 5, 250_000_000, 0), at(0), "2026-01-01T00:00:05.250+00:00"),
        (WallTime(2026, 13, 1), at(0), None),
    ],
)
def test_the_devices_own_time_is_kept_with_an_offset(
    stamper: Stamper, wall: WallTime, host: Instant, expected: str | None
) -> None:
    (reading,) = numerics(stamper.stamp([Reading({"hr": 80.0}, device_time=wall)], host))
    assert reading.device_time == expected


@pytest.mark.parametrize(("host", "offset"), [("2026-10-25T00:30:00Z", "+02:00"), ("2026-10-25T01:30:00Z", "+01:00")])
def test_in_the_hour_that_comes_twice_the_one_nearer_to_the_host_is_meant(
    stamper: Stamper, host: str, offset: str
) -> None:
    wall = WallTime(2026, 10, 25, 2, 30)
    (reading,) = numerics(stamper.stamp([Reading({"hr": 80.0}, device_time=wall)], Instant(from_rfc3339(host), 0)))
    assert reading.device_time == f"2026-10-25T02:30:00{offset}"


def test_a_silence_becomes_a_gap_with_the_first_cause_noted(stamper: Stamper) -> None:
    stamper.stamp([Reading({"hr": 80.0})], at(0))
    stamper.blame(GapCause.LINK_LOST, "reset by peer")
    stamper.blame(GapCause.PORT_ABSENT, "no such port")
    (gap,) = gaps(stamper.stamp([Reading({"hr": 80.0})], at(20)))
    assert gap.detail == {"cause": "link_lost", "from_ns": T0, "to_ns": T0 + 20 * NS}
    assert not gaps(stamper.stamp([Reading({"hr": 80.0})], at(21)))


def test_a_silence_without_a_noted_cause_is_a_device_that_sent_nothing(stamper: Stamper) -> None:
    stamper.stamp([Reading({"hr": 80.0})], at(0))
    (gap,) = gaps(stamper.stamp([Reading({"hr": 80.0})], at(5.1)))
    assert gap.detail["cause"] == "cable_or_no_bytes"


def test_a_slow_device_is_allowed_three_of_its_periods(stamper: Stamper) -> None:
    stamper.stamp([Reading({"hr": 80.0})], at(0), 10 * NS)
    assert not gaps(stamper.stamp([Reading({"hr": 80.0})], at(30), 10 * NS))
    assert gaps(stamper.stamp([Reading({"hr": 80.0})], at(60.1), 10 * NS))


def test_after_a_restart_the_gap_reaches_back_to_what_the_journal_has(stamper: Stamper) -> None:
    stamper.resume(T0, GapCause.DAEMON_DOWN, "killed")
    gap, reading = stamper.stamp([Reading({"hr": 80.0})], at(60))
    assert isinstance(gap, Event)
    assert (gap.detail["cause"], gap.detail["from_ns"]) == ("daemon_down", T0)
    assert isinstance(reading, Numerics)


def test_nothing_is_stamped_before_what_the_journal_already_has(stamper: Stamper) -> None:
    stamper.resume(T0 + 10 * NS, GapCause.DAEMON_DOWN, "killed")
    emissions: list[Emission] = [Reading({"hr": 80.0}), Samples("wf_abp", np.arange(125, dtype=np.int32), 8_000_000)]
    for observation in stamper.stamp(emissions, at(3)):
        assert observation.time_ns > T0 + 10 * NS


def test_missing_blocks_of_a_stream_become_a_gap_of_that_channel(stamper: Stamper) -> None:
    def block(second: int) -> Samples:
        return Samples("wf_abp", np.full(125, 80, dtype=np.int32), 8_000_000, start=WallTime(2026, 1, 1, 1, 0, second))

    stamper.stamp([block(0)], at(1))
    gap, wave = stamper.stamp([block(3)], at(4))
    assert isinstance(gap, Event)
    assert (gap.detail["channel"], gap.detail["cause"]) == ("wf_abp", "blocks_missing")
    assert gap.detail["to_ns"] - gap.detail["from_ns"] == 2 * NS
    assert isinstance(wave, Waveform)
    assert wave.time_ns == T0 + 3 * NS


@pytest.mark.parametrize("ppm", [150, -150])
def test_samples_of_a_device_whose_crystal_drifts_stay_with_the_host(stamper: Stamper, ppm: int) -> None:
    counts, last_ns = np.arange(80, 205, dtype=np.int32), 0
    for number in range(4000):
        instant = Instant(T0 + number * NS + number * NS * ppm // 1_000_000, number)
        (wave,) = stamper.stamp([Samples("wf_abp", counts, 8_000_000)], instant)
        assert isinstance(wave, Waveform)
        assert wave.time_ns > last_ns
        assert abs(wave.end_ns - instant.utc_ns) < TOLERANCE_NS + NS // 50
        last_ns = wave.end_ns - wave.period_ns


def test_samples_of_two_rates_of_one_channel_never_change_places(stamper: Stamper) -> None:
    def block(period_ns: int, second: float) -> Waveform:
        counts = np.arange(80, 205, dtype=np.int32)
        found = stamper.stamp([Samples("wf_abp", counts, period_ns)], at(second))
        return next(each for each in found if isinstance(each, Waveform))

    quick, slow = block(8_000_000, 1), block(80_000_000, 1.5)
    assert slow.time_ns > quick.end_ns - quick.period_ns


def test_a_running_time_of_a_device_says_nothing_about_its_clock(stamper: Stamper) -> None:
    counts = np.arange(80, 205, dtype=np.int32)
    for second in range(1500):
        block = Samples("wf_abp", counts, 8_000_000, start=second * NS)
        (wave,) = stamper.stamp([block], at(second + 1))  # no event that tells of a clock
        assert wave.time_ns == T0 + second * NS
    assert stamper.device_clock.latest is None


@pytest.mark.parametrize("lost_s", [2, 20])
@pytest.mark.parametrize("first", [[], [Reading({"hr": 80.0})]])
def test_a_hole_in_a_wave_has_the_cause_of_what_broke_however_shortly(
    stamper: Stamper, lost_s: int, first: list[Emission]
) -> None:
    def block() -> Samples:
        return Samples("wf_abp", np.arange(80, 205, dtype=np.int32), 8_000_000, after_gap=True)

    stamper.stamp([block()], at(1))
    stamper.blame(GapCause.LINK_LOST, "reset by peer")
    stamper.stamp(first, at(1.5 + lost_s))
    (gap,) = (each for each in gaps(stamper.stamp([block()], at(2 + lost_s))) if "channel" in each.detail)
    assert (gap.detail["cause"], gap.detail["to_ns"] - gap.detail["from_ns"]) == ("link_lost", lost_s * NS)
    (gap,) = gaps(stamper.stamp([block()], at(5 + lost_s)))
    assert gap.detail["cause"] == "blocks_missing"


def test_a_block_that_comes_again_is_stored_once_and_counted(stamper: Stamper) -> None:
    block = Samples("wf_abp", np.full(125, 80, dtype=np.int32), 8_000_000, start=WallTime(2026, 1, 1, 1, 0, 1))
    assert len(stamper.stamp([block], at(1))) == 1
    assert stamper.stamp([block], at(1.2)) == []
    assert stamper.counters == {"blocks_repeated": 1}


def test_a_waveform_keeps_the_devices_counts(stamper: Stamper) -> None:
    counts = np.array([800, 805, -(2**31)], dtype=np.int32)
    (wave,) = stamper.stamp([Samples("wf_abp", counts, 8_000_000, 0.1)], at(1))
    assert isinstance(wave, Waveform)
    assert wave.counts.tolist() == counts.tolist()
    assert wave.samples[:2].tolist() == [80.0, 80.5]
    assert np.isnan(wave.samples[2])


def test_samples_in_the_hosts_future_are_suspect(stamper: Stamper) -> None:
    qualities = []
    for second in range(8):
        block = Samples(
            "wf_abp", np.arange(80, 120, dtype=np.int32), 25_000_000, start=WallTime(2026, 1, 1, 1, 0, second)
        )
        (wave,) = stamper.stamp([block], at(second / 100))
        assert isinstance(wave, Waveform)
        qualities.append(wave.quality)
    assert qualities == [Quality.GOOD] * 4 + [Quality.SUSPECT] * 4


def test_a_notice_becomes_an_event_of_the_device(stamper: Stamper) -> None:
    (event,) = stamper.stamp([Notice(EventKind.ALARM, "low flow", {"code": 7})], at(2))
    assert event == Event(device="mon", time_ns=T0 + 2 * NS, event=EventKind.ALARM, text="low flow", detail={"code": 7})


def test_the_offset_of_the_devices_clock_is_kept_as_a_track_and_a_change_of_it_as_an_event() -> None:
    stamper = Stamper("mon", Catalogue.shipped())
    told: list[Event] = []
    for second in range(1500):
        host = from_rfc3339("2026-03-29T00:45:00Z") + second * NS
        said = datetime.fromtimestamp(host // NS - 147 + 3600 * (second >= 900), UTC)
        wall = WallTime(said.year, said.month, said.day, said.hour, said.minute, said.second)
        seen = stamper.stamp([Reading({"hr": 80.0}, device_time=wall)], Instant(host, second * NS))
        told += [each for each in seen if isinstance(each, Event)]
    assert {each.event for each in told} == {EventKind.CLOCK}
    assert [each.text for each in told] == [
        "the device's clock is 147.0 s behind ours",
        "the device's clock is 147.0 s behind ours",
        "the device's clock was set by +3600.0 s, as for summer time",
        "the device's clock is 3453.0 s ahead of ours",
    ]
    assert told[2].detail == {
        "by_ns": 3600 * NS, "at_ns": from_rfc3339("2026-03-29T01:00:00Z"), "like_summer_time": True,
    }  # fmt: skip
    assert stamper.device_clock.latest is not None
    assert stamper.device_clock.latest.ahead_ns == 3453 * NS


def test_samples_after_a_gap_of_unknown_length_take_their_place_by_arrival_and_tell_what_is_missing(
    stamper: Stamper,
) -> None:
    counts = np.arange(100, dtype=np.int32)
    block = Samples("wf_abp", counts, 10_000_000, scale=0.01)
    stamper.stamp([block], at(1))
    found = stamper.stamp([Samples("wf_abp", counts, 10_000_000, scale=0.01, after_gap=True)], at(3.5))
    (gap,) = gaps(found)
    assert gap.detail["channel"] == "wf_abp"
    assert gap.detail["to_ns"] - gap.detail["from_ns"] == 1_500_000_000
    assert isinstance(found[-1], Waveform)
    assert found[-1].time_ns == T0 + 2_500_000_000


@pytest.mark.parametrize(("host", "meant"), [("00:30:05Z", "+02:00"), ("01:30:05Z", "+01:00")])
def test_in_the_hour_that_comes_twice_a_devices_time_without_zone_is_the_one_nearer_to_ours(
    stamper: Stamper, host: str, meant: str
) -> None:
    instant = Instant(from_rfc3339(f"2026-10-25T{host}"), 0)
    (reading,) = numerics(stamper.stamp([Reading({"hr": 80.0}, {}, WallTime(2026, 10, 25, 2, 30))], instant))
    assert reading.device_time == f"2026-10-25T02:30:00{meant}"
