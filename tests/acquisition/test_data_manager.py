"""The page for who has never used a terminal: its commands, one after the other, on a bed with that subject."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.acquisition.archive_bed import make_bed
from tests.acquisition.command import Run, runner

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "get-one-patients-data.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture
async def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    await make_bed(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def test_every_command_of_the_page_does_what_the_page_says(run: Run, bed: Path) -> None:
    commands = re.findall(r"```sh\n(.*?)\n```", TEXT, re.DOTALL)
    told = {}
    for command in commands:
        program, *words = shlex.split(command)
        code, out, err = run(*words)
        assert (program, code) == ("ecmo-daq", 0), err
        told[words[0], "--plot" in words, "--out" in words] = out + err
    assert "consent emergency" in told["episode", False, False]
    assert "ecmo_flow" in told["query", False, False]
    assert (bed / "look.html").stat().st_size > 1000
    assert (bed / "part.csv").read_text(encoding="utf-8").count("\n") > 100
    assert re.search(r"[0-9a-f]{64}", told["export", False, True])
    assert "unchanged" in told["verify", False, False]
    assert {"completeness.csv", "gaps.csv"} <= {path.name for path in (bed / "request-7").iterdir()}
    assert not (bed / "request-7" / "study.key").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("query", "--subject", "LEV-03-021"),
        ("query", "--channels", "ecmo_flw"),
        ("query", "--from", "2026-03-14T18:00:00"),
        ("query", "--subject", "LEV-03-012", "--from", "2027-03-14T18:00:00Z"),
        ("export", "--subject", "LEV-03-012", "--out", "journal"),
    ],
)
def test_every_mistake_that_the_page_explains_is_said_in_those_words(
    run: Run, bed: Path, words: tuple[str, ...]
) -> None:
    code, _, err = run(*words, "--config", bed / "bed.toml")
    rows = re.findall(r"^\| `(.*?)` \|", TEXT, re.MULTILINE)
    patterns = [".*".join(map(re.escape, row.split("..."))) for row in rows]
    assert code == 2
    assert any(re.search(pattern, " ".join(err.split())) for pattern in patterns), err
