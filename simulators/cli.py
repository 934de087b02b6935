"""The command `ecmo-sim`: one command per simulated device, and whole beds."""

from __future__ import annotations

import asyncio
import contextlib
import pkgutil
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

import simulators
from acquisition.clock import SystemClock
from acquisition.mistakes import nearest
from simulators.bed import run_bed
from simulators.bed_devices import KINDS
from simulators.faults import FaultKind, FaultyDevice, Injected, Schedule
from simulators.links import attached
from simulators.physiology import Patient
from simulators.playing import play, players
from simulators.recordings import read_recording
from simulators.scenario import Scenario, ScenarioError, load_scenario, shipped
from simulators.ward import run_scenario, run_ward
from simulators.whole_bed import run_whole_bed

STEP_S = 0.05

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Simulated devices on real wires, for testing; each speaks for one simulated patient.",
)


def main() -> None:
    """Runs the command."""
    app()


Named = Annotated[str, typer.Argument(help="A scenario of the library (`ecmo-sim scenarios`), or a TOML file.")]


@app.command()
def scenarios() -> None:
    """List the library of scenarios."""
    for name in shipped():
        typer.echo(f"{name:20} {load_scenario(name).title}")


@app.command()
def scenario(
    name: Named,
    out: Annotated[Path, typer.Option(help="Directory for the ground truth.")],
    speed: Annotated[str, typer.Option(help="How much faster than real, or max.")] = "max",
) -> None:
    """Run a scenario without wires and write what was true, as JSON lines."""
    read = _scenario(name)
    pace = _speed(speed)
    path = out / f"{read.name}.truth.jsonl.zst"
    out.mkdir(parents=True, exist_ok=True)
    _until_stopped(run_scenario(read, path, pace, partial(typer.echo, err=True)))
    typer.echo(path)


@app.command()
def bed(
    name: Named,
    directory: Annotated[Path, typer.Option("--dir", help="For pseudo-terminals, bed.toml and truth.jsonl.")],
    only: Annotated[str, typer.Option("--devices", help="Some of the devices, with commas.")] = ",".join(KINDS),
    speed: Annotated[float, typer.Option(help="How much faster than real patient and devices live.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Another patient of the same kind.")] = None,
    until_eof: Annotated[bool, typer.Option(help="When stopped, keep the wires until standard input ends.")] = False,
) -> None:
    """Run all devices of one patient on real wires; prints links, then at SIGTERM what was sent, as JSON lines."""
    _until_stopped(run_bed(_scenario(name, seed), directory, _names(only), speed, until_eof=until_eof))


@app.command()
def ward(
    beds: Annotated[int, typer.Option(min=1, help="How many.")],
    directory: Annotated[Path, typer.Option("--dir", help="Each bed gets a directory of its own in it.")],
    name: Annotated[str, typer.Option("--scenario", help="What happens at each.")] = "stable",
    only: Annotated[str, typer.Option("--devices", help="Some of the devices, with commas.")] = ",".join(KINDS),
    speed: Annotated[float, typer.Option(help="How much faster than real.")] = 1.0,
) -> None:
    """Run many beds, a process and another patient each; prints the links of each as a JSON line."""
    read, names = _scenario(name), _names(only)
    _until_stopped(run_ward(beds, directory, name if read.name == name else str(Path(name).resolve()), names, speed))


def _scenario(name: str, seed: int | None = None) -> Scenario:
    try:
        read = load_scenario(name)
        return read if seed is None else replace(read, seed=seed)
    except ScenarioError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def _names(only: str) -> tuple[str, ...]:
    names = tuple(only.split(","))
    for name in names:
        if name not in KINDS:
            raise typer.BadParameter(f"no device {name!r}{nearest(name, KINDS)}", param_hint="--devices")
    return names


