"""A journal with readings in it and a forwarder on virtual time, for whatever a server may answer."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from acquisition.clock import NS, ManualClock
from acquisition.forwarder import Forwarder, ForwarderState, ForwarderStatus
from acquisition.journal import Journal
from acquisition.model import Observation
from acquisition.sinks.influxdb import InfluxV1Sink, InfluxV2Sink
from acquisition.sinks.influxdb_servers import InfluxV1Server, InfluxV2Server
from acquisition.sinks.line_protocol import render
from tests.acquisition.hostile_influx import (
    HostileInflux,
    Key,
)
from tests.acquisition.journal_observations import QUICK, T0, event, numerics, waveform
from tests.acquisition.strict_line_protocol import parse

TIMEOUT_S = 0.25
PLENTY_S = 20.0
SOON_S = 60.0
AnySink = InfluxV1Sink | InfluxV2Sink
Make = Callable[..., AnySink]
WRONG = '{"code":"invalid","message":"partial write: field type conflict","error":"partial write: field type conflict"}'


def v1(url: str, *, timeout_s: float = PLENTY_S, **options: Any) -> InfluxV1Sink:
    return InfluxV1Sink(
        InfluxV1Server(url=url, database="ecmo", **options), site="here", bed="bed-1", timeout_s=timeout_s
    )


def v2(url: str, *, timeout_s: float = PLENTY_S, **options: Any) -> InfluxV2Sink:
    return InfluxV2Sink(
        InfluxV2Server(url=url, bucket="ecmo", **options), site="here", bed="bed-1", timeout_s=timeout_s
    )


both = pytest.mark.parametrize("make", [v1, v2])
READINGS: list[Observation] = [
    one
    for at in range(10)
    for one in (numerics(T0 + at * NS, float(at)), waveform(T0 + at * NS, [at * 10 + k for k in range(10)]))
] + [event(T0 + 5 * NS, "alarm")]


def fields_of(readings: Sequence[Observation]) -> dict[Key, dict[str, float | str]]:
    points = parse(render(readings, site="here", bed="bed-1"))
    return {(point.measurement, point.tags, point.time_ns): dict(point.fields) for point in points}


@dataclass
class Bed:
    """A journal with readings in it, and a forwarder on virtual time.

    Attributes:
        waits: How long each wait was, and how the forwarder stood while it waited.
        while_waiting: What happens in the world meanwhile.
    """

    journal: Journal
    clock: ManualClock = field(default_factory=lambda: ManualClock(utc_ns=T0))
    waits: list[tuple[float, ForwarderStatus]] = field(default_factory=list)
    while_waiting: Callable[[int], Awaitable[None]] | None = None
    forwarder: Forwarder = field(init=False)

    async def carry(
        self,
        sink: AnySink,
        *,
        batch_points: int = 5000,
        then: Callable[[], Awaitable[None]] | None = None,
        patience_s: float = SOON_S,
    ) -> None:
        """Runs a forwarder until the sink has everything; if there is a `then`, also what that appends."""

        async def sleep(seconds: float) -> None:
            self.waits.append((seconds, self.forwarder.status))
            if self.while_waiting is not None:
                await self.while_waiting(len(self.waits))
            self.clock.advance_to(self.clock.now().mono_ns + int(seconds * NS))
            await asyncio.sleep(0)

        self.forwarder = Forwarder(
            "central", sink, self.journal, self.clock, rng=random.Random(7), batch_points=batch_points, sleep=sleep
        )
        run = asyncio.create_task(self.forwarder.run())
        try:
            async with asyncio.timeout(patience_s):
                await self._carried(run)
                if then is not None:
                    await then()
                    await self._carried(run)
        finally:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

    async def _carried(self, run: asyncio.Task[None]) -> None:
        while (  # noqa: ASYNC110 - nobody tells of a commit: it is a number in the journal
            self.journal.progress("central").cursor < self.journal.last_seq and not run.done()
        ):
            await asyncio.sleep(0.002)

    @property
    def said(self) -> str:
        """What the status said at the first wait."""
        return self.waits[0][1].last_error


@asynccontextmanager
async def bed_in(directory: Path) -> AsyncIterator[Bed]:
    """A bed with the readings in its journal."""
    async with Journal(directory, commit_interval_s=QUICK) as journal:
        await journal.append(READINGS)
        yield Bed(journal)


@asynccontextmanager
async def all_there(bed: Bed, server: HostileInflux, readings: Sequence[Observation] = ()) -> AsyncIterator[None]:
    """Afterwards the server has every reading, each complete, and nothing was set aside; the cursor is at the end."""
    yield
    assert server.stored == fields_of(readings or READINGS)
    assert bed.journal.quarantined() == []
    assert bed.journal.progress("central").cursor == bed.journal.last_seq
    assert bed.journal.backlog("central") == 0
    assert bed.forwarder.status.last_error == ""
    assert bed.forwarder.status.quarantined == 0


def only_waited(bed: Bed, state: ForwarderState, words: str) -> None:
    """Nothing was delivered before the first wait, the cursor stood, and the status said why."""
    assert bed.waits
    _, status = bed.waits[0]
    assert status.state is state
    assert status.cursor == 0
    assert status.delivered == 0
    assert status.attempts == 1
    assert re.search(words, status.last_error), status.last_error
