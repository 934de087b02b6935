"""Reading waves back: ours from an exported data set or the journal, atriumdb's and vitaldb's from what they wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.export_speed import child
from benchmarks.processes import READERS, NotMeasuredError, scratch
from benchmarks.result import Result

HOURS = 3
"""In less, finding the files and asking for them weighs as much as reading them does."""
PEERS = ("atriumdb", "vitaldb")
WAYS = (("pandas", "Parquet"), ("polars", "Parquet"), ("DuckDB", "Parquet"), ("open_archive", "journal"))
"""What reads ours, and from what: the directory `waves` of an exported data set, or the journal of the bed."""


def measure(hours: int = HOURS) -> list[Result]:
    """Four waves at 250 Hz with their times into numpy arrays, from a warm disk cache, by each way and each peer.

    Each in a process of its own, the median of five after a first that stands in the note: there ours loads the
    libraries, which in a peer's process writing has done before.
    """
    with scratch() as directory:
        child("fill", directory / "bed", str(hours), "waves")
        child("export", directory / "bed", "parquet")
        places = {"Parquet": directory / "bed-parquet", "journal": directory / "bed"}
        copy = directory / "waves.npy"
        ours = {way: child(way, places[place], copy, of="reading_child") for way, place in WAYS}
        theirs = {peer: _theirs(peer, directory / peer, copy) for peer in PEERS}
    return [
        _row(f"{hours} h of 4 waves at 250 Hz read back, {place}, by {way}", ours[way], peer, theirs[peer])
        for way, place in WAYS
        for peer in PEERS
    ]


def _row(what: str, ours: dict[str, float], peer: str, theirs: dict[str, float] | str) -> Result:
    if isinstance(theirs, str):
        return Result(what, ours["rate"], "samples/s", "", peer, None, theirs)
    firsts = f"{ours['first'] / 1e6:.1f} M, theirs {theirs['first'] / 1e6:.1f} M"
    note = f"the first time, ours with its imports, {firsts}"
    return Result(what, ours["rate"], "samples/s", "", peer, theirs["rate"], note)


def _theirs(peer: str, directory: Path, copy: Path) -> dict[str, float] | str:
    """The peer's figures, or why there are none."""
    try:
        return peers_figures(peer, directory, copy)
    except NotMeasuredError as error:
        return str(error)


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
