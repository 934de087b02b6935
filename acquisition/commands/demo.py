"""The demonstration: a simulated bed in a process of its own, the real daemon on an embedded journal, and a tally."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live

from acquisition.catalogue import Catalogue
from acquisition.commands.screen import live_screen, summary_table
from acquisition.config import load_config
from acquisition.daemon import Daemon
from acquisition.derive import pulse_pressure
from acquisition.errors import AcquisitionError
from acquisition.journal.reader import JournalReader
from acquisition.model import Event, EventKind

REFRESH_S = 0.25
PLAIN_EVERY_S = 5.0
START_S = 20.0


async def run_demo(seconds: float | None, keep: Path | None, console: Console) -> int:
    """Runs the bed for `seconds`, or until cancelled, and prints what was sent and what was stored.

    Returns:
        0 if everything that the simulated devices sent is in the journal, otherwise 1.

    Raises:
        AcquisitionError: the simulators did not start.
    """
    with contextlib.ExitStack() as stack:
        if keep is None:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ecmo-daq-demo-")))
        else:
            work = keep
            work.mkdir(parents=True, exist_ok=True)
        async with _bed(work) as bed:
            await _line(bed)
            daemon = Daemon(load_config(work / "bed.toml"))
            running = asyncio.create_task(daemon.run(), name="daemon")
            try:
                await _show(daemon, running, seconds, console)
                bed.terminate()
                sent = await _line(bed)
            finally:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running
        rows = list(_tally(JournalReader(work / "journal"), sent))
        console.print(summary_table(rows))
        missing = sum(max(0, expected - stored) for _, _, expected, stored, _ in rows if expected is not None)
        verdict = "every reading the devices sent is stored" if not missing else f"{missing} readings are missing"
        console.print(verdict, style="green" if not missing else "red")
        if keep is not None:
            console.print(
                f"journal: {work / 'journal'}  (ecmo-daq query --config {work / 'bed.toml'})", highlight=False
            )
        return 0 if not missing else 1


@contextlib.asynccontextmanager
async def _bed(work: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    # A session of its own, so that Ctrl-C reaches us alone and the bed is stopped in order.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators.cli", "bed", "stable", "--dir", str(work),
        "--devices", "pump,gas,mon", "--until-eof",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _line(bed: asyncio.subprocess.Process) -> dict[str, dict[str, int]]:
    """The next line of JSON that the bed prints."""
    line = b""
    if bed.stdout is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                line = await bed.stdout.readline()
    if not line:
        raise AcquisitionError("the simulated bed said nothing", hint="run `ecmo-sim bed` by itself to see why")
    answer: dict[str, dict[str, int]] = json.loads(line)
    return answer


async def _show(daemon: Daemon, running: asyncio.Task[None], seconds: float | None, console: Console) -> None:
    """Shows the live view until the time is over, Ctrl-C, or the daemon fails."""
    loop = asyncio.get_running_loop()
    end = None if seconds is None else loop.time() + seconds
    every = REFRESH_S if console.is_terminal else PLAIN_EVERY_S
    with contextlib.ExitStack() as stack:
        live = None
        if console.is_terminal:
            live = stack.enter_context(Live(console=console, auto_refresh=False, screen=False))
        with contextlib.suppress(asyncio.CancelledError):
            while not running.done() and (end is None or loop.time() < end):
                await asyncio.sleep(every if end is None else max(0.0, min(every, end - loop.time())))
                if daemon.latest is None:
                    continue
                view = live_screen(daemon.live, daemon.latest, daemon.latest.time_ns, width=console.width)
                if live is not None:
                    live.update(view, refresh=True)
                else:
                    console.print(view)
    if running.done():
        running.result()  # raises what ended the daemon


def _tally(reader: JournalReader, sent: dict[str, dict[str, int]]) -> Iterator[tuple[str, str, int | None, int, int]]:
    """Device, channel, values sent, values stored, gaps; read back from the journal, not from counters."""
    stored: Counter[tuple[str, str]] = Counter()
    gaps: Counter[str] = Counter()
    for observation in reader.query():
        if isinstance(observation, Event):
            gaps[observation.device] += observation.event is EventKind.GAP
            continue
        if observation.kind == "numerics":
            # What a device says in place of a number is a reading too.
            said = observation.values.keys() | observation.states.keys()
            stored.update((observation.device, channel) for channel in said)
        else:
            stored[observation.device, observation.channel] += len(observation.raw) // 4
    expected = {(device, channel): count for device, counts in sent.items() for channel, count in counts.items()}
    catalogue = Catalogue.shipped()
    for device, channel in sorted(stored.keys() | expected.keys()):
        if (
            (known := catalogue.get(channel))
            and known.hidden
            and expected.get((device, channel)) == stored[device, channel]
        ):
            continue
        count = expected.get((device, channel))
        if channel == pulse_pressure.CHANNEL:
            count = expected.get((device, pulse_pressure.SYSTOLIC))
        yield device, channel, count, stored[device, channel], gaps[device]
