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
from acquisition.archive.export.pseudonyms import Pseudonyms, read_key
from acquisition.archive.export.request import Format, Request
from acquisition.archive.resample import duration_ns
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
    To,
    User,
    named,
    opened,
    warn,
)
from acquisition.config import load_config
from acquisition.errors import ConfigError
from acquisition.mistakes import nearest

out_console = Console()
err = Console(stderr=True)


def export(
    out: Annotated[Path, typer.Option(help="Directory to make.")],
    config: AnyConfigPath = None,
    journal: JournalPath = None,
    influx: InfluxUrl = None,
    database: Database = "ecmo",
    user: User = None,
    site: Site = None,
    registry: RegistryPath = None,
    subject: Annotated[list[str] | None, typer.Option(help="Study id; may be repeated.")] = None,
    bed: Bed = None,
    channels: Channels = None,
    from_: From = None,
    to: To = None,
    format_: Annotated[str, typer.Option("--format", help="parquet, csv, wfdb, edf or atriumdb.")] = "parquet",
    every: Annotated[str, typer.Option(help="Length of a bucket of the wide table.")] = "1m",
    times: Annotated[
        str, typer.Option(help="relative: hours since randomisation, or ECMO start; or utc.")
    ] = "relative",
    pseudonymize: Annotated[
        Path | None, typer.Option(metavar="KEYFILE", help="New names by this key; made if there is no such file.")
    ] = None,
    request: Annotated[str, typer.Option(help="Name of the data request: each has names of its own.")] = "",
    free_text: Annotated[bool, typer.Option("--free-text", help="Keep what people and devices wrote.")] = False,
    clif: Annotated[
        str,
        typer.Option(
            metavar="CATEGORY",
            help="Also write the table ecmo_mcs of CLIF; how the patient is connected: VA_ECMO, VV_ECMO ...",
        ),
    ] = "",
    omop: Annotated[bool, typer.Option("--omop", help="Also write the table MEASUREMENT of OMOP.")] = False,
    role: Annotated[str, typer.Option(help="blinded, or unblinded to keep what tells of the study drug.")] = "blinded",
    ledger: Annotated[
        Path | None, typer.Option(help="Chain of data sets; by default exports.jsonl beside the data set.")
    ] = None,
) -> None:
    """Write subjects' runs, or a bed's time, as a self-describing data set."""
    for name, word, known in (
        ("--format", format_, [form.value for form in Format]),
        ("--times", times, ["relative", "utc"]),
        ("--role", role, ROLES),
        ("--clif", clif, ["", *Mapping.shipped().device_categories]),
    ):
        if word not in known:
            raise ConfigError([f"{name} {word}{nearest(word, known)}"])
    if pseudonymize is not None and not request:
        raise ConfigError(["--pseudonymize: name the data request with --request, so that it has names of its own"])
    if not subject and bed is None and config is None:
        raise ConfigError(["give --subject, --bed or --config: whose data is it?"])
    archive = opened(config, journal, influx, database, user, site, registry, bed, subject[0] if subject else None)
    whose: list[str | None] = [*subject] if subject else [None]
    scopes = [archive.scope(subject=each, bed=bed, from_=from_, to=to) for each in whose]
    for scope in scopes:
        warn(told_elsewhere(archive.source, scope))
    wanted = Request(
        Format(format_),
        duration_ns(every),
        utc=times == "utc",
        free_text=free_text,
        unblinded=role == "unblinded",
        pseudonyms=Pseudonyms() if pseudonymize is None else Pseudonyms(read_key(pseudonymize, out), request),
        channels=named(channels),
        clif=clif,
        omop=omop,
        about={} if config is None else load_config(config, for_sinks=False).model_dump(mode="json"),
    )
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
