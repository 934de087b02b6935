"""Everything about one bed, in the order in which it would be mended."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from acquisition.clock import Clock, KernelClock
from acquisition.config import Config
from acquisition.doctor import disk, host
from acquisition.doctor.findings import Finding, fail
from acquisition.doctor.sinks import sink
from acquisition.doctor.unit import Unit, boot, rights, unit_of
from acquisition.errors import ConfigError
from acquisition.interfaces import Sink
from acquisition.sink_config import AnySink, read_secret


async def examine(
    config: Config, path: Path, make: Callable[[AnySink], Sink[object]], clock_now: Clock
) -> list[Finding]:
    """Looks at a bed from its configuration to its sinks.

    Args:
        config: Of the bed.
        path: Where it was read from.
        make: The sink that a table asks for.
        clock_now: For times of events and certificates.
    """
    unit = Unit.ask(unit_of(path.absolute()))
    ground = host.existing(config.journal.directory)
    found = [host.config_file(path), host.journal(config.journal.directory)]
    found += [disk.room(ground, config.journal.min_free_gb), *disk.wear(ground)]
    for device in config.device:
        if device.link.startswith("serial:"):
            found += host.serial_port(device.id, device.link)
    found.append(host.clock(KernelClock.read()))
    found += boot(unit)
    found += rights(unit, config)
    for each in config.sink:
        try:
            read_secret(each)
        except ConfigError as error:
            found.append(fail(f"sink {each.id}: {error}", "write it there, as root: docs/how-to/install.md"))
            continue
        if (secret := _secret_file(each)) is not None:
            found.append(host.secret_file(each.id, secret))
        found += await sink(each, partial(make, each), clock_now, unit)
    return found


def _secret_file(table: AnySink) -> Path | None:
    way, name = table.secret_source or ("", "")
    if way == "credential":
        return Path(os.environ.get("CREDENTIALS_DIRECTORY", ""), name)
    return Path(name) if way == "file" else None
