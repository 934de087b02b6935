from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from acquisition.catalogue import Catalogue, shipped_config
from acquisition.driver import Reading
from acquisition.model import State
from acquisition.units import MDC_UNITS
from acquisition.wire import dri_values, hl7
from acquisition.wire.checksum import CHECKSUMS, ChecksumName
from acquisition.wire.mllp import frame
from acquisition.wire.pcd01 import ABSENT, OFTEN_TRUE, Code, Planner
from drivers import cdi500, medibus, vigilance
from drivers.hl7 import Hl7Driver
from tests.drivers.hl7_vectors import msh, nm, report

PATIENT = {
    # quantity in the table of nomenclature, and the channels of its codes in their order
    "ABP sys/dia/mean": ("abp_sys", "abp_dia", "abp_mean"), "ART sys/dia/mean": ("abp_sys", "abp_dia", "abp_mean"),
    "NIBP cuff": ("nibp_sys", "nibp_dia", "nibp_mean"), "PAP sys/dia/mean": ("pap_sys", "pap_dia", "pap_mean"),
    "CVP (mean)": ("cvp", "cvp"), "HR / pulse": ("hr",), "SpO2": ("spo2",), "SvO2": ("svo2_pa",), "CO / CI": ("co_td",),
    "RR": ("rr",),
}  # fmt: skip
UCUM = {
    "mmHg": "mm[Hg]", "bpm": "{beat}/min", "degC": "Cel", "cmH2O": "cm[H2O]", "resp/min": "{breath}/min",
    "dimensionless": "1",
}  # fmt: skip
MDIL = {
    "HR": ("hr",), "ABPs/d/m": ("abp_sys", "abp_dia", "abp_mean"), "PAP": ("pap_sys", "pap_dia", "pap_mean"),
    "NBP": ("nibp_sys", "nibp_dia", "nibp_mean"), "SpO2": ("spo2",), "Resp": ("",), "T1": ("",),
}  # fmt: skip
"""Channels of the dialect's codes; empty for one that is no channel of its own or is private to the vendor."""


@pytest.fixture(scope="module")
def protocols(reference: Path) -> str:
    return (reference / "PROTOCOLS.md").read_text(encoding="utf-8").replace("**", "")


def line(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, pattern
    return found[1]


def planner(profile: str = "hl7_generic") -> Planner:
    content = tomllib.loads((shipped_config() / "devices" / f"{profile}.toml").read_text(encoding="utf-8"))
    return Planner(Catalogue.shipped(), content.get("channels", {}), (), lambda *_, **__: None)


def said(raw: bytes) -> Reading:
    driver = Hl7Driver.build({}, Catalogue.shipped())
    driver.start(0)
    driver.receive(frame(raw), 0)
    (reading,) = (each for each in driver.take_emissions() if isinstance(each, Reading))
    return reading


def test_every_number_that_stands_for_no_value_is_none(protocols: str) -> None:
    text = line(r'"Not available" sentinels seen in the wild: (.*)\. Treat', protocols)
    numbers = {float(each) for each in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])", text.split(", empty")[0])}
    assert numbers == {-999, -99.9, -100, -10000, -1, 8388607, 32767}
    assert numbers <= ABSENT | OFTEN_TRUE
    for number in numbers:
        code, unit = ("150344^MDC_TEMP^MDC", "degC") if number == -99.9 else ("147842^MDC_ECG_HEART_RATE^MDC", "bpm")
        reading = said(report(nm(code, f"{number:g}" if number < 1e6 else str(int(number)), unit)))
        assert (dict(reading.values), set(reading.states.values())) == ({}, {State.INVALID}), number
    assert "empty OBX-5 with OBX-11 = X" in text
    assert said(report(nm("147842^X^MDC", "", "bpm", status="X"))).states == {"hr": State.UNAVAILABLE}


def test_acknowledgements_are_those_that_the_reference_tells(protocols: str) -> None:
    text = line(r"\* ACK: (.*)", protocols)
    told = {"NE|AL": "AA", "AL|NE": "CA", "|": "AA"}
    assert "usually send `NE|AL` (answer with an application ACK)" in text
    assert "send `AL|NE` (accept ACK, i.e. `CA` in enhanced mode" in text
    assert "With both empty = original mode: send AA" in text
    for asked, code in told.items():
        answer = hl7.acknowledgement(hl7.parse(report(header=msh("7", acks=asked))))
        assert answer is not None
        assert f"MSA|{code}|7" in answer.decode()


