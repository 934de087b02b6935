from __future__ import annotations

import struct
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from acquisition.catalogue import Catalogue, shipped_config
from acquisition.errors import ConfigError
from acquisition.model import EventKind, State
from acquisition.wire.quantities import Decoded
from acquisition.wire.register_blocks import lay_out
from acquisition.wire.registers import Register
from drivers.modbus import ModbusDriver
from tests.drivers.modbus_bench import build

FLOW = {"function": 4, "address": 0, "type": "i16", "channel": "ecmo_flow", "unit": "mL/min"}


def register(**content: Any) -> Register:
    return Register.model_validate({"function": 4, "address": 0, "name": "x"} | content)


def decoded(words: list[int], *contents: dict[str, Any], gap: int = 0) -> Decoded:
    (block,) = lay_out([Register.model_validate(each) for each in contents], 1, gap, {}, Catalogue.shipped())
    return block.decode(b"".join(word.to_bytes(2, "big") for word in words))


def problems_of(*contents: dict[str, Any], given: dict[str, str] | None = None) -> list[str]:
    registers = [Register.model_validate(each) for each in contents]
    with pytest.raises(ConfigError) as caught:
        lay_out(registers, 1, 0, given or {}, Catalogue.shipped())
    return caught.value.problems


@pytest.mark.parametrize(
    ("kind", "layout", "number"),
    [
        ("u16", ">H", 40000),
        ("i16", ">h", -1234),
        ("u32", ">I", 3_000_000_000),
        ("i32", ">i", -70_000),
        ("u64", ">Q", 2**60),
        ("i64", ">q", -(2**50)),
        ("f32", ">f", 3.85),
        ("f64", ">d", -0.1),
    ],
)
def test_every_type_is_read_in_every_order(kind: str, layout: str, number: float) -> None:
    data = struct.pack(layout, number)
    words = [data[index : index + 2] for index in range(0, len(data), 2)]
    for word_order in ("big", "little"):
        for byte_order in ("big", "little"):
            sent = words if word_order == "big" else words[::-1]
            sent = sent if byte_order == "big" else [word[::-1] for word in sent]
            read = register(type=kind, word_order=word_order, byte_order=byte_order)
            assert read.raw([int.from_bytes(word, "big") for word in sent]) == number


def test_a_bit_of_a_register_is_a_number() -> None:
    assert register(type="bool", bit=3).raw([0b1000]) == 1
    assert register(type="bool", bit=3).raw([0b0111]) == 0


def test_a_value_is_scaled_and_becomes_the_catalogues_unit_without_rounding_noise() -> None:
    celsius = {"function": 4, "address": 1, "scale": 0.01, "channel": "ecmo_temp_art", "unit": "Cel"}
    kelvin = {"function": 4, "address": 2, "scale": 0.1, "offset": 0.05, "channel": "ecmo_temp_ven", "unit": "K"}
    assert decoded([0x10000 - 1100, 3680, 3101], FLOW, celsius, kelvin).values == {
        "ecmo_flow": -1.1,
        "ecmo_temp_art": 36.8,
        "ecmo_temp_ven": 37.0,
    }


def test_a_sentinel_is_a_state_and_no_value() -> None:
    result = decoded([0x8000], FLOW | {"states": {"-32768": "invalid", "0x7FFF": "above_range"}})
    assert (result.values, result.states) == ({}, {"ecmo_flow": State.INVALID})
    result = decoded([0x7FFF], FLOW | {"states": {"-32768": "invalid", "0x7FFF": "above_range"}})
    assert (result.values, result.states) == ({}, {"ecmo_flow": State.ABOVE_RANGE})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_float_that_is_no_number_is_a_state(number: float) -> None:
    words = list(struct.unpack(">2H", struct.pack(">f", number)))
    result = decoded(words, FLOW | {"type": "f32"})
    assert (result.values, result.states) == ({}, {"ecmo_flow": State.INVALID})


def test_a_set_bit_gives_its_state_beside_the_value() -> None:
    bits = [{"bit": 1, "text": "bad", "state": "sensor_error", "applies_to": ["ecmo_flow"]}]
    status = {"function": 4, "address": 1, "name": "status", "bits": bits}
    assert decoded([5, 2], FLOW, status).states == {"ecmo_flow": State.SENSOR_ERROR}
    assert decoded([5, 2], FLOW, status).values == {"ecmo_flow": 0.005}
    assert decoded([5, 1], FLOW, status).states == {}


