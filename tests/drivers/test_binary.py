from __future__ import annotations

import struct
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from acquisition.catalogue import Catalogue, shipped_config
from acquisition.cli import app
from acquisition.driver import Notice, Reading
from acquisition.errors import ConfigError, ForbiddenFrameError
from acquisition.model import State
from acquisition.registry import DriverConfigError, build_driver, load_profile
from drivers.binary import BinaryDriver
from simulators.links import attached
from simulators.xenios import QUESTION, Xenios
from tests.drivers.one_session import numerics_of

S = 1_000_000_000
PRINTED = bytes.fromhex(
    "B200380D610D6100001194000300000F0A0F3C00001F40FFC200F500D20000FED4FED4FED4FED401F401F401F401F40170000000640064"
    "01A401A4A7"
)
CABLED = {"p1": "ecmo_p_drain", "p2": "ecmo_p_pre", "p3": "ecmo_p_post", "T1": "ecmo_temp_art"}
TALKER: dict[str, Any] = {
    "name": "a console that talks",
    "source": "this test",
    "every_s": 1.0,
    "frame": {"checksum": {"kind": "crc16_modbus", "byte_order": "little", "skip": 1}, "trailer": "0D 0A"},
    "record": [
        {
            "name": "values",
            "header": "02 56",
            "size": 19,
            "field": [
                {"at": 2, "type": "f32", "byte_order": "little", "channel": "ecmo_flow", "unit": "L/min"},
                {"at": 6, "type": "u16", "channel": "ecmo_rpm", "unit": "{rev}/min", "states": {"0xFFFF": "invalid"}},
                {"at": 8, "type": "i32", "scale": 0.001, "name": "drain", "channel": "ecmo_p_drain", "unit": "mm[Hg]"},
                {"at": 12, "type": "u8", "name": "mode", "mask": 0xF0, "channel": "ecmo_mode", "enum": {"2": "flow"}},
                {
                    "at": 13,
                    "type": "u16",
                    "name": "flags",
                    "bits": [
                        {"bit": 15, "text": "bubble", "event": "alarm"},
                        {"bit": 0, "text": "no coupling", "state": "questionable", "applies_to": ["ecmo_flow"]},
                    ],
                },
            ],
        },
        {"name": "greeting", "header": "02 47", "size": 8},
    ],
}


def crc16(data: bytes) -> int:
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def said(flow: float = 3.54, rpm: int = 3200, drain: int = -62_500, mode: int = 0x20, flags: int = 0) -> bytes:
    body = b"\x02V" + struct.pack("<f", flow) + struct.pack(">HiBH", rpm, drain, mode, flags)
    return body + struct.pack("<H", crc16(body[1:])) + b"\r\n"


def talker(**changes: Any) -> BinaryDriver:
    driver = BinaryDriver.build({}, Catalogue.shipped(), {**TALKER, **changes})
    driver.start(0)
    return driver


def console(**options: Any) -> BinaryDriver:
    driver = BinaryDriver.build({"channels": CABLED, **options}, Catalogue.shipped(), load_profile("xenios", ()))
    driver.start(0)
    return driver


def asked(driver: BinaryDriver) -> int:
    """The time at which the driver asked next."""
    for _ in range(4):
        assert driver.deadline is not None
        now = driver.deadline
        driver.tick(now)
        if driver.take_frames():
            return now
    pytest.fail("nothing was asked")


def readings(driver: BinaryDriver) -> list[dict[str, float | State]]:
    found = [each for each in driver.take_emissions() if isinstance(each, Reading)]
    return [{**each.values, **each.states} for each in found]


