"""Children that keep readings and HL7 messages in a journal until they are killed: `python -m ...journal_child`.

Each line `DIRECTORY FIRST PORT` on standard input makes a child. On standard output it says `born PID`, `made NUMBER
MONOTONIC_NS` before it appends a reading, `safe NUMBER` when that is acknowledged, and its parent says `died STATUS`.
Children are forks of one process that has everything loaded, so that hundreds can be killed in a minute.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from functools import partial
from pathlib import Path

from acquisition.catalogue import Catalogue
from acquisition.clock import SystemClock
from acquisition.journal import Journal, summary
from acquisition.model import Observation
from acquisition.registry import build_driver
from acquisition.session import Session
from acquisition.stamping import Stamper
from acquisition.transports.url import open_link
from tests.acquisition.journal_observations import T0, numerics, waveform

STEP_NS = 1_200_000_000_000
"""A new day file every 72 readings."""
INTERVAL_S = 0.02
MONITOR = "bedside"
MERGED_AFTER = 4
"""Groups after which the blocks are summed up and merged, for these are old at once."""


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def acknowledged(number: int, future: asyncio.Future[None]) -> None:
    future.result()
    say(f"safe {number}")


async def append_for_ever(journal: Journal, number: int) -> None:
    while True:
        now = T0 + number * STEP_NS
        readings: list[Observation] = [numerics(now, float(number)), waveform(now, [number, -number])]
        say(f"made {number} {time.monotonic_ns()}")
        journal.append(readings, [("mon", str(number))]).add_done_callback(partial(acknowledged, number))
        number += 1
        await asyncio.sleep(0.001)


async def keep(directory: Path, first: int, port: int) -> None:
    catalogue = Catalogue.shipped()
    async with Journal(directory, commit_interval_s=INTERVAL_S) as journal:
        driver = build_driver("hl7", None, {"channels": {"1^99ECMODAQSIM": "sim_counter"}}, catalogue, ())
        driver.remember(journal.keys(MONITOR))
        clock = SystemClock(not_before_ns=journal.newest_ns + 1)
        link = open_link(f"tcp-listen://127.0.0.1:{port}", defaults=driver.link_defaults)
        session = Session(MONITOR, driver, link, clock, journal, Stamper(MONITOR, catalogue))
        await asyncio.gather(session.run(), append_for_ever(journal, first))


def main() -> None:
    summary.FLUSH_GROUPS = MERGED_AFTER
    for line in sys.stdin:
        directory, first, port = line.split()
        child = os.fork()
        if not child:
            say(f"born {os.getpid()}")
            asyncio.run(keep(Path(directory), int(first), int(port)))
        say(f"died {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")


if __name__ == "__main__":
    main()