def test_an_offset_is_in_the_unit_of_the_profile() -> None:
    assert decoded([400], FLOW | {"scale": 10.0, "offset": -500.0}).values == {"ecmo_flow": 3.5}


@pytest.mark.parametrize("status_at", [0, 1])
def test_what_stands_in_place_of_a_number_is_told_rather_than_a_bit_about_it(status_at: int) -> None:
    bits = [{"bit": 0, "text": "t", "state": "questionable", "applies_to": ["ecmo_flow"]}]
    status = {"function": 4, "address": status_at, "name": "status", "bits": bits}
    flow = FLOW | {"address": 1 - status_at, "states": {"-32768": "sensor_error"}}
    words = [1, 0x8000] if status_at == 0 else [0x8000, 1]
    result = decoded(words, flow, status)
    assert (result.values, result.states) == ({}, {"ecmo_flow": State.SENSOR_ERROR})


def test_a_number_of_an_enumeration_that_has_no_name_keeps_its_number() -> None:
    mode = {"function": 4, "address": 0, "channel": "ecmo_mode", "enum": {"1": "off"}}
    (remark,) = decoded([7], mode).remarks
    assert (remark.text, remark.kind, remark.channel) == ("ecmo_mode: 7", EventKind.STATE, "ecmo_mode")
    assert decoded([7], mode).values == {}


def test_registers_side_by_side_are_read_together_and_gaps_only_as_far_as_allowed() -> None:
    registers = [register(name=str(address), address=address) for address in (0, 1, 4, 10)]
    assert [block.read.count for block in lay_out(registers, 1, 0, {}, Catalogue.shipped())] == [2, 1, 1]
    assert [block.read.count for block in lay_out(registers, 1, 2, {}, Catalogue.shipped())] == [5, 1]
    assert [block.read.count for block in lay_out(registers, 1, 5, {}, Catalogue.shipped())] == [11]


def test_a_block_is_never_longer_than_modbus_allows() -> None:
    registers = [register(name=str(address), address=address) for address in range(200)]
    blocks = lay_out(registers, 1, 0, {}, Catalogue.shipped())
    assert [block.read.count for block in blocks] == [125, 75]


def test_single_bits_of_one_register_may_stand_side_by_side() -> None:
    registers = [register(name=f"bit {bit}", type="bool", bit=bit) for bit in (0, 1)]
    (block,) = lay_out(registers, 1, 0, {}, Catalogue.shipped())
    assert block.read.count == 1


def test_a_name_without_a_channel_gets_one_from_the_bed() -> None:
    read = register(name="temperature", scale=0.01, unit="Cel")
    (block,) = lay_out([read], 1, 0, {"temperature": "ecmo_temp_ven"}, Catalogue.shipped())
    assert block.decode(b"\x0e\x60").values == {"ecmo_temp_ven": 36.8}
    (block,) = lay_out([read], 1, 0, {}, Catalogue.shipped())
    assert block.decode(b"\x0e\x60").values == {}


