"""Arguments in, composition out: the command `ecmo-daq`."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import os
import sys
from importlib import import_module
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from acquisition import INTENDED_USE
from acquisition.clock import SystemClock
from acquisition.commands.arguments import Driver, Options, Profile, err, out, pairs, until_stopped
from acquisition.commands.journal import AnyConfigPath, AsJson, needed
from acquisition.errors import AcquisitionError, ConfigError

if TYPE_CHECKING:
    from acquisition.config import Config

ELSEWHERE = {
    "replay": "trace.replay_command",
    "query": "query.query",
    "export": "export.export",
    "verify": "export.verify",
    "report": "report.report",
    "journal": "journal.journal_app",
    "trace": "trace.trace_app",
    "episode": "episode.episode_app",
}
"""Commands and groups of commands that other modules have."""


class _Commands(TyperGroup):
    """Imports what a command needs when it is called: a question to the archive waits for no part of the daemon."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Those of this file, then the others."""
        return [*super().list_commands(ctx), *ELSEWHERE]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command or group of that name; None if there is none."""
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = ELSEWHERE[cmd_name].partition(".")
        found = getattr(import_module(f"acquisition.commands.{module}"), attribute)
        if isinstance(found, typer.Typer):
            group = get_group(found)
            group.name = cmd_name
            return group
        alone = typer.Typer(add_completion=False)
        alone.command(cmd_name)(found)
        return get_command(alone)


app = typer.Typer(
    cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=INTENDED_USE
)

logger = logging.getLogger(__name__)

ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="Configuration file (TOML).")]


def main() -> None:
    """Runs the command; a configuration or usage mistake ends with 2, any other failure with 1."""
    try:
        app()
    except ConfigError as error:
        _complain(*error.problems)
        sys.exit(2)
    except AcquisitionError as error:
        _complain(str(error))
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has seen enough
        sys.exit(0)


def _complain(*problems: str) -> None:
    """For people, and for those who ask systemd why a service does not start: by its state, or by its errors alone."""
    from acquisition.logs import PRIORITY, is_journal
    from acquisition.upkeep.notify import notify

    mark = f"<{PRIORITY['critical']}>" if is_journal() else ""
    for problem in problems:
        err.print(f"{mark}{problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    notify(f"STATUS=nothing is recorded: {problems[0]}")


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"ecmo-daq {package_version('ecmo-daq')}\n{INTENDED_USE}", highlight=False, soft_wrap=True)
        raise typer.Exit


@app.callback()
def common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Version and intended use.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def run(config: ConfigPath) -> None:
    """Run the daemon until it is told to stop (SIGTERM, Ctrl-C)."""
    from acquisition.config import load_config, profile_search
    from acquisition.daemon import Daemon
    from acquisition.logs import configure

    # Without its secret a sink waits for a person, and the bed is recorded.
    settings = load_config(config, for_sinks=False)
    configure(settings.log.level, settings.log.format)
    faulthandler.enable()  # systemd's watchdog ends a service that hangs by SIGABRT: the log then says where it hung
    try:
        until_stopped(Daemon(settings, profiles=profile_search(config)).run())
    except AcquisitionError as error:
        logger.critical("%s", error)
        raise typer.Exit(1) from None


@app.command()
def demo(
    seconds: Annotated[float | None, typer.Option(help="End by itself after so long; without it, at Ctrl-C.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep the journal in this directory.")] = None,
) -> None:
    """Run a simulated bed with an embedded journal and show it live; nothing to install."""
    from acquisition.commands.demo import run_demo
    from acquisition.logs import configure

    configure("warning", "console")
    raise typer.Exit(until_stopped(run_demo(seconds, keep, out)) or 0)


@app.command()
def check(
    config: ConfigPath,
    devices: Annotated[bool, typer.Option("--devices", help="Also listen to each device for a moment.")] = False,
    seconds: Annotated[float, typer.Option(help="How long to listen.")] = 5.0,
    acknowledge: Annotated[
        bool,
        typer.Option(
            "--acknowledge", help="Acknowledge what HL7 senders say, so that they say more; nobody stores it then."
        ),
    ] = False,
) -> None:
    """Validate a configuration; every mistake at once, with its place and a hint."""
    from acquisition.catalogue import Catalogue
    from acquisition.config import load_config, profile_search
    from acquisition.registry import build_driver

    settings = load_config(config)
    out.print(
        f"{config}: {len(settings.device)} devices, {len(settings.sink)} sinks: valid", highlight=False, soft_wrap=True
    )
    for device in settings.device:
        driver = build_driver(
            device.driver, device.profile, device.options, Catalogue.shipped(), profile_search(config)
        )
        if not driver.verified:
            what = device.profile or device.driver
            out.print(
                f"{device.id}: {what} is unverified on hardware: compare it with the device's own display",
                soft_wrap=True,
            )
    if devices and not until_stopped(
        _listen_to_all(settings, profile_search(config), seconds, acknowledge=acknowledge)
    ):
        raise typer.Exit(1)


async def _listen_to_all(settings: Config, profiles: tuple[Path, ...], seconds: float, *, acknowledge: bool) -> bool:
    from acquisition.commands.listening import listen_to
    from acquisition.transports.links import Links

    links = Links(device.link for device in settings.device)
    found = await asyncio.gather(
        *(listen_to(device, seconds, profiles, links, acknowledge=acknowledge) for device in settings.device)
    )
    for device, told in zip(settings.device, found, strict=True):
        out.print(
            f"{device.id}: {told}", style="green" if told.startswith("ok") else "red", highlight=False, soft_wrap=True
        )
    return all(told.startswith("ok") for told in found)


@app.command()
def status(
    config: AnyConfigPath = None,
    file: Annotated[Path | None, typer.Option(help="Status file, in place of --config.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the running daemon: devices, sinks, backlog, journal, clock; exit code 1 if something needs a person."""
    from acquisition.commands.screen import age, status_screen
    from acquisition.config import load_config
    from acquisition.health import Health

    path = file or load_config(needed(config, "--config or --file"), for_sinks=False).status_file
    health = Health.read(path)
    now_ns = SystemClock().now().utc_ns + health.clock.ahead_ns
    stale = health.is_stale(now_ns)
    if as_json:
        told = {"stale": stale, "age_s": (now_ns - health.time_ns) / 1e9, "problems": health.problems()}
        typer.echo(json.dumps({**health.model_dump(mode="json"), **told}))
    else:
        out.print(status_screen(health, now_ns))
        if stale:
            old = age(abs(now_ns - health.time_ns))
            why = "the daemon is not running or hangs, or cannot write there"
            out.print(f"! all of this is {old} old, from {path}: {why}", style="red", markup=False, highlight=False)
    if stale or health.problems():
        raise typer.Exit(1)


