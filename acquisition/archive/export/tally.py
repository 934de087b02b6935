"""What came and what should have come, stream by stream: completeness and gaps (CLINICAL.md section 6.4)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

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


class Tally:
    """Counts readings as they pass by.

    Args:
        axis: Time line; hours are counted from its zero.
    """

    def __init__(self, axis: Axis) -> None:
        self._axis = axis
        self._streams: dict[tuple[str, str], Stream] = {}

    def __bool__(self) -> bool:
        return bool(self._streams)

    def add(self, chunk: Chunk, *, wave: bool) -> None:
        """Takes in readings that come after all others of their stream."""
        stream = self._streams.setdefault((chunk.device, chunk.channel), Stream(wave))
        hours = (chunk.time_ns - self._axis.zero_ns) // HOUR_NS
        for counter, which in ((stream.received, hours), (stream.valid, hours[chunk.quality < 2])):
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

    def completeness(self, declared: Sequence[Window]) -> Iterator[tuple[object, ...]]:
        """Device, channel, hour or day, its beginning, expected, received, valid, fraction; see `Windows` for expected.

        Args:
            declared: When there should have been readings.
        """
        spans = [(each.from_ns - self._axis.zero_ns, each.to_ns - self._axis.zero_ns) for each in declared]
        for (device, channel), stream in sorted(self._streams.items()):
            period = None if _on_change(channel) else stream.period_ns
            for name, length in (("hour", HOUR_NS), ("day", DAY_NS)):
                hours = length // HOUR_NS
                received, valid = Counter[int](), Counter[int]()
                for counter, source in ((received, stream.received), (valid, stream.valid)):
                    for hour, count in source.items():
                        counter[hour // hours] += count
                for number in sorted(received.keys() | _touched(spans, length)):
                    covered = sum(
                        max(0, min(end, (number + 1) * length) - max(begin, number * length)) for begin, end in spans
                    )
                    expected = None if period is None else round(covered / period)
                    fraction = None if not expected else min(1.0, valid[number] / expected)
                    yield device, channel, name, number * length, expected, received[number], valid[number], fraction

    def gaps(self, declared: Sequence[Window], events: Iterable[Event]) -> Iterator[tuple[str, str, int, int, str]]:
        """Device, channel, from, to and cause of each silence; `unknown` where no event tells of it."""
        if not declared:
            return
        told: defaultdict[str, list[tuple[int, int, str, str]]] = defaultdict(list)
        for event in events:
            begin, end = event.detail.get("from_ns"), event.detail.get("to_ns")
            if isinstance(begin, int) and isinstance(end, int):
                cause, channel = str(event.detail.get("cause", "unknown")), str(event.detail.get("channel", ""))
                told[event.device].append((begin, end, cause, channel))
        from_ns, to_ns = min(each.from_ns for each in declared), max(each.to_ns for each in declared)
        for (device, channel), stream in sorted(self._streams.items()):
            if _on_change(channel):
                continue
            for begin, end in stream.all_silences(from_ns, to_ns):
                for window in declared:
                    first, last = max(begin, window.from_ns), min(end, window.to_ns)
                    if first < last:
                        yield device, channel, first, last, _cause(told[device], channel, first, last)


def declared_of(scope: Scope, windows: Sequence[Window]) -> list[Window]:
    """When readings are expected: in the ECMO runs, whether the service was up or not; else where there is data.

    Args:
        scope: What is asked for.
        windows: The part of it in which there is data; not empty.
    """
    if scope.stay is None or not scope.stay.runs:
        return list(windows)
    last = windows[-1].to_ns
    cut = [
        Window(window.bed, max(window.from_ns, run.from_ns), min(_ended(window.to_ns, last), _ended(run.to_ns, last)))
        for window in scope.windows
        for run in scope.stay.runs
    ]
    return [window for window in cut if window.length_ns > 0]


def _ended(to_ns: int | None, last_ns: int) -> int:
    """The end of what may be still going on: then the last reading."""
    return last_ns if to_ns is None or to_ns >= EVER else to_ns


def _cause(told: Iterable[tuple[int, int, str, str]], channel: str, first: int, last: int) -> str:
    best, longest = "unknown", 0
    for begin, end, cause, of in told:
        shared = min(end, last) - max(begin, first)
        if of in ("", channel) and shared > longest:
            best, longest = cause, shared
    return best


def _touched(spans: Iterable[tuple[int, int]], length: int) -> set[int]:
    return {number for begin, end in spans for number in range(begin // length, -(-end // length))}


def _on_change(channel: str) -> bool:
    found = Catalogue.shipped().get(channel)
    return found is not None and "on change" in found.typical_rate
