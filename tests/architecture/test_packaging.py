import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    found = re.findall(r"^([a-z0-9._-]+)==([^ ]+) \\$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


@pytest.mark.parametrize("dependency", PROJECT["dependencies"])
def test_every_dependency_is_pinned_to_a_version_it_allows(dependency: str) -> None:
    requirement = Requirement(dependency)
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_every_pin_has_a_hash_and_no_line_names_a_place() -> None:
    text = (ROOT / "requirements.txt").read_text()
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins())
    assert all("--hash=sha256:" in block for block in blocks)
    assert not re.findall(r"://|^-|file:|@", text, re.MULTILINE)


wheel_is_made_once = pytest.mark.xdist_group("wheel")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    out = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(out)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PIP_FIND_LINKS": ""})
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.mark.system
@wheel_is_made_once
def test_the_wheel_carries_catalogue_profiles_and_sample(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    shipped = {f"acquisition/shipped/{path.relative_to(ROOT / 'config')}" for path in (ROOT / "config").rglob("*.toml")}
    assert {"acquisition/shipped/channels.toml", "acquisition/shipped/acquisition.toml"} <= shipped
    assert any("/devices/" in name for name in shipped)
    assert shipped <= names


@pytest.mark.system
@wheel_is_made_once
def test_the_wheel_carries_every_module_and_nothing_of_the_tests(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for package in ("acquisition", "drivers", "simulators"):
        assert {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")} <= names
        assert f"{package}/py.typed" in names
    assert "acquisition/archive/report/report.css" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "deploy/", "docs/"))]


@pytest.mark.system
@wheel_is_made_once
def test_an_unpacked_wheel_finds_its_own_catalogue_and_profiles(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    program = (
        "from acquisition.catalogue import Catalogue, shipped_config\n"
        "from acquisition.config import load_config\n"
        "config = load_config(shipped_config() / 'acquisition.toml')\n"
        "print(shipped_config(), len(Catalogue.shipped()), len(config.device))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    directory, channels, devices = done.stdout.split()
    assert Path(directory) == tmp_path / "acquisition" / "shipped"
    assert int(channels) > 50
    assert int(devices) == 2
