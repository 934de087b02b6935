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
from simulators.bed import run_bed
from simulators.links import attached
from simulators.physiology import Patient
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
