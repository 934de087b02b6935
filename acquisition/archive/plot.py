"""A picture of a few channels in one HTML file that needs no network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from acquisition.archive.chunk import Chunk, joined
from acquisition.archive.extra import library
from acquisition.archive.resample import lttb
from acquisition.catalogue import Catalogue
from acquisition.errors import ConfigError

POINTS = 4000
"""More than a screen is wide."""


def plot(chunks: Iterable[Chunk], path: Path, title: str) -> int:
    """Draws each channel of each device on an axis of its own, one above the other; returns how many.

    Raises:
        ConfigError: plotly is not installed, or the file is not named .html.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError([f"{path}: a picture is an .html file"])
    library("plotly", "a picture")
    subplots = library("plotly.subplots", "a picture")
    lines: defaultdict[tuple[str, str], list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        lines[chunk.device, chunk.channel].append(_thinned(chunk))
    units = {key: Catalogue.shipped().unit(key[1]) for key in lines}
    figure = subplots.make_subplots(
        rows=max(1, len(lines)),
        shared_xaxes=True,
        subplot_titles=[f"{channel} ({device}), {units[device, channel]}" for device, channel in lines],
    )
    for row, (key, parts) in enumerate(lines.items(), 1):
        line = _thinned(joined(parts))
        figure.add_scattergl(
            x=line.time_ns.view("datetime64[ns]"), y=line.values, mode="lines", name=key[1], row=row, col=1
        )
    figure.update_layout(title=title, height=150 + 180 * max(1, len(lines)), showlegend=False)
    figure.update_xaxes(title_text="time (UTC)", row=max(1, len(lines)), col=1)
    figure.write_html(path, include_plotlyjs=True)
    return len(lines)


def _thinned(chunk: Chunk) -> Chunk:
    present = chunk.at(~np.isnan(chunk.values))
    return present.at(lttb((present.time_ns - present.time_ns[:1]).astype(np.float64), present.values, POINTS))
