"""The top of a report: who, where, when, how much and how complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from xml.etree.ElementTree import Element

from acquisition.archive.report.calendar import percent
from acquisition.archive.report.findings import Findings
from acquisition.archive.report.markup import folded, table, tag
from acquisition.archive.report.names import count_told, number_told, with_unit
from acquisition.archive.report.scale import length_told
from acquisition.archive.report.story import AROUND, Span, Story
from acquisition.archive.scope import WITHDRAWN


def glance(findings: Findings) -> Element:
    """The run in numbers, and the facts behind them."""
    longest = findings.gaps[0] if findings.gaps else None
    declared_ns = sum(window.length_ns for window in findings.declared)
    runs = findings.story is not None and bool(findings.story.runs)
    tiles = [
        _tile("declared run" if runs else "recorded", length_told(declared_ns)),
        _tile("complete", percent(findings.completeness()), "valid of expected readings, mean over signals"),
        _tile("values", count_told(findings.values)),
        _tile("wave samples", count_told(findings.samples)),
        _tile("longest gap", "none" if longest is None else length_told(longest.length_ns)),
    ]
    if findings.lags:
        tiles.append(_tile("capture lag", _lag_told(findings), "from the declared start of ECMO to the first reading"))
    facts = [(name, value) for name, value in _facts(findings) if value]
    listed = tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in facts), class_="facts")
    return tag("section", tag("h2", "The run at a glance"), tag("div", *tiles, class_="tiles"), listed, id="glance")


def _lag_told(findings: Findings) -> str:
    lag_ns = findings.lags[0].lag_ns
    return "before" if lag_ns < 0 else length_told(lag_ns)


def _tile(name: str, value: str, title: str | None = None) -> Element:
    return tag("div", tag("b", value), tag("span", name), class_="tile", title=title)


def _facts(findings: Findings) -> Iterator[tuple[str, str]]:
    time, story = findings.time, findings.story or Story()
    yield (
        "Subject" if findings.story is not None else "Bed",
        findings.label + (" (pseudonym)" if findings.pseudonymous else ""),
    )
    yield "Centre", findings.centre
    yield "Beds", ", ".join(map(_spanned(findings), story.beds))
    yield "ECMO", "; ".join(map(_spanned(findings), story.runs))
    if findings.story is not None:
        yield "Randomised", "not told" if story.randomised_ns is None else time.told(story.randomised_ns)
        yield "Consent", "; ".join(map(_spanned(findings), story.consent)) or "none is registered"
    yield "Covariates", "; ".join(map(_spanned(findings), story.covariates))
    zone = "" if time.axis.relative else "; all times are UTC"
    ends = f"{time.told(time.from_ns)} to {time.told(time.to_ns)}"
    yield "Shown", f"{ends}, in buckets of {length_told(findings.bucket_ns)}{zone}"
    yield "Recorded by", ", ".join(dict.fromkeys(f"ecmo-daq {version}" for _, version in findings.versions))
    yield "Left out", _left_out(findings)
    yield "Damaged", "; ".join(findings.damaged)


def _left_out(findings: Findings) -> str:
    parts = ["what tells of the study drug"] if findings.blinded else []
    parts += ["names of people, places and devices"] if findings.pseudonymous else []
    withdrawn = findings.story is not None and any(span.what in WITHDRAWN for span in findings.story.consent)
    parts += ["what came while consent was withdrawn"] if withdrawn else []
    parts += [f"what {bed} recorded, whose journal was not read" for bed in findings.unread]
    return ", ".join(parts)


def _spanned(findings: Findings) -> Callable[[Span], str]:
    def told(span: Span) -> str:
        end = "now" if span.to_ns is None else findings.time.told(span.to_ns)
        more = f" ({span.more})" if span.more else ""
        return f"{span.what}, {findings.time.told(span.from_ns)} to {end}{more}"

    return told


def beside(findings: Findings) -> Iterable[Element]:
    """What people measured and wrote, where there is any."""
    story = findings.story or Story()
    if story.echoes:
        names = list(dict.fromkeys(name for echo in story.echoes for name in echo.values))
        heading = ["echo", "when", *map(with_unit, names)]
        heading += map(with_unit, AROUND)
        rows = [
            [
                echo.flag,
                findings.time.told(echo.time_ns),
                *(number_told(echo.values[name]) if name in echo.values else "–" for name in names),
                *(number_told(echo.around[name]) if name in echo.around else "–" for name in AROUND),
            ]
            for echo in story.echoes
        ]
        caption = "Echo values, and the medians of the five minutes before and after each"
        yield table(heading, rows, caption, range(len(heading)))
    if story.notes:
        rows = [[findings.time.told(time_ns), words] for time_ns, words in story.notes]
        yield folded(f"{len(rows)} notes", table(["when", "note"], rows, "What people wrote"))
