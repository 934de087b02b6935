"""Reads the waves of an hour as somebody who analyses them would, in a process of its own."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from acquisition.archive import open_archive
from acquisition.archive.extra import library
from benchmarks.export_child import WAVES

Read = tuple[Any, Any]
"""Times and values of every sample of a channel, as numpy arrays."""
TIMES = 5


def _by_pandas(data_set: Path, channel: str) -> Read:
    pandas = library("pandas", "this measurement")
    frame = pandas.read_parquet(data_set / "waves", columns=["time_ns", "value"], filters=[("channel", "=", channel)])
    return frame["time_ns"].to_numpy(), frame["value"].to_numpy()


def _by_polars(data_set: Path, channel: str) -> Read:
    pl = library("polars", "this measurement")
    waves = pl.scan_parquet(data_set / "waves", hive_partitioning=True)
    frame = waves.filter(pl.col("channel") == channel).select("time_ns", "value").collect()
    return frame["time_ns"].to_numpy(), frame["value"].to_numpy()


def _by_duckdb(data_set: Path, channel: str) -> Read:
    duckdb = library("duckdb", "this measurement")
    files = f"{data_set}/waves/*/*/*/*.parquet"
    question = "SELECT time_ns, value FROM read_parquet($files, hive_partitioning = true) WHERE channel = $channel"
    found = duckdb.sql(question, params={"files": files, "channel": channel}).to_arrow_table()
    return found["time_ns"].to_numpy(), found["value"].to_numpy()


def _by_open_archive(journal: Path, channel: str) -> Read:
    found = open_archive(journal).query([channel])
    return found["time"].to_numpy(), found["value"].to_numpy()


WAYS: dict[str, Callable[[Path, str], Read]] = {
    "pandas": _by_pandas,
    "polars": _by_polars,
    "DuckDB": _by_duckdb,
    "open_archive": _by_open_archive,
}


def rates(read: Callable[[Path, str], Read], place: Path) -> tuple[dict[str, float], np.ndarray]:
    """Samples a second of the first reading, which loads libraries, and in the median of more; the values."""
    seconds = []
    for _ in range(1 + TIMES):
        start = time.perf_counter()
        found = [read(place, channel) for channel in WAVES]
        seconds.append(time.perf_counter() - start)
    times, values = np.array([each for each, _ in found]), np.array([each for _, each in found])
    if times.shape != values.shape or np.isnan(values).any():
        raise RuntimeError(f"times {times.shape}, values {values.shape}")
    return {"first": values.size / seconds[0], "rate": values.size / statistics.median(seconds[1:])}, values


def main(way: str, place: str, copy: str) -> None:
    """Prints the figures as JSON; leaves the values for the peers."""
    figures, values = rates(WAYS[way], Path(place))
    np.save(copy, values)
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
