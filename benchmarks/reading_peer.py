"""Writes four waves as atriumdb or vitaldb do, and reads them back, in the environment of the readers.

It knows nothing of us. Times and values of every sample are wanted as numpy arrays; making the file is not measured.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

RATE = 250
PERIOD_NS = 10**9 // RATE
SCALE = 0.1
T0_NS = 1_767_225_600_000_000_000
TIMES = 5


def atriumdb(directory: Path, waves: np.ndarray) -> Callable[[], int]:
    """Counts and their scale, as its documentation tells for signals of monitors."""
    from atriumdb import AtriumSDK

    sdk = AtriumSDK.create_dataset(dataset_location=directory / "atriumdb", database_type="sqlite")
    device = sdk.insert_device(device_tag="mon")
    measures = []
    for number, wave in enumerate(waves):
        measure = sdk.insert_measure(measure_tag=f"w{number}", freq=float(RATE), freq_units="Hz", units="1")
        counts = np.round(wave / SCALE).astype(np.int64)
        sdk.write_segment(measure, device, counts, T0_NS, period=PERIOD_NS, time_units="ns", scale_m=SCALE, scale_b=0.0)
        measures.append(measure)
    end_ns = T0_NS + waves.shape[1] * PERIOD_NS

    def read() -> int:
        found = [sdk.get_data(measure, T0_NS, end_ns, device_id=device) for measure in measures]
        return sum(len(times) + len(values) for _, times, values in found) // 2

    return read


def vitaldb(directory: Path, waves: np.ndarray) -> Callable[[], int]:
    """Blocks of a second, as its recorder writes."""
    import vitaldb as library

    file = library.VitalFile()
    begin = T0_NS / 1e9
    for number, wave in enumerate(waves):
        blocks = wave.astype(np.float32).reshape(-1, RATE)
        recs = [{"dt": begin + second, "val": block} for second, block in enumerate(blocks)]
        file.add_track(f"mon/w{number}", recs, srate=RATE, unit="1")
    file.dtstart, file.dtend = begin, begin + waves.shape[1] / RATE
    path = str(directory / "waves.vital")
    file.to_vital(path)
    names = [f"mon/w{number}" for number in range(len(waves))]

    def read() -> int:
        found = library.VitalFile(path, names).to_numpy(names, 1 / RATE, return_timestamp=True)
        return int(np.sum(~np.isnan(found[:, 1:].astype(float))))

    return read


def main(peer: str, directory: str, copy: str) -> None:
    """Prints samples a second as JSON."""
    waves = np.load(copy)
    read = {"atriumdb": atriumdb, "vitaldb": vitaldb}[peer](Path(directory), waves)
    seconds = []
    for _ in range(1 + TIMES):
        start = time.perf_counter()
        samples = read()
        seconds.append(time.perf_counter() - start)
    if samples != waves.size:
        raise RuntimeError(f"{samples} samples of {waves.size}")
    print(json.dumps({"first": samples / seconds[0], "rate": samples / statistics.median(seconds[1:])}))


if __name__ == "__main__":
    main(*sys.argv[1:])
