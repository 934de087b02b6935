"""A disk in memory that writes every change, sync and word said to it on a tape, in order, for `power_cut` to cut.

`python -m tests.acquisition.taped_disk MOUNT IMAGE TAPE` mounts it through FUSE, with the files of the directory IMAGE
on it, until SIGTERM. It is one flat directory. What is written to the file `said` is no content of the disk: it marks
the place on the tape where a program knew something, such as that a reading is safe.
"""

from __future__ import annotations

import errno
import pickle
import stat
import sys
from pathlib import Path
from typing import IO, Any

import mfusepy

SAID = "said"


class TapedDisk(mfusepy.Operations):  # type: ignore[misc]  # mfusepy has no types
    """The disk.

    Args:
        tape: Takes one pickled tuple for each operation: `create name inode`, `unlink name`, `rename old new`,
            `write inode offset data`, `truncate inode size`, `sync inode`, `syncdir`, `say data`.
    """

    use_ns = True

    def __init__(self, tape: IO[bytes]) -> None:
        self._tape = tape
        self._names: dict[str, int] = {}
        self._contents: dict[int, bytearray] = {}
        self._last = 1

    def _note(self, *operation: object) -> None:
        pickle.dump(operation, self._tape, pickle.HIGHEST_PROTOCOL)

    def load(self, image: Path) -> None:
        for path in sorted(image.iterdir()):
            inode = self.create(f"/{path.name}", 0o644)
            self.write("", path.read_bytes(), 0, inode)
            self._note("sync", inode)
        self._note("syncdir")
        self.create(f"/{SAID}", 0o644)
        self._note("say", b"mounted\n")

    def _inode(self, path: str) -> int:
        try:
            return self._names[path[1:]]
        except KeyError:
            raise mfusepy.FuseOSError(errno.ENOENT) from None

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2, "st_ino": 1}
        inode = fh or self._inode(path)
        return {
            "st_mode": stat.S_IFREG | 0o644,
            "st_nlink": 1,
            "st_ino": inode,
            "st_size": len(self._contents[inode]),
        }

    def readdir(self, path: str, fh: int) -> list[tuple[str, dict[str, Any], int]]:
        # With its number: a name without one is taken for a hole in the directory.
        directory = self.getattr("/")
        files = [(name, self.getattr("", inode), 0) for name, inode in self._names.items()]
        return [(".", directory, 0), ("..", directory, 0), *files]

    def statfs(self, path: str) -> dict[str, int]:
        return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": 1 << 20, "f_bfree": 1 << 19, "f_bavail": 1 << 19}

    def open(self, path: str, flags: int) -> int:
        return self._inode(path)

    def create(self, path: str, mode: int, fi: object = None) -> int:
        self._last += 1
        self._names[path[1:]] = self._last
        self._contents[self._last] = bytearray()
        if path[1:] != SAID:
            self._note("create", path[1:], self._last)
        return self._last

    def unlink(self, path: str) -> None:
        del self._names[path[1:]]
        self._note("unlink", path[1:])

    def rename(self, old: str, new: str) -> None:
        self._names[new[1:]] = self._names.pop(old[1:])
        self._note("rename", old[1:], new[1:])

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return bytes(self._contents[fh][offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        if self._names.get(SAID) == fh:
            self._note("say", data)
            return len(data)
        content = self._contents[fh]
        if offset > len(content):
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(data)] = data
        self._note("write", fh, offset, data)
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        inode = fh or self._inode(path)
        content = self._contents[inode]
        del content[length:]
        content.extend(bytes(length - len(content)))
        self._note("truncate", inode, length)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._note("sync", fh)
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self._note("syncdir")
        return 0

    def chmod(self, path: str, mode: int) -> int:
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        return 0


def main(mount: str, image: str, tape: str) -> None:
    with Path(tape).open("wb", buffering=1 << 20) as file:
        disk = TapedDisk(file)
        disk.load(Path(image))
        mfusepy.FUSE(disk, mount, foreground=True, nothreads=True, use_ino=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
