"""Runs every measurement, prints the table and writes `build/bench.json`."""

from __future__ import annotations

import json

from rich.console import Console

from benchmarks import (
    drain,
    export_speed,
    growth,
    hl7_decode,
    journal_disk,
    journal_speed,
    latency,
    load,
    queues,
    reading,
    replay_speed,
)
from benchmarks.processes import BUILD
from benchmarks.result import Result
from benchmarks.table import as_json, as_table

MEASUREMENTS = (
    hl7_decode.measure,
    replay_speed.measure,
    journal_speed.measure,
    journal_disk.measure,
    latency.measure,
    queues.measure,
    drain.measure,
    growth.measure,
    export_speed.measure,
    reading.measure,
    load.measure,
)


def main() -> None:
    """Measures one after the other, so that they do not disturb each other."""
    console = Console(width=160)
    results: list[list[Result]] = []
    for measure in MEASUREMENTS:
        with console.status(measure.__module__):
            results.append(measure())
    console.print(as_table(results))
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench.json").write_text(json.dumps(as_json(results), indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
