"""The recorded cases of every driver, and a stand-in for the session that drives one without a clock or a link."""

from __future__ import annotations

import importlib
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from acquisition.catalogue import Catalogue
from acquisition.driver import Driver, Emission, Reading, Samples
from acquisition.errors import WireError
from acquisition.registry import load_profile
from acquisition.trace import Piece, TraceHeader, read_trace

FOLDER = Path(__file__).resolve().parent.parent / "drivers"
AHEAD_NS = 250_000_000
"""A deadline this close before a recorded piece is the one that the piece's own time stands for."""
MAX_TURNS = 10_000
ANSWER_NS = 10_000_000


@cache
def driver_class(name: str) -> type[Driver]:
    """The one driver that the module `drivers.<name>` defines."""
    module = importlib.import_module(f"drivers.{name}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Driver) and value.__module__ == module.__name__
    ]
    assert len(found) == 1, f"drivers.{name} must define one Driver, not {found}"
    return found[0]


@dataclass(frozen=True)
class Case:
    """One folder `tests/drivers/<driver>/<case>/`."""

    folder: Path

    def __str__(self) -> str:
        return f"{self.folder.parent.name}-{self.folder.name}"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The content of `case.toml`: `driver`, `profile` where it needs one, of the folder or shipped, `[options]`."""
        return tomllib.loads((self.folder / "case.toml").read_text(encoding="utf-8"))

    @cached_property
    def trace(self) -> tuple[TraceHeader, list[Piece]]:
        """What went over the wire, and over which."""
        header, pieces = read_trace(self.folder / "wire.trace")
        return header, list(pieces)

    @property
    def pieces(self) -> list[Piece]:
        """What went over the wire."""
        return self.trace[1]

    @cached_property
    def received(self) -> bytes:
        """All that the device said."""
        return b"".join(piece.data for piece in self.pieces if piece.direction == "<")

    @cached_property
    def end_ns(self) -> int:
        """The time of the last piece."""
        return self.pieces[-1].t_ns

    @cached_property
    def datagrams(self) -> bool:
        """Whether the link keeps pieces whole."""
        return self.trace[0].link.startswith("udp")

    @cached_property
    def asks_first(self) -> bool:
        """Whether the driver sends something before it has received anything: the device talks only when asked."""
        driver = self.build()
        driver.start(0)
        for _ in range(3):
            if driver.deadline is not None:
                driver.tick(driver.deadline)
        return bool(driver.take_frames())

    @cached_property
    def answers(self) -> dict[bytes, list[bytes]]:
        """What the device answered to each question, if most of them were asked more than once.

        A question that numbers itself is never asked twice, and its recorded answer fits no other time.
        """
        found: dict[bytes, list[bytes]] = {}
        question = b""
        for piece in self.pieces:
            if piece.direction == ">":
                question = piece.data or question
                found.setdefault(question, [])
            elif question:
                found[question].append(piece.data)
        asked = Counter(piece.data for piece in self.pieces if piece.direction == ">" and piece.data)
        again = sum(count for count in asked.values() if count > 1)
        return found if 2 * again > asked.total() else {}

    @cached_property
    def layout(self) -> dict[str, Any] | None:
        """The content of the profile, where there is one."""
        profile = self.settings.get("profile")
        return load_profile(profile, (self.folder,)) if profile else None

    @cached_property
    def poured(self) -> Outcome:
        """What a fresh driver makes of all that the device said, at once."""
        return pour(self, self.received)

    @cached_property
    def poured_twice(self) -> Outcome:
        """What a fresh driver makes of all that the device said, and said again."""
        return pour(self, self.received, self.received)

    def build(self) -> Driver:
        """A fresh driver."""
        built: Driver = driver_class(self.settings["driver"]).build(
            self.settings.get("options", {}), Catalogue.shipped(), self.layout
        )
        return built


def all_cases() -> list[Case]:
    """Every case folder there is."""
    return [Case(path.parent) for path in sorted(FOLDER.glob("*/*/case.toml"))]


@dataclass
class Outcome:
    """What came out of a driver: emissions in comparable form, frames, and how often it gave up."""

    emissions: list[str] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    failures: int = 0


class Bench:
    """Does to a driver what the session does, and checks at every turn what must hold at every turn."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.outcome = Outcome()
        self._counted: Counter[str] = Counter()

    def start(self, now: int) -> None:
        """The link is open."""
        self.driver.start(now)
        assert not self.driver.buffer
        self._collect()

    def run(self, pieces: Iterable[Piece], *, late_ns: int = 0) -> None:
        """Feeds recorded pieces at their own times, waking the driver when it wants."""
        for piece in pieces:
            now = piece.t_ns + late_ns
            self.wake_until(now - AHEAD_NS)
            if piece.direction == "<":
                self.feed(piece.data, now)
            self.driver.tick(now)
            self._collect()

    def wake_until(self, limit: int) -> None:
        """Wakes the driver at each of its deadlines before `limit`."""
        for _ in range(MAX_TURNS):
            deadline = self.driver.deadline
            if deadline is None or deadline >= limit:
                return
            self.driver.tick(deadline)
            self._collect()
        raise AssertionError(f"{MAX_TURNS} deadlines before {limit}: the session would never sleep")

    def converse(self, answers: Mapping[bytes, Sequence[bytes]], first: bytes, turns: int) -> None:
        """Answers each question as the recorded device did, again and again, only the first time with `first`."""
        now, answered = 0, 0
        for _ in range(turns):
            while answered < len(self.outcome.frames):
                question = self.outcome.frames[answered]
                known = answers.get(question) or [b""]
                now += ANSWER_NS
                self.feed(known[answered % len(known)] if answered else first, now)
                answered += 1
            if self.driver.deadline is not None:
                now = max(now, self.driver.deadline)
                self.driver.tick(now)
                self._collect()

    def feed(self, data: bytes, now: int) -> None:
        """Bytes have come; a driver that gives up is started again, as after a reconnect."""
        try:
            self.driver.receive(data, now)
        except WireError:
            self.outcome.failures += 1
            self._collect()
            self.driver.start(now)
        self._collect()

    def _collect(self) -> None:
        driver, outcome = self.driver, self.outcome
        assert len(driver.buffer) <= driver.max_buffer
        for emission in driver.take_emissions():
            said = repr_of(emission)
            outcome.emissions.append(said)
            if isinstance(emission, Reading | Samples):
                outcome.measured.append(said)
                outcome.values += values_of(emission, said)
        assert not driver.take_emissions()
        keys = driver.take_keys()
        outcome.keys += keys
        driver.stored(keys)
        frames = driver.take_frames()
        assert all(driver.may_send(frame) for frame in frames)
        outcome.frames += frames
        if driver.counters != self._counted:  # seldom, in a hundred thousand turns
            shrunk = {name: count for name, count in self._counted.items() if driver.counters[name] < count}
            assert not shrunk, f"counters went back: {shrunk}"
            self._counted = Counter(driver.counters)


def repr_of(emission: Emission) -> str:
    """An emission as text that is equal exactly if the emission is."""
    if isinstance(emission, Samples):
        rest = (
            emission.channel,
            emission.period_ns,
            emission.scale,
            emission.offset,
            emission.start,
            emission.doubtful,
        )
        return f"Samples{rest} {emission.counts.tolist()}"
    if isinstance(emission, Reading):
        return f"Reading {sorted(emission.values.items())} {sorted(emission.states.items())} {emission.device_time}"
    return f"Notice {emission.event} {emission.text} {emission.detail}"


def values_of(emission: Reading | Samples, said: str) -> list[str]:
    """Each value by itself: half a reading is no wrong reading."""
    if isinstance(emission, Samples):
        return [said]
    return [f"{channel} {value!r}" for channel, value in emission.values.items()]


def play(case: Case, pieces: Sequence[Piece] | None = None) -> Outcome:
    """What a fresh driver makes of a case, or of other pieces in its place."""
    bench = Bench(case.build())
    bench.start(0)
    bench.run(case.pieces if pieces is None else pieces)
    return bench.outcome


def pour(case: Case, *chunks: bytes) -> Outcome:
    """What a fresh driver makes of these bytes, all at once at the end of the case."""
    bench = Bench(case.build())
    bench.start(case.end_ns)
    for chunk in chunks:
        bench.feed(chunk, case.end_ns)
    return bench.outcome
