"""Observations into blocks and back, exactly: JSON lines for numerics and events, delta and byte planes for waveforms.

Numerics that are many enough to repeat themselves are written in columns (`columns.py`).

A waveform payload, before zstd, is a table of pieces and their counts::

    u4            number of pieces n
    u4[n]         samples of each piece
    u8[n]         time of its first sample, difference to the piece before, modulo 2^64
    i8[n]         period_ns
    f8[n] f8[n]   scale, offset
    u1[n]         quality
    u1[4, total]  the counts of all pieces on end: difference to the sample before, modulo 2^32, zigzag, split into
                  planes of equal significance

Everything is little-endian. Arithmetic modulo 2^32 makes `MISSING_COUNT` and any jump within int32 a value like others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import zstandard
from numpy.typing import NDArray

from acquisition.journal.columns import columns, numerics_of
from acquisition.model import Numerics, Observation, Quality, Waveform, json_line, parse_line

MAX_WEIGHT = 10_000
"""A block takes no further observation beyond this weight, so that a batch of a forwarder stays small."""

COLUMNS_FROM = 32
"""Of fewer numerics JSON lines are written faster; they are merged soon."""

_LEVEL = 3
_INT64 = range(-(2**63), 2**63)
_QUALITIES = tuple(Quality)
_PIECE_FIELDS = ("<u8", "<i8", "<f8", "<f8", "u1")


class Codec(IntEnum):
    """How a payload is written; a number is never used again for another layout."""

    JSON_LINES = 1
    DELTA_PLANES = 2
    COLUMNS = 3


class Packed(NamedTuple):
    """A block before it has its number.

    Attributes:
        device: Configured id of the device.
        kind: Of the observations, as in `Observation.kind`.
        channel: Of a waveform; empty for numerics and events.
        first_ns: Earliest time within.
        last_ns: Latest time within; of a waveform, that of its last sample.
        points: Numerics, samples or events.
        codec: How the payload is written.
        payload: The observations.
        tally: Channel id to readings.
    """

    device: str
    kind: str
    channel: str
    first_ns: int
    last_ns: int
    points: int
    codec: Codec
    payload: bytes
    tally: Mapping[str, int]


def points(observation: Observation) -> int:
    """How many points an observation counts for: the samples of a waveform, else one."""
    return len(observation.raw) // 4 if isinstance(observation, Waveform) else 1


def weight(observation: Observation) -> int:
    """What an observation takes in memory and on a line: its samples, or values and states; at least one."""
    if isinstance(observation, Numerics):
        return len(observation.values) + len(observation.states) or 1
    return points(observation) or 1


def tally(observations: Iterable[Observation]) -> Mapping[str, int]:
    """Readings by channel: values or states of numerics, samples of waveforms; events count under the empty id."""
    counter: Counter[str] = Counter()
    alike: Counter[tuple[str, ...]] = Counter()
    for observation in observations:
        if isinstance(observation, Waveform):
            counter[observation.channel] += points(observation)
        elif isinstance(observation, Numerics):
            alike[*observation.values, *observation.states] += 1
        else:
            counter[""] += 1
    for channels, number in alike.items():
        counter.update(dict.fromkeys(channels, number))
    return counter


def pack(observations: Iterable[Observation]) -> list[Packed]:
    """Blocks of a group: one for each device and kind, and channel of waveforms, in the order of first appearance.

    Raises:
        ValueError: an observation cannot be written: text that is no Unicode, time beyond 64 bits, half a sample.
        OverflowError: likewise.
    """
    streams: dict[tuple[str, str, str], list[Observation]] = {}
    for observation in observations:
        channel = observation.channel if isinstance(observation, Waveform) else ""
        streams.setdefault((observation.device, observation.kind, channel), []).append(observation)
    return [
        _pack(device, kind, channel, portion)
        for (device, kind, channel), stream in streams.items()
        for portion in _portions(stream)
    ]


def unpack(codec: int, payload: bytes, *, device: str, channel: str) -> list[Observation]:
    """The observations of a payload whose checksum was right.

    Raises:
        ValueError: the codec is not known, or the payload is not of it.
    """
    return decode(codec, decompress(payload), device=device, channel=channel)


def compress(body: bytes) -> bytes:
    """A payload."""
    return zstandard.compress(body, _LEVEL)


def decompress(payload: bytes) -> bytes:
    """What was compressed.

    Raises:
        ValueError: the payload is none.
    """
    try:
        return zstandard.decompress(payload)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error


def encode(codec: Codec, observations: Sequence[Observation]) -> bytes:
    """Observations of one device, kind and channel as a codec writes them, before they are compressed.

    Raises:
        ValueError: the codec cannot write them.
    """
    match codec:
        case Codec.JSON_LINES:
            return "\n".join(map(json_line, observations)).encode()
        case Codec.DELTA_PLANES:
            return _planes([each for each in observations if isinstance(each, Waveform)])
        case Codec.COLUMNS:
            return columns([each for each in observations if isinstance(each, Numerics)])


def decode(codec: int, body: bytes, *, device: str, channel: str) -> list[Observation]:
    """What `encode` was given.

    Raises:
        ValueError: the codec is not known, or the body is not of it.
    """
    try:
        if codec == Codec.JSON_LINES:
            return [parse_line(line) for line in body.split(b"\n")]
        if codec == Codec.DELTA_PLANES:
            return list(_waveforms(body, device, channel))
        if codec == Codec.COLUMNS:
            return list(numerics_of(body, device))
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(str(error)) from error
    raise ValueError(f"codec {codec} is not known to this version")


def _portions(stream: Sequence[Observation]) -> Iterator[list[Observation]]:
    portion: list[Observation] = []
    size = 0
    for observation in stream:
        if portion and size + weight(observation) > MAX_WEIGHT:
            yield portion
            portion, size = [], 0
        portion.append(observation)
        size += weight(observation)
    yield portion


def _pack(device: str, kind: str, channel: str, observations: Sequence[Observation]) -> Packed:
    waveforms = [observation for observation in observations if isinstance(observation, Waveform)]
    codec = Codec.DELTA_PLANES if waveforms else Codec.JSON_LINES
    if kind == "numerics" and len(observations) >= COLUMNS_FROM:
        codec = Codec.COLUMNS
        device.encode()  # which columns leave to the row
    body = encode(codec, observations)
    if waveforms:
        last = max(max(waveform.time_ns, waveform.end_ns - waveform.period_ns) for waveform in waveforms)
    else:
        last = max(observation.time_ns for observation in observations)
    first = min(observation.time_ns for observation in observations)
    if first not in _INT64 or last not in _INT64:
        raise ValueError(f"{device}: time {first} to {last} ns is beyond 64 bits")
    count = sum(map(points, observations))
    return Packed(device, kind, channel, first, last, count, codec, compress(body), tally(observations))


def _planes(waveforms: Sequence[Waveform]) -> bytes:
    pieces: list[Waveform] = []
    sizes: list[int] = []
    due = None
    for waveform in waveforms:
        if len(waveform.raw) % 4:
            raise ValueError(f"{waveform.device} {waveform.channel}: {len(waveform.raw)} bytes are not whole samples")
        if pieces and waveform.time_ns == due and _alike(waveform, pieces[-1]):
            sizes[-1] += points(waveform)
        else:
            pieces.append(waveform)
            sizes.append(points(waveform))
        due = waveform.end_ns
    times = np.array([piece.time_ns for piece in pieces], dtype=np.int64).view(np.uint64)
    table = (
        np.array([len(pieces), *sizes], dtype="<u4"),
        np.diff(times, prepend=np.uint64(0)).astype("<u8"),
        np.array([piece.period_ns for piece in pieces], dtype="<i8"),
        np.array([piece.scale for piece in pieces], dtype="<f8"),
        np.array([piece.offset for piece in pieces], dtype="<f8"),
        np.array([_QUALITIES.index(piece.quality) for piece in pieces], dtype="u1"),
    )
    counts = np.frombuffer(b"".join(waveform.raw for waveform in waveforms), dtype="<u4")
    delta = np.diff(counts, prepend=np.uint32(0))
    zigzag = (delta << np.uint32(1)) ^ (np.uint32(0) - (delta >> np.uint32(31)))
    planes = zigzag.astype("<u4", copy=False).view(np.uint8).reshape(-1, 4).T
    return b"".join([*(column.tobytes() for column in table), planes.tobytes()])


def _alike(one: Waveform, other: Waveform) -> bool:
    # In words, because 0.0 equals -0.0.
    return (one.period_ns, repr(one.scale), repr(one.offset), one.quality) == (
        other.period_ns,
        repr(other.scale),
        repr(other.offset),
        other.quality,
    )


def _waveforms(body: bytes, device: str, channel: str) -> Iterator[Waveform]:
    number = int(np.frombuffer(body, "<u4", 1)[0])
    sizes = np.frombuffer(body, "<u4", number, 4)
    at = 4 + 4 * number
    columns: list[NDArray[Any]] = []
    for dtype in _PIECE_FIELDS:
        columns.append(np.frombuffer(body, dtype, number, at))
        at += columns[-1].nbytes
    times, periods, scales, offsets, qualities = columns
    planes = np.frombuffer(body, np.uint8, offset=at).reshape(4, -1)
    zigzag = np.ascontiguousarray(planes.T).view("<u4").ravel()
    delta = (zigzag >> np.uint32(1)) ^ (np.uint32(0) - (zigzag & np.uint32(1)))
    raw = np.cumsum(delta, dtype=np.uint32).astype("<u4", copy=False).tobytes()
    starts = np.cumsum(times, dtype=np.uint64).view(np.int64).tolist()
    begin = 0
    for index, size in enumerate(sizes.tolist()):
        end = begin + 4 * size
        yield Waveform(
            device=device,
            channel=channel,
            time_ns=starts[index],
            period_ns=int(periods[index]),
            raw=raw[begin:end],
            scale=float(scales[index]),
            offset=float(offsets[index]),
            quality=_QUALITIES[qualities[index]],
        )
        begin = end
