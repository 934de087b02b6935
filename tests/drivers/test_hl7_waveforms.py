from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acquisition.catalogue import Catalogue
from acquisition.driver import Samples, WallTime
from acquisition.model import MISSING_COUNT
from acquisition.wire.mllp import frame
from acquisition.wire.pcd01 import numeric_array
from drivers.hl7 import Hl7Driver
from tests.drivers import hl7_vectors as vectors
from tests.drivers.hl7_vectors import MDC_UNITS, report

ABP = "150036^MDC_PRESS_BLD_ART_ABP^MDC"
RATE = "OBX||NM|0^MDC_ATTR_SAMP_RATE^MDC|1.7.1.9.1|125|264608^MDC_DIM_PER_SEC^MDC"
RESOLUTION = "OBX||NM|2327^MDC_ATTR_NU_MSMT_RES^MDC|1.7.1.9.2|0.25|266016^MDC_DIM_MMHG^MDC"


def na(samples: str, code: str = ABP, unit: str = "mmHg", at: str = "1.7.1.9", rest: str = "") -> str:
    return f"OBX||NA|{code}|{at}|{samples}|{MDC_UNITS.get(unit, unit)}{rest}"


def blocks(raw: bytes, listening: Hl7Driver | None = None, **options: Any) -> list[Samples]:
    listening = listening or Hl7Driver.build(options, Catalogue.shipped())
    listening.start(0)
    listening.receive(frame(raw), 0)
    return [emission for emission in listening.take_emissions() if isinstance(emission, Samples)]


def one(raw: bytes) -> Samples:
    (block,) = blocks(raw)
    return block


def test_an_xh80x_wave_is_kept_at_the_devices_own_resolution() -> None:
    block = one(vectors.XH80X_WAVE)
    assert block.channel == "wf_ecg_ii"
    assert block.counts.tolist() == [0, -12, 25, MISSING_COUNT, MISSING_COUNT, 8]
    assert block.counts.dtype == np.int32
    assert (block.period_ns, block.scale, block.offset, block.doubtful) == (2_000_000, 0.001221, 0.0, False)
    assert block.start == WallTime(2021, 6, 11, 10, 20, 47)


def test_facets_count_whether_they_come_before_or_after_the_samples() -> None:
    block = one(report(RATE, RESOLUTION, na("400^401")))
    assert (block.period_ns, block.scale, block.counts.tolist()) == (8_000_000, 0.25, [400, 401])


def test_decimal_samples_become_exact_counts() -> None:
    block = one(report(na("80.5^-0.25^79"), RATE))
    assert (block.counts.tolist(), block.scale) == ([8050, -25, 7900], 0.01)


def test_a_waves_unit_may_stand_at_its_resolution() -> None:
    block = one(report(na("400", unit=""), RATE, RESOLUTION))
    assert (block.scale, block.doubtful) == (0.25, False)


def test_a_wave_without_any_unit_is_doubtful() -> None:
    assert one(report(na("400", unit=""), RATE)).doubtful


def test_units_change_the_scale_and_not_the_counts() -> None:
    block = one(report(na("16", unit="265987^MDC_DIM_KILO_PASCAL^MDC"), RATE))
    assert block.counts.tolist() == [16]
    assert block.scale == pytest.approx(7.500616827)


@pytest.mark.parametrize("rest", ["||DEMO", "||INV", "|||||X"])
def test_a_wave_that_the_device_doubts_is_doubtful(rest: str) -> None:
    assert one(report(na("400", rest=rest), RATE)).doubtful


@pytest.mark.parametrize(
    "rate",
    ["", RATE.replace("|125|", "||"), RATE.replace("|125|", "|0|"), RATE.replace("|125|", "|-5|"),
     RATE.replace("264608^MDC_DIM_PER_SEC", "266016^MDC_DIM_MMHG"), RATE.replace("1.7.1.9.1", "1.7.2.9.1"),
     RATE + "\r" + RATE.replace("|125|", "|250|")],
)  # fmt: skip
def test_a_wave_whose_rate_nobody_can_say_is_rejected_and_counted(rate: str) -> None:
    listening = Hl7Driver.build({}, Catalogue.shipped())
    assert blocks(report(na("400^401"), rate), listening) == []
    assert listening.counters["rejected_waveform"] == 1


