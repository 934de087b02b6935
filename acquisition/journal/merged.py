"""Rows that hold many blocks of one stream: how they are made, and how each block comes out of them as it was.

The payload of a merged row is, before zstd, a table of the blocks and then all their observations on end, as the codec
writes them without the flag `MERGED`::

    u4        number of blocks m
    u4[m]     number of each, difference to the one before; of the first, to `since`
    u4[m]     points of each: samples, or numerics, or events
    rest      the observations

The tables are split into byte planes. A piece of a waveform that goes on over several blocks is one piece within; it
is cut between the samples of two blocks when it is read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acquisition.journal.codec import Codec, compress, decode, decompress, encode, points, weight
from acquisition.journal.schema import Block
from acquisition.model import Observation, Waveform, json_line

MERGED = 0x10
"""Added to the codec of a merged row."""


class Original(NamedTuple):
    """A block as it was appended."""

    seq: int
    observations: tuple[Observation, ...]

    @property
    def points(self) -> int:
        """Numerics, samples or events within."""
        return sum(map(points, self.observations))

    @property
    def weight(self) -> int:
        """What it takes in memory: samples, values and states, events."""
        return sum(map(weight, self.observations))


def originals(block: Block) -> tuple[Original, ...]:
    """The blocks of a row whose checksum was right, in the order of their numbers.

    Raises:
        ValueError: the codec is not known, or the payload is not of it.
    """
    body = decompress(block.payload)
    if not block.codec & MERGED:
        return (Original(block.seq, tuple(decode(block.codec, body, device=block.device, channel=block.channel))),)
    number = _many(body)
    steps, sizes = _numbers(body, 4, number), _numbers(body, 4 + 4 * number, number)
    rest = decode(block.codec & ~MERGED, without_table(body), device=block.device, channel=block.channel)
    if number == 1:
        return (Original(block.since + int(steps[0]), tuple(rest)),)
    seqs = (block.since + np.cumsum(steps, dtype=np.int64)).tolist()
    return tuple(map(Original, seqs, map(tuple, _cut(rest, sizes.tolist()))))


def without_table(body: bytes) -> bytes:
    """The observations in the body of a merged row."""
    return body[4 + 8 * _many(body) :]


def _many(body: bytes) -> int:
    return int(np.frombuffer(body, "<u4", 1)[0])


def merged(rows: Sequence[Block], content: Sequence[Original], since: int) -> list[Block]:
    """The rows that take the place of some of one stream: one, or as many if they do not come out of one as before.

    Args:
        rows: Of one device, kind and channel, in the order of `seq`.
        content: What is in them.
        since: Number of the first block of the range.
    """
    flat = [observation for each in content for observation in each.observations]
    codecs = {
        "waveform": (Codec.DELTA_PLANES,),
        "numerics": (Codec.COLUMNS, Codec.JSON_LINES),
        "event": (Codec.JSON_LINES,),
    }
    if all(map(points, flat)):  # between which blocks an empty waveform is, nothing tells
        for codec in codecs[rows[0].kind]:
            with contextlib.suppress(ValueError, OverflowError):  # each block is carried as it is
                row = _row(rows, content, since, codec, encode(codec, flat))
                if exact(originals(row)) == exact(content):
                    return [row]
    return [
        _row([row], [each], since, codec, encode(codec, each.observations))
        for row, each in zip(rows, content, strict=True)
        for codec in codecs[rows[0].kind][-1:]
    ]


def exact(content: Sequence[Original]) -> list[object]:
    """Something that is equal only for what is equal to the last bit: 0.0 is not -0.0, and the order counts."""
    return [
        (each.seq, one.time_ns, one.period_ns, one.raw, repr(one.scale), repr(one.offset), one.quality)
        if isinstance(one, Waveform)
        else (each.seq, json_line(one))
        for each in content
        for one in each.observations
    ]


def _row(rows: Sequence[Block], content: Sequence[Original], since: int, codec: Codec, rest: bytes) -> Block:
    seqs = np.array([each.seq for each in content], dtype=np.int64)
    steps = np.diff(seqs, prepend=since).astype("<u4")
    sizes = np.array([each.points for each in content], dtype="<u4")
    table = b"".join(each.view(np.uint8).reshape(-1, 4).T.tobytes() for each in (steps, sizes))
    return (
        rows[-1]
        ._replace(
            since=since,
            first_ns=min(row.first_ns for row in rows),
            last_ns=max(row.last_ns for row in rows),
            points=int(sizes.sum()),
            blocks=len(content),
            codec=int(codec) | MERGED,
            payload=compress(len(content).to_bytes(4, "little") + table + rest),
        )
        .sealed()
    )


def _numbers(body: bytes, at: int, number: int) -> NDArray[np.uint32]:
    planes = np.frombuffer(body, np.uint8, 4 * number, at).reshape(4, number)
    return np.ascontiguousarray(planes.T).view("<u4").ravel()


def _cut(observations: Sequence[Observation], sizes: Sequence[int]) -> Iterator[list[Observation]]:
    """The observations of each block.

    Raises:
        ValueError: there are fewer points, or more.
    """
    left = iter(observations)
    rest: Observation | None = None
    for size in sizes:
        portion: list[Observation] = []
        while size > 0:
            one = rest or next(left, None)
            if one is None:
                raise ValueError("fewer points than blocks say")
            rest = None
            if (have := points(one)) > size and isinstance(one, Waveform):
                one, rest = _split(one, size)
                have = size
            portion.append(one)
            size -= have
        yield portion
    if rest or next(left, None) is not None:
        raise ValueError("more points than blocks say")


def _split(wave: Waveform, size: int) -> tuple[Waveform, Waveform]:
    def part(raw: bytes, time_ns: int) -> Waveform:
        return Waveform(
            device=wave.device,
            channel=wave.channel,
            time_ns=time_ns,
            period_ns=wave.period_ns,
            raw=raw,
            scale=wave.scale,
            offset=wave.offset,
            quality=wave.quality,
        )

    return part(wave.raw[: 4 * size], wave.time_ns), part(wave.raw[4 * size :], wave.time_ns + size * wave.period_ns)