@app.command()
def doctor(config: ConfigPath) -> None:
    """Examine what a bed stands on: permissions, ports, disk, clock, sinks, unit; exit code 1 if anything fails.

    Sends one event to each sink, since only that shows whether it may be written to.
    """
    from acquisition.config import load_config
    from acquisition.daemon import make_sink
    from acquisition.doctor.examination import examine
    from acquisition.doctor.findings import Verdict

    colours = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}
    os.environ.setdefault("CREDENTIALS_DIRECTORY", str(config.parent / "credentials"))
    settings = load_config(config, for_sinks=False)
    found = asyncio.run(examine(settings, config, lambda sink: make_sink(sink, settings, visits=True), SystemClock()))
    for finding in found:
        out.print(str(finding), style=colours[finding.verdict], markup=False, highlight=False, soft_wrap=True)
    if any(finding.verdict is Verdict.FAIL for finding in found):
        raise typer.Exit(1)


@app.command()
def record(
    link: Annotated[str, typer.Argument(help="Link URL, such as serial:///dev/ttyUSB0?baud=38400.")],
    trace: Annotated[Path, typer.Argument(help="Trace file: .trace, .trace.gz or .trace.zst.")],
    driver: Driver = None,
    profile: Profile = None,
    option: Options = None,
    seconds: Annotated[float | None, typer.Option(help="End by itself after so long.")] = None,
) -> None:
    """Record the raw bytes of a link with their times; with --driver, also poll the device, and cut identity out.

    Without --driver only HL7 is recognised, and whatever else tells of a patient is in the trace.
    """
    from acquisition.logs import configure
    from acquisition.replay import record_link

    configure("info", "console")
    if driver is None:
        err.print("without --driver a name is cut out of HL7 alone: keep this trace as you keep names", highlight=False)
    pieces = until_stopped(record_link(link, trace, driver, profile, pairs(option), seconds))
    err.print(f"{trace}: {pieces} pieces", highlight=False)


@app.command("case-log")
def case_log(
    log: Annotated[Path, typer.Argument(help="Case log as exported, with a header line.")],
    trace: Annotated[Path, typer.Argument(help="Trace file to write; must not exist.")],
    profile: Annotated[str, typer.Option(help="Profile of the driver delimited, such as your copy of rotaflow_csv.")],
    timezone: Annotated[str, typer.Option(help="Zone of the console's clock.")],
) -> None:
    """Turn a console's exported log into a trace, every row at its own time, to replay or to keep."""
    from acquisition.commands.case_log import trace_of_log
    from acquisition.replay import zone_of

    done = trace_of_log(log, trace, profile, zone_of(timezone))
    err.print(
        f"{trace}: {done.rows} rows; {done.passed_over} lines without a time passed over",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    main()
