from __future__ import annotations

from typing import Any

import pytest

from acquisition.catalogue import Catalogue
from acquisition.driver import Notice, Reading, WallTime
from acquisition.errors import ConfigError
from acquisition.model import EventKind, State
from acquisition.wire.mllp import frame
from drivers.hl7 import Hl7Driver
from tests.drivers import hl7_vectors as vectors
from tests.drivers.hl7_vectors import message, msh, nm, report

HR = "147842^MDC_ECG_HEART_RATE^MDC"
SYS = "150037^MDC_PRESS_BLD_ART_ABP_SYS^MDC"
CVP = "150087^MDC_PRESS_BLD_VEN_CENT_MEAN^MDC"
UNAVAILABLE, INVALID, QUESTIONABLE = State.UNAVAILABLE, State.INVALID, State.QUESTIONABLE


def driver(**options: Any) -> Hl7Driver:
    built = Hl7Driver.build(options, Catalogue.shipped())
    built.start(0)
    return built


def readings(raw: bytes, listening: Hl7Driver | None = None, **options: Any) -> list[Reading]:
    listening = listening or driver(**options)
    listening.receive(frame(raw), 0)
    return [emission for emission in listening.take_emissions() if isinstance(emission, Reading)]


def one(raw: bytes, listening: Hl7Driver | None = None, **options: Any) -> Reading:
    (found,) = readings(raw, listening, **options)
    return found


def test_a_ge_b1x5_message_gives_its_values_at_its_observation_time() -> None:
    listening = driver()
    reading = one(vectors.GE_B1X5, listening)
    assert reading.values == {
        "abp_sys": 112.0, "abp_dia": 76.0, "abp_mean": 95.0, "pr_abp": 80.0, "cvp": -1.0, "hr": 80.0,
        "mdc_150344": 36.6, "mdc_151594": 14.0, "spo2": 97.0,
    }  # fmt: skip
    assert reading.states == {}
    assert reading.device_time == WallTime(2021, 11, 29, 8, 47, 59, 0, 60)
    assert listening.identity == {"eui64": "080019FFFE0B4020"}


def test_sentinels_of_an_xh80x_with_every_sensor_off_are_states() -> None:
    reading = one(vectors.XH80X)
    assert reading.values == {}
    assert reading.states == {"nibp_sys": INVALID, "spo2": INVALID, "hr": INVALID, "mdc_150344": INVALID}


def test_a_philips_mdil_message_maps_by_the_rule_and_not_its_private_terms() -> None:
    listening = driver()
    reading = one(vectors.MDIL, listening)
    assert reading.values == {"spo2": 95.0, "abp_sys": 120.0}
    assert reading.states == {"hr": UNAVAILABLE}
    assert listening.counters["rejected_code"] == 1


def test_a_comen_message_that_says_nothing_says_why() -> None:
    assert one(vectors.COMEN).states == {"hr": UNAVAILABLE, "spo2": INVALID}


def test_codes_of_a_vendor_are_used_only_as_configured() -> None:
    assert readings(vectors.NIHON_KOHDEN) == []
    reading = one(vectors.NIHON_KOHDEN, channels={"007000": "spo2", "009000^": "nibp_sys"}, bed="BED-001")
    assert (reading.values, reading.states) == ({"spo2": 99.0, "nibp_sys": 118.0}, {})


@pytest.mark.parametrize(
    ("code", "value", "kept"),
    [
        (CVP, "-1", True),
        (CVP, "-100", False),
        (HR, "-1", False),
        (HR, "-100", False),
        ("ecmo^^99X", "-100", True),
        ("ecmo^^99X", "-99.9", True),
        ("ecmo^^99X", "-999", False),
        (SYS, "32767", False),
        (SYS, "8388607", False),
        (SYS, "-10000", False),
    ],
)
def test_a_sentinel_is_believed_only_where_the_range_has_it(code: str, value: str, kept: bool) -> None:
    reading = one(report(nm(code, value, "" if code is HR else "mmHg")), channels={"ecmo^99X": "ecmo_p_drain"})
    assert list(reading.values.values()) == ([float(value)] if kept else [])
    assert (INVALID in reading.states.values()) is not kept


def test_a_possible_sentinel_of_an_unknown_range_is_kept_and_questioned() -> None:
    reading = one(report(nm("150067^MDC_PRESS_BLD_ATR_LEFT_MEAN^MDC", "-1")))
    assert reading.values == {"mdc_150067": -1.0}
    assert reading.states == {"mdc_150067": QUESTIONABLE}


