"""The proof that a data set is unchanged: the hash of every file, and a chain of all data sets made in one place."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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


@contextmanager
def chained(ledger: Path) -> Iterator[Chain]:
    """The chain of data sets, nobody else's meanwhile: of two that follow the same one, the second breaks it.

    Raises:
        ConfigError: the ledger was changed.
    """
    descriptor = os.open(ledger.absolute().parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems lock no directory; two at once are then seen afterwards
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        lines = _ledger(ledger)
        yield Chain(ledger, lines[-1]["manifest_sha256"] if lines else NOTHING)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Chain:
    """The chain while it is ours.

    Attributes:
        ledger: Its file.
        last: Hash of the manifest of the data set before; zeros if there is none.
    """

    ledger: Path
    last: str

    def enter(self, manifest_sha256: str, created: str) -> None:
        """Adds a data set; a line that a full disk or a power cut left unfinished goes, and breaks nothing.

        Raises:
            OSError: the disk refuses.
        """
        line = {"manifest_sha256": manifest_sha256, "previous": self.last, "created": created}
        with self.ledger.open("ab") as file:
            end = len(_whole_lines(self.ledger))
            file.truncate(end)
            try:
                file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.truncate(self.ledger, end)
                raise


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
    here = list(_files(directory))
    problems = [f"{path}: is missing" for path in files if path not in here]
    for path in here:
        if path not in files:
            problems.append(f"{path}: was added")
        elif (directory / path).is_symlink() or not (directory / path).is_file():
            problems.append(f"{path}: was changed: it is no file of its own any more")
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
    """All that is no directory, links and pipes too, but the manifest of the data set itself."""
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if (path.is_symlink() or not path.is_dir()) and name != MANIFEST:
            yield name


def _whole_lines(path: Path) -> bytes:
    content = path.read_bytes() if path.exists() else b""
    return content[: content.rfind(b"\n") + 1]


def _ledger(path: Path) -> list[dict[str, str]]:
    previous = NOTHING
    lines: list[dict[str, str]] = []
    for number, text in enumerate(_whole_lines(path).decode().splitlines(), 1):
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
