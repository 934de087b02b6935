from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.catalogue import Catalogue
from acquisition.driver import Emission, Notice, Reading, Samples, WallTime
from acquisition.errors import ConfigError, ForbiddenFrameError
from acquisition.model import EventKind, State
from acquisition.transports.url import check_link
from acquisition.wire.dri import displayed_request, wave_request
from drivers.dri import DriDriver
from tests.drivers import dri_vectors as vectors
from tests.drivers.dri_vectors import basic, framed, record, values, wave, words

S = 1_000_000_000
ON = "03 00 00 00"
ASK = displayed_request(5, 0x0A)
ASK_WAVES = wave_request([1, 4, 5, 6])


def driver(**options: Any) -> DriDriver:
    built = DriDriver.build(options, Catalogue.shipped())
    built.start(0)
    return built


def heard(listening: DriDriver, *frames: bytes, now: int = 0) -> list[Emission]:
    listening.take_emissions()
    listening.receive(b"".join(frames), now)
    return listening.take_emissions()


def reading(*frames: bytes, **options: Any) -> Reading:
    (found,) = (each for each in heard(driver(**options), *frames) if isinstance(each, Reading))
    return found


def blocks(*frames: bytes, listening: DriDriver | None = None, **options: Any) -> list[Samples]:
    return [each for each in heard(listening or driver(**options), *frames) if isinstance(each, Samples)]


def pressure(label: int, *numbers: int, status: str = ON) -> str:
    return f"{status} {words(label)} {words(*numbers)}"


def test_displayed_values_go_to_their_channels_with_the_time_of_the_monitor() -> None:
    found = reading(vectors.MONITOR)
    assert found.values == {
        "hr": 72.0, "abp_sys": 120.0, "abp_dia": 80.0, "abp_mean": 93.0, "pr_abp": 72.0, "cvp": 8.0, "dri_t1": 36.7,
    }  # fmt: skip
    assert found.states == {}
    assert found.device_time == WallTime(2026, 8, 1, 12, 0, 0, offset_minutes=0)


@pytest.mark.parametrize("plug", ["p1", "p4", "p6"])
@pytest.mark.parametrize(("label", "name"), [(1, "abp"), (8, "abp"), (3, "pap")])
def test_the_label_of_a_pressure_decides_its_channel_and_its_plug_does_not(plug: str, label: int, name: str) -> None:
    found = reading(framed(record(0, values({vectors.PLACES[plug]: pressure(label, 3000, 1200, 2000, -32767)}))))
    assert found.values == {f"{name}_sys": 30.0, f"{name}_dia": 12.0, f"{name}_mean": 20.0}


def test_a_pressure_that_the_catalogue_does_not_know_is_kept_by_its_label_and_told_once() -> None:
    listening = driver()
    frame = basic(p5=pressure(16, 12000, 8000, 9300, 72))
    notices = [each for each in heard(listening, frame, frame) if isinstance(each, Notice)]
    assert [each.detail for each in notices] == [
        {"code": f"fem_{name}", "unit": "mm[Hg]"} for name in ("sys", "dia", "mean")
    ]
    assert {each.event for each in notices} == {EventKind.UNMAPPED}
    assert [each for each in heard(listening, frame) if isinstance(each, Notice)] == []
    assert reading(frame).values == {"dri_fem_sys": 120.0, "dri_fem_dia": 80.0, "dri_fem_mean": 93.0}


@pytest.mark.parametrize("label", [0, 11, 500])
def test_a_pressure_without_a_name_is_kept_under_its_number(label: int) -> None:
    found = reading(basic(p3=pressure(label, 21000, 20000, 20500, 0)))
    assert found.values == {"dri_p3_sys": 210.0, "dri_p3_dia": 200.0, "dri_p3_mean": 205.0}


def test_pressures_7_and_8_are_in_the_first_extension() -> None:
    extension = values({78: pressure(20, 100, 200, 300, 0), 92: pressure(2, 1, 2, -450, 0)}, of_class=1)
    assert reading(framed(record(0, extension))).values == {
        "dri_p7_sys": 1.0, "dri_p7_dia": 2.0, "dri_p7_mean": 3.0, "cvp": -4.5,
    }  # fmt: skip


