"""The whole report as one page that fetches nothing: style, pictures and tables in one text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from xml.etree.ElementTree import Element

import numpy as np

from acquisition import INTENDED_USE
from acquisition.archive.export.axis import DAY_NS
from acquisition.archive.report import quality
from acquisition.archive.report.findings import Excerpt, Findings, Key
from acquisition.archive.report.gather import software
from acquisition.archive.report.glance import beside, glance
from acquisition.archive.report.groups import grouped
from acquisition.archive.report.markup import folded, svg, table, tag, written
from acquisition.archive.report.names import count_told, name_of, number_told, unit_of, with_unit
from acquisition.archive.report.panel import chart, legend_of, panel
from acquisition.archive.report.scale import WIDTH, length_told, range_of
from acquisition.archive.report.scatter import scatter, shade
from acquisition.archive.report.story import AROUND

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Even a browser that finds an address in the page has no leave to fetch it."""
HUES = dict(zip(AROUND, ("flow", "speed", "mean", "pulse"), strict=True))


def page(findings: Findings) -> str:
    """The text of the report."""
    title = f"{'ECMO run' if findings.story is not None and findings.story.runs else 'Recording of'} {findings.label}"
    sections = [glance(findings), evidence(findings), against(findings), quality.completeness(findings)]
    sections += [quality.capture_lag(findings), quality.gaps(findings), quality.clocks(findings)]
    sections += [*signals(findings), *waves(findings), quality.appendix(findings)]
    shown = [section for section in sections if section is not None]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", _style()),
    )
    body = tag("body", _header(findings, title), _contents(shown), tag("main", *shown), _footer(findings))
    return written(tag("html", head, body, lang="en"))


@cache
def _style() -> str:
    return (files("acquisition.archive.report") / "report.css").read_text(encoding="utf-8")


def _header(findings: Findings, title: str) -> Element:
    words = " · ".join(filter(None, (findings.centre, ", ".join(findings.beds))))
    return tag(
        "header",
        tag("p", words or "ecmo-daq", class_="over"),
        tag("h1", title),
        tag("p", "Report of what was recorded. Research use only.", class_="sub"),
    )


def _contents(sections: Sequence[Element]) -> Element:
    links = [tag("li", tag("a", each.findtext("h2"), href=f"#{each.get('id')}")) for each in sections]
    return tag("nav", tag("ul", *links), aria_label="Contents")


def _footer(findings: Findings) -> Element:
    made = f"Made by {software()}" + (
        f", {findings.created.replace('T', ' ').replace('Z', ' UTC')}" if findings.created else ""
    )
    return tag("footer", tag("p", INTENDED_USE), tag("p", f"{made}. Whether weaning succeeded is not computed here."))


def main_keys(findings: Findings) -> dict[str, Key]:
    """Of each of the four main signals the stream with most usable readings."""
    found: dict[str, Key] = {}
    for channel in AROUND:
        own = [key for key in findings.curves if key.channel == channel]
        if own:
            found[channel] = max(own, key=lambda key: int(findings.curves[key].count.sum()))
    return found


def evidence(findings: Findings) -> Element:
    """Flow and speed, mean and pulse pressure, on one time line."""
    found = main_keys(findings)
    missing = [name_of(channel) for channel in AROUND if channel not in found]
    panels = [panel(findings, key, tall=True, hue=HUES[channel]) for channel, key in found.items()]
    caption = (
        f"Line: median of each {length_told(findings.bucket_ns)}; band: least to greatest. Where readings are missing "
        "there is no line, and silences within the declared run are shaded. Right: middle of the medians, extremes."
    )
    parts: list[Element | None] = []
    if panels:
        parts.append(chart(findings, panels, caption, legend_of(findings)))
    if missing:
        parts.append(tag("p", f"No usable reading of: {', '.join(missing)}.", class_="lead"))
    heading = tag("h2", "Flow and speed, mean and pulse pressure")
    return tag("section", heading, *parts, *beside(findings), *_days(findings, list(found.values())), id="evidence")


