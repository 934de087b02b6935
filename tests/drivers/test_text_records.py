from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from acquisition.catalogue import Catalogue
from acquisition.driver import Notice, Reading, WallTime
from acquisition.model import State
from acquisition.registry import load_profile
from acquisition.wire.checksum import CHECKSUMS, ChecksumName
from acquisition.wire.text_records import time_parts
from drivers.delimited import DelimitedDriver
from simulators.links import attached
from simulators.masimo_ascii1 import MasimoAscii1
from tests.drivers.one_session import numerics_of

FLOW = {"name": "flow", "channel": "ecmo_flow", "unit": "L/min"}
SPEED = {"name": "speed", "channel": "ecmo_rpm", "unit": "{rev}/min"}
BASE: dict[str, Any] = {"name": "a console", "source": "this test", "terminator": "\n", "period_s": 1.0}
STATES = {"states": {"-": "invalid", "Lo": "below_range"}}
FIXED = (
    BASE
    | STATES
    | {
        "record": "fixed",
        "columns": 12,
        "column": [{**FLOW, "start": 1, "width": 6}, {**SPEED, "start": 8, "width": 5}],
    }
)
PAIRS = (
    BASE
    | STATES
    | {
        "record": "pairs",
        "separator": ";",
        "assign": ":",
        "column": [{**FLOW, "key": "Q"}, {**SPEED, "key": "N"}],
    }
)
PATTERN = (
    BASE
    | STATES
    | {
        "record": "pattern",
        "pattern": r"Q(?P<q>[-+0-9.]+|Lo)N(?P<n>[0-9-]+)",
        "column": [{**FLOW, "key": "q"}, {**SPEED, "key": "n"}],
    }
)
HEADER = (
    BASE
    | STATES
    | {
        "record": "header",
        "separator": "\t",
        "column": [{**FLOW, "key": "Flow"}, {**SPEED, "key": "Speed"}],
    }
)
CHECKED = BASE | {
    "separator": ",",
    "columns": 2,
    "column": [{**FLOW, "index": 1}, {**SPEED, "index": 2}],
    "checksum": {"kind": "xor", "mark": "*", "skip": 0},
}
EVERY = [FIXED, PAIRS, PATTERN, HEADER, CHECKED]


def started(profile: dict[str, Any], **options: Any) -> DelimitedDriver:
    driver = DelimitedDriver.build(options, Catalogue.shipped(), profile)
    driver.start(0)
    driver.receive(b"\n", 0)
    return driver


def read(profile: dict[str, Any], *lines: str) -> list[dict[str, float | State]]:
    driver = started(profile)
    driver.receive("".join(f"{line}\n" for line in lines).encode(), 0)
    return [{**reading.values, **reading.states} for reading in driver.take_emissions() if isinstance(reading, Reading)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("xor", 0x31),
        ("sum8", 0xDD),
        ("sum8_complement", 0x22),
        ("sum8_negative", 0x23),
        ("sum16", 0x1DD),
        ("crc8_cdi", 0x2A),
        ("crc16_modbus", 0x4B37),
        ("crc16_xmodem", 0x31C3),
        ("crc16_x25", 0x906E),
    ],
)
def test_each_checksum_has_its_published_check_value(name: str, value: int) -> None:
    assert CHECKSUMS[ChecksumName(name)].of(b"123456789") == value


def test_every_checksum_has_a_check_value_above() -> None:
    assert len(CHECKSUMS) == 9


def test_fixed_columns_are_cut_where_the_profile_says() -> None:
    assert read(FIXED, "  3.54  3200", " -0.30  ----", "  3.54 3200") == [
        {"ecmo_flow": 3.54, "ecmo_rpm": 3200},
        {"ecmo_flow": -0.3, "ecmo_rpm": State.INVALID},
    ]


def test_pairs_are_found_in_any_order_and_only_whole() -> None:
    assert read(PAIRS, "N:3200;Q:3.54", "Q:Lo;N:-", "Q:1;Q:2", "Q:1;N:2;X:3", "Q:1", "Q1;N:2") == [
        {"ecmo_flow": 3.54, "ecmo_rpm": 3200},
        {"ecmo_flow": State.BELOW_RANGE, "ecmo_rpm": State.INVALID},
    ]


def test_a_pattern_must_match_the_whole_line() -> None:
    assert read(PATTERN, "Q3.54N3200", "Q3.54N3200x", " Q3.54N3200", "QLoN--") == [
        {"ecmo_flow": 3.54, "ecmo_rpm": 3200},
        {"ecmo_flow": State.BELOW_RANGE, "ecmo_rpm": State.INVALID},
    ]