def test_every_mistake_between_registers_is_told_at_once_in_a_sentence() -> None:
    problems = problems_of(
        FLOW | {"type": "i32"},
        {"function": 4, "address": 1, "channel": "ecmo_flo", "unit": "L/min"},
        {"function": 4, "address": 5, "channel": "ecmo_rpm", "unit": "L/min"},
        {"function": 4, "address": 6, "channel": "ecmo_mode", "unit": "1"},
        {"function": 4, "address": 7, "channel": "ecmo_svo2", "enum": {"1": "on"}},
        {"function": 4, "address": 8, "name": "a", "channel": "hr", "unit": "/min"},
        {"function": 4, "address": 9, "name": "a", "channel": "hr", "unit": "/min"},
        {
            "function": 3,
            "address": 0,
            "name": "status",
            "bits": [{"bit": 0, "text": "t", "state": "off", "applies_to": ["hr"]}],
        },
        given={"flow": "ecmo_flow"},
    )
    assert [problem.partition(" (")[0] for problem in problems] == [
        "two registers are called 'a'",
        "two registers go to channel 'hr'",
        "channels: the profile has no 'flow'",
        "ecmo_flow and ecmo_flo overlap at address 1 of function 4",
        "status, bit 0: applies_to can name what is read with it: status",
        "ecmo_flo: channel 'ecmo_flo' is not in the catalogue",
        "ecmo_rpm: channel 'ecmo_rpm': unit 'L/min' cannot become '{rev}/min'",
        "ecmo_mode: channel 'ecmo_mode' is of kind enumeration; it must be numeric or setting here",
        "ecmo_svo2: channel 'ecmo_svo2' is of kind numeric; it must be enumeration here",
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"name": ""}, "register 0: give it a channel or a name"),
        ({"function": 1}, "x: functions 1 and 2 read single bits: use type 'bool' and no bit"),
        ({"type": "bool"}, "x: type 'bool' of a register needs bit = 0..15, and only that type has one"),
        ({"bit": 3}, "x: type 'bool' of a register needs bit = 0..15, and only that type has one"),
        ({"states": {"minus one": "off"}}, "'minus one' is not a number that a register can hold"),
        (
            {"type": "i16", "states": {"0x8000": "off"}},
            "x: 0x8000 is not a number that its type can hold; it is read as -32768",
        ),
        ({"states": {"-1": "off"}}, "x: -1 is not a number that its type can hold; it is read as 65535"),
        ({"type": "i32", "enum": {"1.5": "on"}}, "x: 1.5 is not a number that its type can hold; it is read as 1"),
        ({"type": "f32", "states": {"3.402823466e38": "off"}}, "it is read as 3.4028235e+38"),
        ({"type": "f32", "states": {"1e39": "off"}}, "x: 1e39 is not a number that its type can hold"),
        ({"type": "bool", "bit": 0, "enum": {"2": "on"}}, "x: 2 is not a number that its type can hold"),
        ({"type": "u32", "bits": [{"bit": 0, "text": "t", "event": "alarm"}]}, "x: bits need type 'u16'"),
        ({"bits": [{"bit": 0, "text": "t"}]}, "bit 0: give it a state or an event"),
        ({"bits": [{"bit": 0, "text": "t", "state": "off"}]}, "bit 0: a state needs applies_to"),
        ({"channel": "hr", "bits": [{"bit": 0, "text": "t", "event": "alarm"}]}, "use name, not channel"),
        ({"address": 65535, "type": "f32"}, "x: its registers end after 65535"),
        ({"function": 5}, "Input should be 1, 2, 3 or 4"),
        ({"function": 16}, "Input should be 1, 2, 3 or 4"),
    ],
)
def test_a_mistake_in_a_register_is_told_in_a_sentence(content: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        register(**content)
    assert sentence in str(caught.value)


def test_a_driver_is_not_built_from_a_profile_that_does_not_fit_the_catalogue() -> None:
    with pytest.raises(ConfigError, match="channel 'ecmo_flo' is not in the catalogue"):
        build(FLOW | {"channel": "ecmo_flo"})
    with pytest.raises(ConfigError, match="unit: 0 is no address of a device on a serial line"):
        build(FLOW, unit=0)
    build(FLOW, unit=0, mode="tcp")


def test_the_profile_in_the_guide_is_one() -> None:
    guide = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "add-a-modbus-device.md"
    profile, device, *_ = (block.partition("```")[0] for block in guide.read_text("utf-8").split("```toml\n")[1:])
    (configured,) = tomllib.loads(device)["device"]
    driver = ModbusDriver.build(configured["options"], Catalogue.shipped(), tomllib.loads(profile))
    assert configured["driver"] == "modbus"
    assert driver.identity == {"make": "Acme", "model": "Flow One"}


SHIPPED = {
    path.stem: tomllib.loads(path.read_text("utf-8")) for path in sorted((shipped_config() / "devices").glob("*.toml"))
}


@pytest.mark.parametrize("name", [name for name, content in SHIPPED.items() if "register" in content])
def test_every_shipped_register_map_can_be_used(name: str) -> None:
    content = SHIPPED[name]
    for mode in ("rtu", "tcp", "rtu_over_tcp"):
        ModbusDriver.build({"mode": mode}, Catalogue.shipped(), content)
