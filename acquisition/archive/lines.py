"""Readings as lines for programs and people: CSV in the long form, and the JSON Lines of DESIGN.md section 10."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from acquisition.archive.chunk import QUALITIES, STATES, Chunk
from acquisition.archive.resample import Buckets
from acquisition.catalogue import Catalogue
from acquisition.clock import rfc3339
from acquisition.model import Event, Numerics, Quality, State, json_line

COLUMNS: tuple[str, ...] = ("time", "time_ns", "device", "channel", "value", "unit", "state", "quality")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def stamps(time_ns: NDArray[np.int64]) -> list[str]:
    """RFC 3339 of each time, milliseconds, cut and not rounded."""
    texts: list[str] = np.datetime_as_string(
        time_ns.view("datetime64[ns]").astype("datetime64[ms]"), unit="ms"
    ).tolist()
    return [f"{text}Z" for text in texts]


def csv_of(chunk: Chunk) -> str:
    """One line for each reading, in the order of COLUMNS."""
    head = f",{cell(chunk.device)},{cell(chunk.channel)},"
    ends = [f",{cell(Catalogue.shipped().unit(chunk.channel))},{state}," for state in STATES]
    values = map(number, chunk.values.tolist())
    columns = zip(stamps(chunk.time_ns), chunk.time_ns.tolist(), values, chunk.quality.tolist(), strict=True)
    if chunk.state is None:
        tails = [f"{ends[0]}{quality}\n" for quality in QUALITIES]
        return "".join([f"{when},{at}{head}{value}{tails[quality]}" for when, at, value, quality in columns])
    return "".join(
        [
            # A state without a value was never judged.
            f"{when},{at}{head}{value}{ends[state]}{QUALITIES[quality] if value else ''}\n"
            for (when, at, value, quality), state in zip(columns, chunk.state.tolist(), strict=True)
        ]
    )


def csv_of_event(event: Event) -> str:
    """One line, the kind as channel and the text as value."""
    return line((rfc3339(event.time_ns), event.time_ns, event.device, event.event.value, event.text, "", "", ""))


def csv_of_buckets(buckets: Buckets) -> str:
    """One line for each bucket: time, time_ns, device, channel, unit, the figures."""
    head = f"{cell(buckets.device)},{cell(buckets.channel)},{cell(Catalogue.shipped().unit(buckets.channel))}"
    figures = [map(number, figure.tolist()) for figure in buckets.figures.values()]
    rows = zip(stamps(buckets.start_ns), buckets.start_ns.tolist(), *figures, strict=True)
    return "".join(f"{when},{at},{head},{','.join(values)}\n" for when, at, *values in rows)


def json_of_buckets(buckets: Buckets) -> str:
    """One object for each bucket."""
    unit = Catalogue.shipped().unit(buckets.channel)
    columns = [figure.tolist() for figure in buckets.figures.values()]
    rows = zip(stamps(buckets.start_ns), buckets.start_ns.tolist(), *columns, strict=True)
    return "".join(
        json.dumps(
            {"device": buckets.device, "channel": buckets.channel, "time": when, "time_ns": at, "unit": unit,
             **dict(zip(buckets.figures, values, strict=True))},
            separators=(",", ":"),
        ) + "\n"
        for when, at, *values in rows
    )  # fmt: skip


def json_of(chunks: Iterable[Chunk], waves: Sequence[str]) -> Iterator[str]:
    """Observations as JSON Lines; numerics of one device and instant in one line, waves in evenly spaced pieces.

    Args:
        chunks: As a source gives them.
        waves: Channels that are waves.
    """
    held: dict[str, Chunk] = {}
    for chunk in chunks:
        if chunk.channel in waves:
            yield from _numerics(held)
            yield from _pieces(chunk)
            continue
        if chunk.channel in held or any(other.device != chunk.device for other in held.values()):
            yield from _numerics(held)
        held[chunk.channel] = chunk
    yield from _numerics(held)


def _numerics(held: dict[str, Chunk]) -> Iterator[str]:
    values: defaultdict[int, dict[str, float]] = defaultdict(dict)
    states: defaultdict[int, dict[str, State]] = defaultdict(dict)
    quality: defaultdict[int, dict[str, Quality]] = defaultdict(dict)
    device = ""
    for channel, chunk in held.items():
        device = chunk.device
        said = [0] * len(chunk) if chunk.state is None else chunk.state.tolist()
        for at, value, judged, state in zip(
            chunk.time_ns.tolist(), chunk.values.tolist(), chunk.quality.tolist(), said, strict=True
        ):
            if value == value:
                values[at][channel] = value
                quality[at][channel] = Quality(QUALITIES[judged])
            if state:
                states[at][channel] = State(STATES[state])
    held.clear()
    for at in sorted(values.keys() | states.keys()):
        numerics = Numerics(device=device, time_ns=at, values=values[at], states=states[at], quality=quality[at])
        yield json_line(numerics) + "\n"


def _pieces(chunk: Chunk) -> Iterator[str]:
    steps = np.diff(chunk.time_ns)
    period = int(np.median(steps)) if steps.size else chunk.period_ns or 1
    broken = (steps != period) | (np.diff(chunk.quality) != 0)
    edges = [0, *(np.flatnonzero(broken) + 1).tolist(), len(chunk)]
    for begin, end in pairwise(edges):
        body = {
            "kind": "waveform",
            "device": chunk.device,
            "channel": chunk.channel,
            "time_ns": int(chunk.time_ns[begin]),
            "period_ns": period,
            "samples": chunk.values[begin:end].tolist(),
            "quality": QUALITIES[chunk.quality[begin]],
        }
        yield json.dumps(body, separators=(",", ":")) + "\n"


def number(value: float) -> str:
    """As short as it can be and still be the value to the last bit; nothing for NaN."""
    return repr(value) if value == value else ""


def harmless(text: str) -> str:
    """A text with an apostrophe before it where a spreadsheet would run it as a formula; numbers are none."""
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def line(row: Iterable[object]) -> str:
    """A line of CSV; None is an empty cell, and no text is a formula."""
    cells = ("" if value is None else harmless(value) if isinstance(value, str) else str(value) for value in row)
    # The standard library's writer leaves a carriage return bare, which its own reader then refuses.
    return ",".join(map(_quoted, cells)) + "\n"


@cache
def cell(text: str) -> str:
    """A cell of CSV, kept for the next of its kind."""
    return _quoted(text)


def _quoted(text: str) -> str:
    """As RFC 4180 wants it."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text
