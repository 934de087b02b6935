from __future__ import annotations

import re
import tomllib
from functools import reduce
from pathlib import Path
from typing import Any

from acquisition.catalogue import Catalogue
from acquisition.driver import Reading
from drivers.binary import BinaryDriver
from drivers.delimited import DelimitedDriver
from tests.drivers.test_binary import PRINTED

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"
REFERENCE = HOW_TO.parent / "reference" / "devices"
SHIPPED = HOW_TO.parents[1] / "config" / "devices"


def profile_of(page: str) -> dict[str, Any]:
    text = (HOW_TO / page).read_text(encoding="utf-8")
    return tomllib.loads(re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0])


def test_the_profile_of_the_console_how_to_reads_the_printed_frame() -> None:
    driver = BinaryDriver.build(
        {"channels": {"p1": "ecmo_p_drain"}}, Catalogue.shipped(), profile_of("onboard-a-console.md")
    )
    driver.start(0)
    driver.tick(driver.deadline or 0)
    driver.receive(PRINTED, driver.deadline or 0)
    (reading,) = (each for each in driver.take_emissions() if isinstance(each, Reading))
    assert reading.values == {"ecmo_rpm": 3425, "ecmo_flow": 3.85, "ecmo_p_drain": -62}


def test_the_profile_of_the_text_how_to_reads_its_line() -> None:
    driver = DelimitedDriver.build({}, Catalogue.shipped(), profile_of("add-a-text-device.md"))
    driver.start(0)
    (line,) = re.findall(r"`(t=.*?)`", (HOW_TO / "add-a-text-device.md").read_text(encoding="utf-8"))
    text, _, printed = line.partition("*")
    assert int(printed, 16) == reduce(lambda one, other: one ^ other, text.encode())
    driver.receive(f"\r\n{line}\r\n".encode(), 0)
    (reading,) = (each for each in driver.take_emissions() if isinstance(each, Reading))
    assert reading.values == {"ecmo_flow": 3.54}
    assert reading.device_time is not None


def test_every_page_and_how_to_points_to_what_is_there() -> None:
    pages = [*HOW_TO.glob("*.md"), *REFERENCE.glob("*.md")]
    missing = [
        (page.name, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert missing == []


def test_every_profile_for_lines_and_records_has_its_page_and_says_what_it_is_worth() -> None:
    for path in SHIPPED.glob("*.toml"):
        profile = tomllib.loads(path.read_text(encoding="utf-8"))
        if not {"record", "column"} & profile.keys():
            continue
        page = REFERENCE / f"{path.stem.removesuffix('_ascii')}.md"
        text = page.read_text(encoding="utf-8")
        assert path.stem in text
        assert "nverified on" in text or "template that refuses" in text
