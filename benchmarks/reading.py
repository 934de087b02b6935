"""Reading waves back: ours from an exported Parquet data set, atriumdb's and vitaldb's from what each of them wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.export_speed import child
from benchmarks.processes import READERS, NotMeasuredError, scratch
from benchmarks.result import Result

HOURS = 1
PEERS = ("atriumdb", "vitaldb")


def measure(hours: int = HOURS) -> list[Result]:
    """Four waves at 250 Hz with their times into numpy arrays, each in a process of its own, from a warm disk cache."""
    with scratch() as directory:
        child("fill", directory / "bed", str(hours), "waves")
        child("export", directory / "bed", "parquet")
        copy = directory / "waves.npy"
        ours = child("read", directory / "bed-parquet", copy)
        return [_row(peer, ours, directory, copy, hours) for peer in PEERS]


def _row(peer: str, ours: dict[str, float], directory: Path, copy: Path, hours: int) -> Result:
    what = f"{hours} h of 4 waves at 250 Hz read back from Parquet"
    try:
        theirs = peers_figures(peer, directory / peer, copy)
    except NotMeasuredError as error:
        return Result(what, ours["rate"], "samples/s", "", peer, None, str(error))
    return Result(what, ours["rate"], "samples/s", "", peer, theirs["rate"])


def peers_figures(peer: str, directory: Path, copy: Path) -> dict[str, float]:
    """Samples a second.

    Raises:
        NotMeasuredError: it is not installed, or failed.
    """
    python = READERS / "python"
    if not python.exists():
        raise NotMeasuredError(f"{peer} is not installed; make bench installs it where it can")
    directory.mkdir()
    script = Path(__file__).with_name("reading_peer.py")
    done = subprocess.run(
        [python, "-W", "ignore", script, peer, directory, copy], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotMeasuredError(f"{peer}: {''.join(done.stderr.strip().splitlines()[-1:])[-120:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    for row in measure():
        sys.stdout.write(f"{row}\n")
