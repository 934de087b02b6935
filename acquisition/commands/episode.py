"""The commands that say whose data it is: `ecmo-daq episode ...`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.console import Console

from acquisition.archive.episodes.chain import Action
from acquisition.archive.episodes.importing import read_csv
from acquisition.archive.episodes.registry import Registry
from acquisition.archive.episodes.rules import CONFIGURATIONS, COVARIATES, RUN_EVENTS, RUN_REASONS, UNCERTAINTY_NS
from acquisition.archive.episodes.table import entry_table, stay_json, stay_table
from acquisition.clock import NS
from acquisition.commands.episode_desk import Desk, frozen, now
from acquisition.commands.episode_purge import purge_command
from acquisition.commands.episode_upkeep import rebuild_command, unassigned_command
from acquisition.commands.journal import AnyConfigPath, AsJson, JournalPath
from acquisition.errors import ConfigError

episode_app = typer.Typer(no_args_is_help=True, help="Say whose data it is: stays, ECMO runs, consent, measurements.")
run_app = typer.Typer(no_args_is_help=True, help="ECMO runs of a stay; a change of the oxygenator is an event of one.")
covariate_app = typer.Typer(no_args_is_help=True, help="What an analysis must know, such as an unloading device.")
episode_app.command("purge")(purge_command)
episode_app.command("unassigned")(unassigned_command)
episode_app.command("rebuild")(rebuild_command)
episode_app.add_typer(run_app, name="run")
episode_app.add_typer(covariate_app, name="covariate")
out = Console()
err = Console(stderr=True)

RegistryPath = Annotated[Path | None, typer.Option("--registry", help="File of the registry, episodes.jsonl.")]
Subject = Annotated[str, typer.Argument(help="Study id, such as LEV-03-012; never a name or hospital number.")]
At = Annotated[str | None, typer.Option(help="RFC 3339 with offset, 2026-01-31T18:00:00+01:00; without it: now.")]
Actor = Annotated[str | None, typer.Option(help="Who enters it; without it, the user of this computer.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the entry.")]
Bed = Annotated[str | None, typer.Option(help="Code of the bed; without it, that of the configuration.")]
Devices = Annotated[
    list[str] | None, typer.Option("--device", help="Only these devices of the bed are the subject's; repeatable.")
]


@episode_app.command()
def start(
    subject: Subject, bed: Bed = None, device: Devices = None, at: At = None, config: AnyConfigPath = None,
    journal: JournalPath = None, registry: RegistryPath = None, actor: Actor = None, reason: Reason = "",
) -> None:  # fmt: skip
    """A subject comes into a bed: what the bed records from then on is theirs."""
    desk = Desk.at(config, journal, registry)
    data = {"bed": desk.bed(bed), "devices": device or [], "from_ns": desk.time(at, now_ns=now())}
    desk.record(Action.START, subject, data, actor, reason)


@episode_app.command()
def transfer(
    subject: Subject, bed: Annotated[str, typer.Option(help="Code of the new bed.")], device: Devices = None,
    at: At = None, config: AnyConfigPath = None, journal: JournalPath = None, registry: RegistryPath = None,
    actor: Actor = None, reason: Reason = "",
) -> None:  # fmt: skip
    """A subject moves to another bed, or to another set of devices at the same one."""
    desk = Desk.at(config, journal, registry)
    data = {"bed": bed, "devices": device or [], "from_ns": desk.time(at, now_ns=now())}
    desk.record(Action.TRANSFER, subject, data, actor, reason)


@episode_app.command()
def stop(
    subject: Subject, at: At = None, config: AnyConfigPath = None, journal: JournalPath = None,
    registry: RegistryPath = None, actor: Actor = None, reason: Reason = "",
) -> None:  # fmt: skip
    """A subject leaves: what the bed records from then on is no longer theirs."""
    desk = Desk.at(config, journal, registry)
    desk.record(Action.STOP, subject, {"to_ns": desk.time(at, now_ns=now())}, actor, reason)


@episode_app.command()
def randomise(
    subject: Subject, at: At = None, config: AnyConfigPath = None, journal: JournalPath = None,
    registry: RegistryPath = None, actor: Actor = None, reason: Reason = "",
) -> None:  # fmt: skip
    """When a subject was randomised; the arm is never stored."""
    desk = Desk.at(config, journal, registry)
    desk.record(Action.RANDOMISE, subject, {"time_ns": desk.time(at, now_ns=now())}, actor, reason)


@episode_app.command()
def consent(
    subject: Subject,
    state: Annotated[str, typer.Argument(help="none, emergency, surrogate, patient, withdrawn or opposed.")],
    at: At = None, config: AnyConfigPath = None, journal: JournalPath = None, registry: RegistryPath = None,
    actor: Actor = None, reason: Reason = "",
) -> None:  # fmt: skip
    """On what ground a subject's data is kept, from a time to the next state. Deletes nothing: see purge."""
    desk = Desk.at(config, journal, registry)
    desk.record(Action.CONSENT, subject, {"state": state, "from_ns": desk.time(at, now_ns=now())}, actor, reason)


