"""The page on many sites: its two programs on a synthetic trial, against a count of every second of the truth."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.acquisition.trial import ARMS, make_sites, patients

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "many-sites.md"


pytestmark = pytest.mark.system


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_duckdb_and_dask_find_the_hours_of_each_arm_that_the_truth_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trial = patients()
    make_sites(tmp_path, trial)
    (sql,) = blocks("sql")
    Path("hours.sql").write_text(sql, encoding="utf-8")
    found: list[Any] = []
    for number, program in enumerate(blocks("python")):
        Path(f"program_{number}.py").write_text(program, encoding="utf-8")
        found.append(runpy.run_path(f"program_{number}.py", run_name="__main__")["per_arm"])
    assert len(found) == 2
    truth = {each.subject: each.hours for each in trial}
    for per_arm in found:
        assert list(per_arm.index) == sorted(ARMS)
        for arm in ARMS:
            own = [truth[each.subject] for each in trial if each.arm == arm]
            hours, recorded = (sum(column) for column in zip(*own, strict=True))
            row = per_arm.loc[arm]
            assert row["subjects"] == len(own)
            assert row["hours"] == pytest.approx(hours, abs=1e-6)
            assert row["recorded"] == pytest.approx(recorded, abs=1e-6)
            assert 5 < row["hours"] < row["recorded"] / 2
    texts = [path.read_text(encoding="utf-8") for end in ("csv", "json*") for path in Path("sites").rglob(f"*.{end}")]
    assert texts
    assert not [word for word in ARMS if any(word in text for text in texts)]
