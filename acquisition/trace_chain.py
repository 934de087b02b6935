"""Several trace files of one link, read as one."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from acquisition.errors import TraceError
from acquisition.trace import Mark, Piece, read_trace


class Chain(Iterator[Piece]):
    """The pieces of several traces of one link as one, times since the start of the first.

    Where a file does not continue the one before, the link is lost and open again: the recording, and with it the
    conversation, began anew. Damage inside a file ends the chain.

    Args:
        paths: At least one, in order of time.

    Raises:
        TraceError: as `read_trace`, also from iteration; the files are not in order.

    Attributes:
        header: Of the first.
        damage: What was wrong with the last line of a file, the first such.
    """

    def __init__(self, paths: Sequence[Path | str]) -> None:
        self.damage: str | None = None
        self._paths = list(paths)
        self.header, self._open = read_trace(self._paths[0])
        self._source = self._read()

    def __next__(self) -> Piece:
        return next(self._source)

    def close(self) -> None:
        """Closes the file that is being read."""
        self._source.close()
        self._open.close()

    def _read(self) -> Generator[Piece, None, None]:
        last = yield from self._shifted(0)
        for path in self._paths[1:]:
            header, self._open = read_trace(path)
            offset = header.started_ns - self.header.started_ns
            if offset < last:
                raise TraceError(f"{path} begins before the trace that comes before it ends", hint="give them in order")
            if not header.continues:
                yield Piece(last, ">", b"", Mark("lost", "the recording ended"))
                yield Piece(offset, ">", b"", Mark("open", header.link))
            last = yield from self._shifted(offset)

    def _shifted(self, offset: int) -> Generator[Piece, None, int]:
        last = offset
        for piece in self._open:
            last = piece.t_ns + offset
            yield piece._replace(t_ns=last) if offset else piece
        self.damage = self.damage or self._open.damage
        return last
