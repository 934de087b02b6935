"""A replayed trace as a picture: every signal over time with its quality, the gaps with their causes, the link."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acquisition.catalogue import Catalogue
from acquisition.clock import NS
from acquisition.commands.strip_chart import Chart, Panel, page, svg
from acquisition.errors import ConfigError
from acquisition.model import Event, EventKind, Numerics, Observation, Quality, Waveform

CONVERTER = "rsvg-convert"
JOIN_PERIODS = 3
"""Neighbours further apart than so many usual distances are not joined by a line."""


class Collected:
    """What a chart needs of the observations of one device.

    Args:
        channels: Only these; None for all.
    """

    def __init__(self, channels: set[str] | None = None) -> None:
        self._wanted = channels
        self._numerics: dict[str, list[tuple[int, float, Quality]]] = defaultdict(list)
        self._waves: dict[str, list[Waveform]] = defaultdict(list)
        self._gaps: list[tuple[int, int, str]] = []
        self._marks: list[tuple[int, str]] = []
        self.count = 0

    def take(self, observation: Observation) -> None:
        """One more."""
        self.count += 1
        if isinstance(observation, Numerics):
            for channel in {*observation.values, *observation.states}:
                value = observation.values.get(channel, np.nan)
                quality = observation.quality.get(channel, Quality.BAD)
                self._numerics[channel].append((observation.time_ns, value, quality))
        elif isinstance(observation, Waveform):
            self._waves[observation.channel].append(observation)
        else:
            self._event(observation)

    def chart(self, title: str, subtitle: str) -> Chart:
        """The picture: waves first, then numerics, each in the order of their names.

        Raises:
            ConfigError: none of the channels that are wanted is there.
        """
        wanted = self._wanted
        waves = [name for name in sorted(self._waves) if wanted is None or name in wanted]
        numerics = [name for name in sorted(self._numerics) if wanted is None or name in wanted]
        if not waves and not numerics:
            have = ", ".join(sorted({*self._waves, *self._numerics})) or "nothing"
            raise ConfigError([f"there is nothing to draw; the trace has {have}"])
        panels = [_wave(name, self._waves[name]) for name in waves]
        panels += [_numeric(name, self._numerics[name]) for name in numerics]
        return Chart(title, subtitle, panels, self._gaps, self._marks)

    def _event(self, event: Event) -> None:
        if event.event is EventKind.GAP and "channel" not in event.detail:
            self._gaps.append((event.detail["from_ns"], event.detail["to_ns"], event.text))
        elif event.event is EventKind.LINK:
            self._marks.append((event.time_ns, event.text))


def write_chart(chart: Chart, target: Path) -> None:
    """Writes the chart as the suffix says, `.svg`, `.html` or `.png`.

    Raises:
        ConfigError: the suffix is another, the file cannot be written, or nothing here makes a PNG.
    """
    if target.suffix not in (".svg", ".html", ".png"):
        raise ConfigError([f"{target}: a picture is written as .svg, .html or .png"])
    content = page(chart).encode() if target.suffix == ".html" else svg(chart).encode()
    if target.suffix == ".png":
        content = _png(content, target)
    try:
        target.write_bytes(content)
    except OSError as error:
        raise ConfigError([f"{target}: cannot be written: {error.strerror}"]) from None


def _png(drawn: bytes, target: Path) -> bytes:
    """The same drawing in pixels, twice as many as its own for a sharp print.

    Raises:
        ConfigError: librsvg's converter is not installed, or does not take the drawing.
    """
    converter = shutil.which(CONVERTER)
    if converter is None:
        raise ConfigError(
            [f"{target}: a PNG needs {CONVERTER}: apt-get install librsvg2-bin; .svg and .html need nothing"]
        )
    done = subprocess.run([converter, "--zoom", "2", "--format", "png"], input=drawn, capture_output=True, check=False)  # noqa: S603 - the program was found on the path, its arguments are ours
    if done.returncode:
        raise ConfigError([f"{target}: {CONVERTER}: {done.stderr.decode(errors='replace').strip()}"])
    return done.stdout


def _numeric(name: str, said: list[tuple[int, float, Quality]]) -> Panel:
    times = np.array([time_ns for time_ns, _, _ in said], dtype=np.int64)
    values = np.array([value for _, value, _ in said], dtype=np.float64)
    usual = int(np.median(np.diff(times))) if times.size > 1 else NS
    spans: list[tuple[int, int, Quality]] = []
    for (time_ns, _, quality), following in zip(said, [*times[1:].tolist(), int(times[-1]) + usual], strict=True):
        end = following if following - time_ns <= JOIN_PERIODS * usual else time_ns + usual
        if spans and spans[-1][2] is quality and spans[-1][1] >= time_ns:
            spans[-1] = (spans[-1][0], end, quality)
        else:
            spans.append((time_ns, end, quality))
    times, values = _broken(times, values, JOIN_PERIODS * usual)
    return Panel(name, Catalogue.shipped().unit(name), times, values, spans, is_wave=False)


def _wave(name: str, blocks: list[Waveform]) -> Panel:
    times = np.concatenate([b.time_ns + b.period_ns * np.arange(b.counts.size, dtype=np.int64) for b in blocks])
    values = np.concatenate([block.samples for block in blocks])
    spans: list[tuple[int, int, Quality]] = []
    for block in blocks:
        if spans and spans[-1][2] is block.quality and spans[-1][1] == block.time_ns:
            spans[-1] = (spans[-1][0], block.end_ns, block.quality)
        else:
            spans.append((block.time_ns, block.end_ns, block.quality))
    times, values = _broken(times, values, JOIN_PERIODS * max(block.period_ns for block in blocks))
    return Panel(name, Catalogue.shipped().unit(name), times, values, spans, is_wave=True)


def _broken(
    times: NDArray[np.int64], values: NDArray[np.float64], limit_ns: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """With a NaN put between neighbours that are further apart than `limit_ns`."""
    places = np.flatnonzero(np.diff(times) > limit_ns) + 1
    return np.insert(times, places, times[places - 1]), np.insert(values, places, np.nan)
