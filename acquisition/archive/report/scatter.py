"""Two signals against each other: a dot for each bucket that both have, coloured from the first day to the last."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np

from acquisition.archive.export.axis import DAY_NS
from acquisition.archive.report.findings import Curve, Findings, Key
from acquisition.archive.report.markup import svg, tag
from acquisition.archive.report.names import name_of, number_told, unit_of, with_unit
from acquisition.archive.report.scale import Range, range_of

SIDE = 100.0


def scatter(findings: Findings, across: Key, up: Key) -> Element:
    """Medians of one stream against those of another.

    Args:
        findings: What was gathered.
        across: Of the horizontal axis.
        up: Of the vertical axis.
    """
    one, other = findings.curves[across], findings.curves[up]
    _, here, there = np.intersect1d(one.time_ns, other.time_ns, return_indices=True)
    x, y = _range(one), _range(other)
    days = (one.time_ns[here] - findings.time.axis.zero_ns) // DAY_NS
    shapes = [_grid(x, y)]
    first, last = (int(days.min()), int(days.max())) if days.size else (0, 0)
    for day in range(first, last + 1):
        at = days == day
        dots = "".join(
            f"M{100 - x.percent(a):.1f} {y.percent(b):.1f}h0"
            for a, b in zip(one.median[here][at].tolist(), other.median[there][at].tolist(), strict=True)
        )
        late = round((day - first) / max(1, last - first) * 100)
        if dots:
            shapes.append(tag("path", class_="dots", d=dots, style=f"stroke:{shade(late)}"))
    label = f"{name_of(up.channel)} against {name_of(across.channel)}, {here.size} buckets"
    ticks = [tag("span", number_told(tick), class_="y", style=f"top:{y.percent(tick):.1f}%") for tick in y.ticks(4)] + [
        tag("span", number_told(tick), class_="x", style=f"left:{100 - x.percent(tick):.1f}%") for tick in x.ticks(4)
    ]
    return tag(
        "div",
        tag("p", tag("b", name_of(up.channel)), tag("small", f" {unit_of(up.channel)}"), class_="title"),
        tag("div", *ticks, svg(SIDE, SIDE, label, *shapes), class_="plot"),
        tag("p", with_unit(across.channel), class_="under"),
        class_="scatter",
    )


def shade(late: int) -> str:
    """Colour of a day, from early (0) to late (100); both ends are told apart by every eye, in light and dark."""
    return f"color-mix(in oklab, var(--late) {late}%, var(--early))"


def _range(curve: Curve) -> Range:
    return range_of(float(curve.median.min()), float(curve.median.max()))


def _grid(x: Range, y: Range) -> Element:
    down = "".join(f"M{100 - x.percent(tick):.1f} 0V{SIDE:g}" for tick in x.ticks(4))
    across = "".join(f"M0 {y.percent(tick):.1f}H{SIDE:g}" for tick in y.ticks(4))
    return tag("path", class_="grid", d=down + across)