@run_app.command("start")
def run_start(
    subject: Subject, at: At = None,
    configuration: Annotated[str, typer.Option(help=", ".join(CONFIGURATIONS))] = "",
    elsewhere: Annotated[bool, typer.Option("--elsewhere", help="It began before the stay, in another place.")] = False,
    config: AnyConfigPath = None, journal: JournalPath = None, registry: RegistryPath = None, actor: Actor = None,
    reason: Reason = "",
) -> None:  # fmt: skip
    """An ECMO run begins."""
    desk = Desk.at(config, journal, registry)
    data = {"from_ns": desk.time(at, now_ns=now()), "configuration": configuration, "elsewhere": elsewhere}
    desk.record(Action.RUN_START, subject, data, actor, reason)


@run_app.command("stop")
def run_stop(
    subject: Subject, at: At = None, why: Annotated[str, typer.Option(help=", ".join(RUN_REASONS))] = "",
    config: AnyConfigPath = None, journal: JournalPath = None, registry: RegistryPath = None, actor: Actor = None,
    reason: Reason = "",
) -> None:  # fmt: skip
    """The cannulas are out; whether weaning succeeded is known 30 days later and not recorded here."""
    desk = Desk.at(config, journal, registry)
    desk.record(Action.RUN_STOP, subject, {"to_ns": desk.time(at, now_ns=now()), "why": why}, actor, reason)


@run_app.command("event")
def run_event(
    subject: Subject, what: Annotated[str, typer.Argument(help=", ".join(RUN_EVENTS))], at: At = None,
    config: AnyConfigPath = None, journal: JournalPath = None, registry: RegistryPath = None, actor: Actor = None,
    reason: Reason = "",
) -> None:  # fmt: skip
    """Something is done to the circuit; the run goes on."""
    desk = Desk.at(config, journal, registry)
    desk.record(Action.RUN_EVENT, subject, {"time_ns": desk.time(at, now_ns=now()), "what": what}, actor, reason)


_KNOWN = "; ".join(f"{name}: {', '.join(values)}" for name, values in COVARIATES.items())
CovariateName = Annotated[str, typer.Argument(help=_KNOWN)]
CovariateValue = Annotated[str, typer.Argument(help="Which; of a name that is so or not: yes.")]


@covariate_app.command("start")
def covariate_start(
    subject: Subject, name: CovariateName, value: CovariateValue = "yes", at: At = None, config: AnyConfigPath = None,
    journal: JournalPath = None, registry: RegistryPath = None, actor: Actor = None, reason: Reason = "",
) -> None:  # fmt: skip
    """A covariate begins to be so."""
    desk = Desk.at(config, journal, registry)
    data = {"name": name, "value": value, "from_ns": desk.time(at, now_ns=now())}
    desk.record(Action.COVARIATE_START, subject, data, actor, reason)


@covariate_app.command("stop")
def covariate_stop(
    subject: Subject, name: CovariateName, value: CovariateValue = "yes", at: At = None, config: AnyConfigPath = None,
    journal: JournalPath = None, registry: RegistryPath = None, actor: Actor = None, reason: Reason = "",
) -> None:  # fmt: skip
    """A covariate is no longer so."""
    desk = Desk.at(config, journal, registry)
    data = {"name": name, "value": value, "to_ns": desk.time(at, now_ns=now())}
    desk.record(Action.COVARIATE_STOP, subject, data, actor, reason)


@episode_app.command()
def note(
    subject: Subject, text: Annotated[str, typer.Argument(help="No names, no dates of birth, no numbers of a person.")],
    at: At = None, config: AnyConfigPath = None, journal: JournalPath = None, registry: RegistryPath = None,
    actor: Actor = None, reason: Reason = "",
) -> None:  # fmt: skip
    """Free text at a time of the stay."""
    desk = Desk.at(config, journal, registry)
    desk.record(Action.NOTE, subject, {"text": text, "time_ns": desk.time(at, now_ns=now())}, actor, reason)


