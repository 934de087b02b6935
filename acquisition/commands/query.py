"""The command that answers a question about readings: `ecmo-daq query`."""

from __future__ import annotations

import csv
import os
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
from acquisition.archive.episodes.registry import Registry, registry_path
from acquisition.archive.extra import library
from acquisition.archive.influx import InfluxSource
from acquisition.archive.opened import Archive, registry_in, worst_of
from acquisition.archive.plot import plot
from acquisition.archive.question import Question, checked_channels
from acquisition.archive.resample import checked_aggregates, duration_ns
from acquisition.archive.source import JournalSource, is_wave
from acquisition.archive.whole import written_whole
from acquisition.commands.journal import AnyConfigPath, JournalPath, journal_directory
from acquisition.errors import ConfigError
from acquisition.mistakes import nearest
from acquisition.model import json_line
from acquisition.sinks.influxdb_servers import Credentials

T = TypeVar("T")
err = Console(stderr=True)

FORMATS = ("csv", "json", "parquet", "table")
ROLES = ("blinded", "unblinded")
TABLE_ROWS = 200

InfluxUrl = Annotated[str | None, typer.Option("--influx", help="InfluxDB to read, http(s)://host:port.")]
Database = Annotated[str, typer.Option(help="Its database, or what the bucket is mapped to.")]
User = Annotated[
    str | None,
    typer.Option(help="User there; the password, or without a user the token, is taken from ECMO_DAQ_INFLUX_SECRET."),
]
Site = Annotated[str | None, typer.Option(help="Of this site only (InfluxDB).")]
RegistryPath = Annotated[
    Path | None, typer.Option("--registry", help="Registry of episodes; by default the one beside the journal.")
]
Subject = Annotated[str | None, typer.Option(help="Study id.")]
Bed = Annotated[str | None, typer.Option(help="Name of a bed.")]
From = Annotated[str | None, typer.Option("--from", help="RFC 3339 with offset, included.")]
To = Annotated[str | None, typer.Option(help="RFC 3339 with offset, excluded.")]
Devices = Annotated[list[str] | None, typer.Option(help="Device id; may be repeated.")]
Channels = Annotated[str | None, typer.Option(help="Channel ids, separated by commas.")]


def query(
    config: AnyConfigPath = None,
    journal: JournalPath = None,
    influx: InfluxUrl = None,
    database: Database = "ecmo",
    user: User = None,
    site: Site = None,
    registry: RegistryPath = None,
    subject: Subject = None,
    bed: Bed = None,
    device: Devices = None,
    channels: Channels = None,
    from_: From = None,
    to: To = None,
    every: Annotated[str | None, typer.Option(help="Length of a bucket, such as 10s, 1m, 1h.")] = None,
    agg: Annotated[
        str, typer.Option(help="Figures of a bucket: mean, median, min, max, count, p5 ...; by commas.")
    ] = "mean",
    quality: Annotated[
        str | None, typer.Option(help="The worst that is taken: good, suspect or bad (suspect in figures).")
    ] = None,
    role: Annotated[str, typer.Option(help="blinded, or unblinded to keep what tells of the study drug.")] = "blinded",
    format_: Annotated[str, typer.Option("--format", help="csv, json, parquet or table.")] = "csv",
    out: Annotated[Path | None, typer.Option(help="File to write in place of standard output.")] = None,
    picture: Annotated[
        Path | None, typer.Option("--plot", help="Draw the channels into this .html, .png or .svg file instead.")
    ] = None,
) -> None:
    """Print readings of a bed or a subject from a journal or an InfluxDB, also while the daemon runs."""
    if format_ not in FORMATS:
        raise ConfigError([f"--format {format_}: use csv or json, parquet or table"])
    if role not in ROLES:
        raise ConfigError([f"--role {role}{nearest(role, ROLES)}"])
    if out is not None and (picture is not None or format_ == "table"):
        raise ConfigError(["--out: a table goes to the screen, and --plot names its own file; leave --out out"])
    archive = opened(config, journal, influx, database, user, site, registry, bed, subject)
    question = Question(
        archive.scope(subject=subject, bed=bed, from_=from_, to=to),
        named(channels),
        None if device is None else frozenset(device),
        worst_of(quality, every),
        None if every is None else duration_ns(every),
        checked_aggregates(name.strip() for name in agg.split(",")),
        role == "unblinded",
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


def opened(
    config: Path | None,
    journal: Path | None,
    influx: str | None,
    database: str,
    user: str | None,
    site: str | None,
    registry: Path | None,
    bed: str | None,
    subject: str | None,
) -> Archive:
    """The archive that the options name.

    A journal does not say whose it is: with a configuration it is that bed's, and without one `bed` tells.

    Raises:
        ConfigError: they name none or two, or the bed is not that of the configuration, or in no stay of the registry.
    """
    if influx is not None:
        if journal is not None:
            raise ConfigError(["give one of: --journal, --influx"])
        secret = os.environ.get("ECMO_DAQ_INFLUX_SECRET")
        source = InfluxSource(influx, database, Credentials(user, secret), site)
        place = registry or (registry_path(journal_directory(config, None)) if config is not None else None)
        known = subject is None or place is not None
        return Archive(
            source, Registry.open(place) if place is not None else Registry() if known else registry_in(source)
        )
    own = None
    if config is not None:
        from acquisition.config import load_config

        own = load_config(config, for_sinks=False).site.bed
    if bed is not None and own is not None and bed != own:
        raise ConfigError([f"--bed {bed}: not the bed of the configuration, {own}; a journal holds one bed"])
    directory = journal_directory(config, journal)
    whose = own or bed
    subjects = Registry.open(registry or registry_path(directory))
    beds = {each.bed for stay in subjects.stays() for each in stay.beds}
    if own is None and bed is not None and beds and bed not in beds:
        raise ConfigError([f"--bed {bed}: no subject of the registry was ever there{nearest(bed, beds)}"])
    return Archive(JournalSource(directory, whose), subjects, whose)


def warn(words: str) -> None:
    """Says what the answer has not, beside it."""
    if words:
        err.print(words, style="yellow", markup=False, highlight=False, soft_wrap=True)


def named(channels: str | None) -> frozenset[str] | None:
    """The channels of a list with commas.

    Raises:
        ConfigError: one is not known, or there is none.
    """
    if channels is None:
        return None
    names = [name.strip() for name in channels.split(",") if name.strip()]
    if not names:
        raise ConfigError(["--channels: no channel is named"])
    return checked_channels(names)


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
