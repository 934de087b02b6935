"""What the commands have in common: how options are read, where words go, and how a run ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from acquisition.clock import NS, from_rfc3339
from acquisition.errors import ConfigError
from acquisition.event_loop import EventLoop

T = TypeVar("T")
out = Console()
err = Console(stderr=True)

Driver = Annotated[str | None, typer.Option(help="Name of a module in drivers/.")]
Profile = Annotated[str | None, typer.Option(help="Device profile, name or path.")]
Options = Annotated[list[str] | None, typer.Option("--option", help="Driver option, key=value; may be repeated.")]
Timezone = Annotated[str, typer.Option(help="Zone of the device's own clock.")]


def pairs(options: list[str] | None) -> dict[str, Any]:
    """The options of a driver, values as JSON where they are, else as text.

    Raises:
        ConfigError: one is not `key=value`.
    """
    found: dict[str, Any] = {}
    for option in options or ():
        key, equals, text = option.partition("=")
        if not equals:
            raise ConfigError([f"--option {option}: write key=value"])
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def time_of(text: str) -> int:
    """UTC nanoseconds of an RFC 3339 time.

    Raises:
        ConfigError: it is none, or has no offset.
    """
    try:
        return from_rfc3339(text)
    except ValueError as error:
        hint = "write it like 2026-01-31T18:00:00+01:00"
        raise ConfigError([f"{text!r} is not a time with a UTC offset: {error} ({hint})"]) from None


def time_in(text: str, started_ns: int) -> int:
    """UTC nanoseconds of a place in a trace: seconds since its start, or an RFC 3339 time.

    Raises:
        ConfigError: it is neither.
    """
    try:
        return started_ns + round(float(text) * NS)
    except (ValueError, OverflowError):
        return time_of(text)


def until_stopped(work: Coroutine[Any, Any, T]) -> T | None:
    """Runs `work`; SIGTERM and Ctrl-C cancel it, and that is a normal end."""

    async def supervised() -> T | None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            return await task
        return None

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        return runner.run(supervised())