def test_every_character_set_of_the_reference_is_read(protocols: str) -> None:
    names = re.findall(r"`([^`]+)`", line(r"Encoding: MSH-18 \((.*?), empty\)", protocols))
    assert len(names) == 3
    assert all(hl7.is_charset(name) for name in names)
    raw = report(nm("147842^X^MDC", "71", "bpm"), header=msh(charset="")) + b"NTE|1||\xb0\xff\r"
    assert said(raw).values == {"hr": 71.0}


def test_codes_of_the_nomenclature_lead_to_their_channels(protocols: str) -> None:
    table = line(r"(?s)\| Quantity \| MDC code \|(.*?)\n\n", protocols[protocols.index("## 6. NOMENCLATURE") :])
    rows = {
        cells[0]: cells[1] for row in table.splitlines() if len(cells := [c.strip() for c in row.split("|")][1:]) > 2
    }
    for quantity, channels in PATIENT.items():
        meant = rows[quantity] if quantity == "CVP (mean)" else rows[quantity].partition(" (")[0].partition(" ;")[0]
        codes = re.findall(r"\d{6}", meant)
        short = re.findall(r"/(\d{1,3})(?!\d)", meant)
        if len(codes) < len(channels):
            codes = [codes[0], *(codes[0][: -len(rest)] + rest for rest in short)]
        for code, channel in zip(codes, channels, strict=False):
            assert planner().plan(Code(code, "", "MDC"), Code("", "", ""), wave=False).channel == channel, code
    units = line(r"\nUnits: (.*)\. \(Derived", protocols)
    for name, code in re.findall(r"([A-Za-z%/0-9]+) (26\d{4})", units):
        assert MDC_UNITS.get(int(code)) == UCUM.get(name, name), name


def test_codes_of_the_dialects_lead_to_their_channels(protocols: str) -> None:
    philips = line(r"Philips MDIL: code = (.*)", protocols)
    for codes, name in re.findall(r"(0002-[0-9a-f]{4}(?:/[0-9a-f]{2})*) ([A-Z]\w*(?:/\w)*)", philips):
        first, *rest = codes.split("/")
        for code, channel in zip((first, *(first[:-2] + each for each in rest)), MDIL[name], strict=True):
            plan = planner("hl7_philips_mdil").plan(Code(code, name, "MDIL"), Code("", "", ""), wave=False)
            assert plan.channel == channel or (not channel and plan.channel in ("", f"mdc_{131072 + 0x5000}", "rr")), (
                code
            )
    for code, unit in re.findall(r"(0004-[0-9a-f]{4}) (\S+?)[,.]", philips):
        assert Code(code, unit, "MDIL").ucum in ("mm[Hg]", "{beat}/min", "%", "{breath}/min", "Cel"), unit
    nihon = line(r"Nihon Kohden: (007.*?);", protocols)
    expected = {"007000": "spo2", "007001": "", "009000": "nibp_sys", "009001": "nibp_dia", "009002": "nibp_mean"}
    assert re.findall(r"\b00\d{4}\b", nihon) == ["007000", "007001", "009000"]
    for code, channel in expected.items():
        assert planner("hl7_nihon_kohden").plan(Code(code, "", ""), Code("", "", ""), wave=False).channel == channel


def test_labels_and_special_values_of_the_dri_are_those_of_the_reference(protocols: str) -> None:
    text = line(r"Pressure labels: (.*?)\. P status", protocols)
    labels = {int(number): name.lower() for number, name in re.findall(r"(\d+) ([A-Z]\w*)(?=,|$)", text)}
    labels |= {number: f"p{number - 8}" for number in range(9, 15)}
    assert "9-14 P1-P6" in text
    assert labels == dri_values.LABELS
    specials = line(r"Special values: valid >= -32000; (.*)\.", protocols)
    expected = {
        "invalid": State.INVALID, "not updated": State.UNAVAILABLE, "under range": State.BELOW_RANGE,
        "over range": State.ABOVE_RANGE, "not calibrated": State.SENSOR_ERROR,
    }  # fmt: skip
    found = {int(code): expected[name] for code, name in re.findall(r"(-\d{5}) ([a-z ]+)", specials)}
    assert found == dri_values.SPECIAL