def test_a_header_names_the_columns_and_a_new_one_names_them_anew() -> None:
    assert read(HEADER, "1\t2", "Speed\tNote\tFlow", "3200\tx\t3.54", "3200\t3.54", "Flow\tSpeed", "3.55\t3201") == [
        {"ecmo_flow": 3.54, "ecmo_rpm": 3200},
        {"ecmo_flow": 3.55, "ecmo_rpm": 3201},
    ]


def test_a_header_is_forgotten_with_the_link() -> None:
    driver = started(HEADER)
    driver.receive(b"Speed\tFlow\n", 0)
    driver.start(1)
    driver.receive(b"\n3200\t3.54\n", 1)
    assert driver.take_emissions() == []


def test_a_line_with_a_wrong_checksum_is_counted_and_not_used() -> None:
    body = "3.54,3200"
    right = CHECKSUMS[ChecksumName.XOR].of(body.encode())
    lines = [
        f"{body}*{right:02X}",
        f"{body}*{right ^ 1:02X}",
        f"3.55,3200*{right:02X}",
        body,
        f"{body}{right:02X}",
        "*00",
    ]
    driver = started(CHECKED)
    before = driver.counters["rejected_checksum"]
    driver.receive("".join(f"{line}\n" for line in lines).encode(), 0)
    found = [each for each in driver.take_emissions() if isinstance(each, Reading)]
    assert [reading.values for reading in found] == [{"ecmo_flow": 3.54, "ecmo_rpm": 3200}]
    assert driver.counters["rejected_checksum"] - before == 4


def test_a_decimal_checksum_may_leave_out_the_front_and_cover_its_mark() -> None:
    total = sum(b"3.54,3200 ") % 256
    profile = CHECKED | {
        "checksum": {"kind": "sum8", "base": "decimal", "digits": 3, "mark": " ", "covers_mark": True, "skip": 1},
    }
    profile["column"] = [{"index": 1, "name": "mark", "type": "text", "pattern": "#[0-9.]+"}, {**SPEED, "index": 2}]
    assert read(profile, f"#3.54,3200 {total:03d}", f"#3.54,3200 {total + 1:03d}") == [{"ecmo_rpm": 3200}]


def test_lines_to_be_ignored_are_no_errors() -> None:
    driver = started(CHECKED | {"checksum": None, "ignore": ["=+", "Q,N"]})
    before = driver.counters["frames_bad"]
    driver.receive(b"====\nQ,N\n1,2\n", 0)
    assert len(driver.take_emissions()) == 1
    assert (driver.counters["lines_ignored"], driver.counters["frames_bad"]) == (2, before)


@pytest.mark.parametrize(
    ("field", "form", "parts"),
    [
        ("02/28/26", "MM/DD/YY", {"month": 2, "day": 28, "year": 2026}),
        ("2026-02-28T13:05", "YYYY-MM-DDThh:mm", {"year": 2026, "month": 2, "day": 28, "hour": 13, "minute": 5}),
        ("01:02:03", "hh:mm:ss", {"hour": 1, "minute": 2, "second": 3}),
        ("1:02:03", "hh:mm:ss", None),
        ("02/28/26 ", "MM/DD/YY", None),
    ],
)
def test_times_are_read_as_the_format_says(field: str, form: str, parts: dict[str, int] | None) -> None:
    assert time_parts(field, form) == parts


def test_date_and_time_columns_give_the_devices_own_time_together() -> None:
    columns = [
        {"index": 1, "name": "date", "type": "time", "format": "DD.MM.YYYY"},
        {"index": 2, "name": "time", "type": "time", "format": "hh:mm"},
        {**FLOW, "index": 3},
    ]
    driver = started(BASE | STATES | {"columns": 3, "separator": ",", "column": columns})
    driver.receive(b"28.02.2026,13:05,1.5\n---,13:05,1.5\n28.2.2026,13:05,1.5\n", 0)
    found = [each for each in driver.take_emissions() if isinstance(each, Reading)]
    assert [reading.device_time for reading in found] == [WallTime(2026, 2, 28, 13, 5), None]


def test_a_named_column_is_kept_only_where_the_bed_gives_it_a_channel() -> None:
    columns = [{**FLOW, "index": 1}, {"index": 2, "name": "pulse", "unit": "/min"}]
    profile = BASE | {"columns": 2, "separator": ",", "column": columns}
    assert read(profile, "1,90") == [{"ecmo_flow": 1.0}]
    driver = started(profile, channels={"pulse": "hr"})
    driver.receive(b"1,90\n", 0)
    (reading,) = (each for each in driver.take_emissions() if isinstance(each, Reading))
    assert reading.values == {"ecmo_flow": 1.0, "hr": 90.0}


