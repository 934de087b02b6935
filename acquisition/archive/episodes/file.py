"""The file of the registry: lines appended and synced under a lock; a torn last line is put right and told of."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from acquisition.archive.episodes.chain import Entry, checked, read_line
from acquisition.errors import EpisodeError

NAME = "episodes.jsonl"


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes:
        entries: One whole chain.
        torn: Bytes at the end that are the beginning of an entry and no more; it was never acknowledged.
        unended: Whether only the line end of the last entry is missing.
    """

    entries: tuple[Entry, ...]
    torn: int = 0
    unended: bool = False

    @property
    def report(self) -> str:
        """What had to be put right; empty if nothing."""
        if self.torn:
            return f"the last line was torn: {self.torn} bytes of an entry that was never acknowledged are left out"
        return "the line end of the last entry was missing" if self.unended else ""


def registry_path(journal: Path) -> Path:
    """Where the registry is that belongs to a journal: beside it, so that no deletion of readings takes it along."""
    return journal.absolute().parent / "episodes" / NAME


def read(path: Path) -> Content:
    """All entries of a file, the chain checked; nothing if there is no file. A writer is waited for.

    Raises:
        EpisodeError: it cannot be read, or is damaged; the first bad line is named.
    """
    try:
        if not path.exists():
            return Content(())
        with _lock(path, fcntl.LOCK_SH):
            return parse(path.read_bytes(), path.name)
    except OSError as error:
        raise EpisodeError(f"{path}: cannot be read: {error.strerror}") from error


def parse(content: bytes, name: str) -> Content:
    """The entries in the bytes of a file.

    Raises:
        EpisodeError: a line was changed, or one is missing.
    """
    *lines, tail = content.split(b"\n")
    unended = _is_whole(tail)
    if unended:
        lines.append(tail)
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(read_line(line))
        except (ValueError, TypeError, RecursionError) as error:
            said = "this is no entry" if isinstance(error, json.JSONDecodeError | TypeError | RecursionError) else error
            hint = "everything before it is sound; take the file from the copy or rebuild it from the events"
            raise EpisodeError(f"{name}: line {number} is damaged: {said}", hint=hint) from None
    return Content(tuple(checked(entries, name)), 0 if unended else len(tail), unended)


@contextmanager
def appending(path: Path) -> Iterator[tuple[Content, int]]:
    """Holds the file for one writer: its content, put right where it was torn, and a descriptor for `append`.

    Raises:
        EpisodeError: it cannot be written, or is damaged.
    """
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
            _hand_over(path.parent)
        with _lock(path, fcntl.LOCK_EX, make=True):
            new = not path.exists()
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
            try:
                if new:
                    _hand_over(path)
                    _sync_directory(path)
                content = parse(path.read_bytes(), path.name)
                if content.torn:
                    os.ftruncate(descriptor, os.fstat(descriptor).st_size - content.torn)
                if content.unended:
                    os.write(descriptor, b"\n")
                yield content, descriptor
            finally:
                os.close(descriptor)
    except OSError as error:
        raise EpisodeError(f"{path}: cannot be written: {error.strerror}") from error


def append(descriptor: int, entries: Iterable[Entry]) -> None:
    """Adds lines and returns when they are on the disk; what the disk takes only in part is taken back.

    Raises:
        OSError: the disk refuses.
    """
    lines = b"".join(entry.line + b"\n" for entry in entries)
    before = os.fstat(descriptor).st_size
    try:
        left = memoryview(lines)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def replace(path: Path, entries: Iterable[Entry]) -> None:
    """Writes the file anew in one step; the caller holds it by `appending`, or there is none yet.

    Raises:
        OSError: the disk refuses; nothing has changed.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        with fresh.open("wb") as file:
            file.writelines(entry.line + b"\n" for entry in entries)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o640)
        _hand_over(fresh)
        fresh.replace(path)
        _sync_directory(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


@contextmanager
def _lock(path: Path, how: int, *, make: bool = False) -> Iterator[None]:
    """Holds the lock file, which stays when the registry is written anew; a reader does without where there is none."""
    lock = path.with_name(f".{path.name}.lock")
    flags = os.O_RDWR | os.O_CREAT if make else os.O_RDONLY
    try:
        descriptor = os.open(lock, flags, 0o640)
    except (FileNotFoundError, PermissionError):
        if make:
            raise
        yield
        return
    try:
        if make:
            _hand_over(lock)
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _hand_over(path: Path) -> None:
    """Gives what root makes to the owner of the directory, or the daemon could not read what was entered by sudo."""
    if os.geteuid() == 0:
        above = path.parent.stat()
        os.chown(path, above.st_uid, above.st_gid)


def _is_whole(tail: bytes) -> bool:
    """Whether a line without its end has a whole JSON value at its start: then it was not torn, whatever follows."""
    try:
        json.JSONDecoder().raw_decode(tail.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return False
    return True


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
