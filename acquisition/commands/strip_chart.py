"""Draws signals one below the other over one time axis, with quality, gaps and events; as SVG, with no library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from acquisition.clock import NS, rfc3339
from acquisition.model import Quality

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 1180, 190, 92, 74, 62
PANEL, GAP, STRIP = 86, 18, 6
INK, FAINT, GRID, PAPER = "#1f2933", "#7b8794", "#e4e7eb", "#ffffff"
WAVE, NUMERIC = "#b8334e", "#17638d"
WAVES = {"wf_ecg_ii": "#2f6b3a", "wf_pleth": "#1a7f94", "wf_cvp": "#3556a8"}
"""Of those that monitors draw in a colour of their own; other waves are pressures."""
UNITS = {"mm[Hg]": "mmHg", "Cel": "°C", "{rev}/min": "rpm", "1": "", "{beat}/min": "/min", "cm[H2O]": "cmH2O"}
"""UCUM units as people write them."""
BY_QUALITY = {Quality.GOOD: "#35a07f", Quality.SUSPECT: "#e9a23b", Quality.BAD: "#c8382e"}
STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600,
         7200, 10_800, 21_600, 43_200, 86_400)  # fmt: skip
MOST_TICKS = 9
MOST_DOTS = 400
MOST_LETTERS = 100


@dataclass(slots=True)
class Panel:
    """One signal.

    Attributes:
        times: UTC nanoseconds, shape (n,), ascending.
        values: Shape (n,); NaN where there is none, and between what must not be joined.
        spans: From, to and quality, UTC nanoseconds.
        is_wave: Drawn as a curve; else as steps with a dot for each value.
    """

    name: str
    unit: str
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    spans: Sequence[tuple[int, int, Quality]]
    is_wave: bool


@dataclass(slots=True)
class Chart:
    """What is drawn.

    Attributes:
        gaps: From, to and words.
        marks: When, and words.
    """

    title: str
    subtitle: str
    panels: Sequence[Panel]
    gaps: Sequence[tuple[int, int, str]] = field(default=())
    marks: Sequence[tuple[int, str]] = field(default=())


class _Scale:
    """Time to pixels."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, max(last, first + NS // 10)
        self.width = WIDTH - LEFT - RIGHT

    def x(self, time_ns: int) -> float:
        """Where it is, kept inside the panels."""
        inside = min(max(time_ns, self.first), self.last)
        return LEFT + (inside - self.first) / (self.last - self.first) * self.width

    def ticks(self) -> list[int]:
        """Round distances from the first instant, at most nine of them."""
        span = (self.last - self.first) / NS
        step = next((step for step in STEPS if span / step <= MOST_TICKS), span / MOST_TICKS)
        return [self.first + round(number * step * NS) for number in range(int(span / step) + 1)]


def svg(chart: Chart) -> str:
    """The chart as an SVG document."""
    scale = _Scale(*_extent(chart))
    height = TOP + len(chart.panels) * (PANEL + GAP) + BOTTOM
    bottom = height - BOTTOM - GAP / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"',
        f'font-family="Inter, Helvetica, Arial, sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>',
        f'<text x="24" y="30" font-size="18" font-weight="600">{escape(chart.title)}</text>',
        f'<text x="24" y="50" fill="{FAINT}">{escape(chart.subtitle)}</text>',
        _legend(),
    ]
    parts += [_shade(scale, bottom, *gap) for gap in chart.gaps]
    parts += _labels([(first, words) for first, _, words in chart.gaps], scale, bottom + 50)
    parts += _axis(scale, bottom)
    for number, panel in enumerate(chart.panels):
        parts.append(_panel(panel, scale, TOP + number * (PANEL + GAP)))
    parts += _marks(scale, bottom, chart.marks)
    return "\n".join([*parts, "</svg>"]) + "\n"


