"""What a process takes: its share of a core and its memory."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process took over a while: share of a core in percent, resident and proportional memory in MB."""

    core_percent: float
    rss_mb: float
    pss_mb: float


@contextmanager
def measured(pid: int) -> Iterator[list[Footprint]]:
    """Appends the footprint of what happens inside, memory as it is at the end."""
    found: list[Footprint] = []
    before, start = cpu_s(pid), time.monotonic()
    yield found
    share = 100 * (cpu_s(pid) - before) / (time.monotonic() - start)
    found.append(Footprint(share, memory_mb(pid, "Rss"), memory_mb(pid, "Pss")))


def cpu_s(pid: int) -> float:
    """Seconds of a core that a process took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, which: str) -> float:
    """Memory of a process as it is now: `Rss`, resident, or `Pss`, with its share of what others use too."""
    found = re.search(rf"^{which}:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text("ascii"), re.MULTILINE)
    return int(found[1]) / 1024 if found else float("nan")
