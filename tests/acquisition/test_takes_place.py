"""A day file takes another's place so that a power cut leaves one of the two, whole."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from acquisition import journal
from acquisition.journal.placing import take_place

PACKAGE = Path(journal.__file__).parent


def test_content_is_synced_before_the_name_and_the_name_before_anybody_relies_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    done, fsync, replace = list[tuple[str, ...]](), os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def replaced(source: Path, target: Path) -> None:
        done.append(("replace", str(source), str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    new, old = str(tmp_path / "new"), str(tmp_path / "old")
    take_place(Path(new), Path(old))
    assert done == [("sync", new), ("replace", new, old), ("sync", str(tmp_path))]
    assert Path(old).read_text() == "new"


def test_no_file_takes_anothers_place_in_another_way_but_the_note_that_may_be_wrong() -> None:
    ways = re.compile(
        r"^.*\b(?:os\.replace|os\.rename|shutil\.move)\(|^.*\.replace\((?:path|log|target|directory)\b", re.M
    )
    found = {path.name: ways.findall(path.read_text()) for path in PACKAGE.glob("*.py")}
    assert {name: [line.strip() for line in lines] for name, lines in found.items() if lines} == {
        "past.py": ["new.replace(directory"],
        "placing.py": ["fresh.replace(path"],
    }
