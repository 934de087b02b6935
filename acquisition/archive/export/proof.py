"""The proof that a data set is unchanged: the hash of every file, and a chain of all data sets made in one place."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from acquisition.errors import ConfigError

MANIFEST = "manifest.json"
LEDGER = "exports.jsonl"
NOTHING = "0" * 64


def write_manifest(directory: Path, about: Mapping[str, Any], previous: str) -> str:
    """Writes the hash of every file, and of the manifest of the data set before; returns the manifest's own hash.

    Raises:
        OSError: the disk refuses.
    """
    files = [
        {"path": path, "bytes": (directory / path).stat().st_size, "sha256": sha256(directory / path)}
        for path in _files(directory)
    ]
    body = {"format": "ecmo-daq-dataset", "version": 1, **about, "previous_manifest_sha256": previous, "files": files}
    with (directory / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(json.dumps(body, indent=1, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return sha256(directory / MANIFEST)


def last_of(ledger: Path) -> str:
    """Hash of the manifest of the data set before; zeros if there is none.

    Raises:
        ConfigError: the ledger was changed.
    """
    lines = _ledger(ledger)
    return lines[-1]["manifest_sha256"] if lines else NOTHING


def enter(ledger: Path, manifest_sha256: str, previous: str, created: str) -> None:
    """Adds a data set to the chain.

    Raises:
        OSError: the disk refuses.
    """
    line = {"manifest_sha256": manifest_sha256, "previous": previous, "created": created}
    with ledger.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, separators=(",", ":")) + "\n")
        file.flush()
        os.fsync(file.fileno())


def verified(directory: Path, ledger: Path | None = None) -> str:
    """The manifest's hash, if every file is as it was and the chain holds it.

    Args:
        directory: Of the data set.
        ledger: The chain; None: not looked at.

    Raises:
        ConfigError: it is no data set, or something was changed; everything that was is named.
    """
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        files = {each["path"]: each for each in manifest["files"]}
    except FileNotFoundError:
        raise ConfigError([f"{directory}: no data set: it has no {MANIFEST}"]) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError([f"{directory}: {MANIFEST} was changed: it cannot be read"]) from None
    problems = [f"{path}: is missing" for path in files if not (directory / path).is_file()]
    for path in _files(directory):
        if path not in files:
            problems.append(f"{path}: was added")
        elif sha256(directory / path) != files[path]["sha256"]:
            problems.append(f"{path}: was changed")
    found = sha256(directory / MANIFEST)
    if ledger is not None:
        chain = {line["manifest_sha256"]: line["previous"] for line in _ledger(ledger)}
        if found not in chain:
            problems.append(f"{MANIFEST}: was changed, or this data set is not of {ledger}")
        elif chain[found] != manifest.get("previous_manifest_sha256"):
            problems.append(f"{MANIFEST}: names another data set before it than {ledger}")
    if problems:
        raise ConfigError(problems)
    return found


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(directory: Path) -> Iterator[str]:
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            yield path.relative_to(directory).as_posix()


def _ledger(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    previous = NOTHING
    lines: list[dict[str, str]] = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            broken = line["previous"] != previous
            previous = line["manifest_sha256"]
        except (ValueError, KeyError, TypeError):
            broken = True
        if broken:
            raise ConfigError([f"{path}:{number}: the chain of exports is broken here: it was changed"])
        lines.append(line)
    return lines
