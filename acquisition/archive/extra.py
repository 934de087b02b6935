"""Libraries of the extra `archive` and the like, which the bed does not need: found, or asked for in one sentence."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from acquisition.errors import ConfigError

HINT = "install them with: pip install 'ecmo-daq[archive]'"

_APART = {"pandas": "pandas", "polars": "polars", "atriumdb": "'ecmo-daq[atriumdb]'"}
"""What is in no extra, or in one of its own."""


def library(name: str, what: str) -> Any:
    """The module of that name.

    Args:
        name: Of the module.
        what: What it is needed for.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != name.partition(".")[0]:
            raise
        package = name.partition(".")[0]
        hint = f"install it with: pip install {_APART[package]}" if package in _APART else HINT
        raise ConfigError([f"{what} needs {package}, which is not installed ({hint})"]) from None
