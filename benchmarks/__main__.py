"""Runs every measurement, prints the table and writes `build/bench.json`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import drain, hl7_decode, journal_speed, load, replay_speed
from benchmarks.result import Result

MEASUREMENTS = (hl7_decode.measure, replay_speed.measure, journal_speed.measure, drain.measure, load.measure)


def main() -> None:
    """Measures one after the other, so that they do not disturb each other."""
    results: list[Result] = []
    for measure in MEASUREMENTS:
        results += measure()
    table = Table(title="benchmarks")
    for column in ("what", "ours", "unit", "target", "peer", "theirs", "ratio"):
        table.add_column(column)
    for result in results:
        theirs = "" if result.theirs is None else f"{result.theirs:,.1f}"
        ratio = "" if result.ratio is None else f"{result.ratio:.1f}"
        table.add_row(result.what, f"{result.ours:,.1f}", result.unit, result.target, result.peer, theirs, ratio)
    Console(width=160).print(table)
    build = Path("build")
    build.mkdir(exist_ok=True)
    rows = [{**asdict(result), "ratio": result.ratio} for result in results]
    (build / "bench.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
