"""Entries from a CSV file, such as a study's own log: all of them or none, every mistake at once with its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from acquisition.archive.episodes.chain import Action
from acquisition.archive.episodes.rules import ECHO_VALUES, UNCERTAINTY_NS, key_mistake
from acquisition.archive.episodes.times import time_ns
from acquisition.archive.episodes.writing import Draft
from acquisition.clock import NS
from acquisition.errors import ConfigError
from acquisition.mistakes import nearest

_TIME_KEY: Mapping[Action, str] = {
    Action.START: "from_ns",
    Action.TRANSFER: "from_ns",
    Action.STOP: "to_ns",
    Action.RUN_START: "from_ns",
    Action.RUN_STOP: "to_ns",
    Action.RUN_EVENT: "time_ns",
    Action.RANDOMISE: "time_ns",
    Action.CONSENT: "from_ns",
    Action.COVARIATE_START: "from_ns",
    Action.COVARIATE_STOP: "to_ns",
    Action.ECHO: "time_ns",
    Action.NOTE: "time_ns",
}
_WORDS = ("bed", "configuration", "why", "what", "state", "name", "value", "text", "reason")
COLUMNS = ("subject", "action", "time", *_WORDS, "devices", "elsewhere", "uncertainty_s", *ECHO_VALUES)
"""`subject`, `action` and `time` in every row, of the others what the action takes; empty cells are not given."""


class Sheet(NamedTuple):
    """What a file asks for.

    Attributes:
        drafts: Of the rows that can be read, in their order.
        wrong: Subject and mistake of the others, each as `file:line: what`.
    """

    drafts: list[Draft]
    wrong: list[tuple[str, str]]


def read_csv(path: Path, zone: ZoneInfo | None) -> Sheet:
    """The rows of a file.

    Args:
        path: UTF-8, comma or semicolon, a header with names of COLUMNS.
        zone: Of the bed, to find slips of summer time; None: any offset is taken.

    Raises:
        ConfigError: it is no such file, or its header is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read as UTF-8 text: {error}"]) from None
    header, _, _ = text.partition("\n")
    separator = ";" if header.count(";") > header.count(",") else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    sheet = Sheet([], [])
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        mistakes = [f"{path}:1: {mistake}" for mistake in _header_mistakes(columns)]
        if mistakes:
            raise ConfigError(mistakes)
        reader.fieldnames = columns
        for row in reader:
            where = f"{path}:{reader.line_num}"
            draft, wrong = _draft(row, where, zone)
            sheet.wrong.extend(((row.get("subject") or "").strip(), f"{where}: {each}") for each in wrong)
            sheet.drafts.extend([draft] if draft is not None else [])
    except csv.Error as error:
        raise ConfigError([f"{path}:{reader.line_num}: this is no CSV: {error}"]) from None
    if not sheet.drafts and not sheet.wrong:
        raise ConfigError([f"{path}: no rows"])
    return sheet


def _header_mistakes(columns: list[str]) -> Iterator[str]:
    for name in columns:
        never = key_mistake(name)
        if never is not None:
            yield never
        elif name not in COLUMNS:
            yield f"unknown column {name!r}{nearest(name, COLUMNS)}"
        elif columns.count(name) > 1:
            yield f"column {name!r} is there twice"
    for name in COLUMNS[:3]:
        if name not in columns:
            yield f"the column {name!r} is missing"


def _draft(row: Mapping[str | None, Any], where: str, zone: ZoneInfo | None) -> tuple[Draft | None, list[str]]:
    if None in row:
        return None, ["more cells than columns"]
    cells = {str(key): text.strip() for key, text in row.items() if text is not None and text.strip()}
    subject, word, when = (cells.pop(key, "") for key in COLUMNS[:3])
    known = [action.value for action in _TIME_KEY]
    wrong = [
        f"the cell {key!r} is empty" for key, text in zip(COLUMNS, (subject, word, when), strict=False) if not text
    ]
    if word and word not in known:
        wrong.append(f"unknown action {word!r}{nearest(word, known)}")
    data: dict[str, Any] = {key: cells[key] for key in _WORDS if key in cells}
    if "devices" in cells:
        data["devices"] = cells["devices"].split()
    if "elsewhere" in cells:
        data["elsewhere"] = cells["elsewhere"].lower() in ("1", "true", "yes")
    values = {}
    for key in ("uncertainty_s", *ECHO_VALUES):
        try:
            if key in cells:
                values[key] = float(cells[key].replace(",", "."))
        except ValueError:
            wrong.append(f"{key}: {cells[key]!r} is no number")
    if "uncertainty_s" in values:
        data["uncertainty_ns"] = round(values.pop("uncertainty_s") * NS)
    if values:
        data["values"] = values
    if wrong or word == "":
        return None, wrong
    action = Action(word)
    if action is Action.ECHO:
        data.setdefault("uncertainty_ns", UNCERTAINTY_NS)
    try:
        data[_TIME_KEY[action]] = time_ns(when, zone)
    except ValueError as error:
        return None, [str(error)]
    return Draft(action, subject, data, where), []
