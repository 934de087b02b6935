"""What a report draws: places on the time line, broken lines, cells of the calendar, gaps that belong together."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import pytest

from acquisition.archive.export.axis import Axis
from acquisition.archive.report.browser import found_browser
from acquisition.archive.report.calendar import cells, level, percent
from acquisition.archive.report.curves import ends
from acquisition.archive.report.findings import Curve, Gap, Hour, Key
from acquisition.archive.report.gather import together
from acquisition.archive.report.groups import OTHER, grouped
from acquisition.archive.report.markup import svg, table, tag, written
from acquisition.archive.report.names import CAUSES, CHANNELS, cause_place, number_told
from acquisition.archive.report.page import _style
from acquisition.archive.report.panel import blocks, drawn, segments
from acquisition.archive.report.scale import MOST_BUCKETS, Range, TimeLine, bucket_ns, lanes, length_told, range_of
from acquisition.catalogue import Catalogue, ChannelKind
from acquisition.errors import ConfigError
from acquisition.model import GapCause

S = 1_000_000_000
HOUR = 3600 * S
ZERO = 1_773_475_200 * S
KEY = Key("pump", "ecmo_flow")


class Page(HTMLParser):
    """What a browser would make of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data)


def line(hours: float = 10, since: str | None = "ECMO start") -> TimeLine:
    return TimeLine(Axis(ZERO, since), ZERO - HOUR, ZERO - HOUR + round(hours * HOUR))


def curve(minutes: list[int], silences: list[tuple[int, int]] | None = None) -> Curve:
    """A bucket of a minute at each of these minutes; silences in minutes too."""
    times = ZERO + np.array(minutes, np.int64) * 60 * S
    told = [(ZERO + begin * 60 * S, ZERO + end * 60 * S) for begin, end in silences or ()]
    values = np.array(minutes, np.float64)
    count = np.full(times.size, 6, np.int64)
    return Curve(times, values - 1, values, values + 1, values, count, ends(times, told, 60 * S, 90 * S))


def paths(shapes: list[Element]) -> dict[str, str]:
    return {str(each.get("class")): str(each.get("d")) for each in shapes}


@pytest.mark.parametrize("hours", [0.2, 3, 80, 240, 24 * 60])
def test_a_run_of_any_length_is_drawn_by_a_few_hundred_buckets_that_divide_a_day(hours: float) -> None:
    bucket = bucket_ns(round(hours * HOUR))
    assert hours * HOUR / bucket <= MOST_BUCKETS
    assert 24 * HOUR % bucket == 0
    assert hours * HOUR / bucket > 60


def test_a_tick_stands_where_its_label_says() -> None:
    ticks = list(line().ticks())
    assert ticks[0] == (0.0, "−1")
    assert [label for _, label in ticks][:3] == ["−1", "0", "1"]
    assert ticks[1][0] == pytest.approx(10.0)
    assert len(ticks) <= 11


def test_ticks_of_dates_tell_the_day_at_midnight_and_else_the_hour() -> None:
    ticks = [label for _, label in TimeLine(Axis(0, None), ZERO - HOUR, ZERO + 30 * HOUR).ticks()]
    assert "03-15" in ticks
    assert "12:00" in ticks


def test_a_time_is_told_as_hours_or_as_a_date_but_never_both() -> None:
    assert line().told(ZERO - HOUR // 2) == "−0.50\N{NO-BREAK SPACE}h"
    assert line(since=None).told(ZERO + ZERO) == "2026-03-14\N{NO-BREAK SPACE}08:00"


@pytest.mark.parametrize(("low", "high"), [(0.0, 5.0), (-60.0, 12.0), (36.55, 36.72), (3.0, 3.0), (0.0, 0.0)])
def test_an_axis_has_at_least_two_round_numbers_within_it(low: float, high: float) -> None:
    within = range_of(low, high)
    ticks = within.ticks(2)
    assert len(ticks) >= 2
    assert all(within.low <= tick <= within.high for tick in ticks)
    assert within.percent(within.high) == 0
    assert within.percent(within.low) == pytest.approx(100)


def test_no_flag_covers_another() -> None:
    places = [0.0, 1.0, 2.0, 2.7, 50.0]
    rows = lanes(places, 2.6)
    assert rows == [0, 1, 2, 0, 0]
    for row in set(rows):
        own = [place for place, lane in zip(places, rows, strict=True) if lane == row]
        assert all(second - first >= 2.6 for first, second in pairwise(own))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.25, "0.25 s"), (65, "1 min 5 s"), (3600, "1 h"), (93_600, "1 d 2 h"), (-90, "−1 min 30 s"), (86_405, "1 d")],
)
def test_a_length_of_time_is_told_as_people_do(seconds: float, told: str) -> None:
    assert length_told(seconds * S) == told


def test_missing_buckets_are_a_gap_in_the_line_and_never_bridged() -> None:
    found = curve([0, 1, 2, 10, 11])
    assert [(part.start, part.stop) for part in segments(found)] == [(0, 3), (3, 5)]
    shapes = paths(drawn(found, line(), 60 * S, Range(-2, 12)))
    assert shapes["line"].count("M") == 2
    assert shapes["band"].count("Z") == 2
    assert "dots" not in shapes


def test_a_silence_that_ends_within_the_next_bucket_breaks_the_line_too() -> None:
    whole, broken = curve([0, 1, 2, 3]), curve([0, 1, 2, 3], [(1, 3)])
    assert whole.ends.tolist() == [False, False, False, True]
    assert broken.ends.tolist() == [False, True, False, True]