def test_a_source_can_name_sentinels_of_its_own() -> None:
    assert one(report(nm(HR, "255", "bpm")), sentinels=[255.0]).states == {"hr": INVALID}


@pytest.mark.parametrize(
    ("row", "values", "state"),
    [
        (nm(HR, "72", "bpm", flags="DEMO"), {"hr": 72.0}, State.DEMO),
        (nm(HR, "72", "bpm", flags="L~DEMO"), {"hr": 72.0}, State.DEMO),
        (nm(HR, "72", "bpm", flags="INV"), {}, INVALID),
        (nm(HR, "72", "bpm", flags="QUES"), {"hr": 72.0}, QUESTIONABLE),
        (nm(HR, "72", "bpm", flags="N"), {"hr": 72.0}, None),
        (nm(HR, "72", "bpm", flags="HH"), {"hr": 72.0}, None),
        (nm(HR, "72", "bpm", status="X"), {}, UNAVAILABLE),
        (nm(HR, "72", "bpm", status="N"), {}, UNAVAILABLE),
        (nm(HR, "", "bpm"), {}, UNAVAILABLE),
        (nm(HR, '""', "bpm"), {}, UNAVAILABLE),
        (nm(HR, "140/90", "bpm"), {}, INVALID),
        (nm(HR, "nan", "bpm"), {}, INVALID),
        (nm(HR, "1_0", "bpm"), {}, INVALID),
        (nm(HR, "1e999", "bpm"), {}, INVALID),
        (nm(HR, " 72 ", "bpm"), {"hr": 72.0}, None),
        (nm(HR, "72", ""), {"hr": 72.0}, QUESTIONABLE),
    ],
)
def test_what_a_row_says_beside_or_instead_of_a_number_is_a_state(
    row: str, values: dict[str, float], state: State | None
) -> None:
    reading = one(report(row))
    assert reading.values == values
    assert reading.states == ({} if state is None else {"hr": state})


@pytest.mark.parametrize("status", ["D", "W"])
def test_a_withdrawn_row_is_counted_and_not_used(status: str) -> None:
    listening = driver()
    assert readings(report(nm(HR, "72", "bpm", status=status)), listening) == []
    assert listening.counters["obx_withdrawn"] == 1


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("265987^MDC_DIM_KILO_PASCAL^MDC", "16", 120.009869),
        ("mm[Hg]^mmHg^UCUM", "120", 120.0),
        ("mmHg", "120", 120.0),
        ("kPa", "16", 120.009869),
        ("0004-0f20^mmHg^MDIL", "120", 120.0),
    ],
)
def test_units_are_converted_whoever_names_them(unit: str, value: str, expected: float) -> None:
    assert one(report(nm(SYS, value, unit))).values["abp_sys"] == pytest.approx(expected)


def test_an_escaped_unit_is_understood() -> None:
    assert one(report(nm(HR, "72", "\\X2F\\min^^UCUM"))).values == {"hr": 72.0}


def test_a_unit_of_another_quantity_is_never_used_and_told_once() -> None:
    listening = driver()
    for control_id in ("1", "2"):
        listening.receive(frame(report(nm(SYS, "36.6", "degC"), header=msh(control_id))), 0)
    (notice,) = listening.take_emissions()
    assert isinstance(notice, Notice)
    assert notice.event is EventKind.REJECT
    assert listening.counters["rejected_unit"] == 2


def test_an_unknown_code_is_kept_under_its_number_and_told_once() -> None:
    listening = driver()
    for control_id in ("1", "2"):
        listening.receive(frame(report(nm("153608^MDC_PRESS_INTRA_CRAN^MDC", "11"), header=msh(control_id))), 0)
    emissions = listening.take_emissions()
    assert [one.values for one in emissions if isinstance(one, Reading)] == [{"mdc_153608": 11.0}] * 2
    (notice,) = [one for one in emissions if isinstance(one, Notice)]
    assert (notice.event, notice.detail) == (EventKind.UNMAPPED, {"code": 153608, "unit": "mm[Hg]"})


def test_an_unknown_code_stays_in_its_first_unit() -> None:
    listening = driver()
    found = [
        one(report(nm("150344^MDC_TEMP^MDC", value, unit), header=msh(value)), listening).values["mdc_150344"]
        for value, unit in (("36.5", "degC"), ("97.7", "[degF]^^UCUM"))
    ]
    assert found == [36.5, pytest.approx(36.5)]


