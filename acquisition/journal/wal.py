"""SQLite's log, frame by frame: which frames are sound, and a copy in which all of them are.

Layout and sums: "WAL-mode File Format", chapters 1.1 to 1.3. A log is read a megabyte at a time and never mapped: where
the disk cannot read a mapped page, the process is killed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

PAGE = 4096
HEADER = 32
FRAME = 24 + PAGE

_MAGIC = 0x377F0682
"""Of a log whose sums are of little-endian words, as it is on every machine that we know of."""
_VERSION = 3007000
_AT_ONCE = 256
_WORDS = 2 + PAGE // 4
_BITS = 0xFFFFFFFF

Sums = tuple[int, int]
Array = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Log:
    """What the heads of the frames say, and how they are linked: the sums of a frame go on from those before it.

    Attributes:
        path: Of the log.
        salts: Of the newest series of frames, which a log that is used again begins with.
        pages: Page of each frame.
        commits: Number of pages of the file after the frame, where it ends a transaction; else 0.
        ours: Whether a frame is of the newest series.
        linked: Whether its sums go on from those of the frame before, or of the header.
        added: What each frame adds to the sums.
    """

    path: Path
    salts: Sums
    pages: Array
    commits: Array
    ours: NDArray[np.bool_]
    linked: NDArray[np.bool_]
    added: Array

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """A log as it is; None if there is none with a frame in it.

        Raises:
            OSError: it cannot be read.
        """
        try:
            with path.open("rb") as file:
                header = file.read(HEADER)
        except FileNotFoundError:
            return None
        parts = [(heads, _added(words)) for heads, words in _frames(path)]
        if not parts:
            return None
        heads = np.concatenate([each for each, _ in parts])
        added = np.concatenate([each for _, each in parts])
        magic, *_, salt, salt2, one, two = struct.unpack(">8I", header)
        is_sound = magic == _MAGIC and _summed(header[:24]) == (one, two)
        salts = (salt, salt2) if is_sound else _commonest(heads[:3, 2:4])
        before = np.concatenate([np.array([[one, two]], dtype=np.uint32), heads[:-1, 4:6]])
        ours = (heads[:, 2:4] == np.array(salts, dtype=np.uint32)).all(axis=1)
        linked = ours & (_carried(before) + added == heads[:, 4:6]).all(axis=1)
        linked[0] &= is_sound
        return cls(path, salts, heads[:, 0], heads[:, 1], ours, linked, added)

    @property
    def sound(self) -> int:
        """How many frames SQLite reads, transactions or not."""
        return int(np.argmin(np.append(self.linked, False)))

    @property
    def is_damaged(self) -> bool:
        """Whether a frame that SQLite cannot read was once safe on the disk, with all before it.

        SQLite takes a frame whose sums are wrong for the end of the log and drops all behind it without a word. A power
        cut leaves such frames too, but only of transactions that are the last of their time, because each is synced
        before the next begins; and behind them what an earlier cut left. So a frame was safe if, behind it, one that
        ends a transaction has a frame linked to it.
        """
        return self.end > self.sound

    @property
    def end(self) -> int:
        """How many frames were once safe."""
        followed = np.flatnonzero(self.ours[:-1] & (self.commits[:-1] > 0) & self.linked[1:])
        last = int(followed[-1]) + 1 if followed.size else 0
        behind = last + int(np.argmin(np.append(self.linked[last:], False)))  # the last transaction, if it is whole
        whole = np.flatnonzero(self.commits[last:behind])
        return last + int(whole[-1]) + 1 if whole.size else last

    def newest(self, page: int) -> bytes | None:
        """A page as SQLite reads it from the log; None if it is not there.

        Raises:
            OSError: the log cannot be read.
        """
        committed = np.flatnonzero(self.commits[: self.sound])
        upto = int(committed[-1]) + 1 if committed.size else 0
        found = np.flatnonzero(self.pages[:upto] == page)
        if not found.size:
            return None
        with self.path.open("rb") as file:
            file.seek(HEADER + FRAME * int(found[-1]) + 24)
            return file.read(PAGE)


def write_sealed(log: Log, copy: Path, page: Callable[[int, bytes, int], bytes]) -> None:
    """Writes a copy of a damaged log of which SQLite reads every frame that was once safe.

    Args:
        log: The damaged one.
        copy: Where to.
        page: Given the number of a page, its content, and the number of pages there are: what to write in its place.

    Raises:
        OSError: the disk refuses.
    """
    header = struct.pack(">4I2I", _MAGIC, _VERSION, PAGE, 0, *log.salts)
    sums = np.array([_summed(header)], dtype=np.uint32)
    pages = int(log.commits[log.end - 1])
    with copy.open("wb") as file:
        file.write(header + sums.astype(">u4").tobytes())
        for number, frame in enumerate(_contents(log.path, log.end)):
            head, content = frame[:8], page(int(log.pages[number]), frame[24:], pages)
            sums = _carried(sums) + _added(np.frombuffer(head + content, "<u4").reshape(1, -1))
            file.write(head + struct.pack(">2I", *log.salts) + sums.astype(">u4").tobytes() + content)


def _frames(path: Path) -> Iterator[tuple[Array, Array]]:
    """The six numbers in the heads of some frames, shape (frames, 6), and the words that are summed of each."""
    with path.open("rb") as file:
        file.seek(HEADER)
        while whole := len(content := file.read(_AT_ONCE * FRAME)) // FRAME:
            words = np.frombuffer(content, "<u4", whole * FRAME // 4).reshape(whole, -1)
            yield words[:, :6].byteswap(), np.concatenate([words[:, :2], words[:, 6:]], axis=1)


def _contents(path: Path, number: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(HEADER)
        for _ in range(number):
            yield file.read(FRAME)


def _commonest(salts: Array) -> Sums:
    seen = [(int(one), int(two)) for one, two in salts]
    return max(seen, key=seen.count)


def _summed(data: bytes) -> Sums:
    """SQLite's running sums from the beginning."""
    one = two = 0
    for low, high in struct.iter_unpack("<2I", data):
        one = (one + low + two) & _BITS
        two = (two + high + one) & _BITS
    return one, two


# The sums are linear: those after a frame are the sums before it times a matrix, and its words times weights, all
# modulo 2^32. A step over the words x and y makes (one, two) to (one + two + x, one + 2 two + x + y).


def _carried(sums: Array) -> Array:
    carry, _ = _weights()
    return sums @ carry


def _added(words: Array) -> Array:
    _, weights = _weights()
    return words @ weights


@lru_cache(maxsize=1)
def _weights() -> tuple[Array, Array]:
    """What the sums before a frame, and its words, count for in the sums after it: shapes (2, 2) and (words, 2)."""
    (a, b), (c, d) = (1, 0), (0, 1)
    weights: list[Sums] = []
    for _ in range(_WORDS // 2):  # from the last word backwards
        weights += [(c, d), ((a + c) & _BITS, (b + d) & _BITS)]
        (a, b), (c, d) = ((a + c) & _BITS, (b + d) & _BITS), ((a + 2 * c) & _BITS, (b + 2 * d) & _BITS)
    return np.array([(a, b), (c, d)], dtype=np.uint32), np.array(weights[::-1], dtype=np.uint32)
