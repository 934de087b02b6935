"""Export and query of a bed: rate into Parquet and CSV, an answer from a long run, and memory against its length."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from benchmarks.processes import BUILD, scratch
from benchmarks.result import Result

HOURS = 2
LONG_HOURS = 240 if os.environ.get("FULL") else 12
"""Ten days with four waves, with FULL=1, need 4 GB of disk and a quarter of an hour."""
RUN_DAYS = 10


def measure(hours: int = HOURS, long_hours: int = LONG_HOURS, days: int = RUN_DAYS) -> list[Result]:
    """Four waves at 250 Hz and eight numerics at 1 Hz; each figure of a process of its own."""
    with scratch() as directory:
        child("fill", directory / "short", str(hours), "waves")
        parquet = child("export", directory / "short", "parquet")
        csv = child("export", directory / "short", "csv")
        child("fill", directory / "long", str(long_hours), "waves")
        long = child("export", directory / "long", "parquet")
        child("fill", directory / "run", str(24 * days), "numerics")
        answer = child("query", directory / "run", str(days))
        command = child("command", directory / "run", str(days))
    return [
        Result("export to Parquet, 4 waves at 250 Hz + 8 numerics", parquet["rate"], "samples/s",
               "3,000,000 on one core"),
        Result("export to CSV, the same", csv["rate"], "samples/s", "200,000 on one core"),
        Result(f"memory of an export of {long_hours} h", long["mb"], "MB", "under 500; ratio near 1", f"{hours} h",
               parquet["mb"]),
        Result(f"one day of a channel at 1 min, from {days} days at 1 Hz", answer["seconds"], "s", "under 1"),
        Result("the same by ecmo-daq query, from its start to its end", command["seconds"], "s", "under 1"),
    ]  # fmt: skip


def child(*arguments: object, of: str = "export_child") -> dict[str, float]:
    """What a step of `benchmarks.export_child`, or of another such module, prints."""
    command = [sys.executable, "-m", f"benchmarks.{of}", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(BUILD.parent)}
    done = subprocess.run(command, cwd=BUILD.parent, env=environment, check=True, text=True, stdout=subprocess.PIPE)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures
