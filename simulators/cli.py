"""The command `ecmo-sim`: one command per simulated device, and whole beds."""

from __future__ import annotations

import asyncio
import contextlib
import pkgutil
import signal
from collections.abc import Callable, Coroutine
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

import simulators
from acquisition.clock import SystemClock
from simulators.bed import run_bed
from simulators.faults import FaultKind, FaultyDevice, Injected, Schedule
from simulators.links import attached
from simulators.physiology import Patient
from simulators.playing import play, players
from simulators.recordings import read_recording
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


@app.command()
def bed(
    directory: Annotated[Path, typer.Option("--dir", help="Where the links to pseudo-terminals go.")],
    monitor: Annotated[str, typer.Option(help="Where the monitor sends HL7, tcp://host:port.")],
    phenotype: Annotated[str, typer.Option(help="P0 severe, P1 trial median, P2 improving, P3 weanable.")] = "P1",
) -> None:
    """Run pump, sweep gas and monitor of one patient; prints links, then at SIGTERM what was sent, as JSON lines."""
    _until_stopped(run_bed(directory, monitor, phenotype))


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
    as_: Annotated[str, typer.Option("--as", help="Protocol: first word of a simulator that can, such as hl7.")],
    link: Annotated[str | None, typer.Option(help="As for that simulator.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="Signal's name=channel id; may be repeated.")] = None,
    speed: Annotated[float, typer.Option(help="Times as fast as recorded.", min=0.01)] = 1.0,
) -> None:
    """Play a real recording in a monitor's protocol, once; ends when the other end has everything."""
    able = players(devices())
    if as_ not in able:
        raise typer.BadParameter(f"{as_!r}; these can play: {', '.join(able)}", param_hint="--as")
    try:
        recording = read_recording(record, dict(each.split("=", 1) for each in channel or ()))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="RECORD") from None
    if recording.left_out:
        typer.echo(f"left out: {', '.join(recording.left_out)}", err=True)
    default = next(module.DEFAULT_LINK for name, module in devices().items() if name.partition("_")[0] == as_)
    _until_stopped(play(recording, able[as_], link or default, speed, typer.echo))


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
        fault_log: Annotated[Path | None, typer.Option(help="Each fault as a line of JSON.")] = None,
    ) -> None:
        _until_stopped(_run_device(module, link, phenotype, rpm, _schedule(faults, seed), fault_log))

    command.__doc__ = (module.__doc__ or name).strip().splitlines()[0]
    return command


def _schedule(faults: str, seed: int) -> Schedule | None:
    names = [kind.value for kind in FaultKind] if faults == "all" else [name for name in faults.split(",") if name]
    try:
        kinds = [FaultKind(name.strip()) for name in names]
    except ValueError as error:
        raise typer.BadParameter(f"{error}; have {', '.join(FaultKind)}", param_hint="--faults") from None
    return Schedule(seed, kinds) if kinds else None


async def _run_device(
    module: ModuleType, link: str, phenotype: str, rpm: float, schedule: Schedule | None, fault_log: Path | None
) -> None:
    patient = Patient(phenotype, rpm)
    device = module.create(patient.numerics)
    hear = getattr(device, "extend", None)
    if schedule is not None:
        device = FaultyDevice(device, schedule, SystemClock(), _logged(fault_log))
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
