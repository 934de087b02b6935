"""The ways of reading waves that the page on formats shows give every sample, as the journal has it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from acquisition.archive.export.request import Format
from tests.acquisition.wave_bed import bed, exported, truth

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "formats.md"
SHOWN = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


async def test_each_way_of_reading_gives_every_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, source = await exported(tmp_path, Format.PARQUET, bed(900))
    directory.rename(tmp_path / "request-7")
    monkeypatch.chdir(tmp_path)
    times, values = truth(source, "wf_abp")
    assert len(SHOWN) == 4
    for code in SHOWN:
        (tmp_path / "shown.py").write_text(code, encoding="utf-8")
        found = runpy.run_path("shown.py")["abp"]
        assert np.array_equal(np.sort(np.asarray(found["value"])), np.sort(values)), code
        if "time_ns" in code:
            assert np.array_equal(np.asarray(found["time_ns"]), times - times[0]), code
