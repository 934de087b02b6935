from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from acquisition.catalogue import Catalogue, shipped_config
from acquisition.registry import available_drivers, available_profiles
from acquisition.wire.pcd01 import ABSENT, OFTEN_TRUE
from drivers import bcc, cdi500, dri, hl7, medibus, vigilance
from simulators.cli import devices

PAGES = Path(__file__).parents[2] / "docs" / "reference" / "devices"
TABLES: dict[str, Mapping[str, str]] = {
    # What the code maps, code to channel.
    "cdi500": cdi500.CHANNELS,
    "medibus": {code.upper(): channel for code, (channel, _) in medibus.KNOWN.items() if channel},
    "vigilance": vigilance.CHANNELS,
    "dri": dri._CHANNELS,
}
SAYS = {
    "whether it was tried": r"[Uu]nverified on (hardware|an export)|refuses to run",
    "wiring": r"[Ww]iring|RS-232|serial (line|protocol)",
    "what is sent": r"[Nn]othing (else )?(can be|is ever) (sent|written)|[Nn]othing else|never written|Sends nothing"
    r"|nothing else can be|refuses to run|after the fact",
    "units": r"[Uu]nit|L/min|mm\[Hg\]",
    "its limits": r"[Nn]ot read|[Ll]imits|not known|Not documented|not kept|refused|no checksum|not public|is not kept",
    "its source": r"Sources?: ",
}  # fmt: skip


def page_of(profile: str) -> str:
    """Dialects of one protocol, and both modes of one device, share a page."""
    return {"cdi500_ascii": "cdi500"}.get(profile, "hl7" if profile.startswith("hl7_") else profile)


def text_of(page: str) -> str:
    return (PAGES / f"{page}.md").read_text(encoding="utf-8")


def profile(name: str) -> dict[str, Any]:
    return tomllib.loads((shipped_config() / "devices" / f"{name}.toml").read_text(encoding="utf-8"))


def values_of(key: str, content: object) -> set[str]:
    """Every text under this key, however deep."""
    if isinstance(content, dict):
        own = {value for name, value in content.items() if name == key and isinstance(value, str) and value}
        return own.union(*(values_of(key, each) for each in content.values()))
    return set[str]().union(*(values_of(key, each) for each in content)) if isinstance(content, list) else set()


def cells(text: str) -> list[list[str]]:
    """The rows of all tables of a page."""
    return [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line.startswith("|")
    ]


def test_every_driver_and_every_profile_has_a_page_and_every_page_one_of_them() -> None:
    wanted = {*available_drivers(), *map(page_of, available_profiles(()))}
    assert {path.stem for path in PAGES.glob("*.md")} == wanted


@pytest.mark.parametrize("page", sorted(path.stem for path in PAGES.glob("*.md")))
def test_a_page_says_what_one_must_know(page: str) -> None:
    text = " ".join(text_of(page).split())
    assert [what for what, pattern in SAYS.items() if not re.search(pattern, text)] == []


@pytest.mark.parametrize("name", sorted(devices()))
def test_a_device_that_is_simulated_is_named_on_a_page_with_its_command(name: str) -> None:
    assert any(f"`ecmo-sim {name}`" in path.read_text(encoding="utf-8") for path in PAGES.glob("*.md"))


@pytest.mark.parametrize("name", available_profiles(()))
def test_a_page_names_every_channel_of_its_profile(name: str) -> None:
    content = profile(name)
    channels = values_of("channel", content) | set(content.get("channels", {}).values())
    assert {channel for channel in channels if f"`{channel}`" not in text_of(page_of(name))} == set()
    assert f"`{name}`" in text_of(page_of(name)) or f'"{name}"' in text_of(page_of(name))


@pytest.mark.parametrize("name", available_profiles(()))
def test_a_page_of_a_profile_promises_no_channel_that_it_does_not_have(name: str) -> None:
    content = profile(name)
    page = page_of(name)
    if content.get("template") or page in available_drivers():
        return
    promised = {word for row in cells(text_of(page)) for cell in row for word in re.findall(r"`(\w+)`", cell)}
    offered = set(re.findall(r'= "(\w+)"', text_of(page)))
    known = Catalogue.shipped()
    assert {word for word in promised if word in known} <= values_of("channel", content) | offered


@pytest.mark.parametrize("name", [name for name in available_profiles(()) if "register" in profile(name)])
def test_a_page_has_every_register_with_a_channel_at_its_address(name: str) -> None:
    rows = cells(text_of(name))
    for register in profile(name)["register"]:
        if "channel" in register:
            (row,) = (row for row in rows if f"`{register['channel']}`" in " ".join(row))
            first, _, last = row[0].partition(" to ")
            listed = [int(each) for each in re.findall(r"\d, (\d+)", row[0])]
            place = register["address"]
            assert place in listed or (last and listed[0] <= place <= listed[-1]), (register, row)
            assert first.startswith(str(register["function"]))


@pytest.mark.parametrize("driver", sorted(TABLES))
def test_the_codes_and_channels_of_a_page_are_those_of_the_code(driver: str) -> None:
    text = text_of(driver)
    rows = [" | ".join(row) for row in cells(text)]
    for code, channel in TABLES[driver].items():
        (owner, *_) = (*(row for row in rows if f"`{channel}`" in row), "")
        assert owner, f"{channel} is not on the page"
        assert driver == "dri" or re.search(rf"\b{code}\b", owner), f"{code} is not in the row of {channel}: {owner}"
    promised = {word for row in rows for word in re.findall(r"`([a-z]\w+)`", row)}
    offered = set(re.findall(r'= "(\w+)"', text))
    known = Catalogue.shipped()
    assert {word for word in promised if word in known} <= {*TABLES[driver].values()} | offered


def test_the_page_of_the_pumps_has_their_parameters_and_units() -> None:
    text = text_of("bcc")
    for word in (bcc.RATE, bcc.DOSE, bcc.DOSE_UNIT, bcc.RATE_UNIT, bcc.STUDY, bcc.NOT_VALID):
        assert f"`{word}`" in text or word in text, word


def test_the_page_of_hl7_has_the_codes_of_every_dialect_and_every_number_for_no_value() -> None:
    text = text_of("hl7")
    for name in (each for each in available_profiles(()) if each.startswith("hl7_")):
        assert all(code in text for code in hl7.Hl7Profile.model_validate(profile(name)).channels)
    for number in ABSENT | OFTEN_TRUE:
        assert f"{number:g}" in text or str(int(number)) in text, number