def test_temperatures_5_and_6_are_in_the_first_extension() -> None:
    extension = values({120: f"{ON} 0000 {words(3670)}", 128: f"{ON} 0000 {words(3650)}"}, of_class=1)
    assert reading(framed(record(0, extension))).values == {"dri_t5": 36.7, "dri_t6": 36.5}


def test_a_site_says_which_circuit_pressure_is_on_which_socket() -> None:
    found = reading(
        basic(p3=pressure(11, 21000, 20000, 20500, 0), t1=vectors.T1_36_7),
        channels={"p3_mean": "ecmo_p_pre", "t1": "temp_core"},
    )
    assert found.values["ecmo_p_pre"] == 205.0
    assert found.values["temp_core"] == 36.7


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        (-32767, State.INVALID),
        (-32766, State.UNAVAILABLE),
        (-32764, State.BELOW_RANGE),
        (-32763, State.ABOVE_RANGE),
        (-32762, State.SENSOR_ERROR),
        (-32765, State.INVALID),
        (-32001, State.INVALID),
    ],
)
def test_a_special_value_is_a_state_and_no_number(raw: int, state: State) -> None:
    found = reading(basic(p1=pressure(1, raw, -32000, 9300, 0)))
    assert found.values == {"abp_dia": -320.0, "abp_mean": 93.0, "pr_abp": 0.0}
    assert found.states == {"abp_sys": state}


def test_a_module_that_is_absent_says_nothing_and_one_that_does_not_measure_is_off() -> None:
    absent = basic(p1=pressure(1, 1, 2, 3, 4, status="02 00 00 00"))
    assert heard(driver(), absent) == []
    off = reading(basic(p1=pressure(2, 1, 2, 3, 4, status="01 00 00 00"), ecg=f"01000000 0000 {words(72)}"))
    assert off.values == {}
    assert off.states == {"cvp": State.OFF, "hr": State.OFF}


def test_a_pressure_that_is_being_zeroed_says_so_beside_its_number() -> None:
    found = reading(basic(p1=pressure(1, 10, 0, 5, -32767, status="07 00 00 00")))
    assert found.values["abp_mean"] == 0.05
    assert found.states["abp_mean"] is State.CALIBRATING


def test_two_pressures_of_one_name_never_become_one_series() -> None:
    listening = driver()
    both = basic(p1=pressure(1, 12000, 8000, 9300, 72), p4=pressure(8, 11000, 7000, 8300, 72))
    first_off = basic(
        p1=pressure(1, 12000, 8000, 9300, 72, status="01 00 00 00"), p4=pressure(8, 11000, 7000, 8300, 72)
    )
    for frame, now in ((both, 0), (first_off, 5 * S), (both, 10 * S)):
        found = next(each for each in heard(listening, frame, now=now) if isinstance(each, Reading))
        assert found.values["dri_plug4_mean"] == 83.0
        assert found.values.get("abp_mean", 93.0) == 93.0
    # After the first has been silent for longer than two records, the other is the arterial line.
    found = next(each for each in heard(listening, first_off, now=40 * S) if isinstance(each, Reading))
    assert found.values["abp_mean"] == 83.0


def test_cardiac_output_wedge_and_saturations_are_read_in_their_units() -> None:
    found = reading(
        basic(
            co_wedge=f"{ON} 0000 {words(4350, 3712, 1, 1850)}",
            svo2=f"{ON} 0000 {words(6840)}",
            spo2=f"{ON} 0000 {words(9700, 72, 1, 6000)}",
        )
    )
    assert found.values == {
        "co_td": 4.35, "dri_blood_temp": 37.12, "pawp": 18.5, "svo2_pa": 68.4, "spo2": 97.0,
    }  # fmt: skip


PICCO = {142: f"{ON} 0000 {words(*range(1, 25))}"}


