"""A synthetic trial: many patients at many sites, each site with data sets as `ecmo-daq export` writes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acquisition.archive.chunk import Chunk, Window
from acquisition.archive.episodes.chain import Action
from acquisition.archive.episodes.registry import Registry, registry_path
from acquisition.archive.episodes.writing import Draft, record
from acquisition.archive.export.dataset import export
from acquisition.archive.export.request import Request
from acquisition.archive.scope import of_subject
from acquisition.archive.source import Series
from acquisition.model import Event, EventKind

S = 1_000_000_000
T0 = 1_773_475_200 * S
STEP_S = 36
"""Times of the registry are multiples of this, which is a hundredth of an hour."""
ARMS = ("blue", "green")
_GOOD, _SUSPECT, _BAD = range(3)


@dataclass(frozen=True)
class Stream:
    """Readings of one channel, and the seconds at which they were; shape (n,).

    Attributes:
        device: Its id.
        channel: Its id.
        period_s: Seconds from one to the next where none is missing.
        second: Since the subject's first.
        chunk: As a source gives it.
    """

    device: str
    channel: str
    period_s: int
    second: NDArray[np.int64]
    chunk: Chunk

    def stands(self, seconds: int, holds: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """At which seconds a reading stands that is not bad and for which this holds; shape (seconds,)."""
        of = np.searchsorted(self.second, np.arange(seconds), side="right") - 1
        step = np.append(np.diff(self.second), 10**9)
        length = np.where(step > 1.5 * self.period_s, self.period_s, step)
        within = (of >= 0) & (np.arange(seconds) < (self.second + length)[of])
        known = (self.chunk.quality < _BAD) & ~np.isnan(self.chunk.values)
        return within & (known & holds)[of]


@dataclass(frozen=True)
class Patient:
    """One subject, what the devices said, and what is true of it.

    Attributes:
        subject: Study id.
        site: Where.
        bed: In which bed.
        arm: As the allocation list has it.
        seconds: From the first reading to the last.
        run: Seconds at which the ECMO run begins and ends; no end: it goes on.
        randomised: At which second.
        flow: Of the pump.
        pulse: Pulse pressure, from the monitor.
    """

    subject: str
    site: str
    bed: str
    arm: str
    seconds: int
    run: tuple[int, int | None]
    randomised: int
    flow: Stream
    pulse: Stream

    @property
    def hours(self) -> tuple[float, float]:
        """Hours at low flow with a pulse, and hours in which both were known: by looking at every second."""
        seconds = self.seconds + 60  # in which the last readings stand
        running = np.zeros(seconds, bool)
        running[self.run[0] : self.run[1]] = True
        low, high = self.flow.chunk.values < 1.5, self.pulse.chunk.values > 20
        so = running & self.flow.stands(seconds, low) & self.pulse.stands(seconds, high)
        known = running & self.flow.stands(seconds, low == low) & self.pulse.stands(seconds, high == high)
        return float(so.sum() / 3600), float(known.sum() / 3600)


def patients(number: int = 50, sites: int = 10) -> list[Patient]:
    """Devices that speak once a second or once a minute, with gaps, single losses, bad readings, and states."""
    chance = np.random.default_rng(5)
    found = []
    for place in range(number):
        site = place % sites
        fast = site % 3 != 0
        steps = int(chance.integers(120, 300) if fast else chance.integers(600, 3500))
        seconds = steps * STEP_S
        flow_s, pulse_s = ((60, 60), (1, 60), (60, 1))[site % 3]
        ends = None if place % 7 == 0 else (steps - int(chance.integers(5, 20))) * STEP_S
        found.append(
            Patient(
                subject=f"LEV-{site + 1:02d}-{place + 1:03d}",
                site=f"site-{site + 1}",
                bed=f"bed-{place // sites + 1}",
                arm=ARMS[int(chance.integers(2))],
                seconds=seconds,
                run=(int(chance.integers(5, 20)) * STEP_S, ends),
                randomised=int(chance.integers(20, 100)) * STEP_S,
                flow=_stream(chance, "pump", "ecmo_flow", flow_s, seconds, 1.6, 0.3),
                pulse=_stream(chance, "mon", "pp_num", pulse_s, seconds, 22.0, 6.0),
            )
        )
    return found


def make_sites(directory: Path, trial: list[Patient]) -> None:
    """Exports every site's subjects into `sites/SITE/data-set`, and writes the allocation list apart."""
    for site in sorted({each.site for each in trial}):
        own = [each for each in trial if each.site == site]
        path = registry_path(directory / site / "journal")
        record(path, [draft for each in own for draft in _drafts(each)], actor="dm", now_ns=T0 + 10**7 * S)
        registry = Registry.open(path)
        scopes = [of_subject(registry, each.subject) for each in own]
        export(SiteSource(own), registry, scopes, Request(), directory / "sites" / site / "data-set")
    rows = "".join(f"{each.subject},{each.arm}\n" for each in trial)
    (directory / "allocation.csv").write_text(f"subject,arm\n{rows}", encoding="utf-8")


