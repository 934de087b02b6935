"""Writes into the registry: everything wrong with what was asked is said at once, and then nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from acquisition.archive.episodes import file as registry_file
from acquisition.archive.episodes.chain import Action, Entry, next_entry
from acquisition.archive.episodes.data import validated
from acquisition.archive.episodes.fold import Fact, fold
from acquisition.archive.episodes.registry import Registry
from acquisition.archive.episodes.rules import SUBJECT_PATTERN, subject_mistake
from acquisition.clock import rfc3339
from acquisition.errors import ConfigError, EpisodeError
from acquisition.mistakes import nearest

_NEVER_CHANGED = frozenset({"salt", "reason"})


class Draft(NamedTuple):
    """An entry before it has its place in the chain.

    Attributes:
        action: What it tells.
        subject: Of whom; of an amendment, empty: that of the entry it corrects.
        data: See `data`; of an amendment `entry`, `changes` and `void` suffice.
        where: Names its source in a mistake, such as a line of a file.
    """

    action: Action
    subject: str
    data: Mapping[str, Any]
    where: str = ""


class Recorded(NamedTuple):
    """What was written, and what had to be put right in the file before."""

    entries: tuple[Entry, ...]
    repaired: str


class _Writing:
    """One batch, while the file is held."""

    def __init__(self, entries: tuple[Entry, ...], actor: str, now_ns: int, pattern: str) -> None:
        self.entries = list(entries)
        self.mistakes: list[str] = []
        self._registry = Registry(entries)
        self._facts = dict(self._registry.facts)
        self._actor = actor
        self._now_ns = now_ns
        self._pattern = pattern
        self.wrong: set[str] = set()

    def add(self, drafts: Sequence[Draft]) -> None:
        coming = {draft.subject for draft in drafts if draft.action is Action.START}
        for draft in drafts:
            draft, mistakes = self._completed(draft)
            mistakes = mistakes or self._whose(draft, coming)
            data, wrong = validated(draft.action, draft.data) if not mistakes else ({}, [])
            mistakes += wrong or self._later_than_now(data)
            if mistakes:
                self.wrong.add(draft.subject)
                self.mistakes += [f"{draft.where}: {mistake}" if draft.where else mistake for mistake in mistakes]
                continue
            self.entries.append(
                next_entry(
                    self.entries[-1] if self.entries else None,
                    recorded_ns=self._now_ns,
                    actor=self._actor,
                    action=draft.action,
                    subject=draft.subject,
                    data=data,
                )
            )
            if draft.action is not Action.AMEND:
                self._facts[self.entries[-1].number] = Fact(self.entries[-1], data)
        known = set(self._registry.problems)
        self.mistakes += [
            problem
            for problem in dict.fromkeys(fold(self.entries).problems)
            if problem not in known and not any(subject in problem for subject in self.wrong if subject)
        ]

    def _whose(self, draft: Draft, coming: set[str]) -> list[str]:
        if draft.subject in self._registry.subjects():
            return []
        mistake = subject_mistake(draft.subject, self._pattern)
        if mistake is not None:
            return [mistake]
        if any(entry.subject == draft.subject and entry.action is Action.PURGE for entry in self.entries):
            return [f"the data of {draft.subject} was purged; nothing is recorded of them again"]
        if draft.subject not in coming:
            known = nearest(draft.subject, self._registry.subjects())
            return [f"unknown subject {draft.subject!r}{known}; begin with: ecmo-daq episode start"]
        return []

    def _completed(self, draft: Draft) -> tuple[Draft, list[str]]:
        """An amendment with its subject and what stood there before; any other draft as it is."""
        if draft.action is not Action.AMEND:
            return draft, []
        number = draft.data["entry"]
        fact = self._facts.get(number)
        if fact is None:
            why = "was struck out, is itself an amendment, or was purged" if number <= len(self.entries) else "is not"
            return draft, [f"entry {number} {why}; ecmo-daq episode list --entries shows what can be amended"]
        draft = draft._replace(subject=fact.entry.subject)
        changes = {key: value for key, value in draft.data["changes"].items() if fact.data.get(key) != value}
        known = fact.data.keys() - _NEVER_CHANGED
        wrong = [f"entry {number} has no {key!r}{nearest(key, known)}" for key in changes.keys() - known]
        if not changes and not draft.data["void"]:
            wrong.append(f"entry {number} says so already; nothing would change")
        if wrong:
            return draft, wrong
        merged = {key: value for key, value in fact.data.items() if key != "salt"} | changes
        data, wrong = validated(fact.entry.action, merged)
        if wrong:
            return draft, [f"entry {number}: {mistake}" for mistake in wrong]
        stored = {key: data[key] for key in changes}
        self._facts[number] = Fact(fact.entry, {**fact.data, **stored})
        if draft.data["void"]:
            del self._facts[number]
        earlier = {key: fact.data[key] for key in changes}
        return draft._replace(data={**draft.data, "changes": stored, "earlier": earlier}), []

    def _later_than_now(self, data: Mapping[str, Any]) -> list[str]:
        times = [*data.items(), *data.get("changes", {}).items()]
        return [
            f"{rfc3339(value, 0)} is in the future; it is {rfc3339(self._now_ns, 0)}"
            for key, value in times
            if key in ("from_ns", "to_ns", "time_ns") and value > self._now_ns
        ]


def record(
    path: Path,
    drafts: Sequence[Draft],
    *,
    actor: str,
    now_ns: int,
    pattern: str = SUBJECT_PATTERN,
    wrong: Sequence[tuple[str, str]] = (),
) -> Recorded:
    """Adds entries, all or none; when it returns, they are on the disk.

    Args:
        path: Of the file `episodes.jsonl`.
        drafts: What to add.
        actor: Who asks for it.
        now_ns: Present time, UTC nanoseconds.
        pattern: Of study ids.
        wrong: Subject and mistake of what could not even be drafted; with any, nothing is written.

    Raises:
        ConfigError: with everything that is wrong or impossible; nothing was written.
        EpisodeError: the registry is damaged, or the disk refuses.
    """
    if not actor.strip():
        raise ConfigError(["an entry needs its actor; give --actor"])
    with registry_file.appending(path) as (content, descriptor):
        writing = _Writing(content.entries, actor.strip(), now_ns, pattern)
        writing.mistakes += [mistake for _, mistake in wrong]
        writing.wrong |= {subject for subject, _ in wrong}
        writing.add(drafts)
        if writing.mistakes:
            raise ConfigError(writing.mistakes)
        added = writing.entries[len(content.entries) :]
        try:
            registry_file.append(descriptor, added)
        except OSError as error:
            raise EpisodeError(f"{path}: cannot be written: {error.strerror}; nothing was recorded") from error
    return Recorded(tuple(added), content.report)


def bury(path: Path, subject: str, tombstone: Mapping[str, Any], *, actor: str, now_ns: int) -> Entry:
    """Takes the data out of every entry of a subject and adds the tombstone, in one step; the chain stays whole.

    Args:
        path: Of the file `episodes.jsonl`.
        subject: Whose data was deleted everywhere else.
        tombstone: See `PurgeData`; without `entries`.
        actor: Who asks for it.
        now_ns: Present time, UTC nanoseconds.

    Raises:
        ConfigError: the tombstone is refused.
        EpisodeError: the registry is damaged, or the disk refuses; nothing has changed.
    """
    with registry_file.appending(path) as (content, _):
        numbers = [entry.number for entry in content.entries if entry.subject == subject]
        data, mistakes = validated(Action.PURGE, {**tombstone, "entries": numbers})
        if mistakes:
            raise ConfigError(mistakes)
        last = content.entries[-1] if content.entries else None
        entry = next_entry(last, recorded_ns=now_ns, actor=actor, action=Action.PURGE, subject=subject, data=data)
        kept = [each.without_data() if each.subject == subject else each for each in content.entries]
        try:
            registry_file.replace(path, [*kept, entry])
        except OSError as error:
            raise EpisodeError(f"{path}: cannot be written: {error.strerror}; nothing has changed") from error
    return entry
