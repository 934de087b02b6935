"""The registry as events: it travels with the readings, so that a central database alone can answer for a subject."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from acquisition.archive.episodes.chain import Action, Entry, checked, entry_of
from acquisition.archive.episodes.registry import Registry
from acquisition.errors import EpisodeError
from acquisition.model import Event, EventKind, Observation

_TOLD = {
    Action.START: "comes into bed {bed}",
    Action.TRANSFER: "moves to bed {bed}",
    Action.STOP: "leaves",
    Action.RUN_START: "an ECMO run begins",
    Action.RUN_STOP: "the ECMO run is over",
    Action.RUN_EVENT: "{what}",
    Action.RANDOMISE: "is randomised",
    Action.CONSENT: "consent: {state}",
    Action.COVARIATE_START: "{name} {value} begins",
    Action.COVARIATE_STOP: "{name} {value} ends",
    Action.ECHO: "measurements",
    Action.NOTE: "a note",
    Action.AMEND: "entry {entry} is amended",
    Action.PURGE: "all data was deleted: {ground}",
}


def sentence(entry: Entry) -> str:
    """One entry in words, without anyone's free text."""
    told = _TOLD[entry.action].format(**entry.data) if entry.data is not None else "deleted on withdrawal"
    return f"{entry.subject}: {told}"


def event_of(entry: Entry, chain: str, device: str) -> Event:
    """The entry as an event; an entry has but one time, so that one sent twice is the same point in a database.

    Args:
        entry: To be told.
        chain: Hash of the first entry of its registry, which names the registry.
        device: Whose event it is.
    """
    return Event(
        device=device,
        time_ns=entry.recorded_ns,
        event=EventKind.EPISODE,
        text=sentence(entry),
        detail={"chain": chain, "entry": entry.body},
    )


def untold(entries: Sequence[Entry], told: Iterable[Observation], device: str) -> list[Event]:
    """Events of the entries that are not among those already told, in the order of the chain.

    An entry whose data was deleted is told again without it; it takes the old one's place in a database.
    """
    known = {_key(each.detail) for each in told if isinstance(each, Event) and each.event is EventKind.EPISODE}
    events = [event_of(entry, entries[0].hash, device) for entry in entries]
    return [event for event in events if _key(event.detail) not in known]


def registries(observations: Iterable[Observation]) -> dict[str, Registry]:
    """The registries whose events are among these, by the hash of their first entry; each chain is checked.

    Raises:
        EpisodeError: an entry was changed or is missing.
    """
    chains: defaultdict[str, dict[int, Entry]] = defaultdict(dict)
    for event in observations:
        if not isinstance(event, Event) or event.event is not EventKind.EPISODE:
            continue
        entry = _entry(event)
        own = chains[str(event.detail["chain"])]
        other = own.setdefault(entry.number, entry)
        if other.hash != entry.hash:
            raise EpisodeError(f"events: two entries say that they are number {entry.number} of one registry")
        if entry.data is None:
            own[entry.number] = entry  # told before the withdrawal and after it: the later holds
    found = {}
    for chain, own in chains.items():
        entries = checked((own[number] for number in sorted(own)), f"events of registry {chain[:12]}")
        if entries[0].hash != chain:
            raise EpisodeError(f"events of registry {chain[:12]}: the first entry is of another registry")
        found[chain] = Registry(tuple(entries))
    return found


def _entry(event: Event) -> Entry:
    try:
        return entry_of(event.detail["entry"])
    except (KeyError, ValueError, TypeError) as error:
        raise EpisodeError(f"events: an entry was changed: {error}") from None


def _key(detail: dict[str, Any]) -> tuple[object, ...]:
    body = detail.get("entry") or {}
    return detail.get("chain"), body.get("hash"), body.get("data") is None
