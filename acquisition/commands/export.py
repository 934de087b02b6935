"""The commands that make a data set and prove it unchanged: `ecmo-daq export` and `ecmo-daq verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from acquisition.archive.absence import told_elsewhere
from acquisition.archive.export import proof
from acquisition.archive.export.clif import Mapping
from acquisition.archive.export.dataset import export as write
from acquisition.archive.export.request import Format
from acquisition.archive.resample import duration_ns
from acquisition.commands.options import Naming, Place, err, known, warn, with_options
from acquisition.errors import ConfigError

out_console = Console()


@with_options
def export(
    out: Annotated[Path, typer.Option(help="Directory to make.")],
    place: Place,
    naming: Naming,
    subject: Annotated[list[str] | None, typer.Option(help="Study id; may be repeated.")] = None,
    format_: Annotated[str, typer.Option("--format", help="parquet, csv, wfdb, edf or atriumdb.")] = "parquet",
    every: Annotated[str, typer.Option(help="Length of a bucket of the wide table.")] = "1m",
    clif: Annotated[
        str,
        typer.Option(
            metavar="CATEGORY",
            help="Also write the table ecmo_mcs of CLIF; how the patient is connected: VA_ECMO, VV_ECMO ...",
        ),
    ] = "",
    omop: Annotated[bool, typer.Option("--omop", help="Also write the table MEASUREMENT of OMOP.")] = False,
    ledger: Annotated[
        Path | None, typer.Option(help="Chain of data sets; by default exports.jsonl beside the data set.")
    ] = None,
) -> None:
    """Write subjects' runs, or a bed's time, as a self-describing data set."""
    known("--format", format_, Format)
    known("--clif", clif, ["", *Mapping.shipped().device_categories])
    place.whose(subject, "data")
    whose: list[str | None] = [*dict.fromkeys(subject)] if subject else [None]
    archive = place.opened(whose[0])
    scopes = [place.scope(archive, each) for each in whose]
    for scope in scopes:
        warn(told_elsewhere(archive.source, scope))
    form, every_ns = Format(format_), duration_ns(every)
    wanted = naming.asked(place, out, place.about, format=form, every_ns=every_ns, clif=clif, omop=omop)
    with Progress(console=err, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("export", total=1.0)
        manifest = write(
            archive.source, archive.registry, scopes, wanted, out, ledger=ledger,
            progress=lambda done: bar.update(task, completed=done),
        )  # fmt: skip
    err.print(f"{out}: written; SHA-256 of {proof.MANIFEST}: {manifest}", highlight=False, soft_wrap=True)


def verify(
    directory: Annotated[Path, typer.Argument(help="Directory of a data set.")],
    ledger: Annotated[
        Path | None,
        typer.Option(help="Chain of data sets; by default exports.jsonl beside the data set, if it is there."),
    ] = None,
) -> None:
    """Prove that a data set is unchanged; exit code 2 if it is not."""
    if ledger is not None and not ledger.is_file():
        raise ConfigError(
            [f"{ledger}: no chain of exports there; it is named {proof.LEDGER}, where the export was made"]
        )
    beside = directory.absolute().parent / proof.LEDGER
    chain = ledger or (beside if beside.exists() else None)
    found = proof.verified(directory, chain)
    against = "" if chain else "; no chain of exports was there: compare this hash with the one that was told at export"
    out_console.print(
        f"{directory}: unchanged; SHA-256 of {proof.MANIFEST}: {found}{against}", soft_wrap=True, highlight=False
    )
