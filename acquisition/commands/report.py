"""The command that draws a run for people: `ecmo-daq report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from acquisition.archive.absence import told_elsewhere
from acquisition.archive.export.pseudonyms import Pseudonyms, read_key
from acquisition.archive.export.request import Request
from acquisition.archive.report.browser import found_browser, picture, print_pdf
from acquisition.archive.report.gather import gather
from acquisition.archive.report.page import page
from acquisition.archive.whole import written_whole
from acquisition.commands.journal import AnyConfigPath, JournalPath
from acquisition.commands.query import (
    ROLES,
    Bed,
    Channels,
    Database,
    From,
    InfluxUrl,
    RegistryPath,
    Site,
    Subject,
    To,
    User,
    named,
    opened,
    warn,
)
from acquisition.config import load_config
from acquisition.errors import ConfigError
from acquisition.mistakes import nearest

err = Console(stderr=True)


def report(
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, .html.")],
    config: AnyConfigPath = None,
    journal: JournalPath = None,
    influx: InfluxUrl = None,
    database: Database = "ecmo",
    user: User = None,
    site: Site = None,
    registry: RegistryPath = None,
    subject: Subject = None,
    bed: Bed = None,
    channels: Channels = None,
    from_: From = None,
    to: To = None,
    times: Annotated[
        str, typer.Option(help="relative: hours since randomisation, or ECMO start; or utc.")
    ] = "relative",
    pseudonymize: Annotated[
        Path | None, typer.Option(metavar="KEYFILE", help="New names by this key; made if there is no such file.")
    ] = None,
    request: Annotated[str, typer.Option(help="Name of the data request: each has names of its own.")] = "",
    free_text: Annotated[bool, typer.Option("--free-text", help="Keep what people wrote.")] = False,
    role: Annotated[str, typer.Option(help="blinded, or unblinded to keep what tells of the study drug.")] = "blinded",
    pdf: Annotated[Path | None, typer.Option(help="Also print it into this file, by a browser.")] = None,
    png: Annotated[Path | None, typer.Option(help="Also make a picture of it, by a browser.")] = None,
    browser: Annotated[Path | None, typer.Option(help="Which browser; by default Chromium or Chrome.")] = None,
) -> None:
    """Draw a subject's run, or a bed's time, in one file that opens in any browser without a network."""
    for name, word, known in (("--times", times, ("relative", "utc")), ("--role", role, ROLES)):
        if word not in known:
            raise ConfigError([f"{name} {word}{nearest(word, known)}"])
    for option, path, suffixes in (
        ("--out", out, (".html", ".htm")),
        ("--pdf", pdf, (".pdf",)),
        ("--png", png, (".png",)),
    ):
        if path is not None and path.suffix.lower() not in suffixes:
            raise ConfigError([f"{option} {path}: name it {path.stem}{suffixes[0]}"])
    if pseudonymize is not None and not request:
        raise ConfigError(["--pseudonymize: name the data request with --request, so that it has names of its own"])
    if subject is None and bed is None and config is None:
        raise ConfigError(["give --subject, --bed or --config: whose run is it?"])
    for path in (out, pdf, png):
        if path is not None and not path.absolute().parent.is_dir():
            raise ConfigError([f"{path}: there is no directory {path.absolute().parent}"])
    painter = found_browser(browser) if pdf is not None or png is not None else None
    archive = opened(config, journal, influx, database, user, site, registry, bed, subject)
    about = {} if config is None else load_config(config, for_sinks=False).model_dump(mode="json")
    if site is not None:
        about = {**about, "site": {"site": site}}
    wanted = Request(
        utc=times == "utc",
        free_text=free_text,
        unblinded=role == "unblinded",
        pseudonyms=Pseudonyms() if pseudonymize is None else Pseudonyms(read_key(pseudonymize, out), request),
        channels=named(channels),
        about=about,
    )
    scope = archive.scope(subject=subject, bed=bed, from_=from_, to=to)
    warn(told_elsewhere(archive.source, scope))
    with Progress(console=err, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("report", total=1.0)
        found = gather(archive.source, scope, wanted, lambda done: bar.update(task, completed=done))
    with written_whole(out) as place:
        place.write_text(page(found), encoding="utf-8")
    if painter is not None and pdf is not None:
        print_pdf(painter, out, pdf)
    if painter is not None and png is not None:
        picture(painter, out, png)
    made = ", ".join(str(path) for path in (out, pdf, png) if path is not None)
    err.print(f"{made}: written", highlight=False, soft_wrap=True, markup=False)
