"""Finds drivers and profiles by name, at run time: the name of a driver is the name of its module in `drivers/`."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from acquisition.catalogue import Catalogue, shipped_config
from acquisition.config_places import read_document
from acquisition.driver import Driver, Profile
from acquisition.errors import ConfigError, UnitError
from acquisition.mistakes import Mistake, mistakes_in, nearest

DRIVERS = "drivers"


class DriverConfigError(ConfigError):
    """A device cannot be built as configured; `mistakes` has each with its place in the `[[device]]` table."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__([str(mistake) for mistake in mistakes])
        self.mistakes = mistakes


def available_drivers() -> tuple[str, ...]:
    """The names that `driver = "..."` takes, sorted."""
    found = pkgutil.iter_modules(import_module(DRIVERS).__path__)
    return tuple(sorted(module.name for module in found))


def find_driver(name: str) -> type[Driver]:
    """The driver of that name.

    Raises:
        ConfigError: there is none, or its module does not define exactly one.
    """
    if name not in available_drivers():
        raise ConfigError([f"unknown driver {name!r}{nearest(name, available_drivers())}"])
    module = import_module(f"{DRIVERS}.{name}")
    defined = [
        each
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, Driver) and each.__module__ == module.__name__
    ]
    if len(defined) != 1:
        raise ConfigError([f"module {module.__name__} defines {len(defined)} drivers; it must define one"])
    return defined[0]


def available_profiles(search: Sequence[Path]) -> tuple[str, ...]:
    """The names that `profile = "..."` takes, sorted: those of the given directories and those shipped."""
    return tuple(sorted({path.stem for directory in _directories(search) for path in directory.glob("*.toml")}))


def find_profile(name_or_path: str, search: Sequence[Path]) -> Path:
    """The file of a profile.

    Args:
        name_or_path: A name, or a path that ends in `.toml`, relative to one of the directories or as it stands.
        search: Directories to look in before the shipped ones, the configuration's own `devices/` first.

    Raises:
        ConfigError: there is none.
    """
    if name_or_path.endswith(".toml"):
        candidates = [directory / name_or_path for directory in search] + [Path(name_or_path)]
    else:
        candidates = [directory / f"{name_or_path}.toml" for directory in _directories(search)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise ConfigError([f"unknown profile {name_or_path!r}{nearest(name_or_path, available_profiles(search))}"])


def load_profile(name_or_path: str, search: Sequence[Path]) -> dict[str, Any]:
    """The content of a profile.

    Raises:
        ConfigError: there is none, or it cannot be read.
    """
    return read_document(find_profile(name_or_path, search)).data


def build_driver(
    name: str,
    profile: str | None,
    options: Mapping[str, Any],
    catalogue: Catalogue,
    search: Sequence[Path],
) -> Driver:
    """A driver as a `[[device]]` table asks for it.

    Args:
        name: Of the driver.
        profile: Name or path of the profile, for drivers that take one.
        options: The table `[device.options]`.
        catalogue: What the driver maps to.
        search: Directories for profiles before the shipped ones.

    Raises:
        DriverConfigError: with every mistake in driver, profile and options.
    """
    try:
        found = find_driver(name)
    except ConfigError as error:
        raise DriverConfigError([Mistake(("driver",), text) for text in error.problems]) from error
    mistakes = list(_option_mistakes(found, options))
    path = None
    try:
        if found.ProfileType is None and profile is not None:
            raise ConfigError([f"driver {name!r} takes no profile"])
        if found.ProfileType is not None:
            if profile is None and not found.profile_optional:
                have = ", ".join(available_profiles(search))
                raise ConfigError([f"this key is missing: driver {name!r} needs a profile (have: {have})"])
            if profile is not None:
                path = find_profile(profile, search)
                _check_profile(found.ProfileType, path)
    except ConfigError as error:
        mistakes += [Mistake(("profile",), text) for text in error.problems]
    if mistakes:
        raise DriverConfigError(mistakes)
    return _construct(found, options, catalogue, path)


def _directories(search: Sequence[Path]) -> list[Path]:
    return [*search, shipped_config() / "devices"]


def _option_mistakes(found: type[Driver], options: Mapping[str, Any]) -> Iterator[Mistake]:
    try:
        found.Options.model_validate(options)
    except ValidationError as error:
        for place, text in mistakes_in(error, found.Options):
            yield Mistake(("options", *place), text)


def _check_profile(model: type[Profile], path: Path) -> None:
    document = read_document(path)
    try:
        model.model_validate(document.data)
    except ValidationError as error:
        mistakes = mistakes_in(error, model)
        raise ConfigError([f"{document.where(place)}: {text}" for place, text in mistakes]) from error


def _construct(found: type[Driver], options: Mapping[str, Any], catalogue: Catalogue, path: Path | None) -> Driver:
    """Builds the driver; what only the whole can tell, such as a unit that does not fit its channel, is told here."""
    try:
        return found.build(options, catalogue, None if path is None else read_document(path).data)
    except ConfigError as error:
        _blame(path, error.problems, error)
    except (UnitError, ValidationError) as error:
        _blame(path, [str(error)], error)


def _blame(path: Path | None, problems: Sequence[str], cause: Exception) -> NoReturn:
    if path is None:
        raise DriverConfigError([Mistake(("options",), text) for text in problems]) from cause
    raise DriverConfigError([Mistake(("profile",), f"with {path.name}: {text}") for text in problems]) from cause