def page(chart: Chart) -> str:
    """The chart as an HTML page that needs nothing else."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(chart.title)}</title>\n'
        "<style>body{margin:0;background:#f5f7fa}svg{display:block;margin:24px auto;max-width:96vw;height:auto;"
        "box-shadow:0 1px 4px #0002;border-radius:6px}</style></head>\n<body>\n" + svg(chart) + "</body></html>\n"
    )


def _extent(chart: Chart) -> tuple[int, int]:
    ends = [(int(panel.times[0]), int(panel.times[-1])) for panel in chart.panels if panel.times.size]
    ends += [(first, last) for first, last, _ in chart.gaps] + [(at, at) for at, _ in chart.marks]
    return min((first for first, _ in ends), default=0), max((last for _, last in ends), default=0)


def _legend() -> str:
    parts = []
    x = WIDTH - RIGHT - 262
    for quality, colour in BY_QUALITY.items():
        parts.append(f'<rect x="{x}" y="42" width="14" height="{STRIP}" fill="{colour}"/>')
        parts.append(f'<text x="{x + 19}" y="49" fill="{FAINT}">{quality.value}</text>')
        x += 36 + 7 * len(quality.value)
    parts.append(f'<rect x="{x}" y="38" width="14" height="14" fill="#cbd2d9"/>')
    return "".join(parts) + f'<text x="{x + 19}" y="49" fill="{FAINT}">gap</text>'


def _axis(scale: _Scale, bottom: float) -> list[str]:
    parts = []
    long = scale.last - scale.first > 600 * NS
    for tick in scale.ticks():
        x = scale.x(tick)
        since = (tick - scale.first) / NS
        label = f"{int(since) // 3600}:{int(since) // 60 % 60:02d}:{int(since) % 60:02d}" if long else f"{since:g} s"
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle" fill="{FAINT}">{label}</text>')
    words = f"since {rfc3339(scale.first)}"
    parts.append(f'<text x="{LEFT}" y="{bottom + 34}" fill="{FAINT}" font-size="11">{words}</text>')
    return parts


def _shade(scale: _Scale, bottom: float, first: int, last: int, words: str) -> str:
    x = scale.x(first)
    width = max(1.0, scale.x(last) - x)
    return (
        f'<g><title>{escape(words)}</title><rect x="{x:.1f}" y="{TOP - 6}" width="{width:.1f}" '
        f'height="{bottom - TOP + 6}" fill="#cbd2d9" fill-opacity="0.55"/></g>'
    )


def _marks(scale: _Scale, bottom: float, marks: Sequence[tuple[int, str]]) -> list[str]:
    parts = [
        f'<g><title>{escape(words)}</title><line x1="{scale.x(at):.1f}" y1="{TOP - 8}" x2="{scale.x(at):.1f}" '
        f'y2="{bottom}" stroke="{INK}" stroke-dasharray="2 3" stroke-opacity="0.55"/></g>'
        for at, words in marks
    ]
    return parts + _labels(marks, scale, TOP - 11)


def _labels(said: Sequence[tuple[int, str]], scale: _Scale, y: float) -> list[str]:
    """Words in a row of their own; those that would lie on others are in a tooltip alone."""
    parts = []
    free = -1.0
    for at, words in said:
        shown = words if len(words) <= MOST_LETTERS else words[: MOST_LETTERS - 1] + "…"
        width = 5.6 * len(shown)
        x = min(scale.x(at), WIDTH - 8 - width)
        if x > free:
            parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="10.5" fill="{FAINT}">{escape(shown)}</text>')
            free = x + width + 6
    return parts


def _panel(panel: Panel, scale: _Scale, top: int) -> str:
    floor = top + PANEL
    present = panel.values[~np.isnan(panel.values)]
    low, high = (float(present.min()), float(present.max())) if present.size else (0.0, 1.0)
    margin = (high - low) * 0.06 or abs(high) * 0.02 or 0.5
    low, high = low - margin, high + margin
    colour = WAVES.get(panel.name, WAVE) if panel.is_wave else NUMERIC
    ends: list[tuple[float, float]] = [(high - margin, top + 12), (low + margin, floor - STRIP - 6)]
    if present.size and present.min() == present.max():
        ends = [(float(present[0]), top + PANEL / 2 + 1)]
    parts = [
        f'<text x="24" y="{top + 16}" font-weight="600">{escape(panel.name)}</text>',
        f'<text x="24" y="{top + 32}" fill="{FAINT}">{escape(UNITS.get(panel.unit, panel.unit))}</text>',
        f'<line x1="{LEFT}" y1="{floor}" x2="{WIDTH - RIGHT}" y2="{floor}" stroke="{GRID}"/>',
        *(
            f'<text x="{LEFT - 8}" y="{y}" text-anchor="end" fill="{FAINT}" font-size="11">{_number(value)}</text>'
            for value, y in ends
            if present.size
        ),
        *_curves(panel, scale, colour, lambda value: top + 4 + (high - value) / (high - low) * (PANEL - STRIP - 10)),
    ]
    if present.size:
        last = _number(present[-1])
        parts.append(
            f'<text x="{WIDTH - RIGHT + 8}" y="{top + PANEL / 2:.0f}" fill="{colour}" font-size="15">{last}</text>'
        )
    for first, end, quality in panel.spans:
        x = scale.x(first)
        width = max(0.8, scale.x(end) - x)
        parts.append(
            f'<rect x="{x:.1f}" y="{floor - STRIP}" width="{width:.1f}" height="{STRIP}" fill="{BY_QUALITY[quality]}"/>'
        )
    return "\n".join(parts)


def _curves(panel: Panel, scale: _Scale, colour: str, height: Callable[[float], float]) -> list[str]:
    """Lines between what belongs together; where samples are denser than pixels, the extremes of each pixel."""
    parts = []
    breaks = np.flatnonzero(np.isnan(panel.values))
    for part in np.split(np.arange(panel.values.size), breaks):
        kept = part[~np.isnan(panel.values[part])]
        if not kept.size:
            continue
        times, values = _thinned(panel.times[kept], panel.values[kept], scale)
        points = [f"{scale.x(int(at)):.1f},{height(float(value)):.1f}" for at, value in zip(times, values, strict=True)]
        if len(points) > 1:
            corners = " ".join(points if panel.is_wave else _steps(points))
            parts.append(
                f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="1.3" '
                'stroke-linejoin="round"/>'
            )
        if not panel.is_wave and len(points) <= MOST_DOTS:
            parts += [_dot(point, colour) for point in points]
    return parts


def _steps(points: Sequence[str]) -> list[str]:
    """A value is drawn until the next one comes: nothing is known of the time between."""
    drawn = [points[0]]
    for before, after in pairwise(points):
        drawn += [f"{after.partition(',')[0]},{before.partition(',')[2]}", after]
    return drawn


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _dot(point: str, colour: str) -> str:
    x, _, y = point.partition(",")
    return f'<circle cx="{x}" cy="{y}" r="1.7" fill="{colour}"/>'


def _thinned(
    times: NDArray[np.int64], values: NDArray[np.float64], scale: _Scale
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if times.size <= 4 * scale.width:
        return times, values
    columns = (times - scale.first) * scale.width // max(1, scale.last - scale.first)
    starts = np.flatnonzero(np.diff(columns, prepend=columns[0] - 1))
    ends = np.append(starts[1:], times.size)
    kept = sorted(
        {
            int(place)
            for a, b in zip(starts, ends, strict=True)
            for place in (a + values[a:b].argmin(), a + values[a:b].argmax())
        }
    )
    return times[kept], values[kept]
