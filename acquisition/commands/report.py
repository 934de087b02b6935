"""The command that draws a run for people: `ecmo-daq report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from acquisition.archive.absence import told_elsewhere
from acquisition.archive.report.browser import found_browser, picture, print_pdf
from acquisition.archive.report.gather import gather
from acquisition.archive.report.page import page
from acquisition.archive.whole import written_whole
from acquisition.commands.options import Naming, Place, Subject, err, warn, with_options
from acquisition.errors import ConfigError


@with_options
def report(
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, .html.")],
    place: Place,
    naming: Naming,
    subject: Subject = None,
    pdf: Annotated[Path | None, typer.Option(help="Also print it into this file, by a browser.")] = None,
    png: Annotated[Path | None, typer.Option(help="Also make a picture of it, by a browser.")] = None,
    browser: Annotated[Path | None, typer.Option(help="Which browser; by default Chromium or Chrome.")] = None,
) -> None:
    """Draw a subject's run, or a bed's time, in one file that opens in any browser without a network."""
    for option, path, suffixes in (
        ("--out", out, (".html", ".htm")),
        ("--pdf", pdf, (".pdf",)),
        ("--png", png, (".png",)),
    ):
        if path is not None and path.suffix.lower() not in suffixes:
            raise ConfigError([f"{option} {path}: name it {path.stem}{suffixes[0]}"])
    place.whose(subject, "run")
    for path in (out, pdf, png):
        if path is not None and not path.absolute().parent.is_dir():
            raise ConfigError([f"{path}: there is no directory {path.absolute().parent}"])
    painter = found_browser(browser) if pdf is not None or png is not None else None
    archive = place.opened(subject)
    centre = {} if place.site is None else {"site": {"site": place.site}}
    wanted = naming.asked(place, out, place.about | centre)
    scope = place.scope(archive, subject)
    warn(told_elsewhere(archive.source, scope))
    with Progress(console=err, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("report", total=1.0)
        found = gather(archive.source, scope, wanted, lambda done: bar.update(task, completed=done))
    with written_whole(out) as partial:
        partial.write_text(page(found), encoding="utf-8")
    if painter is not None and pdf is not None:
        print_pdf(painter, out, pdf, dated=not wanted.pseudonyms.active)
    if painter is not None and png is not None:
        picture(painter, out, png)
    made = ", ".join(str(path) for path in (out, pdf, png) if path is not None)
    err.print(f"{made}: written", highlight=False, soft_wrap=True, markup=False)
