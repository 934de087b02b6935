"""The registry for people: a table of stays, a table of entries; and the same as JSON values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from acquisition.archive.episodes.chain import Entry
from acquisition.archive.episodes.events import sentence
from acquisition.archive.episodes.model import Interval, Stay
from acquisition.clock import rfc3339


def stay_table(stays: Sequence[Stay]) -> Table:
    """One row for each thing that is known of a stay, by subject; times in UTC."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("subject", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("from (UTC)", no_wrap=True)
    table.add_column("to (UTC)", no_wrap=True)
    for stay in stays:
        if stay.purged:
            table.add_row(stay.subject, "all data was deleted", "", "")
        for number, (what, from_ns, to) in enumerate(_known(stay)):
            table.add_row(stay.subject if number == 0 else "", what, _minute(from_ns), to)
    return table


def _known(stay: Stay) -> Iterator[tuple[str, int, str]]:
    for bed in stay.beds:
        yield f"bed {bed.bed}{_of(bed.devices)}", bed.from_ns, _until(bed)
    for run in stay.runs:
        yield " ".join(filter(None, ("ECMO run", run.configuration, run.reason))), run.from_ns, _until(run)
        for event in run.events:
            yield f"  {event.what}", event.time_ns, ""
    if stay.randomised_ns is not None:
        yield "randomised", stay.randomised_ns, ""
    for consent in stay.consent:
        yield f"consent {consent.state.value}", consent.from_ns, _until(consent)
    for each in stay.covariates:
        yield f"{each.name} {each.value}", each.from_ns, _until(each)
    for echo in stay.echoes:
        values = ", ".join(f"{name} {value:g}" for name, value in echo.values.items())
        yield values + (", signals frozen" if echo.snapshot else ""), echo.time_ns, ""
    for note in stay.notes:
        yield note.text, note.time_ns, ""


def entry_table(entries: Iterable[Entry]) -> Table:
    """One row an entry, amendments with what stood there before."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("entry", "recorded (UTC)", "by", "what", "data", "reason"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        data = dict(entry.data or {})
        reason = data.pop("reason", "")
        shown = {key: _value(key, value) for key, value in data.items() if key not in ("salt", "snapshot")}
        told = ", ".join(f"{key.removesuffix('_ns')} {value}" for key, value in shown.items())
        table.add_row(str(entry.number), _minute(entry.recorded_ns), entry.actor, sentence(entry), told, reason)
    return table


def stay_json(stay: Stay) -> dict[str, Any]:
    """A stay as JSON values; integer times are UTC nanoseconds."""
    return asdict(stay)


def _value(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{inner} {_value(inner, each)}" for inner, each in value.items()) + "}"
    if key == "uncertainty_ns":
        return f"{value / 1e9:g} s"
    return rfc3339(value, 0) if key.endswith("_ns") and isinstance(value, int) else str(value)


def _until(interval: Interval) -> str:
    return "now" if interval.to_ns is None else _minute(interval.to_ns)


def _minute(time_ns: int) -> str:
    return rfc3339(time_ns, 0)[:16].replace("T", " ")


def _of(devices: Sequence[str]) -> str:
    return f" ({', '.join(devices)})" if devices else ""