def test_picco_values_come_from_the_third_extension_of_level_11() -> None:
    found = reading(framed(record(0, values({}), values(PICCO, of_class=3)))).values
    assert found == {
        "dri_cci": 0.001, "dri_cco": 0.002, "dri_cfi": 0.03, "dri_ci": 0.004, "co_td": 0.005, "dri_cpi": 0.006,
        "dri_cpo": 0.007, "dri_dpmax": 8.0, "dri_elwi": 0.9, "dri_evlw": 10.0, "dri_gedi": 11.0, "dri_gedv": 12.0,
        "dri_gef": 1.3, "dri_itbi": 14.0, "dri_itbv": 15.0, "dri_ppv": 1.6, "dri_pvpi": 0.17, "dri_sv": 1.8,
        "dri_svi": 1.9, "dri_svr": 20.0, "dri_svri": 21.0, "dri_svv": 2.2, "dri_tblood": 0.23, "dri_tinj": 0.24,
    }  # fmt: skip
    assert heard(driver(), framed(record(0, values(PICCO, of_class=3), level=10))) == []


def test_trends_and_classes_that_are_not_read_give_nothing() -> None:
    group = {16: vectors.ART_120_80_93}
    assert heard(driver(), framed(record(0, values(group, kind=2), values(group, of_class=2)))) == []


def test_a_level_that_the_documents_do_not_describe_is_refused_and_told_once() -> None:
    listening = driver()
    found = heard(listening, basic(level=12, ecg=vectors.ECG_72), basic(level=12, ecg=vectors.ECG_72))
    assert [type(each) for each in found] == [Notice]
    assert listening.counters["rejected_level"] == 2


def test_nothing_of_a_patient_leaves_the_driver() -> None:
    listening = driver()
    found = heard(listening, *(framed(record(main, (1, b"ZZSECRETNAME" * 30))) for main in (2, 4, 5, 8)))
    assert found == []
    assert listening.counters["ignored_records"] == 4
    assert b"ZZSECRETNAME" not in listening.buffer
    assert "ZZSECRET" not in repr(vars(listening))


def test_a_wave_is_named_by_its_label_at_the_resolution_of_the_monitor() -> None:
    (found,) = blocks(vectors.WAVE)
    assert (found.channel, found.period_ns, found.scale, found.offset) == ("wf_abp", 10_000_000, 0.01, 0.0)
    assert found.counts.tolist() == list(range(8000, 9000, 100))
    assert found.after_gap


@pytest.mark.parametrize(
    ("kind", "label", "channel", "period_ns", "scale"),
    [
        (1, 0, "dri_wf_ecg1", 3_333_333, 1.0),
        (36, 2, "wf_cvp", 10_000_000, 0.01),
        (16, 8, "wf_abp", 10_000_000, 0.01),
        (17, 0, "dri_wf_p6", 10_000_000, 0.01),
        (6, 3, "dri_wf_pa", 10_000_000, 0.01),
        (8, 0, "wf_pleth", 10_000_000, 0.0001),
        (13, 0, "dri_wf_awp", 40_000_000, 0.1),
        (23, 0, "dri_wf_volume", 40_000_000, 1.0),
    ],
)
def test_each_kind_of_wave_has_its_rate_and_unit(
    kind: int, label: int, channel: str, period_ns: int, scale: float
) -> None:
    (found,) = blocks(framed(record(1, wave(kind, label, [1, 2]))))
    assert (found.channel, found.period_ns) == (channel, period_ns)
    assert found.scale == pytest.approx(scale)


def test_an_electrocardiogram_becomes_lead_ii_where_the_site_says_so_in_millivolt() -> None:
    (found,) = blocks(framed(record(1, wave(1, 0, [1000], status=8))), channels={"wf_ecg1": "wf_ecg_ii"})
    assert (found.channel, found.scale, found.doubtful) == ("wf_ecg_ii", 0.001, True)


def test_a_block_is_told_to_follow_a_gap_where_samples_were_lost_and_nowhere_else() -> None:
    listening = driver()
    good, gap = framed(record(1, wave(4, 1, [1]))), framed(record(1, wave(4, 1, [1], status=1)))
    broken = good[:47] + b"\xff" + good[48:]
    found = blocks(good, good, gap, good, broken, good, good, listening=listening)
    assert [each.after_gap for each in found] == [True, False, True, False, True, False]