def against(findings: Findings) -> Element | None:
    """What flow went with: speed, mean and pulse pressure."""
    found = main_keys(findings)
    if "ecmo_flow" not in found or len(found) < 2:
        return None
    pictures = [scatter(findings, found["ecmo_flow"], found[channel]) for channel in AROUND[1:] if channel in found]
    days = (findings.time.to_ns - findings.time.axis.zero_ns) // DAY_NS - (
        findings.time.from_ns - findings.time.axis.zero_ns
    ) // DAY_NS
    ramp = tag("span", class_="ramp", style=f"background:linear-gradient(90deg,{shade(0)},{shade(50)},{shade(100)})")
    key = tag("p", "first day ", ramp, " last day", class_="key") if days else None
    words = f"One dot for every {length_told(findings.bucket_ns)} in which both were read: median against median."
    return tag(
        "section",
        tag("h2", "Against flow"),
        tag("p", words, class_="lead"),
        tag("div", *pictures, class_="scatters"),
        key,
        id="against",
    )


def signals(findings: Findings) -> Iterator[Element]:
    """A page for each group of signals."""
    for number, (name, keys) in enumerate(grouped(findings.curves).items()):
        panels = [panel(findings, key, hue=HUES.get(key.channel, "plain")) for key in keys]
        drawn = chart(findings, panels, f"Median and extremes of each {length_told(findings.bucket_ns)}.")
        yield tag("section", tag("h2", name), drawn, *_days(findings, keys), id=f"group-{number}", class_="group")


def _days(findings: Findings, keys: Sequence[Key]) -> Iterator[Element]:
    """The numbers behind the pictures, day by day."""
    rows = []
    for key in keys:
        curve = findings.curves[key]
        days = (curve.time_ns - findings.time.axis.zero_ns) // DAY_NS
        for day in np.unique(days).tolist():
            at = days == day
            count = int(curve.count[at].sum())
            mean = float((curve.mean[at] * curve.count[at]).sum() / count)
            low, high = float(curve.low[at].min()), float(curve.high[at].max())
            name = findings.time.axis.day(day * DAY_NS + findings.time.axis.zero_ns)
            rows.append(
                [with_unit(key.channel), key.device, name.replace("-", "−") if len(name) < 5 else name,
                 count_told(count), *map(number_told, (mean, low, high))]
            )  # fmt: skip
    if rows:
        heading = ["signal", "device", "day", "usable readings", "mean", "least", "greatest"]
        yield folded("The numbers, day by day", table(heading, rows, "Usable readings of each day", (2, 3, 4, 5, 6)))


def waves(findings: Findings) -> Iterator[Element]:
    """Some seconds of each wave from every day, as they were recorded."""
    if not findings.excerpts:
        return
    parts: list[Element] = []
    for key in sorted({each.key for each in findings.excerpts}, key=lambda key: (key.channel, key.device)):
        own = [each for each in findings.excerpts if each.key == key]
        within = range_of(min(float(np.nanmin(e.values)) for e in own), max(float(np.nanmax(e.values)) for e in own))
        strips = [_excerpt(findings, each, within.percent) for each in own]
        heading = tag("h3", name_of(key.channel), tag("small", f" {unit_of(key.channel)} · {key.device}"))
        ends = f"Each from {number_told(within.low)} to {number_told(within.high)} {unit_of(key.channel)}."
        parts.append(
            tag("div", heading, tag("div", *strips, class_="excerpts"), tag("p", ends, class_="ends"), class_="wave")
        )
    words = "Six seconds from the middle of every day, sample by sample; a wave has one scale for all days."
    yield tag("section", tag("h2", "Waves"), tag("p", words, class_="lead"), *parts, id="waves", class_="group")


def _excerpt(findings: Findings, excerpt: Excerpt, percent: Callable[[float], float]) -> Element:
    longest = 6.0
    steps = np.diff(excerpt.seconds, prepend=excerpt.seconds[:1])
    usual = float(np.median(steps[1:])) if steps.size > 1 else 0.0
    path = "".join(
        f"{'M' if at == 0 or step > 1.5 * usual else 'L'}{second / longest * WIDTH:.1f} {percent(value):.1f}"
        for at, (second, value, step) in enumerate(
            zip(excerpt.seconds.tolist(), excerpt.values.tolist(), steps.tolist(), strict=True)
        )
    )
    label = f"{name_of(excerpt.key.channel)} at {findings.time.told(excerpt.time_ns)}"
    picture = svg(WIDTH, 100.0, label, tag("path", class_="line", d=path))
    return tag(
        "figure",
        tag("div", picture, class_="plot"),
        tag("figcaption", findings.time.told(excerpt.time_ns)),
        class_="excerpt",
    )
