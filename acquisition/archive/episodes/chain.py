"""The entries of the registry: a line of canonical JSON each, chained by SHA-256, so that no changed byte goes unseen.

The hash of an entry is the SHA-256 of the canonical JSON (sorted keys, no blanks, ASCII) of everything in it but its
data; in place of the data stands the data's own SHA-256, and the hash of the entry before stands there too. So the data
of a subject who withdraws can be taken out, and the chain still proves everything else. The data carries a random salt:
without it, the few values that an LVEF can have would be guessed from their hash.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from acquisition.errors import EpisodeError

VERSION = 1
GENESIS = "0" * 64
_KEYS = frozenset(
    ("action", "actor", "data", "data_sha256", "hash", "number", "previous", "recorded_ns", "subject", "version")
)


class Action(StrEnum):
    """What an entry tells."""

    START = "start"
    TRANSFER = "transfer"
    STOP = "stop"
    RUN_START = "run_start"
    RUN_STOP = "run_stop"
    RUN_EVENT = "run_event"
    RANDOMISE = "randomise"
    CONSENT = "consent"
    COVARIATE_START = "covariate_start"
    COVARIATE_STOP = "covariate_stop"
    ECHO = "echo"
    NOTE = "note"
    AMEND = "amend"
    PURGE = "purge"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the registry.

    Attributes:
        number: From 1, without a hole.
        previous: Hash of the entry before.
        recorded_ns: When it was entered, UTC nanoseconds; no two entries share one.
        actor: Who entered it.
        action: What it tells.
        subject: Of whom, by study id.
        data_sha256: Of the canonical JSON of the data.
        data: What it tells in particular; None: deleted on withdrawal.
        hash: Of all the rest.
    """

    number: int
    previous: str
    recorded_ns: int
    actor: str
    action: Action
    subject: str
    data_sha256: str
    data: Mapping[str, Any] | None
    hash: str = ""

    def sealed(self) -> Entry:
        """The same entry with the hash that belongs to it."""
        return replace(self, hash=_sha256({**self._head(), "previous": self.previous}))

    def without_data(self) -> Entry:
        """What is left of it after a withdrawal; the hash still holds."""
        return replace(self, data=None)

    @property
    def line(self) -> bytes:
        """Canonical JSON, without the line end."""
        return canonical(self.body)

    @property
    def body(self) -> dict[str, Any]:
        """JSON values."""
        data = None if self.data is None else dict(self.data)
        return {**self._head(), "previous": self.previous, "data": data, "hash": self.hash}

    def _head(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "number": self.number,
            "recorded_ns": self.recorded_ns,
            "actor": self.actor,
            "action": self.action.value,
            "subject": self.subject,
            "data_sha256": self.data_sha256,
        }


def canonical(value: object) -> bytes:
    """JSON of which there is but one form: sorted keys, no blanks, ASCII.

    Raises:
        ValueError: not a number, or infinite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def next_entry(
    last: Entry | None, *, recorded_ns: int, actor: str, action: Action, subject: str, data: Mapping[str, Any]
) -> Entry:
    """The entry that follows `last`, recorded at the earliest a millisecond after it."""
    salted = {**data, "salt": secrets.token_hex(16)}
    number, previous, earliest = (1, GENESIS, 0) if last is None else (last.number + 1, last.hash, last.recorded_ns)
    return Entry(
        number=number,
        previous=previous,
        recorded_ns=max(recorded_ns, earliest + 1_000_000),
        actor=actor,
        action=action,
        subject=subject,
        data_sha256=_sha256(salted),
        data=salted,
    ).sealed()


def entry_of(body: object) -> Entry:
    """The entry that a parsed line holds, its own hashes checked.

    Raises:
        ValueError: it is none, or was changed.
    """
    if not isinstance(body, dict) or body.keys() != _KEYS:
        raise ValueError("this is no entry")
    if body["version"] != VERSION:
        raise ValueError(f"version {body['version']}, and this program knows {VERSION}")
    fields = {key: value for key, value in body.items() if key != "version"}
    data = fields["data"]
    if not (data is None or isinstance(data, dict)) or type(fields["number"]) is not int:
        raise ValueError("this is no entry")
    entry = Entry(**{**fields, "action": Action(fields["action"])})
    if entry.sealed().hash != entry.hash:
        raise ValueError("its hash is not that of its content")
    if data is not None and _sha256(data) != entry.data_sha256:
        raise ValueError("the hash of its data is not that of its data")
    return entry


def read_line(line: bytes) -> Entry:
    """The entry of one line, which must be canonical to the last byte.

    Raises:
        ValueError: it is none, or was changed.
    """
    entry = entry_of(json.loads(line))
    if entry.line != line:
        raise ValueError("it is not written as this program writes it")
    return entry


def checked(entries: Iterable[Entry], where: str) -> list[Entry]:
    """The entries, if they are one whole chain.

    Args:
        entries: In the order of their numbers, each with sound hashes.
        where: Names the source in an error.

    Raises:
        EpisodeError: one is missing, repeated, from elsewhere, or lost its data without a purge.
    """
    chain: list[Entry] = []
    last: Entry | None = None
    for entry in entries:
        number, previous, earliest = (1, GENESIS, 0) if last is None else (last.number + 1, last.hash, last.recorded_ns)
        if entry.number != number:
            raise EpisodeError(f"{where}: entry {number} is missing: entry {entry.number} stands in its place")
        if entry.previous != previous:
            raise EpisodeError(f"{where}: entry {number} does not continue the chain: entry {number - 1} is another")
        if entry.recorded_ns <= earliest:
            raise EpisodeError(f"{where}: entry {number} was recorded before entry {number - 1}")
        chain.append(entry)
        last = entry
    _deleted_for_a_reason(chain, where)
    return chain


def _deleted_for_a_reason(chain: Sequence[Entry], where: str) -> None:
    purges = {entry.subject: entry.number for entry in chain if entry.action is Action.PURGE}
    for entry in chain:
        if entry.data is None and entry.number >= purges.get(entry.subject, 0):
            raise EpisodeError(f"{where}: entry {entry.number} has lost its data, and no purge tells why")


def _sha256(value: object) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()
