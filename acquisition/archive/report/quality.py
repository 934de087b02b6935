"""How complete and how true to time the run was recorded: calendar, capture lag, gaps with causes, clocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from xml.etree.ElementTree import Element

from acquisition.archive.report.calendar import calendar, cells, legend, percent
from acquisition.archive.report.findings import ClockPoint, Findings, Gap, Key
from acquisition.archive.report.markup import folded, svg, table, tag
from acquisition.archive.report.names import cause_place, cause_told, count_told, name_of, number_told
from acquisition.archive.report.panel import HEIGHT, blocks, chart
from acquisition.archive.report.scale import WIDTH, length_told, range_of
from acquisition.archive.report.story import AROUND

MOST_GAPS = 40


def completeness(findings: Findings) -> Element:
    """The calendar of all signals, and of the four main ones."""
    everything = cells(findings.hours)
    parts: list[Element] = []
    if everything:
        parts.append(tag("div", calendar(findings, everything, "All signals"), class_="scroll"))
        parts.append(legend())
        small = [
            tag("div", calendar(findings, found, name_of(channel)), class_="scroll")
            for channel in AROUND
            if (found := cells(findings.hours, channel))
        ]
        parts.append(tag("div", *small, class_="small"))
    zero = findings.time.axis.since
    counted = f"Days and hours are counted from {zero}." if zero else "Days and hours are UTC."
    words = (
        "Usable readings by those that were to be expected in the declared run, hour by hour, whether or not the "
        f"recorder was up; the mean over {len(_streams(findings))} signals that come at a steady rate. {counted}"
    )
    if findings.silent:
        names = ", ".join(f"{name_of(key.channel)} ({key.device})" for key in findings.silent)
        parts.append(tag("p", f"Recorded at other times, but not once in this one: {names}.", class_="after"))
    return tag("section", tag("h2", "Completeness"), tag("p", words, class_="lead"), *parts, id="completeness")


def capture_lag(findings: Findings) -> Element:
    """How long after ECMO start each signal was first read."""
    heading = tag("h2", "Capture lag")
    if not findings.lags:
        words = "No ECMO run is registered, so there is no start to count from."
        return tag("section", heading, tag("p", words, class_="lead"), id="lag")
    longest = max(1, *(lag.lag_ns for lag in findings.lags))
    rows: list[list[object]] = []
    for (device, lag_ns, first_ns), lags in groupby(
        findings.lags, lambda lag: (lag.key.device, lag.lag_ns, lag.first_ns)
    ):
        bar = tag("span", tag("i", style=f"width:{max(0.0, lag_ns / longest * 100):.2f}%"), class_="bar")
        told = "before the start" if lag_ns < 0 else length_told(lag_ns)
        names = ", ".join(name_of(lag.key.channel) for lag in lags)
        rows.append([names, device, bar, told, findings.time.told(first_ns)])
    words = "From the declared start of ECMO to the first reading of each signal"
    start_ns = findings.lags[0].first_ns - findings.lags[0].lag_ns
    note = (
        "."
        if findings.time.from_ns <= start_ns
        else "; the report begins later than that, so earlier readings do not count."
    )
    made = table(["signals", "device", "", "lag", "first reading"], rows, words, (3, 4))
    return tag("section", heading, tag("p", words + note, class_="lead"), made, id="lag")


def gaps(findings: Findings) -> Element:
    """Where nothing came, and why, on the time line and as a table."""
    heading = tag("h2", "Gaps and their causes")
    if not findings.gaps:
        words = "None: no signal was silent for longer than three usual periods and five seconds (waves: one second)."
        return tag("section", heading, tag("p", words, class_="lead"), id="gaps")
    causes = sorted({gap.cause for gap in findings.gaps}, key=cause_place)
    known = tag(
        "ul",
        *(tag("li", tag("i", class_=f"c{cause_place(cause)}"), f" {cause_told(cause)}") for cause in causes),
        class_="legend",
    )
    lines = chart(
        findings,
        [_strip(findings, key) for key in _streams(findings)],
        "Silence in the declared run, coloured by cause; the shortest are drawn wider than they were.",
        known,
    )
    rows = [
        [
            findings.time.told(gap.from_ns), length_told(gap.length_ns), cause_told(gap.cause), gap.device,
            f"{len(gap.channels)}: {', '.join(gap.channels)}",
        ]
        for gap in findings.gaps[:MOST_GAPS]
    ]  # fmt: skip
    more = len(findings.gaps) - len(rows)
    caption = (
        f"The {len(rows)} longest of {len(findings.gaps)} gaps" if more else f"All {len(rows)} gaps, longest first"
    )
    made = table(["begins", "length", "cause", "device", "channels"], rows, caption, (0, 1))
    words = (
        "A gap is a silence longer than three usual periods and five seconds (waves: one second). What the recorder "
        "knew of its cause is told; the time before a signal first came, and after it last did, has none."
    )
    summary = table(["cause", "gaps", "longest", "sum over gaps"], _by_cause(findings.gaps), "By cause", (1, 2, 3))
    return tag("section", heading, tag("p", words, class_="lead"), lines, summary, made, id="gaps")


def _by_cause(found: Sequence[Gap]) -> list[list[str]]:
    rows = []
    for cause in sorted({gap.cause for gap in found}, key=cause_place):
        own = [gap.length_ns for gap in found if gap.cause == cause]
        rows.append([cause_told(cause), str(len(own)), length_told(max(own)), length_told(sum(own))])
    return rows


def _streams(findings: Findings) -> list[Key]:
    return list(dict.fromkeys(hour.key for hour in findings.hours))


def _strip(findings: Findings, key: Key) -> Element:
    """One signal's silences on the time line."""
    time = findings.time
    declared = blocks(time, ((each.from_ns, each.to_ns) for each in findings.declared), 0, 20)
    own = [gap for gap in findings.gaps if gap.device == key.device and key.channel in gap.channels]
    found = [tag("path", class_="declared", d=declared)]
    for cause in sorted({gap.cause for gap in own}, key=cause_place):
        path = blocks(time, ((gap.from_ns, gap.to_ns) for gap in own if gap.cause == cause), 1.5, 5)
        found.append(tag("path", class_=f"c{cause_place(cause)}", d=path))
    count = f"{len(own)} gap{'s' * (len(own) != 1)}" if own else "no gap"
    words = f"{name_of(key.channel)} of {key.device}: {count}"
    name = tag("div", tag("b", name_of(key.channel)), tag("small", key.device), class_="name")
    hours = [hour for hour in findings.hours if hour.key == key]
    expected = sum(hour.expected for hour in hours)
    whole = sum(hour.complete for hour in hours) / expected if expected else None
    figure = tag("div", percent(whole), class_="stat", title="valid of expected readings")
    return tag("div", name, tag("div", svg(WIDTH, HEIGHT, words, *found), class_="plot"), figure, class_="panel strip")


