"""A disk in memory that fails on demand, through FUSE, and forgets what the kernel forgets after a failed sync.

`python -m tests.acquisition.failing_disk MOUNT FAULTS CUT` mounts it until SIGTERM. What is written and read is the
kernel's page cache; what a sync has written is the disk. While the file FAULTS names `write`, `read` or `sync`, these
fail with EIO. After a sync that failed, what waited for it is taken for written, as Linux does: it is still read, no
later sync writes it, and the power takes it. With `cut` in FAULTS, `statfs` makes the directory CUT, with what
would be there if the power went then.
"""

from __future__ import annotations

import errno
import io
import sys
from pathlib import Path

import mfusepy

from tests.acquisition.power_cut import Operation, apply
from tests.acquisition.taped_disk import TapedDisk


class FailingDisk(TapedDisk):
    """The disk.

    Args:
        faults: Names what fails now; everything is well while there is no such file.
        cut: Where to write what is there after the power went.
    """

    def __init__(self, faults: Path, cut: Path) -> None:
        super().__init__(io.BytesIO())
        self._faults = faults
        self._cut = cut
        self._written: dict[int, bytearray] = {}
        self._dirty: dict[int, list[Operation]] = {}

    def _note(self, *operation: object) -> None:
        match operation:
            case ("write" | "truncate", int(inode), *_):
                self._dirty.setdefault(inode, []).append(operation)

    def _may_fail(self, what: str) -> None:
        if what in self._faults_now():
            raise mfusepy.FuseOSError(errno.EIO)

    def _faults_now(self) -> list[str]:
        try:
            return self._faults.read_text(encoding="ascii").split()
        except FileNotFoundError:
            return []

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._may_fail("write")
        return super().write(path, data, offset, fh)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        self._may_fail("read")
        return super().read(path, size, offset, fh)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        waiting = self._dirty.pop(fh, [])
        self._may_fail("sync")
        content = self._written.setdefault(fh, bytearray())
        for each in waiting:
            apply(content, each)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        if "cut" in self._faults_now():
            self._cut.mkdir()
            for name, inode in self._names.items():
                (self._cut / name).write_bytes(self._written.get(inode, b""))
        return super().statfs(path)


def main(mount: str, faults: str, cut: str) -> None:
    mfusepy.FUSE(FailingDisk(Path(faults), Path(cut)), mount, foreground=True, nothreads=True, use_ino=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