@episode_app.command()
def echo(
    subject: Subject,
    at: Annotated[str, typer.Option(help="When it was MEASURED, RFC 3339 with offset.")],
    lvef: Annotated[float | None, typer.Option(help="LV ejection fraction, %.")] = None,
    vti: Annotated[float | None, typer.Option(help="LVOT velocity-time integral, cm.")] = None,
    tdsa: Annotated[float | None, typer.Option(help="Lateral mitral annulus S', cm/s.")] = None,
    lactate: Annotated[float | None, typer.Option(help="Blood lactate, mmol/L.")] = None,
    uncertainty: Annotated[float, typer.Option(help="How far off the time may be, seconds.")] = UNCERTAINTY_NS / NS,
    config: AnyConfigPath = None, journal: JournalPath = None, registry: RegistryPath = None, actor: Actor = None,
    reason: Reason = "",
) -> None:  # fmt: skip
    """Values that a person measured, with the bed's signals within five minutes of them frozen beside."""
    desk = Desk.at(config, journal, registry)
    given = {"lvef": lvef, "lvot_vti": vti, "tdsa": tdsa, "lactate": lactate}
    measured_ns = desk.time(at, now_ns=now())
    data = {
        "time_ns": measured_ns,
        "uncertainty_ns": round(uncertainty * NS),
        "values": {name: value for name, value in given.items() if value is not None},
        "snapshot": frozen(desk, measured_ns),
    }
    desk.record(Action.ECHO, subject, data, actor, reason)


@episode_app.command()
def amend(
    entry: Annotated[int, typer.Argument(help="Number of the entry; see list --entries.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="field=value, such as at=2026-01-31T18:00:00+01:00; repeatable.")
    ] = None,
    strike: Annotated[bool, typer.Option("--strike", help="The entry should never have been.")] = False,
    config: AnyConfigPath = None, journal: JournalPath = None, registry: RegistryPath = None, actor: Actor = None,
    reason: Annotated[str, typer.Option(help="Why; a correction needs one.")] = "",
) -> None:  # fmt: skip
    """Correct an entry; what stood there before is kept."""
    desk = Desk.at(config, journal, registry)
    fact = Registry.open(desk.path).facts.get(entry)
    changes: dict[str, Any] = {}
    for text in set_ or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError([f"--set {text}: write field=value"])
        if key in ("at", "time", "from", "to"):
            time_key = (
                next((name for name in fact.data if name in ("from_ns", "to_ns", "time_ns")), key) if fact else key
            )
            changes[time_key] = desk.time(value, now_ns=now())
        else:
            changes[key] = _parsed(value)
    if fact is not None and fact.entry.action is Action.ECHO and "time_ns" in changes:
        changes["snapshot"] = frozen(desk, changes["time_ns"])
    desk.record(Action.AMEND, "", {"entry": entry, "changes": changes, "void": strike}, actor, reason)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@episode_app.command("list")
def list_(
    subject: Annotated[str | None, typer.Argument(help="Only this subject.")] = None,
    entries: Annotated[bool, typer.Option("--entries", help="Every entry in place of the stays.")] = False,
    config: AnyConfigPath = None, journal: JournalPath = None, registry: RegistryPath = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show all stays, or every entry with who made it, when and why."""
    desk = Desk.at(config, journal, registry)
    known = Registry.open(desk.path)
    if known.repaired:
        err.print(f"{desk.path}: {known.repaired}", style="yellow", markup=False, soft_wrap=True)
    stays = known.stays() if subject is None else (known.stay(subject),)
    wanted = [each for each in known.entries if subject in (None, each.subject)]
    if as_json:
        told = [each.body for each in wanted] if entries else [stay_json(stay) for stay in stays]
        typer.echo(json.dumps(told))
    else:
        out.print(entry_table(wanted) if entries else stay_table(stays))


@episode_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with the columns subject, action, time and what the actions take.")],
    config: AnyConfigPath = None, journal: JournalPath = None, registry: RegistryPath = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Enter what a CSV file says, all of it or, with every mistake told, nothing."""
    desk = Desk.at(config, journal, registry)
    sheet = read_csv(file, ZoneInfo(desk.config.site.timezone) if desk.config else None)
    desk.write(sheet.drafts, actor, sheet.wrong)
