"""Feeds thingsboard-gateway's SQLite storage as its service does, in the environment of the peers.

Its arguments and what it prints are those of `benchmarks.queue_ours`, of which it knows nothing. A piece takes the way
of `TBGatewayService.__send_to_storage_new_formatted_data`: cut to the configured size, written as JSON, put. A piece is
acknowledged when `put` says so; a flood is over when the last row is committed.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
import time
from pathlib import Path
from threading import Event

import simplejson
from thingsboard_gateway.gateway.entities.converted_data import ConvertedData
from thingsboard_gateway.gateway.entities.datapoint_key import DatapointKey
from thingsboard_gateway.gateway.entities.telemetry_entry import TelemetryEntry
from thingsboard_gateway.storage.sqlite.sqlite_event_storage import SQLiteEventStorage
from thingsboard_gateway.tb_utility.tb_logger import TbLogger

VALUES, PIECE_S = 100, 0.1
STEP_MS = 100
T0_MS = 1_767_225_600_000
MAX_PAYLOAD_BYTES = 8196
"""As in the configuration that it ships."""


def storage(directory: Path) -> SQLiteEventStorage:
    """The storage with the settings that it ships."""
    logging.setLoggerClass(TbLogger)
    return SQLiteEventStorage({"data_file_path": f"{directory}/"}, logging.getLogger("storage"), Event())


def piece(number: int) -> ConvertedData:
    """What a bed sends at once."""
    data = ConvertedData("mon")
    values = {DatapointKey(f"c{at}"): 70.0 + (at + number) % 13 for at in range(VALUES)}
    data.add_to_telemetry(TelemetryEntry(values, T0_MS + number * STEP_MS))
    return data


def put(queue: SQLiteEventStorage, data: ConvertedData) -> int:
    """Stores a piece; returns the rows that it becomes."""
    rows = data.convert_to_objects_with_maximal_size(MAX_PAYLOAD_BYTES)
    for row in rows:
        text = simplejson.dumps(row.to_dict(False), separators=(",", ":"), skipkeys=True, ignore_nan=True)
        if not queue.put(text):
            raise RuntimeError("refused")
    return len(rows)


def flood(directory: Path, pieces: int) -> float:
    """Points a second until the last is committed."""
    made = [piece(number) for number in range(pieces)]
    queue = storage(directory)
    start = time.perf_counter()
    rows = sum(put(queue, each) for each in made)
    while _rows(directory) < rows:
        time.sleep(0.005)
    taken = time.perf_counter() - start
    queue.stop()
    return pieces * VALUES / taken


def _rows(directory: Path) -> int:
    database = sqlite3.connect(f"file:{directory}/data.db?mode=ro", uri=True)
    try:
        return int(database.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0])
    finally:
        database.close()


def steady(directory: Path) -> None:
    """A piece every tenth of a second, until it is killed."""
    queue = storage(directory)
    start = time.monotonic()
    number = 0
    while True:
        put(queue, piece(number))
        print(number, flush=True)
        number += 1
        time.sleep(max(0.0, start + number * PIECE_S - time.monotonic()))


def count(directory: Path, pieces: int) -> int:
    """Points of the first so many pieces that the storage hands out after a restart."""
    queue = storage(directory)
    points = 0
    due = time.monotonic() + 3
    while time.monotonic() < due:
        pack = queue.get_event_pack()
        for text in pack:
            for entry in simplejson.loads(text)["telemetry"]:
                points += len(entry["values"]) if entry["ts"] < T0_MS + pieces * STEP_MS else 0
        if pack:
            queue.event_pack_processing_done()
        time.sleep(0.05)
    queue.stop()
    return points


def main() -> None:
    """Does what the arguments say."""
    what, directory = sys.argv[1], Path(sys.argv[2])
    if what == "flood":
        print(flood(directory, int(sys.argv[3])))
    elif what == "steady":
        steady(directory)
    else:
        print(count(directory, int(sys.argv[3])))


if __name__ == "__main__":
    main()