def changed(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    profile = deepcopy(TALKER)
    inner: Any = profile
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return profile


def test_the_printed_frame_reads_as_the_reference_says() -> None:
    driver = console()
    driver.receive(PRINTED, asked(driver))
    assert readings(driver) == [
        {
            "ecmo_rpm": 3425,
            "ecmo_rpm_set": 3425,
            "ecmo_flow": 3.85,
            "ecmo_p_drain": -62,
            "ecmo_p_pre": 245,
            "ecmo_p_post": 210,
            "ecmo_temp_art": 36.8,
        }
    ]


def test_pressures_and_temperatures_are_not_kept_until_the_bed_says_where_they_are() -> None:
    driver = console(channels={})
    driver.receive(PRINTED, asked(driver))
    assert readings(driver) == [{"ecmo_rpm": 3425, "ecmo_rpm_set": 3425, "ecmo_flow": 3.85}]


def test_the_console_is_asked_only_the_one_question() -> None:
    driver = console()
    assert driver.may_send(QUESTION)
    for frame in (b"\xa1\x00\x00\x5e", b"\xa3\x00\x00\x5c", QUESTION + b"\x00", b""):
        assert not driver.may_send(frame)
        with pytest.raises(ForbiddenFrameError):
            driver.send(frame)


def test_the_simulated_console_means_what_the_driver_reads() -> None:
    shown = {"ecmo_flow": -0.35, "ecmo_rpm": 1200.0, "ecmo_p_drain": -4.0, "ecmo_p_pre": 90.0, "ecmo_temp_art": 36.4}
    driver = console()
    driver.receive(Xenios(lambda: shown).reply(), asked(driver))
    (found,) = readings(driver)
    assert found == {**shown, "ecmo_rpm_set": 1200.0, "ecmo_p_post": 0.0}


def test_a_talking_device_is_read_with_all_its_types() -> None:
    driver = talker()
    driver.receive(said() + said(flow=-0.25, rpm=0xFFFF, flags=0x8001), 0)
    emitted = driver.take_emissions()
    assert [{**each.values, **each.states} for each in emitted if isinstance(each, Reading)] == [
        {"ecmo_flow": 3.54, "ecmo_rpm": 3200, "ecmo_p_drain": -62.5},
        {"ecmo_flow": State.QUESTIONABLE, "ecmo_rpm": State.INVALID, "ecmo_p_drain": -62.5},
    ]
    assert [each.text for each in emitted if isinstance(each, Notice)] == ["mode: flow", "bubble"]
    assert isinstance(emitted[-2], Reading)
    assert emitted[-2].values["ecmo_flow"] == -0.25


def test_a_float_that_is_no_number_is_a_state() -> None:
    driver = talker()
    driver.receive(said(flow=float("nan")) + said(flow=float("-inf")), 0)
    assert [each["ecmo_flow"] for each in readings(driver)] == [State.INVALID] * 2


def test_nothing_is_sent_to_a_device_that_talks_by_itself() -> None:
    driver = talker()
    driver.tick(3600 * S)
    assert driver.deadline is None
    assert driver.take_frames() == []
    assert not driver.may_send(b"")


def test_damage_costs_the_frame_it_hit_and_no_other() -> None:
    good = said()
    for place in range(len(good)):
        driver = talker()
        hit = bytes([*good[:place], good[place] ^ 0x10, *good[place + 1 :]])
        driver.receive(good + hit + good + good[:place] + good + good, 0)
        assert len(readings(driver)) == 4, place
        assert driver.counters["bytes_noise"] == len(hit) + place


def test_a_frame_that_claims_too_much_is_skipped() -> None:
    driver = console()
    driver.receive(b"\xb2\xff\xff" + PRINTED, asked(driver))
    assert len(readings(driver)) == 1
    assert driver.counters["rejected_length"] == 1


def test_several_requests_are_asked_one_after_the_other_and_answers_are_told_apart() -> None:
    requests = [
        {"name": "hello", "send": "02 05", "answer": "greeting"},
        {"name": "values", "send": "02 06", "answer": "values"},
    ]
    hello = b"\x02G\x01\x02"
    hello += struct.pack("<H", crc16(hello[1:])) + b"\r\n"
    driver = talker(request=requests)
    now = asked(driver)
    driver.receive(said(), now)
    assert (readings(driver), driver.counters["rejected_late"]) == ([], 1)
    driver.receive(hello, now)
    driver.tick(now)
    assert driver.take_frames() == [b"\x02\x06"]
    driver.receive(said() + said(rpm=1), now)
    assert [each["ecmo_rpm"] for each in readings(driver)] == [3200]
    assert driver.counters["rejected_late"] == 2
    assert driver.deadline == 1_500_000_000


def test_after_a_question_without_answer_the_line_is_left_in_silence() -> None:
    driver = console()
    first = asked(driver)
    assert driver.deadline == first + S // 2
    driver.tick(first + S // 2)
    assert driver.counters["timeout"] == 1
    driver.receive(PRINTED, first + S)
    assert driver.take_emissions() == []
    assert asked(driver) == first + 2 * S


def test_the_console_without_a_public_frame_refuses_to_run_until_it_is_filled_in() -> None:
    with pytest.raises(DriverConfigError) as refused:
        build_driver("binary", "cardiohelp", {}, Catalogue.shipped(), ())
    (mistake,) = refused.value.mistakes
    assert "cardiohelp.toml:1: this profile is a template and describes no device yet" in mistake.text
    assert "ask Getinge for its serial interface document" in mistake.text


def test_the_template_once_filled_in_is_a_profile() -> None:
    template = load_profile("cardiohelp", ())
    fields = [{**field, "at": 2 + 2 * n, "type": "i16"} for n, field in enumerate(template["record"][0]["field"])]
    frame = {"checksum": {"kind": "sum8"}}
    record = {**template["record"][0], "header": "10 02", "size": 39, "field": fields}
    filled = {**template, "template": "", "frame": frame, "record": [record]}
    driver = BinaryDriver.build({}, Catalogue.shipped(), filled)
    driver.start(0)
    body = b"\x10\x02" + struct.pack(">h", -32000) + bytes(34)
    driver.receive(body + bytes([sum(body) & 0xFF]), 0)
    (found,) = readings(driver)
    assert found["ecmo_p_drain"] is State.INVALID
    assert len(found) == 12


def test_every_mistake_in_a_profile_is_told_with_its_place(tmp_path: Path) -> None:
    text = (shipped_config() / "devices" / "xenios.toml").read_text(encoding="utf-8")
    text = text.replace('"A2 00 00 5D"', '"A2 0"').replace(
        'type = "u8"\nname = "systole"', 'type = "u7"\nname = "systole"'
    )
    text = text.replace('name = "p1"', 'nome = "p1"').replace("sum8_complement", "sum9")
    (tmp_path / "wrong.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DriverConfigError) as refused:
        build_driver("binary", "wrong", {}, Catalogue.shipped(), (tmp_path,))
    lines = text.splitlines()
    told = [mistake.text.partition("wrong.toml:")[2] for mistake in refused.value.mistakes]
    assert len(told) == 4
    for text_of, fragment in [
        ("sum9", "'sum9' is not known"),
        ("A2 0", "write bytes as hex"),
        ("u7", "'u7' is not known"),
        ("nome", "unknown key; did you mean 'name'?"),
    ]:
        number = next(n for n, line in enumerate(lines, 1) if text_of in line and not line.startswith("#"))
        assert [each for each in told if each.startswith(f"{number}:") and fragment in each], (text_of, told)


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("frame",), {}, "checksum or a trailer"),
        (("frame",), {"trailer": "0D", "length": {"at": 2, "type": "u8"}}, "and not both"),
        (("record", 1, "size"), None, "and not both"),
        (("record", 1, "header"), "02", "begins 'values' too"),
        (("record", 1, "name"), "values", "two records"),
        (("record", 0, "field", 0, "at"), 1, "not within bytes 2 to 14"),
        (("record", 0, "field", 4, "at"), 14, "not within bytes 2 to 14"),
        (("record", 0, "field", 2, "mask"), 1, "bits and mask need"),
        (("record", 0, "field", 3, "mask"), 0x100, "wider"),
        (("record", 0, "field", 4, "type"), "u8", "bits 0 to 7"),
        (("record", 0, "field", 1, "states"), {"none": "off"}, "not a number"),
        (("record", 0, "field", 3, "states"), {"0x100": "off"}, "0x100 is not a number that its type can hold"),
        (("request",), [{"name": "x", "send": "01", "answer": "nothing"}], "no record 'nothing'"),
        (("request",), [{"name": "x", "send": "", "answer": "values"}], "at least 1"),
        (("surprise",), 1, "[Ee]xtra"),
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(
    path: tuple[str | int, ...], value: object, complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        BinaryDriver.build({}, Catalogue.shipped(), changed(path, value))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("record", 0, "field", 0, "channel"), "flow", "not in the catalogue"),
        (("record", 0, "field", 0, "unit"), "mm[Hg]", "cannot become"),
        (("record", 0, "field", 1, "channel"), "ecmo_flow", "two fields go to channel"),
        (("record", 0, "field", 3, "channel"), "ecmo_rpm", "must be enumeration"),
    ],
)
def test_a_channel_that_does_not_fit_is_told(path: tuple[str | int, ...], value: object, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        BinaryDriver.build({}, Catalogue.shipped(), changed(path, value))


def test_a_profile_is_needed() -> None:
    with pytest.raises(ConfigError, match="needs a profile"):
        BinaryDriver.build({}, Catalogue.shipped())


@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(st.binary(max_size=60) | st.sampled_from([said(), said()[:9], b"\x02V", b"\x02"]), max_size=10))
def test_any_bytes_give_readings_or_counts_and_whole_frames_survive(pieces: list[bytes]) -> None:
    driver = talker()
    for piece in pieces:
        driver.receive(piece, 0)
    assert len(driver.buffer) < 19
    # A header without the rest waits for 19 bytes; two whole frames later nothing can be waiting.
    driver.receive(said(rpm=4001) + said(rpm=4001), 0)
    assert [each for each in readings(driver) if each["ecmo_rpm"] == 4001]


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300), split=st.integers(0, 300))
def test_any_answer_at_all_is_survived(data: bytes, split: int) -> None:
    driver = console()
    now = asked(driver)
    driver.receive(data[:split], now)
    driver.receive(data[split:], now)
    for _ in range(4):
        asked(driver)


