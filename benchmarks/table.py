"""The table for people and the rows for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmarks.processes import BUILD
from benchmarks.result import Result


def as_table(groups: Iterable[Sequence[Result]]) -> Table:
    """A row for each result, a rule between the measurements; a peer that is missing is red."""
    table = Table(title="benchmarks", caption=machine(), title_style="bold", header_style="bold", padding=(0, 1))
    table.add_column("what", ratio=26)
    table.add_column("ours", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("target", ratio=10)
    table.add_column("peer", ratio=14)
    table.add_column("theirs", justify="right", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("note", ratio=20, style="dim")
    for results in groups:
        for result in results:
            missing = result.peer_missing
            table.add_row(
                result.what,
                "" if result.ours is None else figure(result.ours),
                result.unit,
                result.target,
                result.peer,
                Text("none", style="bold red") if missing else "" if result.theirs is None else figure(result.theirs),
                "" if result.ratio is None else figure(result.ratio),
                Text(f"not measured: {result.note}", style="bold red") if missing else result.note,
            )
        table.add_section()
    return table


def as_json(groups: Iterable[Sequence[Result]]) -> dict[str, Any]:
    """The same for programs, with what machine it was."""
    rows = [
        {**asdict(result), "ratio": result.ratio, "peer_missing": result.peer_missing}
        for results in groups
        for result in results
    ]
    return {"machine": machine(), "rows": rows}


def figure(value: float) -> str:
    """Three digits that mean something, or all of a whole number."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 or value == 0 else f"{value:,.1f}" if size >= 10 else f"{value:.2f}"


def machine() -> str:
    """What it was measured on."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {_file_system()}"


def _file_system() -> str:
    device = os.stat(BUILD.parent).st_dev
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        for line in lines:
            mount, _, rest = line.partition(" - ")
            if mount.split()[2] == f"{os.major(device)}:{os.minor(device)}":
                return rest.split()[0]
    return "unknown file system"
