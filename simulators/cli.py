"""The command `ecmo-sim`: one command per simulated device, and whole beds."""

from __future__ import annotations

import asyncio
import contextlib
import pkgutil
import signal
from collections.abc import Callable, Coroutine
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

import simulators
from acquisition.mistakes import nearest
from simulators.bed import run_bed
from simulators.bed_devices import KINDS
from simulators.links import attached
from simulators.physiology import Patient
from simulators.scenario import Scenario, ScenarioError, load_scenario, shipped
from simulators.ward import run_scenario, run_ward

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
    _until_stopped(run_scenario(read, path, pace))
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
    ) -> None:
        _until_stopped(_run_device(module, link, phenotype, rpm))

    command.__doc__ = (module.__doc__ or name).strip().splitlines()[0]
    return command


async def _run_device(module: ModuleType, link: str, phenotype: str, rpm: float) -> None:
    patient = Patient(phenotype, rpm)
    device = module.create(patient.numerics)
    async with attached(link, device) as url:
        typer.echo(url)
        await keep_alive(patient, getattr(device, "extend", None))


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
