"""A recorded trace as a link: the same bytes again, on the trace's own time, as fast as asked."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from acquisition.clock import NS, ManualClock
from acquisition.errors import LinkEndedError, TraceError, TransportError
from acquisition.trace import Piece
from acquisition.trace_chain import Chain

SLACK_NS = 250_000_000
"""A driver that waits for an instant acts a little after it; the trace has the true one, so it goes first."""
YIELD_EVERY = 256
MAX_UNPAIRED = 64
"""How far what is sent now may be apart from what was sent then before it counts as different."""
MAX_PACING_ERRORS = 1 << 16

Gate: TypeAlias = Callable[[Piece], Awaitable[None]]


class TraceTransport:
    """Plays a trace.

    Its `clock` stands at the piece handed out last: UTC from the header, the monotonic scale from 0. Entering again
    goes on where it was left. A turn in which the recorded driver sent something, or was woken, is an empty `receive`
    at the recorded instant, so that the driver acts at the time it acted then. Where the link was lost, `receive`
    fails as it did then, and entering again goes to where it was open again. Damage ends the trace.

    Args:
        path: The trace, or the files of a rotating recording in order.
        speed: How many times as fast as it was recorded; None or infinity for as fast as it can be read.
        gate: Awaited before each piece is handed out; for going step by step.

    Raises:
        TraceError: the file is no trace.

    Attributes:
        header: The trace's first line.
        clock: The trace's time.
        speed: As given; None for as fast as possible.
        pacing_errors_ns: How late each of the last paced pieces was handed out.
        damage: What was wrong with the trace where it ended, once it is over.
        cut_short: Whether something may follow the damage.
    """

    def __init__(
        self, path: Path | str | Sequence[Path], speed: float | None = None, *, gate: Gate | None = None
    ) -> None:
        self._paths = [path] if isinstance(path, Path | str) else list(path)
        chain = Chain(self._paths)
        chain.close()
        self.header = chain.header
        self.clock = ManualClock(self.header.started_ns)
        self.pacing_errors_ns: deque[int] = deque(maxlen=MAX_PACING_ERRORS)
        self.damage: str | None = None
        self.cut_short = False
        self._gate = gate
        self._lost = False
        self._peer = self._path = ", ".join(map(str, self._paths))
        self.speed = None if speed is None or math.isinf(speed) else speed
        self._start_s: float | None = None
        self._pieces: Chain | None = None
        self._next: Piece | None = None
        self._taken = 0
        self._unmatched = 0
        self._recorded: deque[bytes] = deque()
        self._sent: deque[bytes] = deque()
        self._at_send = False

    @property
    def peer(self) -> str:
        """The file; who was at the other end, once the link was opened again."""
        return self._peer

    @property
    def sends_unmatched(self) -> int:
        """Frames sent now and not then, or then and not now; final when the trace is over."""
        return self._unmatched + len(self._recorded) + len(self._sent)

    async def __aenter__(self) -> Self:
        self._pieces = Chain(self._paths)
        for _ in range(self._taken):
            next(self._pieces)
        self._look_ahead()
        try:
            await self._open_again()
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    async def aclose(self) -> None:
        """Nothing outlives a replay."""

    async def receive(self, timeout_s: float | None) -> bytes:
        """The next recorded bytes; empty at a recorded send, or when `timeout_s` of the trace's time passes before.

        Raises:
            TransportError: the trace is not open; the link was lost here.
            LinkEndedError: the trace is over, or damaged from here on.
        """
        if self._pieces is None:
            raise TransportError(f"{self._path} is not open")
        piece = self._next
        if piece is None:
            raise LinkEndedError(f"{self._path} is over")
        if timeout_s is not None:
            deadline = self.clock.now().mono_ns + round(timeout_s * NS)
            if deadline < piece.t_ns - SLACK_NS:
                self._at_send = False
                await self._reach(deadline)
                return b""
        await self._take(piece)
        if piece.mark is not None and piece.mark.turn == "lost":
            self._lost = True
            raise TransportError(piece.mark.text)
        return b"" if self._at_send else piece.data

    async def send(self, data: bytes) -> None:
        """Compares with what was sent when the trace was recorded; nothing leaves."""
        self._pair(data, self._sent, self._recorded)

    async def claim(self) -> None:
        """As `Floor.claim`: on a line that was shared, the driver spoke when it was its turn, as the trace says."""
        if self._next is not None and self._next.direction == ">" and not self._at_send:
            await self._reach(self._next.t_ns)

    def release(self) -> None:
        """As `Floor.release`: nobody waits."""

    async def _open_again(self) -> None:
        """Goes to where the link was opened; what was said to it meanwhile, nobody heard."""
        while (piece := self._next) is not None:
            turn = piece.mark.turn if piece.mark else None
            if turn is None and not self._lost:
                return
            await self._take(piece)
            if turn == "lost" and piece.mark:
                self._lost = True
                raise TransportError(piece.mark.text)
            if turn == "open" and piece.mark:
                self._lost = False
                self._peer = piece.mark.text
                return
        if self._lost:
            raise LinkEndedError(f"{self._path} is over")

    async def _take(self, piece: Piece) -> None:
        if self._gate is not None:
            await self._gate(piece)
        await self._reach(piece.t_ns)
        self._taken += 1
        self._look_ahead()
        self._at_send = piece.direction == ">"
        if self._at_send and piece.data:
            self._pair(piece.data, self._recorded, self._sent)

    def _look_ahead(self) -> None:
        """Reads the next piece, so that a deadline before it can pass; a trace ends where it is damaged."""
        if self._pieces is None:
            return
        try:
            self._next = next(self._pieces, None)
            self.damage = self._pieces.damage
        except TraceError as error:
            self._next, self.damage, self.cut_short = None, str(error), True

    async def _reach(self, t_ns: int) -> None:
        if self.speed is not None:
            await self._pace(t_ns / NS / self.speed)
        elif self._taken % YIELD_EVERY == 0:
            await asyncio.sleep(0)
        self.clock.advance_to(t_ns)

    async def _pace(self, after_s: float) -> None:
        """Waits until `after_s` from the first piece's wait; counted from there each time, so that nothing adds up."""
        loop = asyncio.get_running_loop()
        if self._start_s is None:
            self._start_s = loop.time()
        due = self._start_s + after_s
        await asyncio.sleep(max(0.0, due - loop.time()))
        self.pacing_errors_ns.append(round((loop.time() - due) * NS))

    def _close(self) -> None:
        pieces, self._pieces, self._next = self._pieces, None, None
        if pieces is not None:
            pieces.close()

    def _pair(self, data: bytes, own: deque[bytes], others: deque[bytes]) -> None:
        if data in others:
            while others.popleft() != data:
                self._unmatched += 1
        else:
            own.append(data)
            if len(own) > MAX_UNPAIRED:
                own.popleft()
                self._unmatched += 1
