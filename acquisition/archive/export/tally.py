"""What came and what should have come, stream by stream: completeness and gaps (CLINICAL.md section 6.4)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acquisition.archive.chunk import Chunk, Window
from acquisition.archive.export.axis import DAY_NS, HOUR_NS, Axis
from acquisition.archive.scope import EVER, Scope
from acquisition.catalogue import Catalogue
from acquisition.clock import NS
from acquisition.model import Event

NUMERICS_LIMIT_NS = 5 * NS
WAVES_LIMIT_NS = NS


@dataclass
class Stream:
    """One channel of one device."""

    wave: bool
    received: Counter[int] = field(default_factory=Counter)
    valid: Counter[int] = field(default_factory=Counter)
    due: Counter[int] = field(default_factory=Counter)
    steps: Counter[int] = field(default_factory=Counter)
    first_ns: int = 0
    last_ns: int | None = None
    silences: list[tuple[int, int]] = field(default_factory=list)

    @property
    def period_ns(self) -> int | None:
        """The usual time between readings; None where there is none, or after one reading."""
        return self.steps.most_common(1)[0][0] if self.steps else None

    def limit_ns(self, usual_ns: int) -> int:
        """How long it may be silent before that is a gap."""
        return max(3 * usual_ns, WAVES_LIMIT_NS if self.wave else NUMERICS_LIMIT_NS)

    def all_silences(self, from_ns: int, to_ns: int) -> list[tuple[int, int]]:
        """Those between readings, and before the first and after the last of them."""
        limit = self.limit_ns(self.period_ns or 0)
        ends = [(from_ns, self.first_ns), (self.last_ns or from_ns, to_ns)]
        return sorted([*self.silences, *((begin, end) for begin, end in ends if end - begin > limit)])


class Completeness(NamedTuple):
    """What came of one stream in one hour or day of the subject's time line.

    Attributes:
        device: Configured id of the device.
        channel: Channel id.
        bucket: `hour` or `day`.
        begin_ns: Since the zero of the axis.
        expected: Readings due in the declared run; None where the stream has no rate.
        received: Readings that came, in the run or not.
        valid: Of them those that are not bad.
        complete: Of those that were due, how many came and are not bad. A surplus of one hour makes up for
            nothing in another.
    """

    device: str
    channel: str
    bucket: str
    begin_ns: int
    expected: int | None
    received: int
    valid: int
    complete: int

    @property
    def fraction(self) -> float | None:
        """Complete of expected; None where nothing is."""
        return self.complete / self.expected if self.expected else None


class Tally:
    """Counts readings as they pass by.

    Args:
        axis: Time line; hours are counted from its zero.
        declared: When there should be readings.
    """

    def __init__(self, axis: Axis, declared: Sequence[Window]) -> None:
        self._axis = axis
        self._declared = declared
        self._streams: dict[tuple[str, str], Stream] = {}
        self._seen: defaultdict[str | None, set[tuple[str, str]]] = defaultdict(set)

    def __bool__(self) -> bool:
        return bool(self._streams)

    def add(self, chunk: Chunk, bed: str | None, *, wave: bool) -> None:
        """Takes in readings of a bed that come after all others of their stream."""
        self._seen[bed].add((chunk.device, chunk.channel))
        stream = self._streams.setdefault((chunk.device, chunk.channel), Stream(wave))
        hours = (chunk.time_ns - self._axis.zero_ns) // HOUR_NS
        valid = chunk.quality < 2
        due = valid & self._in_time(chunk)
        for counter, which in ((stream.received, hours), (stream.valid, hours[valid]), (stream.due, hours[due])):
            names, counts = np.unique(which, return_counts=True)
            counter.update(dict(zip(names.tolist(), counts.tolist(), strict=True)))
        times = chunk.time_ns if stream.last_ns is None else np.concatenate([[stream.last_ns], chunk.time_ns])
        steps = np.diff(times)
        if steps.size:
            usual = int(np.median(steps))
            stream.steps[usual] += steps.size
            wide = np.flatnonzero(steps > stream.limit_ns(usual))
            stream.silences += [(int(times[at]), int(times[at + 1])) for at in wide]
        if stream.last_ns is None:
            stream.first_ns = int(chunk.time_ns[0])
        stream.last_ns = int(chunk.time_ns[-1])

    def stream(self, device: str, channel: str) -> Stream:
        """What was counted of one stream.

        Raises:
            KeyError: nothing came of it.
        """
        return self._streams[device, channel]

    def streams(self) -> list[tuple[str, str]]:
        """Device and channel of all of which something came, in order."""
        return sorted(self._streams)

    def completeness(self) -> Iterator[Completeness]:
        """Each hour of each stream, and each day, in which something came or should have come."""
        for (device, channel), stream in sorted(self._streams.items()):
            period = None if _on_change(channel) else stream.period_ns
            spans = [
                (each.from_ns - self._axis.zero_ns, each.to_ns - self._axis.zero_ns)
                for each in self._expected_in(device, channel)
            ]
            complete: Counter[int] = Counter()
            for hour, count in stream.due.items():
                expected = _expected(spans, hour, HOUR_NS, period)
                complete[hour] = count if expected is None else min(count, expected)
            for name, length in (("hour", HOUR_NS), ("day", DAY_NS)):
                received, valid, whole = (
                    _together(counter, length // HOUR_NS) for counter in (stream.received, stream.valid, complete)
                )
                for number in sorted(received.keys() | _touched(spans, length)):
                    expected = _expected(spans, number, length, period)
                    # Hours are rounded one by one, and may make a reading more than their day.
                    done = whole[number] if expected is None else min(whole[number], expected)
                    yield Completeness(
                        device, channel, name, number * length, expected, received[number], valid[number], done
                    )

    def gaps(self, events: Iterable[Event]) -> Iterator[tuple[str, str, int, int, str]]:
        """Device, channel, from, to and cause of each silence; `unknown` where no event tells of it."""
        told: defaultdict[str, list[tuple[int, int, str, str]]] = defaultdict(list)
        for event in events:
            begin, end = event.detail.get("from_ns"), event.detail.get("to_ns")
            if isinstance(begin, int) and isinstance(end, int):
                cause, channel = str(event.detail.get("cause", "unknown")), str(event.detail.get("channel", ""))
                told[event.device].append((begin, end, cause, channel))
        for (device, channel), stream in sorted(self._streams.items()):
            expected = self._expected_in(device, channel)
            if not expected or _on_change(channel):
                continue
            from_ns, to_ns = min(each.from_ns for each in expected), max(each.to_ns for each in expected)
            for begin, end in stream.all_silences(from_ns, to_ns):
                for window in expected:
                    first, last = max(begin, window.from_ns), min(end, window.to_ns)
                    if first < last:
                        yield device, channel, first, last, cause_of(told[device], channel, first, last)

    def _in_time(self, chunk: Chunk) -> NDArray[np.bool_]:
        """Which of its readings fall into the declared time."""
        found = np.zeros(len(chunk), bool)
        for each in self._declared:
            first, last = np.searchsorted(chunk.time_ns, (each.from_ns, each.to_ns))
            found[first:last] = True
        return found

    def _expected_in(self, device: str, channel: str) -> list[Window]:
        """When a stream should have come: in no bed in which another device gave the channel, and this one nothing."""
        return [
            each
            for each in self._declared
            if (not each.devices or device in each.devices)
            and (
                any(here == device for here, _ in self._seen[each.bed])
                or not any(given == channel for _, given in self._seen[each.bed])
            )
        ]


def declared_of(scope: Scope, windows: Sequence[Window], unread: Collection[str]) -> list[Window]:
    """When readings are expected: in the ECMO runs, whether the service was up or not; else where there is data.

    Args:
        scope: What is asked for.
        windows: The part of it in which there is data; not empty.
        unread: Beds whose readings are in another journal, so that nothing is expected from them.
    """
    if scope.stay is None or not scope.stay.runs:
        return list(windows)
    last = windows[-1].to_ns
    cut = [
        replace(
            window,
            from_ns=max(window.from_ns, run.from_ns),
            to_ns=min(_ended(window.to_ns, last), _ended(run.to_ns, last)),
        )
        for window in scope.windows
        for run in scope.stay.runs
        if window.bed not in unread
    ]
    return [window for window in cut if window.length_ns > 0]


def _ended(to_ns: int | None, last_ns: int) -> int:
    """The end of what may be still going on: then the last reading."""
    return last_ns if to_ns is None or to_ns >= EVER else to_ns


def cause_of(told: Iterable[tuple[int, int, str, str]], channel: str, first: int, last: int) -> str:
    """What was told of most of a silence: from, to, cause, and the channel where it was of one alone."""
    best, longest = "unknown", 0
    for begin, end, cause, of in told:
        shared = min(end, last) - max(begin, first)
        if of in ("", channel) and shared > longest:
            best, longest = cause, shared
    return best


def _together(hours: Counter[int], length: int) -> Counter[int]:
    """Counts of hours as those of buckets of so many hours."""
    found: Counter[int] = Counter()
    for hour, count in hours.items():
        found[hour // length] += count
    return found


def _expected(spans: Iterable[tuple[int, int]], number: int, length: int, period: int | None) -> int | None:
    """Readings due in a bucket; None where they come at no rate."""
    covered = sum(max(0, min(end, (number + 1) * length) - max(begin, number * length)) for begin, end in spans)
    return None if period is None else round(covered / period)


def _touched(spans: Iterable[tuple[int, int]], length: int) -> set[int]:
    return {number for begin, end in spans for number in range(begin // length, -(-end // length))}


def _on_change(channel: str) -> bool:
    found = Catalogue.shipped().get(channel)
    return found is not None and "on change" in found.typical_rate
