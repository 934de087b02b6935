"""Trace files: what went over one link, byte for byte, with times; JSON Lines, plain or compressed by suffix.

The format is that of DESIGN.md section 10. A trace is never overwritten, times in it never run backwards, and what a
power cut left of the last line is reported and does not spoil the rest.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, Self, TextIO, TypeAlias, cast

import zstandard

from acquisition.clock import NS, from_rfc3339
from acquisition.errors import TraceError

FORMAT = "ecmo-daq-trace"
VERSION = 1
FLUSH_NS = NS
"""A compressed trace is brought up to date on disk when this much recorded time has passed."""

Direction: TypeAlias = Literal["<", ">"]
Turn: TypeAlias = Literal["lost", "open"]
_UNREADABLE = (OSError, EOFError, zlib.error, zstandard.ZstdError)


@dataclass(frozen=True, slots=True)
class TraceHeader:
    """The first line of a trace.

    Attributes:
        link: URL of the link that was recorded.
        driver: Name of the driver that spoke over it; empty if none did.
        started: RFC 3339 time of `t` = 0.
        shared: Other devices were on the line: the driver spoke when it was its turn, not when it wished.
        continues: The conversation began in the file before.
    """

    link: str
    driver: str
    started: str
    format: str = FORMAT
    version: int = VERSION
    shared: bool = False
    continues: bool = False

    @property
    def started_ns(self) -> int:
        """UTC nanoseconds of `t` = 0."""
        return from_rfc3339(self.started)


class Mark(NamedTuple):
    """What became of the link at that instant, which no byte tells.

    Attributes:
        turn: `lost`, also where it could not be opened; `open` again.
        text: Why, or who is at the other end.
    """

    turn: Turn
    text: str


class Piece(NamedTuple):
    """Bytes that were received (`<`) or sent (`>`) in one go.

    An empty `>` says that the driver was woken at that instant and sent nothing, or, with a mark, what became of the
    link; who does not know of marks takes it for the former, which changes nothing.

    Attributes:
        t_ns: Nanoseconds since the header's `started`.
        direction: `<` received, `>` sent.
        data: The bytes.
        mark: What became of the link.
    """

    t_ns: int
    direction: Direction
    data: bytes
    mark: Mark | None = None


class TraceWriter:
    """Writes a trace so that a crash costs the last line, or about a second of a compressed one.

    Args:
        target: A path that does not exist yet (`.trace`, `.trace.gz`, `.trace.zst`), or a binary file, written plain.
        header: The first line.

    Raises:
        TraceError: the file exists or cannot be created.
    """

    def __init__(self, target: Path | str | BinaryIO, header: TraceHeader) -> None:
        with contextlib.ExitStack() as opened:
            if isinstance(target, Path | str):
                path = Path(target)
                try:
                    raw: BinaryIO = opened.enter_context(path.open("xb"))
                except FileExistsError:
                    hint = "a trace is never overwritten; choose another name"
                    raise TraceError(f"{path} exists", hint=hint) from None
                except OSError as error:
                    raise TraceError(f"{path}: cannot be created: {error.strerror}") from None
                packed = _packed(raw, path.suffix)
                if packed is not raw:
                    opened.enter_context(packed)
            else:
                raw = packed = target
            self._each_line = packed is raw
            self._raw, self._packed = raw, packed
            self._opened = opened.pop_all()
        self._last = self._flushed = 0
        # What is not true is left out, for readers of the first version.
        fields = {key: value for key, value in asdict(header).items() if value is not False}
        self._write_line(fields)
        self.flush()

    @property
    def size(self) -> int:
        """Bytes of the file, but for what is not flushed yet."""
        return self._raw.tell()

    def write(self, t_ns: int, direction: Direction, data: bytes, mark: Mark | None = None) -> None:
        """Appends one piece.

        Args:
            t_ns: Nanoseconds since the header's `started`; not before the piece written last.
            direction: `<` received, `>` sent.
            data: The bytes; empty only for a turn in which nothing was sent.
            mark: What became of the link; with an empty `>`.

        Raises:
            TraceError: `t_ns` is earlier than the last piece's, or the disk refuses.
        """
        if t_ns < self._last:
            raise TraceError(f"a piece at {t_ns} ns cannot follow one at {self._last} ns")
        self._last = t_ns
        line: dict[str, object] = {"t": t_ns, "d": direction, "x": data.hex()}
        if mark is not None:
            line |= {"e": mark.turn, "w": mark.text}
        self._write_line(line)
        if self._each_line or t_ns - self._flushed >= FLUSH_NS:
            self._flushed = t_ns
            self.flush()

    def flush(self) -> None:
        """Hands everything written so far to the operating system.

        Raises:
            TraceError: the disk refuses.
        """
        with _disk():
            self._packed.flush()
            self._raw.flush()

    def close(self) -> None:
        """Completes the file; a file that was handed in stays open.

        Raises:
            TraceError: the disk refuses.
        """
        with _disk():
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_line(self, line: dict[str, object]) -> None:
        with _disk():
            self._packed.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TraceError(f"the trace cannot be written: {error.strerror}") from error


class Pieces(Iterator[Piece]):
    """The pieces of a trace in order.

    Attributes:
        damage: What was wrong with the last line, once iteration is over; None for a sound trace.
    """

    def __init__(self, name: str, file: TextIO) -> None:
        self.damage: str | None = None
        self._name = name
        self._file = file
        self._number = 1
        self._source = self._read()

    def __next__(self) -> Piece:
        return next(self._source)

    def close(self) -> None:
        """Closes the file before its end."""
        self._source.close()
        self._file.close()

    def _read(self) -> Generator[Piece, None, None]:
        last = 0
        with self._file:
            while line := self._line():
                try:
                    piece = _piece(line)
                except (ValueError, KeyError, TypeError) as error:
                    if self._line():
                        raise TraceError(f"{self._name}, line {self._number - 1}: not a piece: {error}") from None
                    self.damage = self.damage or f"{self._name}, line {self._number}: damaged and left out"
                    return
                if piece.t_ns < last:
                    raise TraceError(f"{self._name}, line {self._number}: time runs backwards")
                last = piece.t_ns
                yield piece

    def _line(self) -> str:
        """The next line with its end; empty after the last."""
        try:
            line = self._file.readline()
        except EOFError:  # gzip's way to say that the file was cut
            self.damage = f"{self._name}: the compressed file was cut after line {self._number}"
            return ""
        except _UNREADABLE as error:
            raise TraceError(f"{self._name}: unreadable after line {self._number}: {error}") from error
        self._number += bool(line)
        return line


def read_trace(path: Path | str) -> tuple[TraceHeader, Pieces]:
    """Opens a trace; its pieces are read as they are iterated over.

    Returns:
        The header, and an iterator whose `damage` tells after the end whether the last line was whole. It raises
        TraceError with the line number for damage anywhere else and for time that runs backwards.

    Raises:
        TraceError: no such file, not a trace, or one of another version.
    """
    name = str(path)
    with contextlib.ExitStack() as opened:
        try:
            binary = opened.enter_context(_unpacked(Path(path)))
            # Surrogates, so that a damaged line fails where it is parsed and its number is known.
            file = opened.enter_context(io.TextIOWrapper(binary, "utf-8", errors="surrogateescape", newline="\n"))
            first = file.readline()
        except FileNotFoundError:
            raise TraceError(f"{name}: no such trace") from None
        except _UNREADABLE as error:
            raise TraceError(f"{name}: cannot be read: {error}") from error
        header = _header(name, first)
        opened.pop_all()
    return header, Pieces(name, file)


def _header(name: str, line: str) -> TraceHeader:
    hint = f'the first line must be {{"format":"{FORMAT}","version":{VERSION},"link":…,"driver":…,"started":…}}'
    try:
        fields = json.loads(line)
        if fields["format"] != FORMAT:
            raise ValueError(f"format is {fields['format']!r}")
        if fields["version"] != VERSION:
            hint = f"this program reads version {VERSION}; use the version of ecmo-daq that wrote the trace"
            raise ValueError(f"version is {fields['version']!r}")
        header = TraceHeader(
            str(fields["link"]), str(fields["driver"]), fields["started"],
            shared=fields.get("shared") is True, continues=fields.get("continues") is True,
        )  # fmt: skip
        from_rfc3339(header.started)
    except KeyError as error:
        raise TraceError(f"{name}, line 1: {error} is missing", hint=hint) from None
    except (ValueError, TypeError) as error:
        raise TraceError(f"{name}, line 1: not the header of a trace: {error}", hint=hint) from None
    return header


def _piece(line: str) -> Piece:
    fields = json.loads(line)
    t_ns, direction = fields["t"], fields["d"]
    if type(t_ns) is not int or t_ns < 0:
        raise ValueError(f"t is {t_ns!r}")
    if direction not in ("<", ">"):
        raise ValueError(f"d is {direction!r}")
    mark = Mark(fields["e"], str(fields.get("w", ""))) if fields.get("e") in ("lost", "open") else None
    return Piece(t_ns, direction, bytes.fromhex(fields["x"]), mark)


def _packed(raw: BinaryIO, suffix: str) -> BinaryIO:
    if suffix == ".gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0))
    if suffix == ".zst":
        return cast(BinaryIO, zstandard.ZstdCompressor().stream_writer(raw, closefd=False))
    return raw


def _unpacked(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if path.suffix == ".zst":
        return cast(BinaryIO, zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True))
    return path.open("rb")
