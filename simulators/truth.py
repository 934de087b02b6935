"""The ground truth of a run as JSON Lines: what was true, each second or so, and what was done; read again by tests."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import zstandard

from acquisition.clock import NS, rfc3339
from simulators.life import GRAIN_S, Life
from simulators.scenario import Intervention

FORMAT = "ecmo-sim-truth"
VERSION = 1


class TruthWriter:
    """Lives and writes beside the data: a header, then lines with `values`, and lines with `event`, in order of time.

    Each has `t`, seconds of the scenario, and `time_ns`, UTC.

    Args:
        path: Of the new file; compressed if it ends in `.zst`.
        life: What is written down.
        started_ns: UTC of the beginning.
    """

    def __init__(self, path: Path, life: Life, started_ns: int) -> None:
        self._life = life
        self._started_ns = started_ns
        self._told = 0
        self._due = 0
        binary = path.open("wb")
        compressed = zstandard.ZstdCompressor().stream_writer(binary) if path.suffix == ".zst" else binary
        self._file = io.TextIOWrapper(compressed, encoding="utf-8", newline="\n", write_through=False)
        scenario = life.scenario
        self._put(
            {
                "format": FORMAT,
                "version": VERSION,
                "scenario": scenario.name,
                "title": scenario.title,
                "phenotype": scenario.phenotype,
                "seed": scenario.seed,
                "started": rfc3339(started_ns, 9),
            }
        )

    def __enter__(self) -> Self:
        """Keeps it open for the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Completes the file."""
        self._file.close()

    def live_until(self, time_s: float) -> None:
        """Lets the patient live up to a time of the scenario, and writes down what is due on the way."""
        self._catch_up()
        while self._life.time_s < time_s - GRAIN_S:
            due = self._due * self._life.scenario.truth_every_s
            self._life.advance(min(due, time_s) - self._life.time_s)
            self._catch_up()

    def _catch_up(self) -> None:
        life = self._life
        for what in life.happened[self._told :]:
            told = {name: value for name, value in _done(what).items() if value}
            self._put({**self._stamp(what.at_s), "event": what.label, **told})
        self._told = len(life.happened)
        if life.time_s >= self._due * life.scenario.truth_every_s - GRAIN_S:
            self._put({**self._stamp(life.time_s), **life.state()})
            self._due = int((life.time_s + GRAIN_S) // life.scenario.truth_every_s) + 1

    def flush(self) -> None:
        """Brings the file up to date."""
        self._file.flush()

    def _stamp(self, time_s: float) -> dict[str, object]:
        return {"t": round(time_s, 6), "time_ns": self._started_ns + round(time_s * NS)}

    def _put(self, line: Mapping[str, object]) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")


def _done(what: Intervention) -> dict[str, object]:
    return {
        "set": dict(what.conditions),
        "over_s": what.over_s,
        "drug": what.drug,
        "off": list(what.off),
        "on": list(what.on),
        "clock_s": dict(what.clock_s),
    }


def read_truth(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a ground truth, the header first."""
    with path.open("rb") as binary:
        source = zstandard.ZstdDecompressor().stream_reader(binary) if path.suffix == ".zst" else binary
        with io.TextIOWrapper(source, encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
