from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from acquisition.catalogue import Catalogue, Channel, ChannelKind, shipped_config
from acquisition.units import MDC_UNITS, conversion, is_known

CATALOGUE = Catalogue.shipped()
OURS = {"pp_num", "sim_counter"}
KINDS = {"num": "numeric", "wave": "waveform", "enum": "enumeration"}
every_channel = pytest.mark.parametrize("channel", list(CATALOGUE), ids=lambda channel: channel.id)


@pytest.fixture(scope="session")
def reference() -> dict[str, dict[str, str]]:
    path = Path(__file__).resolve().parents[3] / "shared" / "reference" / "channels.csv"
    if not path.is_file():
        pytest.skip(f"REFERENCE CATALOGUE ABSENT: {path} is not there; this test proves nothing without it")
    with path.open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def limits(text: str) -> tuple[float, float] | None:
    match = re.match(r"(-?[\d.]+?)\.\.(-?[\d.]+)", text)
    return (float(match[1]), float(match[2])) if match else None


def rate(text: str) -> float | None:
    match = re.fullmatch(r"([\d.]+) /(s|min)", text)
    return float(match[1]) / {"s": 1, "min": 60}[match[2]] if match else None


def test_the_channels_are_those_of_the_reference_and_two_of_our_own(reference: dict[str, dict[str, str]]) -> None:
    assert len(reference) == 60
    assert {channel.id for channel in CATALOGUE} == reference.keys() | OURS
    assert len(CATALOGUE) == 62


def test_units_limits_and_rates_are_those_of_the_reference(reference: dict[str, dict[str, str]]) -> None:
    for channel_id, row in reference.items():
        channel = CATALOGUE[channel_id]
        assert channel.unit == row["unit_ucum"], channel_id
        assert channel.hard == limits(row["hard_limits"]), channel_id
        assert channel.plausible == limits(row["plausible_va_ecmo"]), channel_id
        assert channel.max_rate == pytest.approx(rate(row["max_rate_of_change"]), abs=1e-6), channel_id
        kind, _, other = row["kind"].partition("/")
        assert channel.kind == KINDS.get(kind, kind), channel_id
        assert channel.manual_entry == bool(other), channel_id


def test_codes_are_those_of_the_reference_and_none_is_invented(reference: dict[str, dict[str, str]]) -> None:
    for channel_id, row in reference.items():
        mdc = CATALOGUE[channel_id].mdc
        found = ("", "", "") if mdc is None else (str(mdc.code), mdc.refid, mdc.provenance)
        expected = (row["mdc_code"], row["mdc_refid"], row["prov"]) if row["mdc_code"] else ("", "", "")
        assert found == expected, channel_id


@every_channel
def test_every_unit_can_be_converted_or_counts(channel: Channel) -> None:
    assert is_known(channel.unit)
    assert conversion(channel.unit, channel.unit) == (1.0, 0.0)


@every_channel
def test_plausible_lies_within_hard_and_both_run_upwards(channel: Channel) -> None:
    if channel.plausible is not None:
        assert channel.hard is not None
        assert channel.hard[0] <= channel.plausible[0] < channel.plausible[1] <= channel.hard[1]


@every_channel
def test_every_code_finds_its_channel(channel: Channel) -> None:
    codes = (channel.mdc.code,) if channel.mdc else ()
    for code in (*codes, *channel.mdc_aliases):
        assert channel in CATALOGUE.by_mdc(code)
        assert code >> 16 == 2, "a code of the measurement partition"
        assert code not in MDC_UNITS


def test_a_code_that_two_devices_send_for_two_channels_finds_both() -> None:
    assert {channel.id for channel in CATALOGUE.by_mdc(150332)} == {"ecmo_svo2", "svo2_pa"}


def test_the_arterial_line_is_found_by_either_of_its_labels() -> None:
    for code in (150037, 150033):
        assert [channel.id for channel in CATALOGUE.by_mdc(code)] == ["abp_sys"]


def test_an_unknown_code_finds_nothing() -> None:
    assert CATALOGUE.by_mdc(1) == []


def test_what_we_compute_and_what_tests_need_say_so() -> None:
    assert [channel.id for channel in CATALOGUE if channel.derived] == ["pp_num"]
    assert [channel.id for channel in CATALOGUE if channel.hidden] == ["sim_counter"]
    assert CATALOGUE["pp_num"].unit == CATALOGUE["abp_sys"].unit
    assert CATALOGUE["pp_num"].mdc is None


@pytest.mark.parametrize(
    ("channel_id", "admitted"),
    [
        ("abp_sys", True), ("mdc_150037", True), ("mdc_1", True), ("mdc_4294967295", True),
        ("mdc_", False), ("mdc_12345678901", False), ("mdc_abc", False), ("mdc_15 ", False), ("mdc_1\n", False),
        ("dri_p3_mean", True), ("medibus_7d", True), ("dri_", False), ("dri_P3", False), ("other_p3", False),
        ("xmdc_15", False), ("ABP_SYS", False), ("", False), ("patient_name", False),
    ],
)  # fmt: skip
def test_a_driver_may_emit_our_channels_and_unmapped_codes_only(channel_id: str, admitted: bool) -> None:
    assert CATALOGUE.admits(channel_id) is admitted


def test_an_unmapped_code_has_no_unit_and_no_row() -> None:
    assert CATALOGUE.unit("mdc_1") == ""
    assert CATALOGUE.get("mdc_1") is None
    assert "mdc_1" not in CATALOGUE
    assert CATALOGUE.unit("ecmo_flow") == "L/min"
    assert "ecmo_flow" in CATALOGUE


def test_the_shipped_catalogue_is_the_one_in_the_configuration() -> None:
    assert [channel.id for channel in Catalogue.load(shipped_config() / "channels.toml")] == [c.id for c in CATALOGUE]


@pytest.mark.parametrize(
    "row",
    [
        '[x]\nkind="numeric"\nunit="1"\n',
        '[x]\ndescription=""\nkind="vibes"\nunit="1"\n',
        '[x]\ndescription=""\nkind="numeric"\nunit="1"\nplausable=[0.0, 1.0]\n',
        '[x]\ndescription=""\nkind="numeric"\nunit="1"\nhard=[0.0]\n',
    ],
)
def test_a_row_with_a_mistake_is_refused(tmp_path: Path, row: str) -> None:
    path = tmp_path / "channels.toml"
    path.write_text(row, encoding="utf-8")
    with pytest.raises(ValidationError):
        Catalogue.load(path)


def test_the_order_of_the_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "channels.toml"
    row = 'description="d"\nkind="numeric"\nunit="1"\n'
    path.write_text(f"[zeta]\n{row}[alpha]\n{row}", encoding="utf-8")
    assert [(channel.id, channel.kind) for channel in Catalogue.load(path)] == [
        ("zeta", ChannelKind.NUMERIC),
        ("alpha", ChannelKind.NUMERIC),
    ]
