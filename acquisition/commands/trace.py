"""The commands that replay traces, look into them, cut, compare and draw them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from acquisition.clock import rfc3339
from acquisition.commands.arguments import Driver, Options, Profile, Timezone, err, out, pairs, time_in, until_stopped
from acquisition.commands.playback import Playback, play
from acquisition.commands.trace_cut import cut_excerpt
from acquisition.commands.trace_diff import Comparison, Lines, compare, lines_of
from acquisition.commands.trace_info import cut_trace, seconds, trace_info
from acquisition.commands.trace_plot import Collected, write_chart
from acquisition.errors import ConfigError
from acquisition.logs import configure
from acquisition.replay import Replayed, driver_for, replay, zone_of
from acquisition.trace import Direction, read_trace

trace_app = typer.Typer(no_args_is_help=True, help="Look into traces, cut, compare and draw them.")

TracePath = Annotated[Path, typer.Argument(help="Trace file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
SHOWN = 10
FOREVER = 2**63 - 1


def replay_command(
    trace: Annotated[list[Path], typer.Argument(help="Trace file; or those of a rotating recording, in order.")],
    driver: Driver = None,
    profile: Profile = None,
    option: Options = None,
    speed: Annotated[str, typer.Option(help="A factor, 1 for real time; max; or step: Enter for each piece.")] = "max",
    timezone: Timezone = "UTC",
    device: Annotated[str | None, typer.Option(help="Device id in the observations.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines in place of CSV.")] = False,
    journal: Annotated[Path | None, typer.Option(help="Also keep everything in the journal of this directory.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Configuration that has the sinks.")] = None,
    sink: Annotated[list[str] | None, typer.Option(help="Also deliver the journal to this sink; repeatable.")] = None,
) -> None:
    """Replay a trace through the production driver; observations go to standard output."""
    configure("error", "console")
    wanted = Playback(
        traces=trace,
        driver=driver_for(trace[0], driver, profile, pairs(option)),
        device=device,
        zone=zone_of(timezone),
        speed=None if speed in ("max", "step") else _positive(speed),
        step=speed == "step",
        as_json=as_json,
        journal=journal,
        config=config,
        sinks=tuple(sink or ()),
    )
    played = until_stopped(play(wanted))
    if played is not None and played.cut_short:
        raise typer.Exit(1)


@trace_app.command("info")
def info(trace: TracePath, as_json: AsJson = False) -> None:
    """Tell what a trace holds: link, driver, length, bytes, lost links, silence, damage."""
    found = trace_info(trace)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    came, went = found.pieces["<"], found.pieces[">"]
    lines = [
        f"link      {found.link}" + (" (shared)" if found.shared else ""),
        f"driver    {found.driver}",
        f"started   {found.started}",
        f"length    {seconds(found.duration_ns)}",
        f"received  {came:,} pieces, {found.bytes['<']:,} bytes",
        f"sent      {went:,} pieces, {found.bytes['>']:,} bytes; woken {found.turns:,} times without sending",
        f"silence   at most {seconds(found.longest_silence_ns)}, from {seconds(found.silence_at_ns)} on",
        *(f"link lost at {seconds(at)}: {why}" for at, why in found.losses),
        *([f"damaged   {found.damage}"] if found.damage else []),
    ]
    for line in lines:
        out.print(line, highlight=False, markup=False, soft_wrap=True)


@trace_app.command("cut")
def cut_command(
    trace: TracePath,
    target: Annotated[Path, typer.Argument(help="New trace file; its suffix chooses the compression.")],
    from_: Annotated[str | None, typer.Option("--from", help="Seconds since the start, or RFC 3339.")] = None,
    to: Annotated[str | None, typer.Option(help="Likewise; what is there is not included.")] = None,
    direction: Annotated[str | None, typer.Option(help="received or sent; both without it.")] = None,
    driver: Driver = None,
    profile: Profile = None,
    option: Options = None,
) -> None:
    """Write a part of a trace to a new one: a window of time, a direction.

    With --driver or --profile, as much of the conversation's opening goes along as the driver needs to make of the part
    what it makes of it in the whole.
    """
    configure("error", "console")
    directions: dict[str, Direction] = {"received": "<", "sent": ">"}
    if direction is not None and direction not in directions:
        raise ConfigError([f"--direction {direction}: use received or sent"])
    header, pieces = read_trace(trace)
    pieces.close()
    begin = header.started_ns if from_ is None else time_in(from_, header.started_ns)
    end = FOREVER if to is None else time_in(to, header.started_ns)
    if begin >= end:
        raise ConfigError([f"--from {from_ or 'its start'} is not before --to {to}: nothing would be cut out"])
    if driver or profile:
        if direction is not None:
            raise ConfigError(["--direction: a driver needs both; leave out --driver and --profile"])
        built = partial(driver_for, trace, driver, profile, pairs(option))
        cut = asyncio.run(cut_excerpt(trace, target, begin, end, built))
        told = f"{target}: {cut.pieces} pieces, {cut.opening} of the opening; {cut.kept} of {cut.readings} readings"
        _tell(told + (f"; {cut.damage}" if cut.damage else ""))
        return
    count, damage = cut_trace(trace, target, begin, end, directions.get(direction or ""))
    _tell(f"{target}: {count} pieces" + (f"; {damage}" if damage else ""))


@trace_app.command("diff")
def diff(
    one: Annotated[Path, typer.Argument(help="A trace, or observations as JSON Lines (.jsonl).")],
    other: Annotated[Path, typer.Argument(help="Likewise; may be the same trace, with another driver or profile.")],
    driver: Driver = None,
    profile: Profile = None,
    option: Options = None,
    other_driver: Annotated[str | None, typer.Option(help="For the other, if not the same.")] = None,
    other_profile: Annotated[str | None, typer.Option(help="For the other, if not the same.")] = None,
    other_option: Annotated[list[str] | None, typer.Option(help="For the other, if not the same.")] = None,
    timezone: Timezone = "UTC",
    from_start: Annotated[bool, typer.Option(help="Count times from the first observation of each.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show every difference, not the first ten.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare what two traces, or two drivers, make observations of; exit code 1 if they differ."""
    configure("error", "console")
    lines = _observations(one, driver, profile, option, timezone)
    others = _observations(
        other, other_driver or driver, other_profile or profile, option if other_option is None else other_option,
        timezone,
    )  # fmt: skip
    try:
        found = compare(lines, others, from_start=from_start)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError([f"not observations as JSON Lines: {error}"]) from None
    if as_json:
        typer.echo(json.dumps(_as_json(found)))
    else:
        _show(found, SHOWN if not everything else len(found.differences), from_start=from_start)
    if found.differences:
        raise typer.Exit(1)


