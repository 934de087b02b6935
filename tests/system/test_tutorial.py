from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.processes import finished

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial" / "from-trace-to-driver.md"
PARTS = ("acquisition", "drivers", "simulators", "config", "tests", "pyproject.toml")


def blocks() -> list[str]:
    """The commands of the page, in its order."""
    return re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the tree, since the tutorial adds to it."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tmp_path / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, tmp_path / part)
    return tmp_path


@pytest.mark.timeout(300)
def test_every_command_of_the_tutorial_does_what_the_page_says(checkout: Path) -> None:
    # Else the simulator outlives a command that fails, and holds the output open.
    script = "\n".join(["set -eu", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT", *blocks()])
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = finished(["bash", "-c", script], cwd=checkout, env=environment, patience_s=270)
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout
    assert "driver    modbus" in told
    assert "they differ" in told
    assert re.search(r"^ +\d+  ecmo_p_drain$", told, re.MULTILINE)
    assert not re.search(r"^ +\d+  ecmo_(flow|rpm)$", told, re.MULTILINE)
    assert re.search(r"^same [\d,]+, different 0, only in the one 0, only in the other 0$", told, re.MULTILINE)
    assert len(re.findall(r"^\d+ passed", told, re.MULTILINE)) == 2
    assert re.search(r"wire.trace: \d+ pieces, 2 of the opening; (\d+) of \1 readings", done.stderr)
    assert "<svg" in (checkout / "draft.html").read_text()
    assert (checkout / "tests" / "drivers" / "modbus" / "my_pump" / "expected.jsonl").read_text().count("numerics") >= 8


def test_the_page_points_only_to_what_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tests|simulators|config|drivers)/[\w./-]+)`", text))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