def _speed(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        if text == "max" or float(text) > 0:
            return None if text == "max" else float(text)
    raise typer.BadParameter(f"{text!r} is neither a number above 0 nor max", param_hint="--speed")


@app.command("whole-bed")
def whole_bed(
    directory: Annotated[Path, typer.Option("--dir", help="For links to pseudo-terminals and the configuration.")],
    phenotype: Annotated[str, typer.Option(help="P0 severe, P1 trial median, P2 improving, P3 weanable.")] = "P1",
) -> None:
    """Run every simulated device at one bed; writes DIR/bed.toml for ecmo-daq, and prints its path when all are up."""
    _until_stopped(run_whole_bed(directory, phenotype))


@app.command("play")
def play_command(
    record: Annotated[Path, typer.Argument(help="WFDB record, or CSV with seconds in the first column.")],
    as_: Annotated[str, typer.Option("--as", help="Protocol: dri, hl7 or intellivue.")],
    link: Annotated[str | None, typer.Option(help="As for that simulator.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="Signal's name=channel id; may be repeated.")] = None,
    speed: Annotated[float, typer.Option(help="Times as fast as recorded.", min=0.01)] = 1.0,
) -> None:
    """Play a real recording in a monitor's protocol, once; ends when the other end has everything."""
    able = players(devices())
    if as_ not in able:
        raise typer.BadParameter(f"{as_!r}; these can play: {', '.join(able)}", param_hint="--as")
    monitor = able[as_]
    try:
        recording = read_recording(record, _renamed(channel or ()))
        recording.keep(monitor.carries)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="RECORD") from None
    if recording.left_out:
        typer.echo(f"left out: {', '.join(recording.left_out)}", err=True)

    async def played() -> None:
        unasked = await play(recording, monitor.make, link or monitor.link, speed, typer.echo)
        if unasked:
            typer.echo(f"the other end did not ask for: {', '.join(unasked)}", err=True)

    _until_stopped(played())


def _renamed(given: Sequence[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    if wrong := [name for name, _, channel in pairs if not name or not channel]:
        raise typer.BadParameter(f"{wrong}: say NAME=channel_id", param_hint="--channel")
    return {name: channel for name, _, channel in pairs}


def devices() -> dict[str, ModuleType]:
    """Modules that simulate one device: those with `create` and `DEFAULT_LINK`."""
    found = {info.name: import_module(f"simulators.{info.name}") for info in pkgutil.iter_modules(simulators.__path__)}
    return {name: module for name, module in found.items() if hasattr(module, "create")}


def _device_command(name: str, module: ModuleType) -> Callable[..., None]:
    def command(
        link: Annotated[
            str, typer.Option(help="pty:///path, tcp-listen://host:port, tcp://host:port or udp://host:port.")
        ] = (module.DEFAULT_LINK),
        phenotype: Annotated[str, typer.Option(help="P0, P1, P2 or P3.")] = "P1",
        rpm: Annotated[float, typer.Option(help="Pump speed.")] = 3000.0,
        faults: Annotated[str, typer.Option(help="What goes wrong, separated by commas, or all.")] = "",
        seed: Annotated[int, typer.Option(help="Of the faults' schedule.")] = 0,
        fault_every: Annotated[float, typer.Option(help="Mean seconds from one to the next.", min=0.1)] = 10.0,
        fault_log: Annotated[Path | None, typer.Option(help="Each fault as a line of JSON.")] = None,
    ) -> None:
        _until_stopped(_run_device(module, link, phenotype, rpm, _schedule(faults, seed, fault_every), fault_log))

    command.__doc__ = (module.__doc__ or name).strip().splitlines()[0]
    return command


def _schedule(faults: str, seed: int, every_s: float) -> Schedule | None:
    known = [kind.value for kind in FaultKind]
    names = known if faults == "all" else [name.strip() for name in faults.split(",") if name]
    if wrong := [f"no fault {name!r}{nearest(name, known)}" for name in names if name not in known]:
        raise typer.BadParameter("; ".join(wrong), param_hint="--faults")
    kinds = [FaultKind(name) for name in names]
    return Schedule(seed, kinds, every_s=every_s) if kinds else None


async def _run_device(
    module: ModuleType, link: str, phenotype: str, rpm: float, schedule: Schedule | None, fault_log: Path | None
) -> None:
    patient = Patient(phenotype, rpm)
    make = partial(module.create, patient.numerics)
    device = make()
    if schedule is not None:
        device = FaultyDevice(device, schedule, SystemClock(), _logged(fault_log), make)
    hear = getattr(device, "extend", None)
    async with attached(link, device) as url:
        typer.echo(url)
        await keep_alive(patient, hear)


def _logged(path: Path | None) -> Callable[[Injected], None]:
    def note(fault: Injected) -> None:
        if path is None:
            typer.echo(fault.line(), err=True)
        else:
            with path.open("a", encoding="utf-8") as file:
                file.write(fault.line() + "\n")

    return note


async def keep_alive(patient: Patient, hear: Callable[[list[float]], None] | None = None) -> None:
    """Lets the patient live in real time.

    Args:
        patient: Who lives.
        hear: Gets the arterial pressure, mmHg at 125 Hz, where the device shows it as a wave.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    lived = 0.0
    while True:
        patient.advance(STEP_S)
        pressures = patient.take_abp()
        if hear is not None:
            hear(pressures)
        lived += STEP_S
        await asyncio.sleep(max(0.0, start + lived - loop.time()))


def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    async def supervised() -> None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(supervised())


for _name, _module in devices().items():
    app.command(_name)(_device_command(_name, _module))

if __name__ == "__main__":
    main()
