"""The tables that describe a data set: codebook, configured devices, versions, audit log, quarantine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from acquisition.archive.chunk import Window
from acquisition.archive.episodes.chain import Entry
from acquisition.archive.export.axis import Axis
from acquisition.archive.export.blinding import tells
from acquisition.archive.export.request import Request
from acquisition.archive.lines import line
from acquisition.archive.scope import Scope
from acquisition.catalogue import Catalogue, Channel
from acquisition.errors import JournalError
from acquisition.journal.cursors import Quarantined
from acquisition.journal.quarantine import observation_of
from acquisition.model import Event, EventKind, Numerics, Waveform

Row = Sequence[object]

CODEBOOK = (
    "channel", "description", "kind", "unit_ucum", "mdc_code", "mdc_refid", "mdc_provenance", "snomed_ct", "loinc",
    "other_codes", "hard_low", "hard_high", "plausible_low", "plausible_high", "max_rate_per_s", "derived", "source",
    "note", "devices",
)  # fmt: skip
COMPLETENESS = (
    "subject", "device", "channel", "bucket", "start_h", "expected", "received", "valid", "valid_fraction",
)  # fmt: skip
GAPS = ("subject", "device", "channel", "from", "to", "seconds", "cause")
CLOCK = (
    "subject", "device", "time", "ahead_s", "drift_ppm", "uncertainty_s", "set_by_s", "synchronised",
    "estimated_error_s", "max_error_s",
)  # fmt: skip
EPISODES = ("subject", "what", "from", "to", "name", "value", "unit", "detail")
IDENTITIES = ("subject", "device", "from", "make", "model", "serial", "firmware", "software", "other")
LEFT_OUT = ("table", "channel", "device", "why")
AUDIT = ("number", "recorded", "actor", "action", "subject", "data")
DEVICES = ("device", "driver", "profile", "link")
QUARANTINE = ("time", "device", "channels", "sink", "reason")
VERSIONS = ("started", "version")


def write_rows(path: Path, heading: Sequence[str], rows: Iterable[Row]) -> None:
    """A table as CSV, UTF-8, lines ended by LF; no cell is a formula.

    Raises:
        OSError: the disk refuses.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(line(heading))
        file.writelines(map(line, rows))


def codebook(channels: dict[str, set[str]]) -> Iterator[Row]:
    """One row for each channel of the data set, with the devices that gave it."""
    catalogue = Catalogue.shipped()
    for name in sorted(channels):
        devices = " ".join(sorted(channels[name]))
        known = catalogue.get(name)
        if known is None:
            nothing = [""] * (len(CODEBOOK) - 5)
            yield (
                name,
                "a code that the catalogue does not know",
                "",
                "",
                name.removeprefix("mdc_"),
                *nothing[:-1],
                devices,
            )
            continue
        mdc = known.mdc
        yield (
            name, known.description, known.kind.value, known.unit,
            mdc and mdc.code, mdc and mdc.refid, mdc and mdc.provenance,
            " / ".join(snomed(known)), " / ".join(loinc(known)),
            known.other_codes,
            *(known.hard or ("", "")), *(known.plausible or ("", "")), known.max_rate, known.derived, known.source,
            known.note, devices,
        )  # fmt: skip


def audit(entries: Iterable[Entry], scope: Scope, axis: Axis, subject: str, request: Request) -> Iterator[Row]:
    """Who entered what, and when; what was entered only where names and texts may stand."""
    for entry in entries:
        data = json.dumps(dict(entry.data or {}), ensure_ascii=False, sort_keys=True)
        if entry.subject != scope.label or not (request.unblinded or not tells(data)):
            continue
        plain = request.free_text and request.utc and not request.pseudonyms.active
        actor = request.pseudonyms.person(entry.actor)
        yield entry.number, axis.told(entry.recorded_ns), actor, entry.action.value, subject, data if plain else ""


def quarantine(
    entries: Iterable[Quarantined], windows: Sequence[Window], axis: Axis, request: Request
) -> Iterator[Row]:
    """Readings of these windows that a sink rejected; they stand in the tables none the less."""
    for entry in entries:
        try:
            observation = observation_of(entry)
        except JournalError:  # nobody can say whose it was
            continue
        time_ns = observation.time_ns
        if not any(each.from_ns <= time_ns < each.to_ns and each.hears(observation.device) for each in windows):
            continue
        channels: list[str] = []
        if isinstance(observation, Numerics):
            channels = sorted({*observation.values, *observation.states})
        elif isinstance(observation, Waveform):
            channels = [observation.channel]
        shown = " ".join(channel for channel in channels if request.wants(channel))
        if shown or not channels:
            device = request.pseudonyms.device(observation.device)
            sink = "" if request.pseudonyms.active else entry.sink
            yield axis.told(time_ns), device, shown, sink, request.text(entry.reason)


def devices(seen: Iterable[str], request: Request) -> Iterator[Row]:
    """What is known of each device; its link only where places may be named."""
    configured: dict[str, dict[str, Any]] = {each["id"]: each for each in request.about.get("device", ())}
    for device in sorted(seen):
        known = configured.get(device, {})
        link = str(known.get("link", ""))
        link = link.partition(":")[0] if request.pseudonyms.active else link
        profile = re.sub(r".*/", "", str(known.get("profile") or ""))
        yield request.pseudonyms.device(device), known.get("driver"), profile, link


def versions(events: Iterable[Event], axis: Axis) -> Iterator[Row]:
    """Which version of the service recorded, from each of its starts on."""
    for event in events:
        if event.event is EventKind.DAEMON and "version" in event.detail:
            yield axis.told(event.time_ns), event.detail["version"]


def snomed(channel: Channel | None) -> list[str]:
    """The SNOMED CT codes of a channel."""
    return _codes(r"SCT ([\d /]+)", channel)


def loinc(channel: Channel | None) -> list[str]:
    """The LOINC codes of a channel."""
    return _codes(r"LOINC ([\d-]+)", channel)


def _codes(pattern: str, channel: Channel | None) -> list[str]:
    found = re.search(pattern, channel.other_codes) if channel else None
    return [code.strip() for code in found[1].split("/")] if found else []