def clocks(findings: Findings) -> Element:
    """How far the clocks of devices were from the recorder's."""
    heading = tag("h2", "Clocks")
    if not findings.clock:
        words = "No device told the time, or none of their clocks was judged. Times are those of the recorder."
        return tag("section", heading, tag("p", words, class_="lead"), id="clock")
    devices = list(dict.fromkeys(point.device for point in findings.clock))
    rows, panels = [], []
    for device in devices:
        own = [point for point in findings.clock if point.device == device]
        judged = [point for point in own if point.ahead_s is not None]
        steps = [point for point in own if point.set_by_s is not None]
        drift = [point.drift_ppm for point in judged if point.drift_ppm is not None]
        rows.append(
            [
                device, len(judged), _seconds(judged[0].ahead_s) if judged else "–",
                _seconds(judged[-1].ahead_s) if judged else "–", number_told(drift[-1], sign=True) if drift else "–",
                "; ".join(f"{_seconds(at.set_by_s)} at {findings.time.told(at.time_ns)}" for at in steps) or "none",
            ]
        )  # fmt: skip
        if judged:
            panels.append(_offset(findings, device, judged, steps))
    words = (
        "How far each device's clock was ahead of (+) or behind (−) the recorder's, by what the device itself said; "
        "readings carry the recorder's time. A step is somebody setting a clock."
    )
    made = table(["clock", "times judged", "first, s", "last, s", "drift, ppm", "steps"], rows, "Clocks", (1, 2, 3, 4))
    drawn = (
        [chart(findings, panels, "Offset of each clock, with its uncertainty; a vertical line is a step.")]
        if panels
        else []
    )
    return tag("section", heading, tag("p", words, class_="lead"), *drawn, made, id="clock")


def _seconds(number: float | None) -> str:
    return "–" if number is None else number_told(number, sign=True)


def _offset(findings: Findings, device: str, judged: Sequence[ClockPoint], steps: Sequence[ClockPoint]) -> Element:
    time = findings.time
    known = [
        (point.time_ns, point.ahead_s, point.uncertainty_s or 0.0) for point in judged if point.ahead_s is not None
    ]
    within = range_of(min(a - u for _, a, u in known), max(a + u for _, a, u in known))
    band = "".join(
        f"M{time.x(at):.1f} {within.percent(a + u):.1f}V{within.percent(a - u):.1f}" for at, a, u in known if u
    )
    dots = "".join(f"M{time.x(at):.1f} {within.percent(a):.1f}h0" for at, a, _ in known)
    poles = "".join(f"M{time.x(point.time_ns):.1f} 0V{HEIGHT:g}" for point in steps)
    ticks = within.ticks(2)
    scale = [tag("span", number_told(tick), class_="y", style=f"top:{within.percent(tick):.1f}%") for tick in ticks]
    grid = "".join(f"M0 {within.percent(tick):.1f}H{WIDTH:g}" for tick in ticks)
    shapes = [tag("path", class_=name, d=path) for name, path in
              (("grid", grid), ("band", band), ("step", poles), ("dots", dots)) if path]  # fmt: skip
    picture = svg(WIDTH, HEIGHT, f"Offset of the clock of {device}", *shapes)
    name = tag("div", tag("b", device), tag("small", "s ahead"), class_="name")
    figure = tag("div", tag("b", f"{_seconds(known[-1][1])} s"), class_="stat")
    return tag("div", name, tag("div", *scale, picture, class_="plot"), figure, class_="panel")


def appendix(findings: Findings) -> Element:
    """Devices and versions."""
    rows = [[each.name, each.driver, each.profile, count_told(each.readings)] for each in findings.devices]
    devices = table(["device", "driver", "profile", "values and samples"], rows, "Devices", (3,))
    started = [[findings.time.told(time_ns), version] for time_ns, version in findings.versions]
    versions = folded(
        "The service was started " + ("once" if len(started) == 1 else f"{len(started)} times"),
        table(["started", "version"], started, "Starts of the service and its version"),
    )
    return tag("section", tag("h2", "Devices and versions"), devices, *([versions] if started else []), id="devices")