@pytest.mark.parametrize("pattern", ["(a+)+", "(?:a*)*b", "([ab]{1,9}c?){2,}", r"((\)+)x?)*", "(a|b+)+"])
def test_a_pattern_that_could_take_for_ever_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="for ever"):
        started(PATTERN | {"ignore": [pattern]})


@pytest.mark.parametrize("pattern", ["(ab)+", "a+b+", r"(\+)*", "[(+)]+", "(a+)?", r"(a+) +", "(?P<x>[0-9]+)"])
def test_a_pattern_that_cannot_is_taken(pattern: str) -> None:
    started(PATTERN | {"ignore": [pattern]})


@pytest.mark.parametrize(
    ("profile", "complaint"),
    [
        (FIXED | {"columns": 11}, "start and width within the 11"),
        (FIXED | {"columns": None}, "columns = N goes with"),
        (PAIRS | {"columns": 2}, "columns = N goes with"),
        (PAIRS | {"column": [{**FLOW, "key": "Q"}, {**SPEED, "key": "Q"}]}, "the same"),
        (HEADER | {"column": [FLOW]}, "needs a key"),
        (PATTERN | {"pattern": None}, "needs a pattern"),
        (PATTERN | {"column": [{**FLOW, "key": "x"}]}, "that is a group"),
        (PATTERN | {"max_line": 4096}, "512 at most"),
        (CHECKED | {"checksum": {"kind": "md5"}}, "xor"),
        (HEADER | {"column": [{"name": "t", "type": "time", "format": "", "key": "t"}]}, "needs a format"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(profile: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        started(profile)


@pytest.mark.parametrize("profile", EVERY, ids=lambda profile: str(profile.get("record", "checked")))
@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.binary(max_size=80) | st.text("QN:;\t\n.,0123456789*-LoFlowSpeed", max_size=40), max_size=8))
def test_any_bytes_give_readings_or_counts(profile: dict[str, Any], pieces: list[bytes | str]) -> None:
    driver = started(profile)
    for piece in pieces:
        driver.receive(piece.encode() if isinstance(piece, str) else piece, 0)
    assert len(driver.buffer) <= 258
    assert all(isinstance(each, Reading | Notice) for each in driver.take_emissions())


def test_the_longest_line_against_a_greedy_pattern_takes_no_time_to_speak_of() -> None:
    driver = started(PATTERN | {"pattern": "(?P<q>.*)a.*b.*(?P<n>c)", "max_line": 512})
    began = time.process_time()
    driver.receive(b"ab" * 255 + b"\n", 0)
    assert time.process_time() - began < 5


@pytest.mark.system
async def test_the_oximeter_is_read_over_a_pseudo_terminal(tmp_path: Path) -> None:
    device = MasimoAscii1(lambda: {"spo2": 97.0, "hr": 92.0})
    async with attached(f"pty://{tmp_path}/oximeter", device) as link:
        found, driver = await numerics_of(link, "delimited", "masimo_ascii1", {"channels": {"pulse rate": "hr"}})
    assert all(each.values == {"spo2": 97.0, "hr": 92.0} for each in found)
    assert all(each.device_time for each in found)
    assert driver.counters["frames_bad"] == 0


def test_the_driver_reads_what_the_oximeter_means() -> None:
    present: dict[str, float] = {}
    device = MasimoAscii1(lambda: present)
    driver = DelimitedDriver.build({}, Catalogue.shipped(), load_profile("masimo_ascii1", ()))
    driver.start(0)
    wire = b"\r\n" + device.line()
    present.update(spo2=88.0, hr=110.0)
    driver.receive(wire + device.line(), 0)
    found = [each for each in driver.take_emissions() if isinstance(each, Reading)]
    assert [{**each.values, **each.states} for each in found] == [{"spo2": State.INVALID}, {"spo2": 88.0}]


def test_the_template_of_the_blood_gas_monitor_is_refused_until_its_header_is_filled_in() -> None:
    template = load_profile("cdi500_ascii", ())
    with pytest.raises(ValidationError, match="is a template and describes no device yet: write the header names"):
        started(template)
    filled = template | {"template": "", "column": [{**each, "key": each["name"]} for each in template["column"]]}
    driver = started(filled)
    driver.receive(b"\r" + "\t".join(each["name"] for each in filled["column"]).encode() + b"\r", 0)
    driver.receive(b"36.8\t98\t35.9\t--\t29\t9.6\r", 0)
    (reading,) = (each for each in driver.take_emissions() if isinstance(each, Reading))
    assert reading.values["ecmo_temp_art"] == 36.8
    assert reading.states == {"ecmo_svo2": State.INVALID}
    asking = DelimitedDriver.build({}, Catalogue.shipped(), filled | {"poll": "<X08Z36>"})
    assert asking.may_send(b"<X08Z36>")
