"""Which of many like tests `make check` runs; `make test` runs them all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def most_slow(values: Iterable[Any], quick: int) -> list[Any]:
    """For `parametrize`: the first few as they are, the others as slow tests."""
    every = list(values)
    return [*every[:quick], *(pytest.param(value, marks=pytest.mark.slow) for value in every[quick:])]
