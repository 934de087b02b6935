"""What a trace file holds, and a part of it as a file of its own; without a driver."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from acquisition.clock import NS, rfc3339
from acquisition.errors import TraceError
from acquisition.trace import Direction, Piece, Pieces, TraceWriter, read_trace


@dataclass(slots=True)
class TraceInfo:
    """What is in a trace; times in nanoseconds since its start, counts by direction.

    Attributes:
        turns: Times that the driver was woken and sent nothing.
        losses: When the link was lost, and why.
        longest_silence_ns: Between two received pieces, with `silence_at_ns` where it began.
        damage: Where and how the file is damaged; what follows was not counted.
    """

    link: str
    driver: str
    started: str
    shared: bool
    duration_ns: int = 0
    pieces: dict[str, int] = field(default_factory=lambda: {"<": 0, ">": 0})
    bytes: dict[str, int] = field(default_factory=lambda: {"<": 0, ">": 0})
    turns: int = 0
    losses: list[tuple[int, str]] = field(default_factory=list)
    longest_silence_ns: int = 0
    silence_at_ns: int = 0
    damage: str | None = None


def trace_info(path: Path) -> TraceInfo:
    """Counts what is in a trace, up to its damage if it is damaged.

    Raises:
        TraceError: no such file, or not a trace.
    """
    header, pieces = read_trace(path)
    info = TraceInfo(header.link, header.driver, header.started, header.shared)
    heard: int | None = None
    sound = Sound(pieces)
    for piece in sound:
        info.duration_ns = piece.t_ns
        if piece.mark is not None:
            if piece.mark.turn == "lost":
                info.losses.append((piece.t_ns, piece.mark.text))
            continue
        if not piece.data:
            info.turns += 1
            continue
        info.pieces[piece.direction] += 1
        info.bytes[piece.direction] += len(piece.data)
        if piece.direction == "<":
            if heard is not None and piece.t_ns - heard > info.longest_silence_ns:
                info.longest_silence_ns, info.silence_at_ns = piece.t_ns - heard, heard
            heard = piece.t_ns
    info.damage = sound.damage
    return info


def cut_trace(
    source: Path,
    target: Path,
    from_ns: int,
    to_ns: int,
    direction: Direction | None,
    *,
    opening: int = 0,
    of_first: bool = False,
) -> tuple[int, str]:
    """Writes the pieces of a window to a new trace, which begins at the first instant of the window.

    Args:
        source: The trace.
        target: A file that does not exist yet.
        from_ns: UTC of the first instant.
        to_ns: UTC after the last one.
        direction: Only this one; marks of the link stay.
        opening: So many pieces from the beginning of the conversation are put directly before the window, at the
            distances they had from each other; the window then begins with a request.
        of_first: Take the opening of the trace's first conversation, not of the one that the window is in.

    Returns:
        Pieces written, and what is wrong with the source or "".

    Raises:
        TraceError: a file cannot be read or written.
    """
    header, pieces = read_trace(source)
    sound = Sound(pieces)
    try:
        window, opened = _window(sound, from_ns - header.started_ns, to_ns - header.started_ns, opening, of_first)
    finally:
        pieces.close()
    begin = max(from_ns, header.started_ns)
    if window and opened:
        moved = window[0].t_ns - opened[-1].t_ns
        window = [piece._replace(t_ns=piece.t_ns + moved) for piece in opened[:-1]] + window
        begin = header.started_ns + window[0].t_ns
    kept = [piece for piece in window if direction in (None, piece.direction) or piece.mark is not None]
    with TraceWriter(target, dataclasses.replace(header, started=rfc3339(begin, 9), continues=False)) as writer:
        for piece in kept:
            writer.write(header.started_ns + piece.t_ns - begin, *piece[1:])
    return len(kept), sound.damage or ""


def _window(
    pieces: Iterable[Piece], from_ns: int, to_ns: int, opening: int, of_first: bool
) -> tuple[list[Piece], list[Piece]]:
    """The pieces from one time to another; the opening of a conversation before them, and the piece that followed."""
    window: list[Piece] = []
    opened: list[Piece] = []
    for piece in pieces:
        if piece.t_ns >= to_ns:
            break
        if piece.t_ns >= from_ns and (window or not opening or (piece.direction == ">" and piece.data)):
            window.append(piece)
        elif piece.mark is not None:
            if not of_first:
                opened.clear()
        elif opening and len(opened) <= opening:
            opened.append(piece)
    return window, opened if len(opened) == opening + 1 else []


class Sound(Iterator[Piece]):
    """The pieces up to the damage.

    Attributes:
        damage: What is wrong where they end, once they are over.
    """

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self.damage: str | None = None

    def __next__(self) -> Piece:
        """The next sound piece."""
        try:
            return next(self._pieces)
        except TraceError as error:
            self.damage = str(error)
            raise StopIteration from None
        except StopIteration:
            self.damage = self.damage or self._pieces.damage
            raise


def seconds(ns: int) -> str:
    """Nanoseconds as seconds for people."""
    return f"{ns / NS:,.3f} s"
