import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import drivers
from acquisition.catalogue import Catalogue, shipped_config
from acquisition.errors import ConfigError
from acquisition.registry import (
    DriverConfigError,
    available_drivers,
    available_profiles,
    build_driver,
    find_driver,
    find_profile,
    load_profile,
)

ECHO = '''
"""A driver for these tests."""
from pydantic import BaseModel, ConfigDict, Field
from acquisition.driver import Driver, DriverOptions, Profile
from acquisition.errors import ConfigError
from acquisition.units import conversion

class Register(BaseModel):
    model_config = ConfigDict(extra="forbid")
    channel: str
    unit: str

class EchoProfile(Profile):
    item: tuple[Register, ...] = ()

class EchoOptions(DriverOptions):
    unit_id: int = Field(default=1, ge=1, le=247)
    channel: str | None = None

class Echo(Driver):
    Options = EchoOptions
    ProfileType = EchoProfile

    def __init__(self, options, catalogue, profile=None):
        super().__init__(options, catalogue, profile)
        for item in profile.item:
            conversion(item.unit, catalogue.unit(item.channel))
        if options.channel is not None and options.channel not in catalogue:
            raise ConfigError([f"unknown channel {options.channel!r}", "and one more"])

    def on_data(self, now): ...
    def may_send(self, frame): return False
'''
PLAIN = '''
"""A driver without a profile."""
from acquisition.driver import Driver

class Plain(Driver):
    def on_data(self, now): ...
    def may_send(self, frame): return False
'''
GOOD = 'name = "Echo"\nsource = "none"\n'


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    modules, devices = tmp_path / "drivers", tmp_path / "devices"
    modules.mkdir()
    devices.mkdir()
    (modules / "echo_test.py").write_text(ECHO)
    (modules / "plain_test.py").write_text(PLAIN)
    (modules / "two_test.py").write_text(PLAIN + PLAIN.replace("Plain(", "Other("))
    (devices / "echo_bed.toml").write_text(GOOD)
    monkeypatch.setattr(drivers, "__path__", [*drivers.__path__, str(modules)])
    yield [devices]
    for name in ("echo_test", "plain_test", "two_test"):
        sys.modules.pop(f"drivers.{name}", None)


def build(search: list[Path], *, driver: str = "echo_test", profile: str | None = "echo_bed", **options: object) -> str:
    with pytest.raises(DriverConfigError) as caught:
        build_driver(driver, profile, options, Catalogue.shipped(), search)
    return str(caught.value)


def test_the_list_of_drivers_is_the_list_of_modules() -> None:
    modules = (Path(__file__).parents[2] / "drivers").glob("[a-z]*.py")
    assert available_drivers() == tuple(sorted(path.stem for path in modules))


def test_a_driver_is_found_by_the_name_of_its_module(search: list[Path]) -> None:
    assert find_driver("echo_test").__name__ == "Echo"


def test_an_unknown_driver_is_answered_with_the_nearest_and_the_list(search: list[Path]) -> None:
    with pytest.raises(
        ConfigError, match=r"unknown driver 'ecko_test'; did you mean 'echo_test'\? \(have: .*plain_test"
    ):
        find_driver("ecko_test")


@pytest.mark.parametrize("name", ["", "echo_test.x", "../os", "__init__", "os"])
def test_no_name_reaches_outside_the_drivers(search: list[Path], name: str) -> None:
    with pytest.raises(ConfigError, match="unknown driver"):
        find_driver(name)


def test_a_module_with_two_drivers_is_refused(search: list[Path]) -> None:
    with pytest.raises(ConfigError, match="defines 2 drivers"):
        find_driver("two_test")


def test_a_profile_beside_the_configuration_goes_before_a_shipped_one(search: list[Path]) -> None:
    shipped = sorted((shipped_config() / "devices").glob("*.toml"))[0]
    assert find_profile(shipped.stem, search) == shipped
    (search[0] / shipped.name).write_text(GOOD)
    assert load_profile(shipped.stem, search)["name"] == "Echo"
    assert {"echo_bed", shipped.stem} <= set(available_profiles(search))


def test_a_profile_can_be_named_by_path(search: list[Path], tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(GOOD)
    for path in ("echo_bed.toml", "../other.toml", str(tmp_path / "other.toml")):
        assert load_profile(path, search)["name"] == "Echo"


def test_an_unknown_profile_is_answered_with_the_nearest(search: list[Path]) -> None:
    with pytest.raises(ConfigError, match=r"unknown profile 'echo_bad'; did you mean 'echo_bed'\?"):
        load_profile("echo_bad", search)


def test_a_profile_that_is_not_toml_says_where(search: list[Path]) -> None:
    (search[0] / "broken.toml").write_text("name = \n")
    with pytest.raises(ConfigError, match=r"broken\.toml:1: not TOML: Invalid value"):
        load_profile("broken", search)


def test_a_good_device_is_built(search: list[Path]) -> None:
    driver = build_driver("echo_test", "echo_bed", {"unit_id": 7}, Catalogue.shipped(), search)
    assert type(driver).__name__ == "Echo"
    assert type(build_driver("plain_test", None, {}, Catalogue.shipped(), search)).__name__ == "Plain"


def test_wrong_options_and_a_wrong_profile_are_told_together(search: list[Path]) -> None:
    (search[0] / "echo_bed.toml").write_text('name = "Echo"\n[[item]]\nchannel = "ecmo_flow"\nunti = "L/min"\n')
    problems = build(search, unit_id=300, unit=1).splitlines()
    assert problems[0].startswith("options.unit_id: input should be less than or equal to 247, not 300")
    assert problems[1] == "options.unit: unknown key; did you mean 'unit_id'? (have: channel, unit_id)"
    assert "echo_bed.toml:1: source: this key is missing" in problems[2]
    assert 'echo_bed.toml:2: [item "1"] unit: this key is missing' in problems[3]
    assert 'echo_bed.toml:4: [item "1"] unti: unknown key; did you mean ' in problems[4]


def test_a_unit_that_cannot_become_the_catalogues_is_a_mistake_of_the_profile(search: list[Path]) -> None:
    (search[0] / "echo_bed.toml").write_text(GOOD + '[[item]]\nchannel = "ecmo_flow"\nunit = "kPa"\n')
    assert build(search).startswith("profile: with echo_bed.toml: unit 'kPa' cannot become 'L/min' (use one of: L/min")


def test_every_problem_that_the_driver_itself_finds_is_told(search: list[Path]) -> None:
    assert build(search, channel="ecmo_flaw").splitlines() == [
        "profile: with echo_bed.toml: unknown channel 'ecmo_flaw'",
        "profile: with echo_bed.toml: and one more",
    ]


def test_a_profile_where_none_is_taken_and_none_where_one_is_needed_are_mistakes(search: list[Path]) -> None:
    assert build(search, driver="plain_test") == "profile: driver 'plain_test' takes no profile"
    assert build(search, profile=None).startswith("profile: this key is missing: driver 'echo_test' needs a profile")
