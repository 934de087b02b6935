from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from acquisition.catalogue import shipped_config
from acquisition.cli import app
from acquisition.registry import available_drivers, available_profiles, find_driver

PAGES = Path(__file__).parents[2] / "docs" / "reference" / "devices"
SAID = re.compile(r"[Uu]nverified on hardware")
BED = '[site]\nsite = "s"\nbed = "b"\ntimezone = "UTC"\n[journal]\ndirectory = "j"\n[[device]]\nid = "it"\n'
NEEDED = {"bcc": '[device.options]\nslots = { "50111" = "inf_rate" }\n'}
REVERSE_ENGINEERED = ("xenios", "puralev", "vigilance")
"""Devices whose protocol is known from one author's code alone."""


def layout(profile: str) -> dict[str, Any]:
    return tomllib.loads((shipped_config() / "devices" / f"{profile}.toml").read_text(encoding="utf-8"))


def driver_of(profile: str) -> str:
    content = layout(profile)
    kinds = {"register": "modbus", "frame": "binary", "column": "delimited"}
    return next((driver for key, driver in kinds.items() if key in content), "hl7")


def page_of(name: str) -> str:
    page = "cdi500" if name == "cdi500_ascii" else "hl7" if name.startswith("hl7_") else name
    return (PAGES / f"{page}.md").read_text(encoding="utf-8")


WITH_PROFILE = [
    name for name in available_profiles(()) if not layout(name)["verified"] and not layout(name).get("template")
]
WITHOUT_PROFILE = [
    name for name in available_drivers() if find_driver(name).ProfileType is None or find_driver(name).profile_optional
]


def told_by_check(tmp_path: Path, driver: str, profile: str | None) -> str:
    config = tmp_path / "bed.toml"
    chosen = f'profile = "{profile}"\n' if profile else ""
    link = "udp://127.0.0.1:24005?peer=127.0.0.1:9" if driver == "intellivue" else "tcp://127.0.0.1:9"
    config.write_text(f'{BED}driver = "{driver}"\n{chosen}link = "{link}"\n{NEEDED.get(driver, "")}', encoding="utf-8")
    done = CliRunner().invoke(app, ["check", "--config", str(config)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("driver", WITHOUT_PROFILE)
def test_a_driver_says_in_its_module_on_its_page_and_in_check_that_it_is_unverified(
    driver: str, tmp_path: Path
) -> None:
    assert SAID.search(importlib.import_module(f"drivers.{driver}").__doc__ or "")
    assert SAID.search(page_of(driver))
    assert f"it: {driver} is unverified on hardware" in told_by_check(tmp_path, driver, None)


@pytest.mark.parametrize("profile", WITH_PROFILE)
def test_a_profile_says_in_its_file_on_its_page_and_in_check_that_it_is_unverified(
    profile: str, tmp_path: Path
) -> None:
    assert SAID.search(page_of(profile))
    assert f"it: {profile} is unverified on hardware" in told_by_check(tmp_path, driver_of(profile), profile)


def test_only_our_own_console_is_verified_and_templates_refuse_to_run_in_words() -> None:
    rest = [name for name in available_profiles(()) if name not in WITH_PROFILE]
    verified = [name for name in rest if layout(name)["verified"]]
    assert verified == ["sim_pump_console"]
    assert {name for name in rest if layout(name).get("template")} == set(rest) - set(verified)
    assert all(re.search(r"template", page_of(name)) for name in set(rest) - set(verified))


@pytest.mark.parametrize("name", REVERSE_ENGINEERED)
def test_what_rests_on_one_authors_code_says_so(name: str) -> None:
    assert "reverse-engineered" in page_of(name)
