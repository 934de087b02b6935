"""The command that answers a question about readings: `ecmo-daq query`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, TextIO, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from acquisition.archive import frames, lines
from acquisition.archive.absence import never_recorded, nothing, told_elsewhere
from acquisition.archive.extra import library
from acquisition.archive.opened import Archive, worst_of
from acquisition.archive.plot import plot
from acquisition.archive.question import Question
from acquisition.archive.resample import checked_aggregates, duration_ns
from acquisition.archive.source import JournalSource, is_wave
from acquisition.archive.whole import written_whole
from acquisition.commands.options import Place, Subject, err, warn, with_options
from acquisition.errors import ConfigError
from acquisition.model import json_line

T = TypeVar("T")

FORMATS = ("csv", "json", "parquet", "table")
TABLE_ROWS = 200


@with_options
def query(
    place: Place,
    subject: Subject = None,
    device: Annotated[list[str] | None, typer.Option(help="Device id; may be repeated.")] = None,
    every: Annotated[str | None, typer.Option(help="Length of a bucket, such as 10s, 1m, 1h.")] = None,
    agg: Annotated[
        str, typer.Option(help="Figures of a bucket: mean, median, min, max, count, p5 ...; by commas.")
    ] = "mean",
    quality: Annotated[
        str | None, typer.Option(help="The worst that is taken: good, suspect or bad (suspect in figures).")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="csv, json, parquet or table.")] = "csv",
    out: Annotated[Path | None, typer.Option(help="File to write in place of standard output.")] = None,
    picture: Annotated[
        Path | None, typer.Option("--plot", help="Draw the channels into this .html, .png or .svg file instead.")
    ] = None,
) -> None:
    """Print readings of a bed or a subject from a journal or an InfluxDB, also while the daemon runs."""
    if format_ not in FORMATS:
        raise ConfigError([f"--format {format_}: use csv or json, parquet or table"])
    if out is not None and (picture is not None or format_ == "table"):
        raise ConfigError(["--out: a table goes to the screen, and --plot names its own file; leave --out out"])
    archive = place.opened(subject)
    question = Question(
        place.scope(archive, subject),
        place.wanted(),
        None if device is None else frozenset(device),
        worst_of(quality, every),
        None if every is None else duration_ns(every),
        checked_aggregates(name.strip() for name in agg.split(",")),
        place.unblinded,
    )
    if picture is not None:
        drawn = plot(_some(question.readings(archive.source), archive, question), picture, question.scope.label)
        err.print(f"{picture}: {drawn} channels", highlight=False, soft_wrap=True)
    elif format_ == "parquet":
        _parquet(archive, question, out)
    elif format_ == "table":
        _table(archive, question)
    else:
        text = _text(archive, question, format_)
        with _writing(out) as stream:
            stream.writelines(text)
    warn(told_elsewhere(archive.source, question.scope))
    if isinstance(archive.source, JournalSource):  # a database would have to count everything for this
        for each in never_recorded(archive.source, question):
            warn(each)


def _text(archive: Archive, question: Question, format_: str) -> Iterator[str]:
    """Lines of the answer; refuses before the first of them where there is none."""
    source, columns = archive.source, lines.COLUMNS
    found: Iterator[str]
    if question.every_ns is not None:
        columns = ("time", "time_ns", "device", "channel", "unit", *question.aggregates)
        found = map(lines.csv_of_buckets if format_ == "csv" else lines.json_of_buckets, question.figures(source))
    elif format_ == "csv":
        found = chain(map(lines.csv_of, question.readings(source)), map(lines.csv_of_event, question.events(source)))
    else:
        waves = {series.channel for window in question.scope.windows for series in source.series(window) if series.wave}
        readings = lines.json_of(question.readings(source), [*waves, *filter(is_wave, question.channels or ())])
        found = chain(readings, (json_line(event) + "\n" for event in question.events(source)))
    heading = [",".join(columns) + "\n"] if format_ == "csv" else []
    return chain(heading, _some(found, archive, question))


def _some(parts: Iterator[T], archive: Archive, question: Question) -> Iterator[T]:
    """The parts, of which there is one at least.

    Raises:
        ConfigError: there is none; it says why.
    """
    for first in parts:
        return chain([first], parts)
    raise nothing(archive.source, question)


def _parquet(archive: Archive, question: Question, out: Path | None) -> None:
    parquet = library("pyarrow.parquet", "--format parquet")
    if out is None and sys.stdout.isatty():
        raise ConfigError(["--format parquet: give --out FILE; a terminal cannot show it"])
    if question.every_ns is None:
        table = frames.of_readings(_some(question.readings(archive.source), archive, question))
    else:
        figures = _some(question.figures(archive.source), archive, question)
        table = frames.of_figures(figures, question.aggregates)
    if out is None:
        parquet.write_table(table, sys.stdout.buffer, compression="zstd")
        return
    with written_whole(out) as place, place.open("wb") as file:
        parquet.write_table(table, file, compression="zstd")


def _table(archive: Archive, question: Question) -> None:
    """The first rows, to be looked at; who wants all of them, and every digit, asks for CSV."""
    rows = csv.reader(line for text in _text(archive, question, "csv") for line in text.splitlines())
    heading = next(rows)
    columns = [number for number, name in enumerate(heading) if name != "time_ns"]
    shown = Table(*(heading[number] for number in columns))
    shown.columns[0].no_wrap = True
    for row in islice(rows, TABLE_ROWS):
        shown.add_row(*(escape(_short(row[number])) for number in columns))
    Console().print(shown)
    if next(rows, None) is not None:
        err.print(f"only the first {TABLE_ROWS} rows; ask for --every, or --format csv for all", highlight=False)


def _short(cell: str) -> str:
    """A number with more digits than anybody measures is cut to six; all else stays."""
    try:
        return cell if len(cell) <= 8 else f"{float(cell):.6g}"
    except ValueError:
        return cell


@contextmanager
def _writing(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        return
    with written_whole(out) as place, place.open("w", encoding="utf-8", newline="") as stream:
        yield stream
