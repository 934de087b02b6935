"""The pages: whatever they point to is there, and whatever they tell a person to type is a command with that option."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from acquisition.cli import app as acquisition_app
from simulators.cli import app as simulators_app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "deploy" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
PROGRAMS = {"ecmo-daq": acquisition_app, "ecmo-sim": simulators_app}
LINK = re.compile(r"\]\(([^)\s]+)\)")
TYPED = re.compile(r"^(?:\$ )?(?:sudo )?(?:\S*/)?(ecmo-daq|ecmo-sim)\s(.*)$")
ENDS = {"|", "||", "&&", "&", ";", ">", ">>", "2>", "<"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def headings(path: Path) -> set[str]:
    found = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_everything_a_page_points_to_is_there(page: Path) -> None:
    dead = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if ":" in link:
            continue
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (heading and target.suffix == ".md" and heading not in headings(target)):
            dead.append(link)
    assert dead == []


def test_the_table_of_contents_names_every_page() -> None:
    contents = ROOT / "docs" / "README.md"
    named = {(contents.parent / link.partition("#")[0]).resolve() for link in LINK.findall(contents.read_text("utf-8"))}
    pages = {page for page in (ROOT / "docs").rglob("*.md") if page != contents}
    assert sorted(name_of(page) for page in pages if not named & {page, page.parent}) == []


def commands_in(text: str) -> list[tuple[str, list[str]]]:
    """What a page has people type, in blocks and within sentences: the program and its words."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    found = []
    for line in lines:
        if match := TYPED.match(line.strip()):
            words = shlex.split(match[2], comments=True)
            end = next((at for at, word in enumerate(words) if word in ENDS), len(words))
            found.append((match[1], words[:end]))
    return found


@cache
def command(program: str, path: tuple[str, ...]) -> Any:
    """A command by its words; None if there is none of that name."""
    if not path:
        return get_command(PROGRAMS[program])
    above = command(program, path[:-1])
    return above.get_command(None, path[-1])


def wrong_with(program: str, words: list[str]) -> str:
    path: tuple[str, ...] = ()
    meant = command(program, path)
    while hasattr(meant, "list_commands") and words and not words[0].startswith("-"):
        if words[0] == "...":
            return ""
        path, words = (*path, words[0]), words[1:]
        meant = command(program, path)
        if meant is None:
            return f"{program} {' '.join(path)}: there is no such command"
    known = {"--help", *(name for option in meant.params for name in (*option.opts, *option.secondary_opts))}
    unknown = [word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known]
    return f"{program} {' '.join(path)}: it has no {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("page", [page for page in PAGES if "decisions" not in page.parts], ids=name_of)
def test_every_command_of_a_page_is_there_with_its_options(page: Path) -> None:
    told = commands_in(page.read_text(encoding="utf-8"))
    assert [wrong for program, words in told if (wrong := wrong_with(program, words))] == []


def test_commands_are_found_in_blocks_and_in_sentences_and_a_wrong_one_is_told() -> None:
    page = "Say `ecmo-daq nonsense`.\n\n```sh\nsudo ecmo-daq status \\\n  --jsn | less\necmo-sim bed stable\n```\n"
    told = [wrong_with(*each) for each in commands_in(page)]
    assert told == ["ecmo-daq status: it has no --jsn", "", "ecmo-daq nonsense: there is no such command"]


def test_the_pages_have_commands_to_look_at() -> None:
    told = [each for page in PAGES for each in commands_in(page.read_text(encoding="utf-8"))]
    assert len(told) > 100