def test_a_rate_belongs_to_its_own_order() -> None:
    second = "OBR|2|||WAVEFORM|||20260101080001"
    raw = report(na("1"), RATE, second, na("2"), RATE.replace("|125|", "|250|"))
    assert [(block.counts.tolist(), block.period_ns) for block in blocks(raw)] == [([1], 8_000_000), ([2], 4_000_000)]


def test_one_code_gives_a_numeric_and_a_wave_to_different_channels() -> None:
    cvp = "150084^MDC_PRESS_BLD_VEN_CENT^MDC"
    assert one(report(na("5", cvp), RATE)).channel == "wf_cvp"


def test_an_unknown_wave_is_kept_under_its_code() -> None:
    assert one(report(na("5", "131329^MDC_ECG_ELEC_POTL_I^MDC", "mV"), RATE)).channel == "mdc_131329"


def test_a_second_arterial_wave_is_never_mixed_into_the_first() -> None:
    raw = report(na("5", at="1.7.1.1"), RATE.replace("1.9", "1.1"), na("6", "150032^X^MDC"), RATE)
    assert {block.channel for block in blocks(raw)} == {"wf_abp", "mdc_150032"}


def test_odd_samples_are_missing_and_counted() -> None:
    listening = Hl7Driver.build({}, Catalogue.shipped())
    (block,) = blocks(report(na("1^x^^1e3^4"), RATE), listening)
    assert block.counts.tolist() == [1, MISSING_COUNT, MISSING_COUNT, MISSING_COUNT, 4]
    assert listening.counters["rejected_samples"] == 2


def test_a_message_above_64_kib_is_whole() -> None:
    samples = list(range(-10_000, 10_000))
    raw = report(na("^".join(map(str, samples))), RATE)
    assert len(raw) > 1 << 16
    assert one(raw).counts.tolist() == samples


@given(st.lists(st.one_of(st.none(), st.integers(-(2**31) + 1, 2**31 - 1)), min_size=1))
def test_whole_samples_are_exact(samples: list[int | None]) -> None:
    text = "^".join("" if sample is None else str(sample) for sample in samples)
    counts, decimals, odd = numeric_array(text, "^")
    assert (decimals, odd) == (0, 0)
    assert counts.tolist() == [MISSING_COUNT if sample is None else sample for sample in samples]


@given(st.lists(st.decimals(-9999, 9999, places=4), min_size=1))
def test_decimal_samples_are_exact(samples: list[Any]) -> None:
    counts, decimals, odd = numeric_array("^".join(map(str, samples)), "^")
    assert odd == 0
    assert counts.tolist() == [int(sample.scaleb(decimals)) for sample in samples]


@given(st.text(max_size=80))
def test_any_text_gives_as_many_counts_as_it_has_parts(text: str) -> None:
    counts, _, odd = numeric_array(text, "^")
    assert counts.size == text.count("^") + 1
    assert odd <= (counts == MISSING_COUNT).sum()


@pytest.mark.parametrize(
    ("text", "counts", "decimals"),
    [
        ("99999999999^1", [MISSING_COUNT, 1], 0),
        ("320.123456789", [320123457], 6),
        ("-2147483648", [MISSING_COUNT], 0),
        ("2147483647", [2147483647], 0),
        ("+5^ 6 ", [5, 6], 0),
    ],
)
def test_numbers_beyond_a_count_lose_digits_or_are_missing(text: str, counts: list[int], decimals: int) -> None:
    found = numeric_array(text, "^")
    assert (found[0].tolist(), found[1]) == (counts, decimals)
