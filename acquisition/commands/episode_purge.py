"""The command that deletes a subject's data on withdrawal and leaves a tombstone: `ecmo-daq episode purge`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from acquisition.archive.episodes.events import sentence
from acquisition.archive.episodes.registry import Registry, Stay
from acquisition.archive.episodes.writing import bury
from acquisition.clock import rfc3339
from acquisition.commands.episode_desk import Desk, err, now, out, user
from acquisition.commands.journal import AnyConfigPath
from acquisition.config import RESERVED_DEVICE, Config
from acquisition.daemon import influx_server
from acquisition.errors import ConfigError
from acquisition.journal.purging import Window, alone, purge
from acquisition.model import Event, EventKind, Observation
from acquisition.sink_config import MqttConfig, read_secret

_NOT_FROM_MQTT = "what was published stays with who received it; a broker keeps what it was told to retain"


def purge_command(
    subject: Annotated[str, typer.Argument(help="Study id.")],
    ground: Annotated[str, typer.Option(help="withdrawn, opposed, no_consent or other.")],
    config: AnyConfigPath = None,
    actor: Annotated[str | None, typer.Option(help="Who asks for it; without it, the user of this computer.")] = None,
    reason: Annotated[str, typer.Option(help="Kept in the tombstone.")] = "",
    other_beds_done: Annotated[
        bool, typer.Option("--other-beds-done", help="What other beds recorded of the subject is deleted there.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a subject's data from journal, InfluxDB (1.x, 2.x) and registry for ever; a tombstone stays.

    Stop the daemon first.
    """
    desk = Desk.at(config, None, None)
    if desk.config is None or desk.journal is None:
        raise ConfigError(["give --config"])
    registry = Registry.open(desk.path)
    stay = registry.stay(subject)
    _refuse_early(stay, desk.config, ground, other_beds_done=other_beds_done)
    at = now()
    here = [bed for bed in stay.beds if bed.bed == desk.config.site.bed]
    for bed in here:
        until = "now" if bed.to_ns is None else rfc3339(bed.to_ns, 0)
        out.print(
            f"bed {bed.bed} from {rfc3339(bed.from_ns, 0)} to {until}", markup=False, highlight=False, soft_wrap=True
        )
    if not yes:
        typer.confirm(f"Delete all of this, and what the registry says of {subject}, for ever?", abort=True)
    windows = [
        Window(bed.from_ns, bed.to_ns or at, frozenset(bed.devices), spared=frozenset({RESERVED_DEVICE}))
        for bed in here
    ]
    told = [entry.recorded_ns for entry in registry.entries if entry.subject == subject]
    damaged: list[str] = []
    with alone(desk.journal):
        influx = asyncio.run(from_influx(desk.config, windows, told))
        gone = purge(desk.journal, windows, lambda each: _is_of(each, subject), damaged)
        tombstone = {
            "ground": ground,
            "reason": reason,
            "intervals": [
                {"bed": bed.bed, "from_ns": bed.from_ns, "to_ns": bed.to_ns, "devices": list(bed.devices)}
                for bed in stay.beds
            ],
            "journal": [each.told for each in gone],
            "influx": influx,
        }
        entry = bury(desk.path, subject, tombstone, actor=actor or user(), now_ns=at)
    _report(desk.config, sentence(entry), tombstone, damaged)


def _refuse_early(stay: Stay, config: Config, ground: str, *, other_beds_done: bool) -> None:
    """Everything that can be wrong is found before anything is deleted."""
    if stay.purged:
        raise ConfigError([f"the data of {stay.subject} was purged already"])
    if ground not in ("withdrawn", "opposed", "no_consent", "other"):
        raise ConfigError([f"--ground {ground}: use withdrawn, opposed, no_consent or other"])
    others = sorted({bed.bed for bed in stay.beds} - {config.site.bed})
    if others and not other_beds_done:
        first = "delete what those recorded first, then give --other-beds-done"
        raise ConfigError([f"{stay.subject} was in other beds too: {', '.join(others)}; {first}"])


async def from_influx(config: Config, windows: Sequence[Window], told: Sequence[int]) -> list[dict[str, Any]]:
    """Deletes from every InfluxDB of a configuration that can; says so of each sink, JSON values.

    Args:
        config: Of the bed; a server that cannot is told of and left alone.
        windows: Readings that go.
        told: Times of events of the registry that go.

    Raises:
        ConfigError: a secret is not where the configuration says.
        SinkError: a server does not answer, or refuses.
    """
    from acquisition.sinks.influxdb_purging import InfluxPurge, Points  # its library is slow to import

    gone: list[dict[str, Any]] = []
    for sink in config.sink:
        if isinstance(sink, MqttConfig):
            gone.append({"sink": sink.id, "deleted": False, "why": _NOT_FROM_MQTT})
            continue
        secret = read_secret(sink)
        server = influx_server(sink, None if secret is None else secret.get_secret_value())
        async with InfluxPurge(server, site=config.site.site, bed=config.site.bed) as database:
            if why := await database.why_not():
                gone.append({"sink": sink.id, "deleted": False, "why": why})
                continue
            devices = await database.devices()
            points = [
                Points(device, window.from_ns, window.to_ns)
                for window in windows
                for device in devices
                if window.touches(device, window.from_ns, window.from_ns)
            ]
            points += [Points(RESERVED_DEVICE, time_ns, time_ns + 1, ("events",)) for time_ns in told]
            deleted = await database.delete(points)
        gone += [{"sink": sink.id, "deleted": True, **each} for each in deleted]
    return gone


def _is_of(observation: Observation, subject: str) -> bool:
    """Whether an event tells of the subject's episode."""
    if not isinstance(observation, Event) or observation.event is not EventKind.EPISODE:
        return False
    entry = observation.detail.get("entry")
    return isinstance(entry, dict) and entry.get("subject") == subject


def _report(config: Config, told: str, tombstone: dict[str, Any], damaged: Sequence[str]) -> None:
    points = sum(each["points"] for each in tombstone["journal"])
    values = sum(each.get("values", 0) for each in tombstone["influx"])
    out.print(
        f"{told}; {points} points of the journal, {values} values in InfluxDB",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    left = [f"could not be read and went too: {each}" for each in damaged]
    left += [
        f"sink {each['sink']}: not deleted there: {each['why']}" for each in tombstone["influx"] if not each["deleted"]
    ]
    left += [f"device {each.id}: its trace {each.record} is not touched" for each in config.device if each.record]
    for each in left:
        err.print(f"! {each}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if left:
        raise typer.Exit(1)