@trace_app.command("plot")
def plot(
    trace: TracePath,
    target: Annotated[Path, typer.Argument(help="Picture: .svg, .html or .png.")],
    driver: Driver = None,
    profile: Profile = None,
    option: Options = None,
    timezone: Timezone = "UTC",
    channels: Annotated[str | None, typer.Option(help="Only these channel ids, separated by commas.")] = None,
) -> None:
    """Draw signals and their quality over time, with gaps and what became of the link."""
    configure("error", "console")
    wanted = None if channels is None else {name.strip() for name in channels.split(",")}
    collected = Collected(wanted)
    built = driver_for(trace, driver, profile, pairs(option))
    played = asyncio.run(replay(trace, built, collected.take, zone=zone_of(timezone)))
    header, pieces = read_trace(trace)
    pieces.close()
    shown = [header.driver, profile, header.link, f"{collected.count:,} observations"]
    subtitle = " · ".join(word for word in shown if word)
    write_chart(collected.chart(trace.name, subtitle), target)
    _tell(f"{target}: {collected.count} observations" + (f"; {played.damage}" if played.damage else ""))


def _observations(
    path: Path, driver: str | None, profile: str | None, option: list[str] | None, timezone: str
) -> list[str]:
    if path.suffix == ".jsonl":
        return lines_of(path)
    collected = Lines()
    built = driver_for(path, driver, profile, pairs(option))
    _warn(path, asyncio.run(replay(path, built, collected.take, zone=zone_of(timezone))))
    return collected.lines


def _warn(path: Path, played: Replayed) -> None:
    if played.damage:
        _tell(f"{path}: damaged, replayed up to there: {played.damage}")


def _show(found: Comparison, shown: int, *, from_start: bool) -> None:
    counts = found.counts
    out.print(
        f"same {counts['same']:,}, different {counts['different']:,}, only in the one {counts['only_in_one']:,}, "
        f"only in the other {counts['only_in_other']:,}",
        highlight=False,
    )
    for number, each in enumerate(found.differences[:shown]):
        when = seconds(each.place.time_ns) if from_start else rfc3339(each.place.time_ns)
        first = "first difference: " if number == 0 else ""
        out.print(f"{first}{when} {each.place.name}", highlight=False, markup=False, soft_wrap=True)
        for sign, said in (("-", each.one), ("+", each.other)):
            if said is not None:
                out.print(f"  {sign} {said}", highlight=False, markup=False, soft_wrap=True)
    if len(found.differences) > shown:
        out.print(f"and {len(found.differences) - shown:,} more (--all shows them)", highlight=False)
    for name, count in found.by_name.most_common():
        out.print(f"{count:>8,}  {name}", highlight=False, markup=False)


def _as_json(found: Comparison) -> dict[str, Any]:
    differences = [
        {"time_ns": each.place.time_ns, "name": each.place.name, "one": each.one, "other": each.other}
        for each in found.differences
    ]
    return {**found.counts, "by_name": dict(found.by_name), "differences": differences}


def _positive(text: str) -> float:
    with contextlib.suppress(ValueError):
        if float(text) > 0:
            return float(text)
    raise ConfigError([f"--speed {text}: use a positive factor, max or step"])


def _tell(line: str) -> None:
    err.print(line, highlight=False, markup=False, soft_wrap=True)
