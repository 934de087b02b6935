"""What finished days hold, in one small file, so that neither a start nor a status has to open each of theirs.

It is a note that may be wrong or gone at any time: what it says of a file counts only while that is the very file, of
the same inode, size and time of change, and a note that fails its checksum says nothing. Only merged days without a log
are in it. The first line sums up all of them; it is all that is read as long as each is still there.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acquisition.journal.mending import log_of
from acquisition.journal.merging import is_merged
from acquisition.journal.schema import day_names, is_damage, is_set_aside, reading
from acquisition.journal.summary import EVERYTHING, Series, Slice, Summary, load

FILE = "past.json"


@dataclass(frozen=True, slots=True)
class Past:
    """What some finished days hold.

    Attributes:
        names: Of their files.
        summary: Of all of them, in one slice; empty if there are none.
    """

    names: frozenset[str] = frozenset()
    summary: Summary = field(default_factory=Summary)


def read(directory: Path) -> Past:
    """What the note says of files that are still what they were."""
    lines = _lines(directory)
    whole = next(lines, None)
    if whole is not None and all(_is_still(directory, name, seen) for name, seen in whole["files"].items()):
        return Past(frozenset(whole["files"]), _summary(whole))
    found = dict(_still_true(directory, lines))
    return Past(frozenset(found), combined(found.values()))


def note(directory: Path, until: str, known: Past) -> Past:
    """Writes down what is known of the days before one, unless it is there; a disk that refuses is no matter.

    Args:
        directory: Of the journal.
        until: The day that is not finished.
        known: What `read` said.

    Returns:
        What `read` says from now on.

    Raises:
        sqlite3.Error: a file cannot be read now, though it is not damaged.
    """
    names = {name for name in day_names(directory) if name[:10] < until}
    if names == known.names:
        return known
    finished = [path for path in (directory / name for name in sorted(names)) if _is_finished(path)]
    lines = _lines(directory)
    next(lines, None)
    had = dict(_still_true(directory, lines))
    # The identity first: a file that changes while it is summed up is another from then on.
    seen = {path.name: _identity(f"{directory}/{path.name}") for path in finished}
    found = {path.name: had.get(path.name) or _loaded(path) for path in finished}
    kept = {name: summary for name, summary in found.items() if summary is not None}
    if kept.keys() == known.names:
        return known
    files = {name: seen[name] for name in kept}
    whole = combined(kept[name] for name in files)
    content = [_line(files, whole), *(_line({name: files[name]}, kept[name]) for name in files)]
    new = directory / f".{FILE}.new"
    try:
        new.write_text("".join(content), encoding="utf-8")
        new.replace(directory / FILE)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        return known
    return Past(frozenset(files), whole)


def combined(summaries: Iterable[Summary]) -> Summary:
    """What all of them hold, in one slice."""
    whole = Summary()
    for each in summaries:
        whole.total = max(whole.total, each.total)
        for part in each.all_slices:
            if not whole.slices:
                whole.slices.append(Slice(part.since, part.upto))
            one = whole.slices[0]
            one.since, one.upto = min(one.since, part.since), max(one.upto, part.upto)
            for device, span in part.devices.items():
                one.devices.setdefault(device, Series(0, span.first_ns, span.last_ns)).add(
                    span.readings, span.first_ns, span.last_ns
                )
        for key, series in each.series.items():
            whole.series.setdefault(key, Series(0, series.first_ns, series.last_ns)).add(
                series.readings, series.first_ns, series.last_ns
            )
    return whole


def _is_finished(path: Path) -> bool:
    if is_set_aside(path):
        return False
    try:
        return log_of(path).stat().st_size == 0
    except FileNotFoundError:
        return True


def _identity(path: str) -> list[int]:
    """Inode, size and time of change: one of them changes when a file is written to, or another takes its name."""
    found = os.stat(path)
    return [found.st_ino, found.st_size, found.st_mtime_ns]


def _is_still(directory: Path, name: str, seen: list[int]) -> bool:
    # A path made of strings: there is a file for each day of a run, and this is asked at each look at a status.
    try:
        return _identity(f"{directory}/{name}") == seen
    except FileNotFoundError:
        return False


def _loaded(path: Path) -> Summary | None:
    """What a file holds; None where it is not merged, or damaged: each start looks at it anew."""
    try:
        with reading(path) as connection:
            return load(connection, EVERYTHING) if connection is not None and is_merged(connection) else None
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return None


def _still_true(directory: Path, lines: Iterator[dict[str, Any]]) -> Iterator[tuple[str, Summary]]:
    for line in lines:
        ((name, seen),) = line["files"].items()
        if _is_still(directory, name, seen):
            yield name, _summary(line)


def _lines(directory: Path) -> Iterator[dict[str, Any]]:
    """What each line says, up to the first that fails its checksum."""
    try:
        content = (directory / FILE).read_bytes()
    except OSError:
        return
    for line in content.split(b"\n"):
        checksum, _, text = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(text):
            return
        yield json.loads(text)


def _line(files: dict[str, list[int]], summary: Summary) -> str:
    (part,) = summary.slices or [Slice(0, 0)]
    text = json.dumps(
        {
            "files": files,
            "total": summary.total,
            "slice": [part.since, part.upto] if summary.slices else None,
            "devices": {device: _numbers(span) for device, span in part.devices.items()},
            "series": [[*key, *_numbers(series)] for key, series in summary.series.items()],
        },
        separators=(",", ":"),
    )
    return f"{zlib.crc32(text.encode()):08x} {text}\n"


def _numbers(series: Series) -> list[int]:
    return [series.readings, series.first_ns, series.last_ns]


def _summary(line: dict[str, Any]) -> Summary:
    summary = Summary(total=line["total"])
    if line["slice"]:
        devices = {device: Series(*numbers) for device, numbers in line["devices"].items()}
        since, upto = line["slice"]
        summary.slices.append(Slice(since, upto, devices))
    for device, kind, channel, *numbers in line["series"]:
        summary.series[device, kind, channel] = Series(*numbers)
    return summary