@pytest.mark.system
async def test_the_console_is_read_over_a_pseudo_terminal(tmp_path: Path) -> None:
    shown = {"ecmo_flow": 3.85, "ecmo_rpm": 3425.0, "ecmo_p_drain": -62.0}
    options = {"channels": {"p1": "ecmo_p_drain"}, "every_s": 0.1}
    async with attached(f"pty://{tmp_path}/console", Xenios(lambda: shown)) as link:
        found, driver = await numerics_of(link, "binary", "xenios", options, until=lambda each: len(each) >= 5)
    assert all(each.values == {**shown, "ecmo_rpm_set": 3425.0} for each in found)
    assert driver.counters["frames_bad"] == 0


def test_check_says_that_the_console_is_unverified_and_refuses_the_template(tmp_path: Path) -> None:
    bed = '[site]\nsite = "s"\nbed = "b"\ntimezone = "UTC"\n[journal]\ndirectory = "j"\n[[device]]\nid = "pump"\n'
    config = tmp_path / "bed.toml"
    told = []
    for profile in ("xenios", "cardiohelp"):
        config.write_text(
            f'{bed}driver = "binary"\nprofile = "{profile}"\nlink = "tcp://127.0.0.1:9"\n', encoding="utf-8"
        )
        told.append(CliRunner().invoke(app, ["check", "--config", str(config)]))
    unverified, refused = told
    assert unverified.exit_code == 0
    assert "pump: xenios is unverified on hardware" in unverified.output
    assert isinstance(refused.exception, ConfigError)
    assert "ask Getinge for its serial interface document" in str(refused.exception)
