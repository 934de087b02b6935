import ast
import subprocess
import sys
from importlib import import_module
from inspect import getmembers, isabstract, isclass
from pathlib import Path

import pytest

from acquisition.driver import Driver
from acquisition.registry import available_drivers, find_driver

ROOT = Path(__file__).parents[2]
PACKAGES = ("acquisition", "drivers", "simulators", "benchmarks", "tests")
PRODUCT = sorted(path for package in PACKAGES[:3] for path in (ROOT / package).rglob("*.py"))
EVERY = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_LINES = 400


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_a_house_to_look_at() -> None:
    assert len(PRODUCT) > 20
    assert len(EVERY) > len(PRODUCT)


def test_imports_go_downwards_only() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("noun", "modules"),
    [
        ("Numerics", ["acquisition.model"]),
        ("Waveform", ["acquisition.model"]),
        ("Event", ["acquisition.model"]),
        ("Clock", ["acquisition.clock"]),
        ("Transport", ["acquisition.interfaces"]),
        ("Sink", ["acquisition.interfaces"]),
        ("Driver", ["acquisition.driver"]),
        ("Session", ["acquisition.session"]),
        (
            "Journal",
            [f"acquisition.journal.{path.stem}" for path in (ROOT / "acquisition" / "journal").glob("[a-z]*.py")],
        ),
        ("Forwarder", ["acquisition.forwarder"]),
    ],
)
def test_every_noun_of_the_design_lives_in_the_file_of_its_name(noun: str, modules: list[str]) -> None:
    defined = [
        module
        for module in modules
        for name, found in getmembers(import_module(module), isclass)
        if name == noun and found.__module__ == module
    ]
    assert len(defined) == 1


def test_observation_is_the_one_shape_of_data() -> None:
    model = import_module("acquisition.model")
    assert model.Observation == model.Numerics | model.Waveform | model.Event


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_every_module_says_in_a_sentence_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    sentence = docstring.partition("\n")[0]
    assert sentence[-1] in ".:"
    assert 20 <= len(sentence) <= 130


def test_no_file_is_too_long_to_read() -> None:
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in EVERY}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


@pytest.mark.parametrize("name", available_drivers())
def test_a_module_in_drivers_is_one_driver(name: str) -> None:
    driver = find_driver(name)
    assert not isabstract(driver)
    public = {
        found
        for _, found in getmembers(import_module(f"drivers.{name}"), isclass)
        if found.__module__ == f"drivers.{name}" and issubclass(found, Driver)
    }
    assert public == {driver}


def test_drivers_are_modules_and_nothing_else() -> None:
    beside = {path.name for path in (ROOT / "drivers").iterdir()} - {"__init__.py", "__pycache__", "py.typed"}
    assert beside == {f"{name}.py" for name in available_drivers()}


def test_the_clock_is_read_in_one_file_only() -> None:
    readers = {"time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "datetime.now", "datetime.utcnow"}
    found = set()
    for path in sorted((ROOT / "acquisition").rglob("*.py")) + sorted((ROOT / "drivers").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in readers:
                found.add(name_of(path))
    assert found == {"acquisition/clock.py"}


def test_nothing_is_left_for_later() -> None:
    left = [
        (name_of(path), word)
        for path in EVERY
        for word in ("TODO", "FIXME", "XXX")
        if path != Path(__file__) and word in path.read_text(encoding="utf-8")
    ]
    assert left == []
