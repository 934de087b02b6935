"""The Debian package of this tree, made once, and the commands that the pages of docs/ tell people to type."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]


def package(out: Path) -> Path:
    """Makes the package as `make deb` does; the wheels it fetched are kept for the next time."""
    environment = os.environ | {"PIP_PYTHON": sys.executable, "DEB_COMPRESSION": "none"}
    wheelhouse = ROOT / "build" / "wheelhouse"
    for command in (["deploy/wheelhouse", str(wheelhouse)], ["deploy/build-deb", str(wheelhouse), str(out)]):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    (made,) = out.glob("ecmo-daq_*.deb")
    return made


def as_version(made: Path, version: str, scratch: Path) -> Path:
    """The same package under another version."""
    subprocess.run(["dpkg-deb", "-R", made, scratch], check=True)
    control = scratch / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
    (metadata,) = scratch.glob("opt/ecmo-daq/lib/python3*/site-packages/ecmo_daq-*.dist-info/METADATA")
    metadata.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", metadata.read_text(), count=1))
    other = made.with_name(re.sub(r"_.*_", f"_{version}_", made.name))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", scratch, other], check=True)
    return other


def commands(page: str, label: str = "") -> list[str]:
    """What stands in a page's blocks that are fenced as `sh` and that label, as it would be typed."""
    text = (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8")
    found = re.findall(rf"^ *```sh{f' {label}' if label else ''}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no commands {label}"
    return [textwrap.dedent(block) for block in found]
