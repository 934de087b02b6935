"""The command `replay` around the replay itself: prints, goes step by step, fills a journal, delivers it to sinks."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import random
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from acquisition.archive.tables import COLUMNS, rows
from acquisition.catalogue import Catalogue
from acquisition.clock import NS, SystemClock
from acquisition.commands.arguments import err
from acquisition.config import load_config
from acquisition.daemon import make_sink
from acquisition.driver import Driver
from acquisition.errors import ConfigError
from acquisition.forwarder import Forwarder
from acquisition.interfaces import Sink
from acquisition.journal.journal import Journal
from acquisition.model import Observation, json_line
from acquisition.replay import Replayed, replay
from acquisition.trace import Piece

SHOWN_BYTES = 48
LOOK_S = 0.05
"""How often is looked whether the sinks have everything."""


@dataclass(frozen=True, slots=True)
class Playback:
    """What is wanted of a replay.

    Attributes:
        traces: The file, or the files of a rotating recording in order.
        speed: A factor; None for as fast as possible.
        step: Wait for Enter before each piece.
        as_json: JSON Lines in place of CSV.
        journal: Directory of a journal that gets everything; then only `as_json` prints observations.
        config: Configuration that has the sinks.
        sinks: Ids of the sinks that get everything from the journal.
    """

    traces: Sequence[Path]
    driver: Driver
    device: str | None
    zone: ZoneInfo
    speed: float | None = None
    step: bool = False
    as_json: bool = False
    journal: Path | None = None
    config: Path | None = None
    sinks: Sequence[str] = field(default=())


async def play(wanted: Playback) -> Replayed:
    """Replays as wanted and tells on standard error what was seen.

    Raises:
        ConfigError: the sinks are not in the configuration, or there is no journal to deliver from.
        TraceError: the file is no trace.
        JournalError: the journal cannot be opened or written.
    """
    sinks = _sinks(wanted)
    printer = _Printer(sys.stdout, as_json=wanted.as_json, silent=wanted.journal is not None and not wanted.as_json)
    gate = _step if wanted.step else None
    async with contextlib.AsyncExitStack() as stack:
        journal = None
        if wanted.journal is not None:
            journal = await stack.enter_async_context(Journal(wanted.journal))
        played = await replay(
            wanted.traces, wanted.driver, printer.take, device=wanted.device, speed=wanted.speed, zone=wanted.zone,
            gate=gate, keeper=journal,
        )  # fmt: skip
        if journal is not None and sinks:
            await _deliver(journal, sinks)
    counters = ", ".join(f"{key} {number}" for key, number in sorted(wanted.driver.counters.items()))
    _tell(f"{', '.join(map(str, wanted.traces))}: {printer.count} observations ({counters})")
    if wanted.speed is not None and played.pacing_errors_ns:
        p50, p99, worst = (played.pacing_ms(part) for part in (0.5, 0.99, 1.0))
        _tell(f"pieces were handed out late by {p50:.2f} ms (median), {p99:.2f} ms (p99), {worst:.2f} ms (worst)")
    if played.unmatched:
        _tell(f"{played.unmatched} frames were sent in only one of recording and replay: their readings may differ")
    if played.damage:
        _tell(f"damaged, replayed up to there: {played.damage}")
    return played


class _Printer:
    """Observations to standard output.

    Attributes:
        count: How many there were.
    """

    def __init__(self, to: TextIO, *, as_json: bool, silent: bool) -> None:
        self.count = 0
        self._to = to
        self._as_json = as_json
        self._silent = silent
        self._table = csv.writer(to, lineterminator="\n")
        if not as_json and not silent:
            self._table.writerow(COLUMNS)

    def take(self, observation: Observation) -> None:
        self.count += 1
        if self._silent:
            return
        if self._as_json:
            self._to.write(json_line(observation) + "\n")
        else:
            self._table.writerows(rows(observation, Catalogue.shipped()))


async def _step(piece: Piece) -> None:
    """Shows what comes next and waits for Enter; at the end of standard input, for nothing."""
    sys.stdout.flush()
    at = f"{piece.t_ns / NS:12.6f} s"
    if piece.mark is not None:
        _tell(f"{at}  link {piece.mark.turn}: {piece.mark.text}")
    else:
        shown = piece.data[:SHOWN_BYTES]
        more = f" … {len(piece.data)} bytes" if len(piece.data) > SHOWN_BYTES else ""
        words = "".join(chr(byte) if 0x20 <= byte < 0x7F else "·" for byte in shown)
        _tell(
            f"{at}  {piece.direction} {shown.hex(' ')}{more}  {words}" if shown else f"{at}  {piece.direction} (woken)"
        )
    await asyncio.to_thread(sys.stdin.readline)


def _sinks(wanted: Playback) -> dict[str, Sink[Any]]:
    if not wanted.sinks:
        return {}
    if wanted.config is None or wanted.journal is None:
        raise ConfigError(["--sink needs --config, which has it, and --journal, which it is delivered from"])
    config = load_config(wanted.config)
    known = {sink.id: sink for sink in config.sink}
    if unknown := [name for name in wanted.sinks if name not in known]:
        raise ConfigError([f"--sink {name}: the configuration has no such sink" for name in unknown])
    return {name: make_sink(known[name], config, visits=True) for name in wanted.sinks}


async def _deliver(journal: Journal, sinks: Mapping[str, Sink[Any]]) -> None:
    """Returns when each sink has the whole journal; a server that is away is waited for."""
    clock = SystemClock()
    forwarders = [Forwarder(name, sink, journal, clock, rng=random.Random()) for name, sink in sinks.items()]
    async with _running(forwarders):
        while any(journal.backlog(each.name) for each in forwarders):  # noqa: ASYNC110 - a backlog has no event
            await asyncio.sleep(LOOK_S)
    for each in forwarders:
        _tell(f"{each.name}: {each.status.delivered} points delivered, {each.status.quarantined} quarantined")


@contextlib.asynccontextmanager
async def _running(forwarders: Sequence[Forwarder]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each.run()) for each in forwarders]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tell(line: str) -> None:
    err.print(line, highlight=False, markup=False, soft_wrap=True)