def test_unknown_codes_are_bounded() -> None:
    listening = driver()
    rows = [nm(f"{140_000 + number}^MDC_X^MDC", "5") for number in range(300)]
    assert len(one(report(*rows), listening).values) == 256
    assert listening.counters["rejected_unmapped"] == 44


def test_a_configured_channel_goes_before_the_catalogue() -> None:
    assert one(report(nm("150033^X^MDC", "90")), channels={"150033": "pap_sys"}).values == {"pap_sys": 90.0}


def test_a_configured_channel_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="abp_syst"):
        driver(channels={"150033": "abp_syst"})


def test_of_two_channels_with_one_code_the_monitors_is_meant() -> None:
    assert one(report(nm("150332^MDC_SAT_O2_VEN^MDC", "68", "%"))).values == {"svo2_pa": 68.0}


def test_a_second_arterial_line_is_never_mixed_into_the_first() -> None:
    reading = one(report(nm("150033^MDC_PRESS_BLD_ART_SYS^MDC", "90"), nm(SYS, "120")))
    assert reading.values == {"abp_sys": 120.0, "mdc_150033": 90.0}


def test_the_same_channel_twice_at_one_time_gives_a_second_reading() -> None:
    first, second = readings(report(nm(HR, "70", "bpm"), nm(SYS, "120"), nm(HR, "71", "bpm")))
    assert first.values == {"hr": 70.0, "abp_sys": 120.0}
    assert second.values == {"hr": 71.0}


def test_there_is_one_reading_for_each_time_of_observation() -> None:
    found = readings(
        report(
            nm(HR, "70", "bpm"),
            nm("150021^MDC_PRESS_BLD_NONINV_SYS^MDC", "118", time="20260101075500"),
            nm(SYS, "120", time="2026"),
            order_time="20260101080000.250-0330",
        )
    )
    assert [(one.values, one.device_time) for one in found] == [
        ({"hr": 70.0, "abp_sys": 120.0}, WallTime(2026, 1, 1, 8, 0, 0, 250_000_000, -210)),
        ({"nibp_sys": 118.0}, WallTime(2026, 1, 1, 7, 55, 0, 0, 0)),
    ]


def test_without_any_other_time_the_messages_own_is_taken() -> None:
    listening = driver()
    reading = one(report(nm(HR, "70", "bpm"), header=msh(time="202601010800"), order_time="20261301"), listening)
    assert reading.device_time == WallTime(2026, 1, 1, 8, 0)
    assert listening.counters["time_msh"] == 1


def test_only_the_configured_bed_is_used() -> None:
    listening = driver(bed="B2")
    assert readings(report(nm(HR, "70", "bpm"), bed="B1"), listening) == []
    assert listening.counters["other_bed"] == 1
    listening.stored(listening.take_keys())
    assert len(listening.take_frames()) == 1
    assert one(report(nm(HR, "71", "bpm"), bed="B2"), listening).values == {"hr": 71.0}


def test_of_several_patients_in_a_message_only_the_configured_bed_is_used() -> None:
    raw = message(
        msh(), "PID|1", "PV1||E|ICU^^B1", "OBR|1", nm(HR, "70", "bpm"), "PID|2", "OBR|1", nm(HR, "65", "bpm"),
        "PID|3", "PV1||E|ICU^^B2", "OBR|1", nm(HR, "60", "bpm"),
    )  # fmt: skip
    assert one(raw, bed="B1").values == {"hr": 70.0}
    mixed = driver()
    assert readings(raw, mixed) == []
    assert b"MSA|AR|1" in mixed.take_frames()[0]


def test_rows_that_are_no_numbers_are_passed_over() -> None:
    raw = report("OBX|1|ST|8480-6^BP^LN||140/90", "NTE|1||ZZSECRETNAME", "OBX", "OBX|", nm(HR, "70", "bpm"), "OBX|9|NM")
    assert one(raw).values == {"hr": 70.0}


def test_readings_never_carry_identity() -> None:
    listening = driver()
    listening.receive(frame(vectors.GE_B1X5), 0)
    told = repr((listening.take_emissions(), listening.identity, listening.counters))
    assert not any(secret in told for secret in vectors.SECRETS)
