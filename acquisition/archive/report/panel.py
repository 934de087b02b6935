"""One signal over time: median and extremes of each bucket, broken wherever readings are missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from xml.etree.ElementTree import Element

import numpy as np

from acquisition.archive.report.findings import Curve, Findings, Key
from acquisition.archive.report.markup import svg, tag
from acquisition.archive.report.names import name_of, number_told, unit_of
from acquisition.archive.report.scale import WIDTH, Range, TimeLine, lanes, range_of
from acquisition.archive.report.story import Mark
from acquisition.catalogue import Catalogue

HEIGHT = 100.0
FLAG_PERCENT = 2.6
"""Width of a flag on a wide page."""


def shown_range(curve: Curve) -> Range:
    """All medians, and the extremes but for the outermost half percent, which a flushed line would stretch."""
    low = min(float(curve.median.min()), float(np.percentile(curve.low, 0.5)))
    high = max(float(curve.median.max()), float(np.percentile(curve.high, 99.5)))
    return range_of(low, high)


def segments(curve: Curve) -> Iterator[slice]:
    """The places of buckets that one line may connect."""
    begin = 0
    for end in np.flatnonzero(curve.ends).tolist():
        yield slice(begin, end + 1)
        begin = end + 1


def drawn(curve: Curve, time: TimeLine, bucket_ns: int, within: Range, *, dots: bool = False) -> list[Element]:
    """The shapes of a curve: a band from least to greatest, and the line of medians; a lone bucket is a dot.

    Args:
        curve: What to draw.
        time: The common time line.
        bucket_ns: Length of a bucket; it is drawn at its middle.
        within: The vertical axis.
        dots: Draws each bucket on its own: of what comes only when it changes nothing is known between.
    """
    band, line, points = list[str](), list[str](), list[str]()
    x = [f"{time.x(each + bucket_ns / 2):.1f}" for each in curve.time_ns.tolist()]
    low, median, high = (
        [f"{within.percent(v):.1f}" for v in part.tolist()] for part in (curve.low, curve.median, curve.high)
    )
    for part in segments(curve):
        size = part.stop - part.start
        if dots or size == 1:
            points += [f"M{at} {y}h0" for at, y in zip(x[part], median[part], strict=True)]
            band += [f"M{at} {a}V{b}" for at, a, b in zip(x[part], low[part], high[part], strict=True) if a != b]
            continue
        line.append("M" + "L".join(f"{at} {y}" for at, y in zip(x[part], median[part], strict=True)))
        edge = chain(zip(x[part], high[part], strict=True), zip(x[part][::-1], low[part][::-1], strict=True))
        band.append("M" + "L".join(f"{at} {y}" for at, y in edge) + "Z")
    shapes = (("band", band), ("line", line), ("dots", points))
    return [tag("path", class_=name, d="".join(parts)) for name, parts in shapes if parts]


def panel(findings: Findings, key: Key, *, tall: bool = False, hue: str = "plain") -> Element:
    """Name, picture and range of one stream.

    Args:
        findings: What was gathered.
        key: Of the stream.
        tall: Whether it is one of the main curves.
        hue: Class of its colour.
    """
    curve = findings.curves[key]
    within = shown_range(curve)
    low, high = float(curve.low.min()), float(curve.high.max())
    middle = float(np.median(curve.median))
    known = Catalogue.shipped().get(key.channel)
    dots = known is not None and "on " in known.typical_rate
    unit = unit_of(key.channel)
    where = " · ".join(filter(None, (unit, key.device)))
    ticks = within.ticks(4 if tall else 2)
    label = (
        f"{name_of(key.channel)} of {key.device}: from {number_told(low)} to {number_told(high)} {unit}, "
        f"middle {number_told(middle)}"
    )
    silences = [
        (gap.from_ns, gap.to_ns) for gap in findings.gaps if gap.device == key.device and key.channel in gap.channels
    ]
    picture = svg(
        WIDTH,
        HEIGHT,
        label,
        *_grid(findings.time, [within.percent(tick) for tick in ticks]),
        shaded(findings.time, silences),
        *(
            [tag("path", class_="zero", d=f"M0 {within.percent(0):.1f}H{WIDTH:g}")]
            if within.low < 0 < within.high
            else []
        ),
        *drawn(curve, findings.time, findings.bucket_ns, within, dots=dots),
        *_poles(findings),
    )
    scale = [tag("span", number_told(tick), class_="y", style=f"top:{within.percent(tick):.1f}%") for tick in ticks]
    name = tag("div", tag("b", name_of(key.channel)), tag("small", where, title=where), class_="name")
    figures = tag(
        "div",
        tag("b", number_told(middle)),
        tag("small", f"{number_told(low)} to {number_told(high)}"),
        class_="stat",
        title="middle of the medians; least and greatest of all usable readings",
    )
    return tag(
        "div", name, tag("div", *scale, picture, class_="plot"), figures, class_=f"panel {hue}{' tall' if tall else ''}"
    )


def chart(findings: Findings, panels: Sequence[Element], caption: str, *more: Element | None) -> Element:
    """Panels above one another on the common time line, flags above and hours below."""
    zero = findings.time.axis.since
    words = f"hours since {zero}" if zero else "UTC" if not findings.pseudonymous else "UTC, moved by whole days"
    ticks = [
        tag("span", label, class_="x" if at % 2 == 0 else "x odd", style=f"left:{place:.2f}%")
        for at, (place, label) in enumerate(findings.time.ticks())
    ]
    axis = tag("div", tag("div", *ticks, class_="plot"), tag("div", words, class_="unit"), class_="axis")
    marks = [] if findings.story is None else flags(findings.story.marks, findings.time)
    return tag("figure", *marks, *panels, axis, tag("figcaption", caption), *more, class_="chart")


def flags(marks: Iterable[Mark], time: TimeLine) -> list[Element]:
    """A flag for each mark within the time line, in as many lanes as they need, and what they mean."""
    within = sorted((mark for mark in marks if time.from_ns <= mark.time_ns <= time.to_ns), key=lambda m: m.time_ns)
    if not within:
        return []
    places = [time.percent(mark.time_ns) for mark in within]
    rows = lanes(places, FLAG_PERCENT)
    found = [
        tag(
            "span", mark.flag, class_="flag", style=f"left:{place:.2f}%;top:{row * 1.35:.2f}rem",
            title=f"{mark.text}, {time.told(mark.time_ns)}",
        )
        for mark, place, row in zip(within, places, rows, strict=True)
    ]  # fmt: skip
    lane = tag("div", *found, class_="plot", style=f"height:{(max(rows) + 1) * 1.35:.2f}rem")
    return [tag("div", lane, class_="flags")]


def legend_of(findings: Findings) -> Element | None:
    """What the flags mean."""
    marks = () if findings.story is None else findings.story.marks
    if not marks:
        return None
    items = [
        tag(
            "li",
            tag("span", mark.flag, class_="flag"),
            f" {mark.text}, ",
            tag("span", findings.time.told(mark.time_ns), class_="when"),
        )
        for mark in marks
    ]
    return tag("ol", *items, class_="marks")


def shaded(time: TimeLine, silences: Iterable[tuple[int, int]]) -> Element | None:
    """Where nothing came, from the top to the bottom."""
    path = blocks(time, silences, 0.8, 0)
    return tag("path", class_="silence", d=path) if path else None


def blocks(time: TimeLine, spans: Iterable[tuple[int, int]], least: float, inset: float) -> str:
    """The path of spans of time as blocks; those that would touch are one, so that ten thousand are not too many.

    Args:
        time: The common time line.
        spans: From and to, UTC nanoseconds.
        least: Width below which none is drawn, so that each can be seen.
        inset: What is left free above and below.
    """
    found: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        left, right = time.x(begin), max(time.x(begin) + least, time.x(end))
        if found and left <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], right)
        else:
            found.append((left, right))
    return "".join(f"M{left:.1f} {inset:g}H{right:.1f}V{HEIGHT - inset:g}H{left:.1f}Z" for left, right in found)


def _grid(time: TimeLine, heights: Iterable[float]) -> list[Element]:
    across = "".join(f"M0 {each:.1f}H{WIDTH:g}" for each in heights)
    down = "".join(f"M{place * WIDTH / 100:.1f} 0V{HEIGHT:g}" for place, _ in time.ticks())
    return [tag("path", class_="grid", d=across + down)]


def _poles(findings: Findings) -> list[Element]:
    marks = () if findings.story is None else findings.story.marks
    time = findings.time
    within = [mark for mark in marks if time.from_ns <= mark.time_ns <= time.to_ns]
    path = "".join(f"M{time.x(mark.time_ns):.1f} 0V{HEIGHT:g}" for mark in within)
    return [tag("path", class_="pole", d=path)] if path else []