class SiteSource:
    """What all the beds of a site recorded; see `Source`."""

    def __init__(self, own: list[Patient]) -> None:
        self._streams = {each.bed: (each.pulse, each.flow) for each in own}

    def series(self, window: Window) -> list[Series]:
        """See `Source.series`."""
        return [Series(stream.device, stream.channel, False) for stream in self._of(window)]

    def extent(self, window: Window) -> Window | None:
        """See `Source.extent`."""
        times = np.concatenate([stream.chunk.time_ns for stream in self._of(window)])
        return replace(
            window, from_ns=max(window.from_ns, int(times.min())), to_ns=min(window.to_ns, int(times.max()) + 1)
        )

    def numerics(
        self, window: Window, devices: Collection[str] | None = None, channels: Collection[str] | None = None
    ) -> Iterator[Chunk]:
        """See `Source.numerics`; all of them are asked for."""
        assert (devices, channels) == (None, None)
        for stream in self._of(window):
            times = stream.chunk.time_ns
            yield stream.chunk.at((times >= window.from_ns) & (times < window.to_ns))

    def waves(
        self, window: Window, devices: Collection[str] | None = None, channels: Collection[str] | None = None
    ) -> Iterator[Chunk]:
        """None."""
        yield from ()

    def events(self, window: Window, kinds: Collection[EventKind] | None = None) -> Iterator[Event]:
        """None."""
        yield from ()

    def _of(self, window: Window) -> tuple[Stream, ...]:
        return self._streams[str(window.bed)]


def _stream(
    chance: np.random.Generator, device: str, channel: str, period_s: int, seconds: int, mean: float, spread: float
) -> Stream:
    offset = int(chance.integers(0, 60))
    second = np.arange(offset, seconds, period_s)
    size = second.size
    if period_s > 1:  # some come late, and the next one in time
        second[5 : size - 5 : 9] += 7
    kept = chance.random(size) > 0.03
    kept[[0, -1]] = True
    for begin in chance.integers(size // 10, size - size // 10, 3):
        kept[begin : begin + max(3, size // 30)] = False
    slow = np.sin(np.arange(size) * 2 * np.pi * period_s / 5000) * spread
    values = np.round(mean + slow + chance.normal(0, spread / 3, size), 2)
    quality = chance.choice([_GOOD, _SUSPECT, _BAD], size, p=[0.85, 0.1, 0.05]).astype(np.uint8)
    silent = chance.random(size) < 0.02
    values[silent], quality[silent] = np.nan, _BAD
    state = silent.astype(np.uint8)
    chunk = Chunk(device, channel, T0 + second * S, values, quality, state).at(kept)
    return Stream(device, channel, period_s, second[kept], chunk)


def _drafts(patient: Patient) -> Iterator[Draft]:
    begins, ends = patient.run
    yield Draft(Action.START, patient.subject, {"from_ns": T0, "bed": patient.bed})
    yield Draft(Action.RUN_START, patient.subject, {"from_ns": T0 + begins * S})
    yield Draft(Action.RANDOMISE, patient.subject, {"time_ns": T0 + patient.randomised * S})
    if ends is not None:
        yield Draft(Action.RUN_STOP, patient.subject, {"to_ns": T0 + ends * S})
        yield Draft(Action.STOP, patient.subject, {"to_ns": T0 + patient.seconds * S})
