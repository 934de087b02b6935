"""What a person sees in a terminal: live readings, the daemon's status, the summary of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from acquisition.catalogue import Catalogue
from acquisition.clock import NS, rfc3339
from acquisition.health import ClockHealth, DeviceHealth, Health, told
from acquisition.journal.reader import JournalStat
from acquisition.live import LiveValue, LiveView
from acquisition.model import Quality
from acquisition.upkeep.growth import MOST_HOURS

_STYLE = {Quality.GOOD: "bold green", Quality.SUSPECT: "bold yellow", Quality.BAD: "bold red", None: "dim"}
_LINK = {"open": "green", "opening": "yellow", "silent": "yellow", "lost": "red", "ended": "dim"}
_SINK = {"idle": "green", "delivering": "green", "waiting": "yellow", "refused": "red"}
SIDE_BY_SIDE = 33
"""Columns of a terminal that a device takes on average."""
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Braille dot bits by row and column (Unicode chart U+2800)."""


def live_screen(live: LiveView, health: Health, now_ns: int, *, width: int = 100) -> RenderableType:
    """The newest values by device, the last seconds of each waveform, and the newest events."""
    catalogue = Catalogue.shipped()
    tables: list[RenderableType] = []
    values = list(live.values())
    for device in health.devices:
        own = [value for value in values if value.device == device.id]
        tables.append(_device_table(device.id, device.state, device.driver, own, catalogue, now_ns))
    row = Table.grid(*("" for _ in tables), padding=(0, 1))
    row.add_row(*tables)
    side_by_side = row if width >= SIDE_BY_SIDE * len(tables) else Columns(tables, padding=(0, 1))
    parts: list[RenderableType] = [_headline(health, now_ns), side_by_side]
    for (device_id, channel), samples in live.waves().items():
        unit = catalogue.unit(channel)
        present = [sample for sample in samples if sample == sample]
        if not present:
            continue
        title = f"{device_id} · {channel} · {min(present):.0f} to {max(present):.0f} {unit}"
        parts.append(Panel(Text(braille(samples, width - 6, 5), style="red"), title=title, title_align="left"))
    parts += [
        Text(f"{rfc3339(event.time_ns, 0)[11:19]} {event.device}: {event.text}", style="yellow")
        for event in list(live.events)[-3:]
    ]
    return Group(*parts)


