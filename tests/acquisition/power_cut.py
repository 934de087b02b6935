"""What a disk holds after the power went at some place of a tape of `taped_disk`.

Safe is what was synced before: the content of a file by a sync of that file, a name by a sync of the directory. Of the
rest any part may be there. Of content any sectors, so that a later write may be there without an earlier one, and a
length without its bytes, which are zeros then. Of names the first so many changes, because every file system with a
log keeps their order.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

SECTOR = 512

Operation = tuple[Any, ...]


def operations(tape: Path) -> list[Operation]:
    """Everything on a tape, in order."""

    def read() -> Iterator[Operation]:
        with tape.open("rb") as file:
            while True:
                try:
                    yield pickle.load(file)  # noqa: S301 - our own tape
                except EOFError:
                    return

    return list(read())


@dataclass
class Disk:
    """What is safe, and what waits to be written."""

    contents: dict[int, bytearray] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    waiting: dict[int, list[Operation]] = field(default_factory=dict)
    renamed: list[Operation] = field(default_factory=list)
    said: bytes = b""

    def play(self, operation: Operation) -> None:
        """Takes in the next operation of a tape."""
        match operation:
            case ("write" | "truncate", inode, *_):
                self.waiting.setdefault(inode, []).append(operation)
            case ("sync", inode):
                content = self.contents.setdefault(inode, bytearray())
                for each in self.waiting.pop(inode, ()):
                    apply(content, each)
            case ("syncdir",):
                for each in self.renamed:
                    rename(self.names, each)
                self.renamed.clear()
            case ("say", data):
                self.said += data
            case _:
                self.renamed.append(operation)

    def cut(self, chance: Random) -> dict[str, bytes]:
        """Name to content, as it may be found when the power is back."""
        names = dict(self.names)
        for each in self.renamed[: chance.choice((0, len(self.renamed), chance.randint(0, len(self.renamed))))]:
            rename(names, each)
        kept = chance.choice((0.0, 1.0, 0.5, chance.random()))
        return {name: self._content(inode, kept, chance) for name, inode in names.items()}

    def _content(self, inode: int, kept: float, chance: Random) -> bytes:
        content = bytearray(self.contents.get(inode, b""))
        for each in self.waiting.get(inode, ()):
            if each[0] == "truncate":
                if chance.random() < kept:
                    apply(content, each)
                continue
            _, _, offset, data = each
            if chance.random() < kept / 4 and offset + len(data) > len(content):
                content.extend(bytes(offset + len(data) - len(content)))
            for begin in range(offset - offset % SECTOR, offset + len(data), SECTOR):
                if chance.random() < kept:
                    first = max(begin, offset)
                    apply(content, ("write", inode, first, data[first - offset : begin + SECTOR - offset]))
        return bytes(content)


def apply(content: bytearray, operation: Operation) -> None:
    """One write or truncation."""
    if operation[0] == "truncate":
        length = operation[2]
        del content[length:]
        content.extend(bytes(length - len(content)))
        return
    _, _, offset, data = operation
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


def rename(names: dict[str, int], operation: Operation) -> None:
    """One change of the directory."""
    match operation:
        case ("create", name, inode):
            names[name] = inode
        case ("unlink", name):
            names.pop(name, None)
        case ("rename", old, new):
            if old in names:
                names[new] = names.pop(old)
