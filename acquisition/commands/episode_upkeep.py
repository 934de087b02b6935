"""The commands that look after registry and journal: `ecmo-daq episode unassigned` and `episode rebuild`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from acquisition.archive.episodes.events import registries
from acquisition.archive.episodes.file import replace
from acquisition.archive.episodes.registry import Registry
from acquisition.clock import rfc3339
from acquisition.commands.episode_desk import Desk, now, out
from acquisition.commands.episode_purge import from_influx
from acquisition.commands.journal import AnyConfigPath, JournalPath, journal_directory
from acquisition.config import RESERVED_DEVICE
from acquisition.errors import ConfigError, EpisodeError
from acquisition.journal import Journal
from acquisition.journal.purging import Purged, alone, purge
from acquisition.journal.reader import JournalReader
from acquisition.model import Event, EventKind
from acquisition.upkeep.unassigned import DAY_NS, windows_of


def unassigned_command(
    config: AnyConfigPath = None,
    older_than: Annotated[
        int | None, typer.Option(help="Days; without it, `unassigned_keep_days` of the configuration.", min=1)
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them for ever; stop the daemon first.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Show what a bed recorded of nobody's episode longer ago than so many days, or delete it."""
    desk = Desk.at(config, None, None)
    if desk.config is None or desk.journal is None:
        raise ConfigError(["give --config"])
    days = older_than or desk.config.episodes.unassigned_keep_days
    if days is None:
        raise ConfigError(["give --older-than, or unassigned_keep_days in [episodes]"])
    if not desk.path.exists():
        raise ConfigError([f"{desk.path}: no registry there, and without one everything would be unassigned"])
    cutoff_ns = now() - days * DAY_NS
    windows = list(windows_of(Registry.open(desk.path), JournalReader(desk.journal), desk.bed(None), cutoff_ns))
    for window in windows:
        span = f"{rfc3339(window.from_ns, 0)} to {rfc3339(window.to_ns, 0)}"
        out.print(f"{', '.join(window.devices)}: {span}", markup=False, highlight=False, soft_wrap=True)
    if not delete or not windows:
        return
    if not yes:
        typer.confirm("Delete all of this for ever?", abort=True)
    with alone(desk.journal):
        influx = asyncio.run(from_influx(desk.config, windows, ()))
        gone = purge(desk.journal, windows, lambda _: False, [])
    asyncio.run(_tell(desk.journal, days, gone, influx))
    out.print(f"{sum(each.points for each in gone)} points deleted", highlight=False)


async def _tell(directory: Path, days: int, gone: Sequence[Purged], influx: Sequence[dict[str, Any]]) -> None:
    """The audit line: an event in the journal, which the daemon forwards like any other."""
    text = f"{sum(each.points for each in gone)} points of no episode, older than {days} days, were deleted"
    detail = {"cause": "unassigned", "journal": [each.told for each in gone], "influx": list(influx)}
    event = Event(device=RESERVED_DEVICE, time_ns=now(), event=EventKind.RETENTION, text=text, detail=detail)
    async with Journal(directory) as journal:
        await journal.append([event])


def rebuild_command(
    file: Annotated[Path, typer.Argument(help="Where the registry is written; must not exist.")],
    config: AnyConfigPath = None,
    journal: JournalPath = None,
) -> None:
    """Write the registry anew from the events in a journal, the chain checked."""
    if file.exists():
        raise ConfigError([f"{file}: is there already"])
    events = JournalReader(journal_directory(config, journal)).query(devices={RESERVED_DEVICE}, kinds=("event",))
    found = registries(events)
    if len(found) != 1:
        raise EpisodeError(f"the journal has events of {len(found)} registries, not of one")
    (registry,) = found.values()
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        replace(file, registry.entries)
    except OSError as error:
        raise EpisodeError(f"{file}: cannot be written: {error.strerror}") from error
    out.print(
        f"{file}: {len(registry.entries)} entries, {len(registry.subjects())} subjects", highlight=False, soft_wrap=True
    )
