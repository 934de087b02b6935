"""The sums of a day file: damage to them is found before anybody believes them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from acquisition.journal import Journal, schema, summary
from acquisition.journal.schema import day_files
from tests.acquisition.journal_observations import QUICK, T0, alter, numerics

SPAN = "UPDATE span SET {} = {} WHERE upto = (SELECT min(upto) FROM span)"
WHOLE = "UPDATE series SET {} = {} WHERE kind = '' AND device = 'mon'"


@pytest.fixture
async def summed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A day file with three spans."""
    monkeypatch.setattr(summary, "FLUSH_GROUPS", 2)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for group in range(6):
            await journal.append([numerics(T0 + group)])
    (path,) = day_files(tmp_path)
    return path


@pytest.mark.parametrize("wrong", ["'x'", "0.5", "x'00'"])
@pytest.mark.parametrize(
    ("change", "column", "upto"),
    [
        *((SPAN, column, 0) for column in ("blocks", "first_ns", "last_ns")),
        *((WHOLE, column, upto) for column in ("readings", "first_ns", "last_ns") for upto in (1, summary.EVERYTHING)),
    ],
)
def test_a_sum_that_is_no_number_is_damage_one_by_one_and_in_slices_that_come_as_one(
    summed_up: Path, change: str, column: str, upto: int, wrong: str
) -> None:
    alter(summed_up, change.format(column, wrong))
    with schema.reading(summed_up) as connection:
        assert connection is not None
        with pytest.raises(sqlite3.DatabaseError, match="no number"):
            summary.load(connection, upto)


def test_slices_that_have_more_blocks_than_all_together_are_damage(summed_up: Path) -> None:
    alter(summed_up, WHOLE.format("readings", 1))
    with schema.reading(summed_up) as connection:
        assert connection is not None
        upto = summary.load(connection).slices[0].upto
        with pytest.raises(sqlite3.DatabaseError, match="disagree"):
            summary.load(connection, upto)
