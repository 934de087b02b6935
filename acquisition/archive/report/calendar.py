"""Completeness as a calendar: a row a day, a cell an hour, as a table that a screen reader can read too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from xml.etree.ElementTree import Element

from acquisition.archive.export.axis import DAY_NS, HOUR_NS
from acquisition.archive.report.findings import Findings, Hour
from acquisition.archive.report.markup import tag

LEVELS = ((0.0, "nothing"), (0.5, "under 50 %"), (0.9, "50 to 90 %"), (0.99, "90 to 99 %"), (2.0, "99 % and more"))
"""Up to but without each; 90 % valid is what counts as a complete hour (CLINICAL.md section 6.4)."""


def cells(hours: Iterable[Hour], *channels: str) -> dict[int, float]:
    """Hour to the mean of valid by expected over the streams; hours outside of the declared run are not there.

    Args:
        hours: Of every stream.
        channels: Of these only; none: of all.
    """
    found: defaultdict[int, list[float]] = defaultdict(list)
    for hour in hours:
        fraction = hour.fraction
        if fraction is not None and (not channels or hour.key.channel in channels):
            found[hour.number].append(fraction)
    return {number: sum(parts) / len(parts) for number, parts in sorted(found.items())}


def level(fraction: float) -> int:
    """Place among LEVELS."""
    if fraction <= 0:
        return 0
    return next(at for at, (limit, _) in enumerate(LEVELS) if at and fraction < limit)


def percent(fraction: float | None) -> str:
    """A part of the whole as text; never rounded up to all of it, nor down to nothing."""
    if fraction is None:
        return "–"
    if 0.9995 <= fraction < 1 or 0 < fraction < 0.0005:
        return "> 99.9 %" if fraction > 0.5 else "< 0.1 %"
    return f"{fraction * 100:.1f} %"


def calendar(findings: Findings, found: Mapping[int, float], title: str) -> Element:
    """The calendar of some streams.

    Args:
        findings: For the time line.
        found: What `cells` gave; not empty.
        title: Whose it is.
    """
    days = range(min(found) // 24, max(found) // 24 + 1)
    head = tag(
        "tr",
        tag("th", "day", scope="col"),
        *(tag("th", f"{hour}", scope="col", class_="" if hour % 6 == 0 else "minor") for hour in range(24)),
        tag("th", "whole day", scope="col", class_="sum"),
    )
    rows = [_row(findings, found, day) for day in days]
    return tag("table", tag("caption", title), tag("thead", head), tag("tbody", *rows), class_="calendar")


def _row(findings: Findings, found: Mapping[int, float], day: int) -> Element:
    axis = findings.time.axis
    name = f"{day}".replace("-", "−") if axis.relative else axis.day(day * DAY_NS + axis.zero_ns)[5:]
    row = tag("tr", tag("th", name, scope="row"))
    inside = []
    for hour in range(24):
        fraction = found.get(day * 24 + hour)
        if fraction is None:
            row.append(tag("td", class_="outside", title=f"hour {hour}: outside of the declared run"))
            continue
        inside.append(fraction)
        when = findings.time.told(axis.zero_ns + (day * 24 + hour) * HOUR_NS)
        words = percent(fraction)
        row.append(tag("td", tag("span", words, class_="read"), class_=f"l{level(fraction)}", title=f"{when}: {words}"))
    row.append(tag("td", percent(sum(inside) / len(inside) if inside else None), class_="sum"))
    return row


def legend() -> Element:
    """What the shades mean."""
    items = [tag("li", tag("i", class_=f"l{at}"), f" {words}") for at, (_, words) in enumerate(LEVELS)]
    return tag("ul", *items, tag("li", tag("i", class_="outside"), " outside of the declared run"), class_="legend")