def test_it_asks_for_values_and_waves_and_nothing_else_and_ends_both() -> None:
    listening = driver()
    assert listening.take_frames() == [ASK, ASK_WAVES]
    listening.stop(0)
    assert listening.take_frames() == [vectors.STOP_DISPLAYED, wave_request([])]
    assert not listening.may_send(displayed_request(7, 0x0A))
    for frame in (vectors.DISPLAYED_10_S, vectors.TREND_60_S, vectors.ECG1, ASK[:-1], ASK + ASK):
        with pytest.raises(ForbiddenFrameError):
            listening.send(frame)


def test_without_waves_none_are_asked_for() -> None:
    listening = driver(waves=[], every_s=10)
    assert listening.take_frames() == [displayed_request(10, 0x0A)]
    listening.stop(0)
    assert listening.take_frames() == [vectors.STOP_DISPLAYED]


def test_a_monitor_that_has_stopped_is_asked_again_for_what_it_stopped() -> None:
    listening = driver()
    listening.take_frames()
    for second in range(1, 30):
        listening.receive(vectors.WAVE, second * S)
        listening.tick(second * S)
        assert listening.take_frames() == ([ASK] if second in (12, 24) else [])
    listening.receive(vectors.MONITOR, 30 * S)
    for second in range(30, 42):
        listening.tick(second * S)
        assert listening.take_frames() == ([ASK_WAVES] if second in (34, 39) else [])
    assert listening.counters["asked_again"] == 4


def test_the_link_is_set_as_the_specification_says() -> None:
    assert driver().link_defaults == "baud=19200&bytesize=8&parity=even&stopbits=1&rtscts=true"
    assert check_link("serial:///dev/ttyS0", defaults=driver().link_defaults) == []
    assert not driver().verified


@pytest.mark.parametrize(
    "options",
    [
        {"waves": ["ecg9"]},
        {"waves": ["ecg1", "ecg2", "invp1"]},
        {"channels": {"p3_mean": "nothing"}},
        {"channels": {"p9_mean": "cvp"}},
        {"channels": {"p3_mean": "wf_cvp"}},
        {"channels": {"t1": "cvp"}},
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        driver(**options)


def test_a_carescape_of_software_3_may_send_more_waves() -> None:
    assert driver(waves=["ecg1", "ecg2", "invp1"], carescape_3=True).take_frames()[1] == wave_request([1, 2, 4])


PARTS = st.one_of(
    st.binary(max_size=80),
    st.just(vectors.MONITOR),
    st.just(vectors.WAVE),
    st.builds(
        lambda main, kind, body, of_class: framed(record(main, (kind, body), values({}, of_class))),
        st.integers(0, 9),
        st.integers(0, 40),
        st.binary(max_size=300),
        st.integers(0, 15),
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS, max_size=6), st.integers(1, 200))
def test_any_bytes_whatever_are_survived_and_every_channel_is_admitted(pieces: list[bytes], step: int) -> None:
    listening, wire = driver(), b"".join(pieces)
    for now, at in enumerate(range(0, len(wire), step)):
        listening.receive(wire[at : at + step], now * S)
        listening.tick(now * S)
    for each in listening.take_emissions():
        names = [*each.values, *each.states] if isinstance(each, Reading) else []
        names += [each.channel] if isinstance(each, Samples) else []
        assert all(Catalogue.shipped().admits(name) for name in names)
    assert len(listening.buffer) <= listening.max_buffer


def test_ten_thousand_frames_of_any_content_are_survived_and_fast() -> None:
    rng, listening = np.random.default_rng(5), driver()
    frames = []
    for turn in range(10_000):
        body = bytes((int(rng.integers(0, 30)), 0)) + rng.bytes(int(rng.integers(0, 60)))
        frame = framed(record(turn % 3, (int(rng.integers(0, 40)), body)))
        place = int(rng.integers(0, len(frame)))
        frames.append(frame if turn % 2 else frame[:place] + rng.bytes(2) + frame[place + 1 :])
    began = time.process_time()
    for now, frame in enumerate(frames):
        listening.receive(frame, now)
        listening.take_emissions()
    assert 10_000 / (time.process_time() - began) > 5_000
    assert listening.counters["frames_bad"] > 100
    assert listening.counters["blocks_good"] > 100
