from __future__ import annotations

import re
from pathlib import Path

from acquisition.config import load_config
from acquisition.registry import available_drivers

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_bed_of_the_readme_is_a_valid_configuration(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    config = tmp_path / "bed.toml"
    config.write_text(block, encoding="utf-8")
    assert [device.id for device in load_config(config).device] == ["flow", "monitor"]


def test_the_readme_names_every_driver_and_every_shipped_profile() -> None:
    profiles = [path.stem for path in (ROOT / "config" / "devices").glob("*.toml")]
    assert [name for name in (*available_drivers(), *profiles) if f"`{name}`" not in TEXT] == []