def test_silences_are_seen_however_short_and_drawn_once_where_they_touch() -> None:
    short = [(ZERO + at * S, ZERO + at * S + S) for at in range(0, 100_000, 10)]
    merged = blocks(line(240), short, 1.5, 0)
    assert merged.count("M") == 1
    apart = blocks(line(240), [short[0], (ZERO + 100 * HOUR, ZERO + 101 * HOUR)], 1.5, 5)
    assert [tuple(map(float, each)) for each in re.findall(r"M([\d.]+) 5H([\d.]+)", apart)] == [
        pytest.approx((4.2, 5.7), abs=0.1),
        pytest.approx((420.8, 425.0), abs=0.1),
    ]


def test_a_bucket_alone_is_a_dot_that_can_be_seen() -> None:
    shapes = paths(drawn(curve([5]), line(), 60 * S, Range(0, 10)))
    assert re.fullmatch(r"M[\d.]+ [\d.]+h0", shapes["dots"])
    assert "line" not in shapes


def test_what_comes_only_when_it_changes_is_not_connected() -> None:
    shapes = paths(drawn(curve([0, 1, 2]), line(), 60 * S, Range(-2, 12), dots=True))
    assert shapes["dots"].count("h0") == 3
    assert "line" not in shapes


def test_a_cell_of_the_calendar_is_the_mean_over_signals_of_valid_by_expected() -> None:
    other = Key("monitor", "hr")
    hours = [
        Hour(KEY, -1, 100, 100),
        Hour(other, -1, 3600, 1800),
        Hour(KEY, 0, 0, 0),
        Hour(KEY, 1, 10, 10),
    ]
    assert cells(hours) == {-1: 0.75, 1: 1.0}
    assert cells(hours, "hr") == {-1: 0.5}


def test_levels_tell_nothing_from_little_and_all_from_nearly_all() -> None:
    assert [level(part) for part in (0, 0.01, 0.5, 0.9, 0.99, 1)] == [0, 1, 2, 3, 4, 4]
    assert [percent(part) for part in (None, 0, 0.0001, 0.5, 0.9999, 1)] == [
        "–", "0.0 %", "< 0.1 %", "50.0 %", "> 99.9 %", "100.0 %"
    ]  # fmt: skip


def test_channels_that_fell_silent_together_are_one_gap_and_others_are_not() -> None:
    rows = [
        Gap("monitor", ("hr",), ZERO, ZERO + HOUR, "link_lost"),
        Gap("monitor", ("wf_abp",), ZERO - 9 * S, ZERO + HOUR + S, "link_lost"),
        Gap("pump", ("ecmo_flow",), ZERO, ZERO + HOUR, "link_lost"),
        Gap("monitor", ("hr",), ZERO + 2 * HOUR, ZERO + 5 * HOUR, "link_lost"),
        Gap("monitor", ("spo2",), ZERO, ZERO + HOUR, "unknown"),
    ]
    found = together(rows)
    assert [(gap.device, gap.channels, gap.length_ns // S) for gap in found] == [
        ("monitor", ("hr",), 10_800),
        ("monitor", ("wf_abp", "hr"), 3610),
        ("monitor", ("spo2",), 3600),
        ("pump", ("ecmo_flow",), 3600),
    ]


def test_every_cause_of_a_gap_has_words_and_a_colour_of_its_own() -> None:
    assert {cause.value for cause in GapCause} <= set(CAUSES)
    colours = dict(re.findall(r"--(c\d+): (#[0-9a-f]{6})", _style().partition("@media")[0]))
    assert len({colours[f"c{cause_place(cause)}"] for cause in CAUSES}) == len(CAUSES)
    assert cause_place("of tomorrow") == cause_place("unknown")


def test_every_channel_that_a_device_gives_has_a_name_and_every_numeric_one_a_page() -> None:
    known = {channel.id for channel in Catalogue.shipped() if not channel.hidden}
    assert set(CHANNELS) <= known
    numerics = [c.id for c in Catalogue.shipped() if c.kind is ChannelKind.NUMERIC and not c.hidden]
    assert set(numerics) <= set(CHANNELS)
    assert OTHER not in grouped([Key("d", channel) for channel in numerics])
    assert list(grouped([Key("d", "mdc_1"), KEY])) == ["Circuit: flow and speed", OTHER]


@pytest.mark.parametrize(("value", "told"), [(-3558.2, "−3558"), (0.123456, "0.123"), (12345678, "12345678"), (0, "0")])
def test_a_number_has_no_exponent_and_a_true_minus(value: float, told: str) -> None:
    assert number_told(value) == told


def test_what_somebody_wrote_is_text_and_never_markup() -> None:
    hostile = '</style><script src="//x/y"></script><img onerror=a src=b> " \' & \x07'
    page = Page()
    page.feed(written(tag("p", hostile, svg(1, 1, hostile), table([hostile], [[hostile]], hostile), title=hostile)))
    told = hostile.replace("\x07", "\N{REPLACEMENT CHARACTER}")
    assert page.tags == ["p", "svg", "title", "div", "table", "caption", "thead", "tr", "th", "tbody", "tr", "th"]
    assert set(page.texts) == {told}
    assert ("title", told) in page.attributes
    assert ("aria-label", told) in page.attributes


def test_without_a_browser_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="Debian package chromium"):
        found_browser()
    with pytest.raises(ConfigError, match="no such program"):
        found_browser(tmp_path / "none")
