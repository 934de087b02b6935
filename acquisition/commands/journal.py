"""The commands that look into a journal: `ecmo-daq journal ...`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from acquisition.clock import rfc3339
from acquisition.errors import ConfigError, SinkError
from acquisition.journal.cursors import Quarantined
from acquisition.journal.quarantine import Quarantine, observation_of
from acquisition.journal.reader import JournalReader
from acquisition.model import Numerics, Waveform

journal_app = typer.Typer(no_args_is_help=True, help="Look into a journal.")
out = Console()
err = Console(stderr=True)

AnyConfigPath = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file that names the journal.")
]
JournalPath = Annotated[Path | None, typer.Option("--journal", help="Directory of a journal.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@journal_app.command("stat")
def journal_stat(config: AnyConfigPath = None, journal: JournalPath = None, as_json: AsJson = False) -> None:
    """Count what a journal holds: files, blocks, readings by channel, what each sink has still to get."""
    from acquisition.commands.screen import journal_screen

    stat = JournalReader(journal_directory(config, journal)).stat()
    if as_json:
        typer.echo(json.dumps(asdict(stat)))
    else:
        out.print(journal_screen(stat))


@journal_app.command("verify")
def journal_verify(config: AnyConfigPath = None, journal: JournalPath = None, as_json: AsJson = False) -> None:
    """Read every block of every file and check it, also while the daemon runs; exit code 1 if anything is damaged."""
    reader = JournalReader(journal_directory(config, journal))
    files = []
    for name, blocks in reader.verify():
        files.append({"file": name, "blocks": blocks})
        if not as_json:
            out.print(f"{name}: {blocks:,} sound blocks", highlight=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps({"files": files, "damaged": reader.damaged}))
    else:
        for report in reader.damaged:
            out.print(f"! damaged: {report}", style="red", markup=False, highlight=False, soft_wrap=True)
    if reader.damaged:
        raise typer.Exit(1)


@journal_app.command("quarantine")
def journal_quarantine(
    config: AnyConfigPath = None,
    journal: JournalPath = None,
    sink: Annotated[str | None, typer.Option(help="Of this sink only.")] = None,
    again: Annotated[
        bool, typer.Option("--resend", help="Put them to the sinks of --config once more; what is taken is struck off.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what sinks rejected and why, or put it to them again once the cause is mended."""
    if again:
        _resend(config, sink, as_json=as_json)
        return
    entries = [_told(entry) for entry in Quarantine(journal_directory(config, journal)).entries(sink)]
    if as_json:
        typer.echo(json.dumps(entries))
        return
    for told in entries:
        words = f"{told['sink']}  {told['time']}  {told['device']}  {' '.join(told['channels']) or told['kind']}"
        out.print(f"{words}: {told['reason']}", markup=False, highlight=False, soft_wrap=True)
    err.print(f"{len(entries)} rejected observations", highlight=False)


def _told(entry: Quarantined) -> dict[str, Any]:
    observation = observation_of(entry)
    channels: list[str] = []
    if isinstance(observation, Numerics):
        channels = [*observation.values, *observation.states]
    elif isinstance(observation, Waveform):
        channels = [observation.channel]
    return {
        "sink": entry.sink,
        "time": rfc3339(observation.time_ns),
        "time_ns": observation.time_ns,
        "device": observation.device,
        "kind": observation.kind,
        "channels": channels,
        "reason": entry.reason,
    }


def _resend(config: Path | None, only: str | None, *, as_json: bool) -> None:
    from acquisition.commands.resend import Outcome, resend
    from acquisition.config import load_config
    from acquisition.daemon import make_sink

    settings = load_config(needed(config, "--config"))
    sinks = {each.id: each for each in settings.sink}
    if only is not None and only not in sinks:
        raise ConfigError([f"--sink {only}: the configuration has no such sink"])
    quarantine = Quarantine(settings.journal.directory)
    outcome, failed = Outcome(), list[str]()

    async def each_sink() -> None:
        entries = sorted(quarantine.entries(only), key=attrgetter("sink"))
        for name, group in groupby(entries, key=attrgetter("sink")):
            if name not in sinks:
                failed.append(f"{name}: the configuration has no such sink")
                continue
            try:
                async with make_sink(sinks[name], settings, visits=True) as sink:
                    await resend(quarantine, list(group), sink, outcome)
            except SinkError as error:
                failed.append(f"{name}: {error}")

    asyncio.run(each_sink())
    if as_json:
        typer.echo(json.dumps({"taken": outcome.taken, "rejected": outcome.rejected, "failed": failed}))
    else:
        out.print(f"{outcome.taken} taken, {outcome.rejected} rejected again", highlight=False)
        for failure in failed:
            err.print(failure, style="red", markup=False, highlight=False, soft_wrap=True)
    if outcome.rejected or failed:
        raise typer.Exit(1)


def journal_directory(config: Path | None, journal: Path | None) -> Path:
    """The journal that the options name.

    Raises:
        ConfigError: they name none, or there is none.
    """
    directory = journal
    if directory is None:
        from acquisition.config import load_config

        directory = load_config(needed(config, "--config or --journal"), for_sinks=False).journal.directory
    if not directory.is_dir():
        raise ConfigError([f"{directory}: no journal there"])
    return directory


def needed(path: Path | None, options: str) -> Path:
    """The path, which the user has to give.

    Raises:
        ConfigError: it is not given.
    """
    if path is None:
        raise ConfigError([f"give {options}"])
    return path
