"""Makes what is intact in a damaged day file readable for SQLite: the first page, and the log behind a damaged frame.

Blocks carry checksums of their own, so that nothing wrong comes of reading more than SQLite would. Layouts: "Database
File Format", chapters 1.3 (header), 1.6 (b-tree page) and 4 (log), of SQLite's documentation.
"""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path

from acquisition.journal.placing import take_place
from acquisition.journal.wal import PAGE, Log, write_sealed

_TABLES = slice(PAGE // 2, PAGE)
"""The statements that made the tables fill the page from its end."""
_HEADER = 100
_MARK = 1
"""As application id: the page is not the file's own, and says nothing of pages out of use."""


def log_of(path: Path) -> Path:
    """Where SQLite keeps the newest pages of a file."""
    return path.with_name(f"{path.name}-wal")


def fault(path: Path, sound: bytes) -> str:
    """What SQLite would refuse as a whole, or drop without a word, in words; empty if there is no such thing.

    What a power cut leaves is none: a torn last transaction in the log, nor a first page that was being written from
    the log when the power went, nor a file whose making is undone by its rollback journal.

    Args:
        path: A day file.
        sound: A new one of the layout that this program writes.

    Raises:
        OSError: it cannot be read.
    """
    log = Log.read(log_of(path))
    if log is not None and log.is_damaged:
        return "its log is damaged"
    if is_first_page_damaged(_first_page(path, log), sound) and not _is_undone(path):
        return "its header is damaged"
    return ""


def seal_log(path: Path, sound: bytes) -> None:
    """Makes all of a damaged log readable.

    Args:
        path: Of the file that it belongs to.
        sound: A new one of the layout that this program writes.

    Raises:
        OSError: the disk refuses.
    """
    log = Log.read(log_of(path))
    if log is not None and log.is_damaged:
        _seal(log, sound)


def mend_first_page(path: Path, sound: bytes) -> None:
    """Replaces the page that says where everything is, and holds no block, by one that is marked as mended.

    Args:
        path: The file.
        sound: A new one of the layout that this program writes.

    Raises:
        OSError: the disk refuses.
    """
    if not _is_another_layout(_first_page(path, Log.read(log_of(path))), sound):
        _write_first_page(path, sound)


def is_mended(path: Path, sound: bytes) -> bool:
    """Whether the first page of a file is marked as mended.

    Raises:
        OSError: it cannot be read.
    """
    return first_page(path) == _standing_in(sound, path.stat().st_size // PAGE)


def has_sound_tables(path: Path, sound: bytes) -> bool:
    """Whether the first page is that of a file of ours, but for the numbers in its header.

    Raises:
        OSError: it cannot be read.
    """
    first = _first_page(path, Log.read(log_of(path)))
    return _is_plausible(first, sound) and first[_HEADER:] == sound[_HEADER:PAGE] and first[60:64] == sound[60:64]


def is_first_page_damaged(first: bytes, sound: bytes) -> bool:
    """Whether a page is the first of no file of ours.

    SQLite refuses some such files as too new or as not to be written to, and takes a flipped bit in the version of the
    layout for another version: that is so only if the tables are others too.
    """
    if len(first) < PAGE:
        return False
    return not _is_plausible(first, sound) or (first[60:64] != sound[60:64] and first[_TABLES] == sound[_TABLES])


def _is_another_layout(first: bytes, sound: bytes) -> bool:
    return _is_plausible(first, sound) and first[60:64] != sound[60:64] and first[_TABLES] != sound[_TABLES]


def _is_plausible(first: bytes, sound: bytes) -> bool:
    fixed = (slice(0, 18), slice(20, 24), slice(52, 56))
    if any(first[part] != sound[part] for part in fixed) or first[18:20] not in (b"\1\1", b"\2\2"):
        return False
    formatted, encoding = (int.from_bytes(first[at : at + 4]) for at in (44, 56))
    return formatted in (0, 4) and encoding in (0, 1)


def _first_page(path: Path, log: Log | None) -> bytes:
    """The first page as SQLite sees it: that of the file does not count while the log has a newer one."""
    if log is not None and (logged := log.newest(1)) is not None:
        return logged
    return first_page(path)


def first_page(path: Path | str) -> bytes:
    """The first page of a file without a log; shorter if the file is.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, PAGE, 0)
    finally:
        os.close(descriptor)


def _is_undone(path: Path) -> bool:
    rollback = path.with_name(f"{path.name}-journal")
    return rollback.exists() and rollback.stat().st_size > 0


def _write_first_page(path: Path, sound: bytes) -> None:
    pages = path.stat().st_size // PAGE
    if not pages:
        return
    first = _standing_in(sound, pages)
    with path.open("r+b") as file:
        if file.read(PAGE) == first:
            return
        file.seek(0)
        file.write(first)
        file.flush()
        os.fsync(file.fileno())


def _standing_in(sound: bytes, pages: int) -> bytes:
    first = bytearray(sound[:PAGE])
    first[18:20] = b"\x02\x02"  # WAL mode
    struct.pack_into(">I", first, 28, pages)
    struct.pack_into(">I", first, 68, _MARK)
    first[92:96] = first[24:28]  # the number of pages counts only if these two agree
    return bytes(first)


def _seal(log: Log, sound: bytes) -> None:
    """Gives the log sums that make SQLite read all of it, in a copy that takes its place in one step."""
    copy = log.path.with_name(f".{log.path.name}.new")

    def page(number: int, content: bytes, pages: int) -> bytes:
        if number == 1 and is_first_page_damaged(content, sound):
            return _standing_in(sound, pages)
        return content

    try:
        write_sealed(log, copy, page)
        take_place(copy, log.path)
    except BaseException:
        with contextlib.suppress(OSError):
            copy.unlink(missing_ok=True)
        raise
