"""Makes what is intact in a damaged day file readable for SQLite: the first page, and the log behind a damaged frame.

Blocks carry checksums of their own, so that nothing wrong comes of reading more than SQLite would. Layouts: "Database
File Format", chapters 1.3 (header) and 4.1 (log), of SQLite's documentation.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PAGE = 4096
_HEADER_BYTES = 32
_FRAME_BYTES = 24 + PAGE
_MAGIC = 0x377F0682
"""Of a log whose sums are of little-endian words, as it is on every machine that we know of."""
_VERSION = 3007000

Pair = tuple[int, int]


class _Frame(NamedTuple):
    begin: int
    commits: int
    salts: Pair
    sums: Pair


def is_log_damaged(log: Path) -> bool:
    """Whether a log is damaged before its last transaction.

    SQLite takes a frame whose sums are wrong for the end of the log and drops all behind it without a word. A power cut
    leaves such a frame too, but only in the last transaction, because each is synced before the next begins.
    """
    if not log.exists():
        return False
    content = log.read_bytes()
    frames = _frames(content)
    salts, sums = _start(content, frames)
    sound = 0
    for frame in frames:
        if sums is None or frame.salts != salts:
            break
        sums = _summed(_covered(content, frame), sums)
        if sums != frame.sums:
            break
        sound += 1
    behind = [frame.commits for frame in frames[sound:] if frame.salts == salts]
    return any(behind[:-1])


def reseal_log(log: Path) -> None:
    """Gives every frame of the newest series the sums that make SQLite read it."""
    content = bytearray(log.read_bytes())
    frames = _frames(content)
    salts, _ = _start(content, frames)
    ours = [index for index, frame in enumerate(frames) if frame.salts == salts]
    header = struct.pack(">4I2I", _MAGIC, _VERSION, PAGE, 0, *salts)
    sums = _summed(header, (0, 0))
    content[:_HEADER_BYTES] = header + struct.pack(">2I", *sums)
    for frame in frames[: ours[-1] + 1 if ours else 0]:
        sums = _summed(_covered(content, frame), sums)
        content[frame.begin + 8 : frame.begin + 24] = struct.pack(">2I2I", *salts, *sums)
    log.write_bytes(content)


def is_header_damaged(path: Path, sound: bytes) -> bool:
    """Whether a file that says that it is one has a header that no file of ours has.

    SQLite refuses some such files as too new or as not to be written to, and takes a flipped bit in the version of the
    layout for another version: that is so only if the tables are others too.

    Args:
        path: The file.
        sound: A new one of the layout that this program writes.
    """
    with path.open("rb") as file:
        first = file.read(PAGE)
    if len(first) < PAGE:
        return False
    fixed = (slice(0, 18), slice(20, 24), slice(52, 56))
    if any(first[part] != sound[part] for part in fixed) or first[18:20] not in (b"\1\1", b"\2\2"):
        return True
    formatted, encoding = (int.from_bytes(first[at : at + 4]) for at in (44, 56))
    if formatted not in (0, 4) or encoding not in (0, 1):
        return True
    # The statements that made the tables fill the page from its end.
    return first[PAGE // 2 :] == sound[PAGE // 2 : PAGE] and first[60:64] != sound[60:64]


def restore_first_page(path: Path, sound: bytes) -> None:
    """Replaces the page that says where everything is, and holds no block, by that of a new file of the same layout.

    Args:
        path: The damaged file.
        sound: The new file, or its first page.
    """
    pages = path.stat().st_size // PAGE
    if not pages:
        return
    first = bytearray(sound[:PAGE])
    first[18:20] = b"\x02\x02"  # WAL mode
    struct.pack_into(">I", first, 28, pages)
    first[92:96] = first[24:28]  # the number of pages counts only if these two agree
    with path.open("r+b") as file:
        file.write(first)


def _frames(content: bytes | bytearray) -> list[_Frame]:
    begins = range(_HEADER_BYTES, len(content) - _FRAME_BYTES + 1, _FRAME_BYTES)
    fields = (struct.unpack_from(">5I", content, begin + 4) for begin in begins)
    return [
        _Frame(begin, commits, (salt, salt2), (one, two))
        for begin, (commits, salt, salt2, one, two) in zip(begins, fields, strict=True)
    ]


def _start(content: bytes | bytearray, frames: Sequence[_Frame]) -> tuple[Pair, Pair | None]:
    """The salts of the newest series, which a log that is used again begins with, and the sums of a sound header."""
    if len(content) >= _HEADER_BYTES:
        magic, *_, salt, salt2, one, two = struct.unpack_from(">8I", content)
        if magic == _MAGIC and _summed(content[:24], (0, 0)) == (one, two):
            return (salt, salt2), (one, two)
    seen = [frame.salts for frame in frames[:3]]
    return max(seen, key=seen.count, default=(0, 0)), None


def _covered(content: bytes | bytearray, frame: _Frame) -> bytes:
    return bytes(content[frame.begin : frame.begin + 8] + content[frame.begin + 24 : frame.begin + _FRAME_BYTES])


def _summed(data: bytes | bytearray, sums: Pair) -> Pair:
    """SQLite's running sums."""
    one, two = sums
    words = struct.unpack(f"<{len(data) // 4}I", data)
    for low, high in zip(words[::2], words[1::2], strict=True):
        one = (one + low + two) & 0xFFFFFFFF
        two = (two + high + one) & 0xFFFFFFFF
    return one, two
