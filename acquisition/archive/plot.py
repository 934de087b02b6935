"""A picture of a few channels: an HTML file that needs no network, or PNG or SVG for a page of paper."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from acquisition.archive.chunk import Chunk, joined
from acquisition.archive.extra import library
from acquisition.archive.resample import lttb
from acquisition.archive.whole import written_whole
from acquisition.catalogue import Catalogue
from acquisition.errors import ConfigError

POINTS = 4000
"""More than a screen is wide."""
_GAP = 10
"""Times the usual distance of two points; thinning makes it uneven."""
_WIDTH_IN, _HEAD_IN, _ROW_IN, _DPI = 11.0, 0.8, 1.7, 150

Lines = Mapping[tuple[str, str], Chunk]
"""Device and channel to the points to draw."""


def plot(chunks: Iterable[Chunk], path: Path, title: str) -> int:
    """Draws each channel of each device on an axis of its own, one above the other; returns how many.

    Raises:
        ConfigError: what draws is not installed, the file is not named as a picture, or cannot be written.
    """
    draw = {".html": _page, ".htm": _page, ".png": _paper, ".svg": _paper}.get(path.suffix.lower())
    if draw is None:
        raise ConfigError([f"{path}: a picture is an .html, .png or .svg file"])
    parts: defaultdict[tuple[str, str], list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        parts[chunk.device, chunk.channel].append(_thinned(chunk))
    lines = {key: broken(_thinned(joined(found))) for key, found in parts.items()}
    with written_whole(path) as place:
        draw(lines, place, title)
    return len(lines)


def _page(lines: Lines, path: Path, title: str) -> None:
    library("plotly", "an .html picture")
    subplots = library("plotly.subplots", "an .html picture")
    figure = subplots.make_subplots(rows=max(1, len(lines)), shared_xaxes=True, subplot_titles=_headings(lines))
    for row, ((_, channel), line) in enumerate(lines.items(), 1):
        figure.add_scattergl(
            x=line.time_ns.view("datetime64[ns]"), y=line.values, mode="lines", name=channel, row=row, col=1
        )
    figure.update_layout(title=title, height=150 + 180 * max(1, len(lines)), showlegend=False)
    figure.update_xaxes(title_text="time (UTC)", row=max(1, len(lines)), col=1)
    figure.write_html(path, include_plotlyjs=True)


def _paper(lines: Lines, path: Path, title: str) -> None:
    """Without a window system, and without a time of making: the same readings give the same file."""
    figure_of = library("matplotlib.figure", "a .png or .svg picture").Figure
    matplotlib = library("matplotlib", "a .png or .svg picture")
    rows = max(1, len(lines))
    figure = figure_of(figsize=(_WIDTH_IN, _HEAD_IN + _ROW_IN * rows), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for axis, heading, line in zip(axes, _headings(lines), lines.values(), strict=False):
        axis.plot(line.time_ns.view("datetime64[ns]"), line.values, linewidth=0.8)
        axis.set_title(heading, loc="left", fontsize="small")
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("time (UTC)")
    with matplotlib.rc_context({"svg.hashsalt": "ecmo-daq"}):
        figure.savefig(path, dpi=_DPI, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


def broken(line: Chunk) -> Chunk:
    """The line with a hole where nothing came for far longer than is usual, so that nobody reads a slope into it."""
    steps = np.diff(line.time_ns)
    if steps.size < 2:
        return line
    usual = max(_GAP * np.median(steps), _GAP * steps.sum() / POINTS)
    holes = np.flatnonzero(steps > usual) + 1
    return replace(
        line,
        time_ns=np.insert(line.time_ns, holes, line.time_ns[holes - 1] + 1),
        values=np.insert(line.values, holes, np.nan),
    )


def _headings(lines: Lines) -> list[str]:
    return [f"{channel} ({device}), {Catalogue.shipped().unit(channel)}" for device, channel in lines]


def _thinned(chunk: Chunk) -> Chunk:
    present = chunk.at(~np.isnan(chunk.values))
    return present.at(lttb((present.time_ns - present.time_ns[:1]).astype(np.float64), present.values, POINTS))
