"""A forwarder between a journal in memory and a sink that judges, on virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np

from acquisition.clock import ManualClock
from acquisition.forwarder import Forwarder
from acquisition.lanes import Progress, Span
from acquisition.model import Numerics, Observation, Quality, Waveform
from acquisition.sinks.made_late import MadeLate

NS = 1_000_000_000


@dataclass(frozen=True)
class MemoryBatch:
    observations: tuple[Observation, ...]
    last_seq: int
    damaged: tuple[str, ...] = ()


@dataclass
class MemoryJournal:
    """Sequence number n is `rows[n - 1]`; an empty row is one that was lost to damage. What it begins with is old."""

    rows: list[tuple[Observation, ...]] = field(default_factory=list)
    committed: int = 0
    ahead: tuple[Span, ...] = ()
    opened_at: int | None = None
    quarantined: list[tuple[Observation, str]] = field(default_factory=list)
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        if self.opened_at is None:
            self.opened_at = len(self.rows)

    @property
    def last_seq(self) -> int:
        return len(self.rows)

    def seq_before(self, age_ns: int) -> int:
        newest = max((one.time_ns for row in self.rows for one in row), default=0)
        young = (seq for seq, row in enumerate(self.rows) if row and row[0].time_ns >= newest - age_ns)
        return max(self.opened_at or 0, next(young, len(self.rows)))

    async def read(self, after_seq: int, max_points: int, upto_seq: int) -> MemoryBatch:
        rows = self.rows[after_seq : min(upto_seq, after_seq + max_points)]
        damaged = tuple(f"block {after_seq + at + 1}" for at, row in enumerate(rows) if not row)
        return MemoryBatch(tuple(one for row in rows for one in row), after_seq + len(rows), damaged)

    async def wait_for_new(self, after_seq: int) -> None:
        while len(self.rows) <= after_seq:
            self.drained.set()
            self.grown.clear()
            await self.grown.wait()

    def progress(self, sink: str) -> Progress:
        assert sink == "central"
        return Progress(self.committed, self.ahead)

    def commit(self, sink: str, progress: Progress) -> None:
        assert sink == "central"
        self.committed, self.ahead = progress.cursor, progress.ahead

    def quarantine(self, sink: str, observation: Observation, reason: str) -> None:
        assert sink == "central"
        self.quarantined.append((observation, reason))

    def append(self, *observations: Observation) -> None:
        self.rows += [(one,) for one in observations]
        self.drained.clear()
        self.grown.set()


Verdict = Callable[[Sequence[Observation]], Exception | None]


@dataclass
class JudgingSink:
    """Takes what `verdict` has no objection to."""

    verdict: Verdict = lambda _: None
    taken: list[Observation] = field(default_factory=list)
    tried: list[int] = field(default_factory=list)
    entered: int = 0
    left: int = 0

    async def __aenter__(self) -> Self:
        self.entered += 1
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.left += 1

    def prepare(self, observations: Sequence[Observation]) -> Sequence[Observation]:
        return tuple(observations)

    async def deliver(self, prepared: Sequence[Observation]) -> None:
        self.tried.append(len(prepared))
        error = self.verdict(prepared)
        if error is not None:
            raise error
        self.taken += prepared


@dataclass
class Bench:
    """A forwarder with its surroundings, on virtual time."""

    journal: MemoryJournal
    sink: JudgingSink
    clock: ManualClock = field(default_factory=lambda: ManualClock(utc_ns=100 * NS))
    waits: list[float] = field(default_factory=list)
    while_waiting: Callable[[], Awaitable[None]] | None = None
    batch_points: int = 100
    late: MadeLate | None = None

    def __post_init__(self) -> None:
        self.forwarder = Forwarder(
            "central",
            self.late or self.sink,
            self.journal,
            self.clock,
            rng=random.Random(7),
            batch_points=self.batch_points,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if self.while_waiting is not None:
            await self.while_waiting()
        self.clock.advance_to(self.clock.now().mono_ns + int(seconds * NS))
        await asyncio.sleep(0)

    async def drain(self) -> None:
        """Runs until the journal has nothing more, or the forwarder fails."""
        run = asyncio.create_task(self.forwarder.run())
        drained = asyncio.create_task(self.journal.drained.wait())
        try:
            await asyncio.wait({run, drained}, return_when=asyncio.FIRST_COMPLETED)
            if run.done():
                await run
        finally:
            run.cancel()
            drained.cancel()
            await asyncio.gather(run, drained, return_exceptions=True)


def bench(observations: Iterable[Observation], verdict: Verdict = lambda _: None, batch_points: int = 100) -> Bench:
    return Bench(MemoryJournal([(one,) for one in observations]), JudgingSink(verdict), batch_points=batch_points)


def numerics(time_ns: int, **values: float) -> Numerics:
    return Numerics(
        device="mon", time_ns=time_ns, values=values or {"hr": 80.0}, quality=dict.fromkeys(values, Quality.GOOD)
    )


def wave(time_ns: int, counts: Sequence[int]) -> Waveform:
    raw = np.array(counts, dtype="<i4").tobytes()
    return Waveform(device="mon", channel="wf_abp", time_ns=time_ns, period_ns=8, raw=raw)


def failing(*errors: Exception | None) -> Verdict:
    """Objects so to the first attempts, and then to none."""
    script = list(errors)
    return lambda _: script.pop(0) if script else None
