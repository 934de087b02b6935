"""One pass over the readings of a run: figures of buckets, counts, silences, and some seconds of each wave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

from acquisition.archive.absence import elsewhere
from acquisition.archive.chunk import Chunk, Window
from acquisition.archive.export import side
from acquisition.archive.export.axis import HOUR_NS, Axis, axis_of
from acquisition.archive.export.request import Request
from acquisition.archive.export.tally import Tally, declared_of
from acquisition.archive.report.curves import NAMES, Curves
from acquisition.archive.report.findings import ClockPoint, Device, Excerpt, Findings, Gap, Hour, Key, Lag
from acquisition.archive.report.scale import TimeLine, bucket_ns
from acquisition.archive.report.story import story_of
from acquisition.archive.resample import resample
from acquisition.archive.scope import Scope, devices_of
from acquisition.archive.source import JournalSource, Source
from acquisition.catalogue import Catalogue
from acquisition.clock import NS, SystemClock, rfc3339
from acquisition.errors import ConfigError
from acquisition.model import Event, EventKind

EXCERPT_NS = 6 * NS
EXCERPT_PLACES = (0.5, 0.25, 0.75)
"""Where in a day an excerpt of the waves is taken, as parts of it: the first at which there is one."""
TOGETHER_NS = 30 * NS
"""Channels of a device that fall silent and come back within this share one gap; blocks of waves last 10 s."""
KINDS = (EventKind.GAP, EventKind.RETENTION, EventKind.CLOCK, EventKind.DAEMON)


def gather(
    source: Source, scope: Scope, request: Request, progress: Callable[[float], None] = lambda _: None
) -> Findings:
    """Everything that the report of this subject or bed tells; what is held grows by a few numbers an hour.

    Args:
        source: Of readings.
        scope: Whose readings.
        request: What may be told.
        progress: Is told which fraction is done.

    Raises:
        ConfigError: there are no readings.
        AcquisitionError: the source cannot be read.
    """
    nothing = ConfigError([f"{scope.label}: there are no readings in that time"])
    windows = [part for window in scope.windows if (part := source.extent(window)) is not None]
    if not windows:
        raise nothing
    names = request.pseudonyms
    axis = axis_of(scope, windows[0].from_ns, utc=request.utc, shift_days=names.shift_days(scope.label))
    unread = elsewhere(source, scope.windows)
    declared = declared_of(scope, windows, unread)
    from_ns = min(each.from_ns for each in (*windows, *declared))
    to_ns = max(each.to_ns for each in (*windows, *declared))
    reading = _Reading(source, request, axis, declared, bucket_ns(to_ns - from_ns))
    for window in windows:
        for day in axis.days(window):
            reading.day(day)
            progress((day.to_ns - from_ns) / (to_ns - from_ns))
    tally = reading.tally
    if not tally:
        raise nothing
    events = [event for window in scope.windows for event in source.events(window, KINDS) if window.hears(event.device)]
    shown = [event for event in events if request.shows(event)]
    return Findings(
        label=names.subject(scope.label) if scope.stay is not None else names.bed(scope.label),
        pseudonymous=names.active,
        blinded=not request.unblinded,
        centre="" if names.active else str(request.about.get("site", {}).get("site", "")),
        beds=tuple(names.bed(bed) for bed in scope.beds),
        unread=tuple(map(names.bed, unread)),
        time=TimeLine(axis, from_ns, to_ns),
        bucket_ns=reading.bucket_ns,
        declared=tuple(declared),
        story=None if scope.stay is None else story_of(scope.stay, request),
        values=reading.came[False],
        samples=reading.came[True],
        curves=reading.curves.drawn(tally, axis.zero_ns, names.device),
        hours=tuple(_hours(tally, request)),
        silent=tuple(_silent(source, windows, tally, request)),
        gaps=tuple(_gaps(tally, events, request)),
        lags=tuple(_lags(tally, scope, request)),
        clock=tuple(_clock(shown, request)),
        excerpts=tuple(sorted(reading.excerpts, key=lambda each: each.time_ns)),
        devices=tuple(_devices(reading.by_device, request)),
        versions=tuple((event.time_ns, str(event.detail["version"])) for event in shown if "version" in event.detail),
        damaged=tuple(source.damaged) if isinstance(source, JournalSource) and not names.active else (),
        created="" if names.active else rfc3339(SystemClock().now().utc_ns, 0),
    )


def software() -> str:
    """What made the report."""
    return f"ecmo-daq {version('ecmo-daq')}"


class _Reading:
    """Readings on their way into figures."""

    def __init__(self, source: Source, request: Request, axis: Axis, declared: Sequence[Window], every_ns: int) -> None:
        self.bucket_ns = every_ns
        self.tally = Tally(axis, declared)
        self.curves = Curves(every_ns)
        self.came: Counter[bool] = Counter()
        self.by_device: Counter[str] = Counter()
        self.excerpts: list[Excerpt] = []
        self._source = source
        self._request = request
        self._zero_ns = axis.zero_ns

    def day(self, day: Window) -> None:
        """One day, or a part of it, in one bed."""
        devices = devices_of(day, None)
        for figures in resample(self._usable(day, devices), self.bucket_ns, NAMES):
            self.curves.add(figures)
        for _ in self._wanted(self._source.waves(day, devices), day, wave=True):
            pass
        found: set[Key] = set()
        for part in EXCERPT_PLACES:
            begin = day.from_ns + round(day.length_ns * part)
            cut = Window(day.bed, begin, min(begin + EXCERPT_NS, day.to_ns), day.devices)
            for chunk in self._source.waves(cut, devices):
                key = Key(self._request.pseudonyms.device(chunk.device), chunk.channel)
                if _shown(self._request, chunk.channel) and key not in found:
                    found.add(key)
                    first = int(chunk.time_ns[0])
                    self.excerpts.append(Excerpt(key, first, (chunk.time_ns - first) / NS, chunk.values))

    def _usable(self, day: Window, devices: frozenset[str] | None) -> Iterator[Chunk]:
        for chunk in self._wanted(self._source.numerics(day, devices), day, wave=False):
            usable = chunk.at(chunk.quality < 2)
            if len(usable):
                moved = usable.time_ns - self._zero_ns
                yield Chunk(usable.device, usable.channel, moved, usable.values, usable.quality, usable.state)

    def _wanted(self, chunks: Iterator[Chunk], day: Window, *, wave: bool) -> Iterator[Chunk]:
        for chunk in chunks:
            if _shown(self._request, chunk.channel):
                self.tally.add(chunk, day.bed, wave=wave)
                self.came[wave] += len(chunk)
                self.by_device[chunk.device] += len(chunk)
                yield chunk


def _shown(request: Request, channel: str) -> bool:
    known = Catalogue.shipped().get(channel)
    return request.wants(channel) and not (known is not None and known.hidden)


def _hours(tally: Tally, request: Request) -> Iterator[Hour]:
    for each in tally.completeness():
        if each.bucket == "hour" and each.expected is not None:
            key = Key(request.pseudonyms.device(each.device), each.channel)
            yield Hour(key, each.begin_ns // HOUR_NS, each.expected, each.complete)


def _silent(source: Source, windows: Sequence[Window], tally: Tally, request: Request) -> Iterator[Key]:
    known = {
        (series.device, series.channel)
        for window in windows
        for series in source.series(window)
        if _shown(request, series.channel) and (not window.devices or series.device in window.devices)
    }
    for device, channel in sorted(known - set(tally.streams())):
        yield Key(request.pseudonyms.device(device), channel)


def _gaps(tally: Tally, events: Sequence[Event], request: Request) -> list[Gap]:
    rows = (
        Gap(request.pseudonyms.device(device), (channel,), begin, end, cause)
        for device, channel, begin, end, cause in tally.gaps(events)
    )
    return together(rows)


def together(rows: Iterator[Gap] | Sequence[Gap]) -> list[Gap]:
    """Gaps of single channels as gaps of the channels that fell silent and came back together; longest first."""
    found: list[Gap] = []
    for row in sorted(rows, key=lambda gap: (gap.device, gap.cause, gap.from_ns, gap.to_ns)):
        same = (
            at
            for at in range(len(found) - 1, max(-1, len(found) - 50), -1)
            if (found[at].device, found[at].cause) == (row.device, row.cause)
            and abs(found[at].from_ns - row.from_ns) <= TOGETHER_NS
            and abs(found[at].to_ns - row.to_ns) <= TOGETHER_NS
        )
        at = next(same, None)
        if at is None:
            found.append(row)
            continue
        one = found[at]
        channels = tuple(dict.fromkeys((*one.channels, *row.channels)))
        found[at] = Gap(row.device, channels, min(one.from_ns, row.from_ns), max(one.to_ns, row.to_ns), row.cause)
    return sorted(found, key=lambda gap: (-gap.length_ns, gap.from_ns, gap.device))


def _lags(tally: Tally, scope: Scope, request: Request) -> list[Lag]:
    if scope.stay is None or not scope.stay.runs:
        return []
    start = scope.stay.runs[0].from_ns
    firsts = [
        (tally.stream(device, channel).first_ns, Key(request.pseudonyms.device(device), channel))
        for device, channel in tally.streams()
    ]
    ordered = sorted(firsts, key=lambda pair: (pair[0], pair[1].device, pair[1].channel))
    return [Lag(key, first_ns, first_ns - start) for first_ns, key in ordered]


def _clock(events: Sequence[Event], request: Request) -> Iterator[ClockPoint]:
    for event in sorted(events, key=lambda event: (event.device, event.time_ns)):
        if event.event is not EventKind.CLOCK:
            continue
        detail = event.detail
        point = ClockPoint(
            request.pseudonyms.device(event.device),
            event.time_ns,
            _number(detail.get("ahead_ns"), NS),
            _number(detail.get("drift_ppm"), 1),
            _number(detail.get("uncertainty_ns"), NS),
            _number(detail.get("by_ns"), NS),
        )
        if point.ahead_s is not None or point.set_by_s is not None:
            yield point


def _number(value: Any, unit: int) -> float | None:
    return value / unit if isinstance(value, int | float) else None


def _devices(readings: Counter[str], request: Request) -> Iterator[Device]:
    configured = {str(each["id"]) for each in request.about.get("device", ())}
    for name, driver, profile, _ in side.devices(readings.keys() | configured, request):
        counts = {request.pseudonyms.device(device): count for device, count in readings.items()}
        yield Device(str(name), str(driver or ""), str(profile or ""), counts.get(str(name), 0))