def test_quantities_of_picco_come_in_the_order_of_the_reference(protocols: str) -> None:
    names = line(r"ext3 contains PiCCO \(level 11\): group_hdr then i16 (.*?)\. Units", protocols).split(", ")
    assert [field.name for field in dri_values._PICCO] == names


def test_quantities_of_the_blood_gas_monitor_have_the_codes_of_the_reference(protocols: str) -> None:
    text = line(r"Codes: (00 art pH.*)\.", protocols)
    said = dict(re.findall(r"\b([01][0-9A-F]) ((?:art |ven )?[A-Za-z]\w*\+?)", text))
    expected = {
        "art temp": "ecmo_temp_art", "SO2": "ecmo_so2_post", "ven temp": "ecmo_temp_ven", "SvO2": "ecmo_svo2",
        "Hct": "ecmo_hct", "Hgb": "ecmo_hb",
    }  # fmt: skip
    assert {code: expected[name] for code, name in said.items() if name in expected} == cdi500.CHANNELS
    assert CHECKSUMS[ChecksumName("crc8_cdi")].of(b"123456789") == int(
        line(r'check\("123456789"\) = ([0-9A-F]{2}) \(', protocols), 16
    )


def test_fields_of_the_output_monitor_have_the_letters_of_the_reference(protocols: str) -> None:
    said = dict(re.findall(r"`([A-Za-z]) [mn.]+` ([\w ]+?)(?=,|\.)", line(r"Fields \(letter \+ (.*)", protocols)))
    expected = {
        "CO": "co_td", "SvO2": "svo2_pa", "ScvO2": "scvo2", "HR": "hr", "MAP": "abp_mean", "CVP": "cvp",
        "blood temp": "temp_core",
    }  # fmt: skip
    assert {letter: expected[name] for letter, name in said.items() if name in expected} == vigilance.CHANNELS


def test_codes_of_the_ventilator_are_those_of_the_reference(protocols: str) -> None:
    text = line(r"\nCodes \(CP1 unless said\): (.*)", protocols)
    measured, settings = text.split("Settings (29): ")
    settings, curves = settings.split("Real time: ")
    known = {code.lower() for code in re.findall(r"\b[0-9A-F]{2}\b", measured)}
    assert {code for code in medibus.KNOWN if "_" not in code} <= known
    assert {code[4:] for code in medibus.KNOWN if code.startswith("set_")} <= set(
        re.findall(r"\b[0-9A-F]{2}\b", settings)
    )
    assert set(medibus.CURVES.values()) <= set(re.findall(r"\b[0-9]{2}\b", curves))


def test_the_case_log_has_the_columns_and_cells_of_the_reference(protocols: str) -> None:
    text = line(
        r"CSV case log \(Rotaflow II\) columns documented by project \"VF Analyst\" README : (.*?)\. ->", protocols
    )
    columns, cells = text.split("; cell sentinels ")
    profile = tomllib.loads((shipped_config() / "devices" / "rotaflow_csv.toml").read_text(encoding="utf-8"))
    assert set(re.findall(r"`([^`]+)`", cells)) == set(profile["states"])
    named = {
        "pre/post pressure": {"ecmo_p_pre", "ecmo_p_post"}, "dP": {"ecmo_dp_dev"}, "temperature": {"temperature"},
        "saturation pre/post": {"ecmo_svo2", "ecmo_so2_post"}, "flow lpm": {"ecmo_flow"}, "rpm": {"ecmo_rpm"},
        "alarms": set[str](),
    }  # fmt: skip
    assert set(columns.split(", ")) == set(named)
    read = {column.get("channel", column["name"]) for column in profile["column"]} - {"date and time"}
    assert read == set[str]().union(*named.values())
    assert all(column["key"] == "" for column in profile["column"])
    assert "column names of your own export" in profile["template"]
