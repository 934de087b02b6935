"""TOML files that know on which line they say what, which tomllib does not keep."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acquisition.errors import ConfigError

Place = tuple[str | int, ...]
"""Keys and array indexes from the top: `("device", 0, "driver")`."""

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER = re.compile(rf"(\[\[?)[ \t]*({_DOTTED})[ \t]*\]\]?")
_ASSIGNMENT = re.compile(rf"({_DOTTED})[ \t]*=")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)+")
_PART = re.compile(_KEY)
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_VALUE_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|.",
    re.DOTALL,
)


class Places:
    """The lines of one TOML document.

    Args:
        text: The document; it must be valid TOML.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        for place, line in _scan(text):
            self._lines.setdefault(place, line)

    def __contains__(self, place: object) -> bool:
        return place in self._lines

    def line(self, place: Place) -> int:
        """The line of `place`, or of the innermost table around it that the document has; 1 for the document."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)


@dataclass(frozen=True, slots=True)
class Document:
    """A TOML file as read."""

    path: Path
    data: dict[str, Any]
    places: Places

    def where(self, place: Place) -> str:
        """The line of a place and what it is: `file:line: [table] key`, without a colon at the end.

        A table of an array is called by its id, where it has one, or else by its number.
        """
        label, key = "", place
        if len(place) > 1 and isinstance(place[1], int):
            table = self.data[str(place[0])][place[1]]
            number = place[1] + 1
            label, key = f'[{place[0]} "{table.get("id", number) if isinstance(table, dict) else number}"]', place[2:]
        elif len(place) > 1:
            label, key = f"[{place[0]}]", place[1:]
        words = [label, ".".join(map(str, key))]
        what = " ".join(word for word in words if word)
        return f"{self.path}:{self.places.line(place)}" + (f": {what}" if what else "")


def read_document(path: Path) -> Document:
    """Reads a TOML file.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return Document(path, tomllib.loads(text), Places(text))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 text"]) from error
    except tomllib.TOMLDecodeError as error:
        found = _TOML_PLACE.search(str(error))
        line = (found and found[1]) or text.count("\n") + 1
        raise ConfigError([f"{path}:{line}: not TOML: {_TOML_PLACE.sub('', str(error))}"]) from error


def _scan(text: str) -> Iterator[tuple[Place, int]]:
    """Every table header and every key of the document with its line, in order."""
    table: Place = ()
    lengths: dict[Place, int] = {}
    at = 0
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at = blank.end()
        elif header := _HEADER.match(text, at):
            table = _resolve(_parts(header[2]), lengths, appends=header[1] == "[[")
            yield from _with_parents(table, 0, text, at)
            at = header.end()
        elif assignment := _ASSIGNMENT.match(text, at):
            place = (*table, *_parts(assignment[1]))
            yield from _with_parents(place, len(table), text, at)
            at = _after_value(text, assignment.end())
        else:
            raise ValueError(f"not TOML at offset {at}")


def _resolve(parts: Place, lengths: dict[Place, int], *, appends: bool) -> Place:
    """The place a header means: names of arrays of tables are followed by the index of their newest table."""
    place: Place = ()
    for number, part in enumerate(parts):
        place = (*place, part)
        if appends and number == len(parts) - 1:
            lengths[place] = lengths.get(place, 0) + 1
        if place in lengths:
            place = (*place, lengths[place] - 1)
    return place


def _with_parents(place: Place, known: int, text: str, at: int) -> Iterator[tuple[Place, int]]:
    """The place and those tables around it that only this line opens."""
    line = text.count("\n", 0, at) + 1
    for length in range(known + 1, len(place) + 1):
        yield place[:length], line


def _parts(dotted: str) -> Place:
    return tuple(next(iter(tomllib.loads(f"{part} = 0"))) for part in _PART.findall(dotted))


def _after_value(text: str, at: int) -> int:
    """Offset of the line end after the value that begins at `at`; arrays, inline tables and strings may hold some."""
    depth = 0
    while at < len(text):
        token = _VALUE_TOKEN.match(text, at)
        if token is None or (token[0] == "\n" and depth == 0):
            return at
        depth += (token[0] in "[{") - (token[0] in "]}")
        at = token.end()
    return at