def braille(samples: Sequence[float], columns: int, rows: int) -> str:
    """A line of `rows` x `columns` characters, each 2 x 4 dots, newest sample at the right; missing ones are blank."""
    present = [sample for sample in samples if sample == sample]
    if not present or columns < 1:
        return ""
    low, high = min(present), max(present)
    span = (high - low) or 1.0
    grid = [[0] * columns for _ in range(rows)]
    wide, tall = 2 * columns, 4 * rows
    previous: int | None = None
    for x in range(wide):
        sample = samples[min(len(samples) - 1, x * len(samples) // wide)]
        if sample != sample:
            previous = None
            continue
        y = round((high - sample) / span * (tall - 1))
        first, last = (y, y) if previous is None else (min(y, previous), max(y, previous))
        for dot in range(first, last + 1):
            grid[dot // 4][x // 2] |= _DOTS[dot % 4][x % 2]
        previous = y
    return "\n".join("".join(chr(0x2800 + cell) for cell in row) for row in grid)


def status_screen(health: Health, now_ns: int) -> RenderableType:
    """Devices, sinks, journal and what needs a person."""
    devices = Table(title="devices", title_justify="left", expand=True)
    for column in ("device", "driver", "link", "state", "last reading", "stored", "frames good, bad, late", "gaps"):
        devices.add_column(column, overflow="fold")
    for device in health.devices:
        frames = f"{device.frames_good:,}, {device.frames_bad:,}, {device.frames_late:,}"
        last = "never" if device.last_reading_ns is None else age(now_ns - device.last_reading_ns) + " ago"
        devices.add_row(
            device.id, device.driver, Text(device.link), Text(device.state, style=_LINK.get(device.state, "")), last,
            f"{sum(device.values.values()):,}", frames, str(device.gaps),
        )  # fmt: skip
    sinks = Table(title="sinks", title_justify="left", expand=True)
    for column in ("sink", "state", "delivered", "backlog", "outage may last", "rejected"):
        sinks.add_column(column, overflow="fold")
    for sink in health.sinks:
        backlog = f"{sink.backlog:,}" + (f"\nabout {_size(sink.backlog_bytes)}" if sink.backlog else "")
        if sink.oldest_unsent_ns is not None:
            backlog += f"\nsince {age(now_ns - sink.oldest_unsent_ns)} ago"
        sinks.add_row(
            sink.id, Text(sink.state, style=_SINK.get(sink.state, "")),
            f"{sink.delivered:,}\n{sink.points_per_second:,.0f}/s", backlog, _hours(sink.hours_left),
            str(sink.quarantined),
        )  # fmt: skip
    journal = health.journal
    hours = "" if journal.hours_left is None else f", room for {_hours(journal.hours_left)} at the present rate"
    size = (
        f"journal {journal.directory}: {journal.size_bytes / 1e6:.1f} MB, {journal.free_bytes / 1e9:.1f} GB free{hours}"
    )
    problems = [Text(f"! {problem}", style="red") for problem in health.problems()]
    if not problems and not health.is_stale(now_ns):  # of a daemon that is gone nobody knows it
        problems = [Text("all is well", "green")]
    errors = [Text(f"sink {sink.id}: {sink.last_error}", style="yellow") for sink in health.sinks if sink.last_error]
    clocks = [Text(line) for line in (_system_clock(health.clock), _clocks(health.devices)) if line]
    identities = [Text(f"{device.id}: {what}") for device in health.devices if (what := told(device.identity))]
    return Group(
        _headline(health, now_ns), devices, *identities, sinks, *errors, *clocks, Text(size), *problems,
    )  # fmt: skip


def _system_clock(clock: ClockHealth) -> str:
    """What the kernel says of its clock; empty where it cannot be asked."""
    if clock.synchronised is None:
        return ""
    if not clock.synchronised:
        return "system clock: not synchronised"
    return f"system clock: synchronised, estimated error {(clock.estimated_error_ns or 0) / 1e6:.1f} ms"


def _clocks(devices: Iterable[DeviceHealth]) -> str:
    """How far the devices' own clocks are from ours; empty if none has one."""
    each = []
    for device in devices:
        if device.clock_ahead_ns is not None:
            drift = "" if device.clock_drift_ppm is None else f" drifting {device.clock_drift_ppm:+.0f} ppm"
            each.append(f"{device.id} {device.clock_ahead_ns / NS:+.1f} s{drift}")
    return f"clocks against ours: {', '.join(each)}" if each else ""


def journal_screen(stat: JournalStat) -> RenderableType:
    """What a journal holds: readings by device and channel, events, and what each sink has still to get."""
    table = Table(title=f"{stat.points:,} points appended, {stat.blocks:,} blocks kept", title_justify="left")
    table.add_column("device", overflow="fold")
    table.add_column("channel", overflow="fold")
    table.add_column("readings", justify="right", overflow="fold")
    for device in sorted(stat.readings.keys() | stat.events.keys()):
        counts = dict(sorted(stat.readings.get(device, {}).items()))
        if device in stat.events:
            counts["(events)"] = stat.events[device]
        for channel, count in counts.items():
            table.add_row(device, channel, f"{count:,}")
    span = f"{rfc3339(stat.first_ns, 0)} to {rfc3339(stat.last_ns, 0)}" if stat.points else "empty"
    lines = [f"{span}, {stat.files} files, {stat.bytes / 1e6:.1f} MB"]
    lines += [f"sink {sink}: {count:,} points to send" for sink, count in sorted(stat.backlog.items())]
    lines += [f"{stat.quarantined} observations rejected by a sink"] if stat.quarantined else []
    damage = [Text(f"! damaged: {name}", style="red") for name in stat.damaged]
    return Group(table, *(Text(line) for line in lines), *damage)


def summary_table(rows: Iterable[tuple[str, str, int | None, int, int]]) -> Table:
    """Device, channel, expected (None: not known), stored, gaps; one row a channel."""
    table = Table(title="what was stored", title_justify="left")
    table.add_column("device", overflow="fold")
    table.add_column("channel", overflow="fold")
    for column in ("expected", "stored", "missing", "gaps"):
        table.add_column(column, justify="right", overflow="fold")
    for device, channel, expected, stored, gaps in rows:
        missing = None if expected is None else expected - stored
        style = "green" if missing == 0 else "red" if missing else "dim"
        table.add_row(
            device, channel, "" if expected is None else f"{expected:,}", f"{stored:,}",
            Text("" if missing is None else f"{missing:,}", style=style), str(gaps),
        )  # fmt: skip
    return table


def age(ns: int) -> str:
    """A span of time in the largest fitting unit."""
    seconds = ns / NS
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def _hours(hours: float | None) -> str:
    if hours is None:
        return "not known yet"
    return "more than a year" if hours >= MOST_HOURS else f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h"


def _size(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _headline(health: Health, now_ns: int) -> Text:
    running = age(now_ns - health.started_ns)
    text = Text.assemble(
        ("ecmo-daq ", "bold"), f"{health.version}  {health.site}/{health.bed}  running {running}  ",
        (rfc3339(now_ns, 0)[11:], "dim"), ("  research use only", "dim italic"),
    )  # fmt: skip
    return text


def _device_table(
    device: str, state: str, driver: str, values: Iterable[LiveValue], catalogue: Catalogue, now_ns: int
) -> Table:
    title = Text.assemble((device, "bold"), f" · {driver} · ", (state, _LINK.get(state, "")))
    table = Table(title=title, title_justify="left", show_header=False, min_width=30)
    table.add_column(style="cyan")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for value in values:
        shown = value.state.value if value.value is None and value.state else f"{value.value:.5g}"
        old = now_ns - value.time_ns > 5 * NS
        style = "dim" if old else _STYLE[value.quality]
        table.add_row(value.channel, Text(shown, style=style), catalogue.unit(value.channel))
    return table
