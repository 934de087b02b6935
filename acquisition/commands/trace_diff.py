"""Compares two series of observations of one device value by value: what differs, where first, how often."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from acquisition.errors import TraceError
from acquisition.model import Observation, json_line


class Place(NamedTuple):
    """Where a fact stands: when, and of which channel or kind of event; `number` tells several there apart."""

    time_ns: int
    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A place where the two series do not say the same; None where one of them says nothing."""

    place: Place
    one: str | None
    other: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two series have in common and not.

    Attributes:
        same: Facts that are in both.
        differences: In order of time.
    """

    same: int
    differences: tuple[Difference, ...]

    @property
    def by_name(self) -> Counter[str]:
        """Differences by channel or kind of event."""
        return Counter(each.place.name for each in self.differences)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many facts are the same, different, only in the one and only in the other."""
        only_one = sum(each.other is None for each in self.differences)
        only_other = sum(each.one is None for each in self.differences)
        different = len(self.differences) - only_one - only_other
        return {"same": self.same, "different": different, "only_in_one": only_one, "only_in_other": only_other}


def compare(one: Iterable[str], other: Iterable[str], *, from_start: bool = False) -> Comparison:
    """Compares observations as JSON Lines; the device's id does not count.

    Args:
        one: Lines as `model.json_line` writes them.
        other: Likewise.
        from_start: Count times from the first observation of each, as for two recordings of two days.

    Raises:
        ValueError: a line is none of them.
    """
    facts, others = _facts(one, from_start=from_start), _facts(other, from_start=from_start)
    differences = [
        Difference(place, facts.get(place), others.get(place))
        for place in sorted(facts.keys() | others.keys())
        if facts.get(place) != others.get(place)
    ]
    same = sum(others.get(place) == fact for place, fact in facts.items())
    return Comparison(same, tuple(differences))


def lines_of(path: Path) -> list[str]:
    """The lines of a file of observations.

    Raises:
        TraceError: there is none.
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: cannot be read: {error}") from None


class Lines:
    """Collects observations as lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def take(self, observation: Observation) -> None:
        """One more."""
        self.lines.append(json_line(observation))


def _facts(lines: Iterable[str], *, from_start: bool) -> dict[Place, str]:
    facts: dict[Place, str] = {}
    start: int | None = None
    for line in lines:
        observation = json.loads(line)
        time_ns = int(observation["time_ns"])
        start = time_ns if start is None and from_start else start
        for name, fact in _said(observation):
            place = Place(time_ns - (start or 0), name, 0)
            while place in facts:
                place = place._replace(number=place.number + 1)
            facts[place] = fact
    return facts


def _said(observation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each channel or event of an observation with what is said of it, in a comparable form for people."""
    if observation["kind"] == "numerics":
        values, states, quality = observation["values"], observation["states"], observation["quality"]
        for channel in [*values, *(channel for channel in states if channel not in values)]:
            said = (values.get(channel), states.get(channel), quality.get(channel))
            yield channel, " ".join(str(word) for word in said if word is not None)
    elif observation["kind"] == "waveform":
        samples = observation["samples"]
        head = ", ".join(map(str, samples[:4])) + (", …" if len(samples) > 4 else "")
        rest = hashlib.blake2b(json.dumps(samples).encode(), digest_size=8).hexdigest() if len(samples) > 4 else ""
        yield (
            observation["channel"],
            f"{len(samples)} samples every {observation['period_ns']} ns: {head} {rest} {observation['quality']}",
        )
    else:
        detail = json.dumps(observation["detail"], sort_keys=True)
        yield observation["event"], observation["text"] + (f" {detail}" if observation["detail"] else "")
