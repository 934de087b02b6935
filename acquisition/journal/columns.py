"""Many numerics of one device as columns, exactly: what stays the same once, times and values as small differences.

Before compression::

    u4                 number of numerics n
    u4                 bytes of the text that follows
    text               JSON: shapes and device times. A shape is all of an observation but its times and values; in
                       place of the values are their channels, in order. Each has a device time, or none has
    integers[n]        shape of each
    integers[n]        time of each, difference to the one before, modulo 2^64
    then for each channel, in the order of first appearance, the c values that there are of it:
    u1                 decimals d, at most 9: a value is its integer / 10^d; 255: an integer is the value's 64 bits
    integers[c]

Integers are the first one, u8, and the differences from each to the next, modulo 2^64, zigzag: u1, how many bytes a
difference needs, and that many planes of equal significance. Everything is little-endian. Decimals are used only where
the division gives back every value of the column to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acquisition.model import Numerics, Quality, State

Integers = NDArray[np.uint64]

QUALITIES = {quality.value: number for number, quality in enumerate(Quality)}
STATES = {state.value: number for number, state in enumerate(State, 1)}

_BITS = 255
_MOST_DECIMALS = 9
_EXACT = 2.0**53
_ONE = np.uint64(1)
_MOST = 1 << 20


class Column(NamedTuple):
    """Readings of one channel, shape (n,) each.

    Attributes:
        time_ns: UTC nanoseconds.
        values: In the catalogue's unit; NaN where only a state was said.
        quality: Numbers of `QUALITIES`; without a value it is the worst.
        state: Numbers of `STATES`; 0 is none.
    """

    time_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    quality: NDArray[np.uint8]
    state: NDArray[np.uint8]

    @classmethod
    def joined(cls, parts: Sequence[Column]) -> Column:
        """Columns on end, put in the order of time."""
        whole = parts[0]
        if len(parts) > 1:
            whole = cls(
                np.concatenate([part.time_ns for part in parts]),
                np.concatenate([part.values for part in parts]),
                np.concatenate([part.quality for part in parts]),
                np.concatenate([part.state for part in parts]),
            )
        rising = bool(np.all(whole.time_ns[1:] >= whole.time_ns[:-1]))
        return whole if rising else whole.at(np.argsort(whole.time_ns, kind="stable"))

    def at(self, where: NDArray[np.bool_] | NDArray[np.intp]) -> Column:
        """The readings at these places."""
        return Column(self.time_ns[where], self.values[where], self.quality[where], self.state[where])


def columns(numerics: Sequence[Numerics]) -> bytes:
    """Numerics of one device, at least one.

    Raises:
        ValueError: text that is no Unicode.
        OverflowError: time beyond 64 bits.
    """
    shapes: dict[tuple[object, ...], int] = {}
    shape_of = [shapes.setdefault(_shape(each), len(shapes)) for each in numerics]
    first_of = [numerics[shape_of.index(index)] for index in range(len(shapes))]
    device_times = [each.device_time for each in numerics]
    told = device_times if any(each is not None for each in device_times) else []
    written = [[list(each.values), each.states, each.quality] for each in first_of]
    text = json.dumps([written, told], separators=(",", ":"), ensure_ascii=False).encode()
    times = np.array([each.time_ns for each in numerics], dtype=np.int64).view(np.uint64)
    names: dict[str, int] = {}
    ids_of = [np.array([names.setdefault(name, len(names)) for name in each.values], np.intp) for each in first_of]
    values = np.fromiter(chain.from_iterable(each.values.values() for each in numerics), np.float64)
    ids = np.concatenate([ids_of[index] for index in shape_of]).astype(np.min_scalar_type(len(names)))
    return b"".join(
        [
            np.array([len(numerics), len(text)], dtype="<u4").tobytes(),
            text,
            _written(np.array(shape_of, dtype=np.uint64)),
            _written(np.diff(times, prepend=np.uint64(0))),
            *_columns(values[np.argsort(ids, kind="stable")], np.bincount(ids)),
        ]
    )


def numerics_of(body: bytes, device: str) -> Iterator[Numerics]:
    """What `columns` was given.

    Raises:
        ValueError: the body is not of this layout; so do AttributeError, IndexError, KeyError, TypeError.
    """
    number, size = np.frombuffer(body, "<u4", 2).tolist()
    if number > _MOST:
        raise ValueError(f"{number} numerics are more than any block has")
    shapes, told = json.loads(body[8 : 8 + size])
    reader = _Reader(body, 8 + size)
    shape_of = reader.integers(number).tolist()
    times = np.cumsum(reader.integers(number), dtype=np.uint64).view(np.int64).tolist()
    counts: dict[str, int] = {}
    for index in shape_of:
        for channel in shapes[index][0]:
            counts[channel] = counts.get(channel, 0) + 1
    values = {channel: iter(reader.column(count)) for channel, count in counts.items()}
    kept = [
        (
            channels,
            {channel: State(state) for channel, state in states.items()},
            {channel: Quality(quality) for channel, quality in qualities.items()},
        )
        for channels, states, qualities in shapes
    ]
    for index, time_ns, device_time in zip(shape_of, times, told or [None] * number, strict=True):
        channels, states, quality = kept[index]
        yield Numerics(
            device=device,
            time_ns=time_ns,
            device_time=device_time,
            values={channel: next(values[channel]) for channel in channels},
            states=dict(states),
            quality=dict(quality),
        )


def columns_in(body: bytes, channels: Collection[str] | None = None) -> dict[str, Column]:
    """What `columns` was given, as a column for each channel, without making observations of it.

    Args:
        body: As `columns` wrote it.
        channels: Only these; None: all.

    Raises:
        ValueError: the body is not of this layout; so do AttributeError, IndexError, KeyError, TypeError.
    """
    number, size = np.frombuffer(body, "<u4", 2).tolist()
    if number > _MOST:
        raise ValueError(f"{number} numerics are more than any block has")
    shapes, _ = json.loads(body[8 : 8 + size])
    reader = _Reader(body, 8 + size)
    shape_of = reader.integers(number).astype(np.intp)
    times = np.cumsum(reader.integers(number), dtype=np.uint64).view(np.int64)
    present = np.zeros(len(shapes), np.intp)
    np.add.at(present, shape_of, 1)
    counts: dict[str, int] = {}
    for index in dict.fromkeys(shape_of.tolist()):
        for channel in shapes[index][0]:
            counts[channel] = counts.get(channel, 0) + int(present[index])
    found: dict[str, Column] = {}
    for channel, count in counts.items():
        if channels is not None and channel not in channels:
            reader.skip(count)
            continue
        at, quality, state = _said(channel, shapes, shape_of, with_value=True)
        found[channel] = Column(times[at], np.array(reader.column(count)), quality, state)
    silent = dict.fromkeys(channel for _, states, _ in shapes for channel in states)
    for channel in silent if channels is None else (channel for channel in silent if channel in channels):
        at, quality, state = _said(channel, shapes, shape_of, with_value=False)
        if at.size:
            alone = Column(times[at], np.full(at.size, np.nan), quality, state)
            found[channel] = Column.joined([found[channel], alone]) if channel in found else alone
    return found


def _said(
    channel: str, shapes: Sequence[tuple[list[str], Mapping[str, str], Mapping[str, str]]],
    shape_of: NDArray[np.intp], *, with_value: bool,
) -> tuple[NDArray[np.intp], NDArray[np.uint8], NDArray[np.uint8]]:  # fmt: skip
    """Places of the numerics with a value of a channel, or with a state alone; their quality, and their state."""
    worst = len(QUALITIES) - 1
    has = np.array([(channel in names) if with_value else (channel in states and channel not in names)
                    for names, states, _ in shapes])  # fmt: skip
    quality = np.array([QUALITIES[judged.get(channel, Quality.GOOD)] if with_value else worst
                        for _, _, judged in shapes], np.uint8)  # fmt: skip
    state = np.array([STATES[states[channel]] if channel in states else 0 for _, states, _ in shapes], np.uint8)
    at = np.flatnonzero(has[shape_of])
    return at, quality[shape_of[at]], state[shape_of[at]]


def columns_of(numerics: Sequence[Numerics], channels: Collection[str] | None = None) -> dict[str, Column]:
    """The same of numerics that are observations already."""
    wanted = None if channels is None else frozenset(channels)
    rows: dict[str, list[tuple[int, float, int, int]]] = {}
    for each in numerics:
        states, quality, values, at = each.states, each.quality, each.values, each.time_ns
        for channel in values if wanted is None else wanted & values.keys():
            state = STATES[states[channel]] if channel in states else 0
            judged = QUALITIES[quality[channel]] if channel in quality else 0
            rows.setdefault(channel, []).append((at, values[channel], judged, state))
        for channel, said in states.items():
            if channel not in values and (wanted is None or channel in wanted):
                rows.setdefault(channel, []).append((at, np.nan, len(QUALITIES) - 1, STATES[said]))
    return {
        channel: Column(
            np.array([row[0] for row in own], np.int64),
            np.array([row[1] for row in own], np.float64),
            np.array([row[2] for row in own], np.uint8),
            np.array([row[3] for row in own], np.uint8),
        )
        for channel, own in rows.items()
    }


def _shape(numerics: Numerics) -> tuple[object, ...]:
    states, quality = numerics.states, numerics.quality
    return tuple(numerics.values), tuple(states), tuple(states.values()), tuple(quality), tuple(quality.values())


def _columns(values: NDArray[np.float64], sizes: NDArray[np.intp]) -> Iterator[bytes]:
    """Columns that follow each other in one array, shape (n,), all at once: a call of numpy for each takes longer."""
    ends = np.cumsum(sizes)
    starts = ends - sizes
    decimals, integers = _decimals(values, sizes)
    step = np.diff(integers, prepend=np.uint64(0))
    step[starts] = 0
    zigzag = _zigzag(step)
    planes = np.ascontiguousarray(zigzag.astype("<u8", copy=False).view(np.uint8).reshape(-1, 8).T)
    firsts = integers[starts].astype("<u8", copy=False).tobytes()
    most = np.maximum.reduceat(zigzag, starts).tolist() if sizes.size else []
    for index, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        width = (most[index].bit_length() + 7) // 8
        yield bytes([decimals[index]]) + firsts[8 * index : 8 * index + 8] + bytes([width])
        yield planes[:width, start + 1 : end].tobytes()


def _decimals(values: NDArray[np.float64], sizes: NDArray[np.intp]) -> tuple[list[int], Integers]:
    """The fewest decimals that give back every value of a column, and the integers that go with them."""
    decimals = np.full(sizes.size, _BITS)
    integers = values.view(np.uint64).copy()
    column_of = np.repeat(np.arange(sizes.size), sizes)
    left = np.arange(values.size)
    for number in range(_MOST_DECIMALS + 1):
        if not left.size:
            break
        some = values[left]
        with np.errstate(over="ignore"):
            scaled = np.rint(some * 10.0**number)
        scaled[~(np.abs(scaled) < _EXACT)] = 0.0  # which no such value is
        tried = scaled.astype(np.int64)
        wrong = (tried / 10.0**number).view(np.uint64) != some.view(np.uint64)  # as they are read; -0.0 is not
        is_wrong = np.zeros(sizes.size, dtype=bool)
        is_wrong[column_of[left[wrong]]] = True
        good = ~is_wrong[column_of[left]]
        integers[left[good]] = tried[good].view(np.uint64)
        decimals[column_of[left[good]]] = number
        left = left[~good]
    return decimals.tolist(), integers


def _zigzag(step: Integers) -> Integers:
    return (step << _ONE) ^ (np.uint64(0) - (step >> np.uint64(63)))


def _written(integers: Integers) -> bytes:
    zigzag = _zigzag(np.diff(integers))
    width = (int(zigzag.max(initial=0)).bit_length() + 7) // 8
    planes = zigzag.astype("<u8", copy=False).view(np.uint8).reshape(-1, 8).T[:width]
    return integers[:1].astype("<u8", copy=False).tobytes() + bytes([width]) + planes.tobytes()


class _Reader:
    """Takes what `_written` and `_column` wrote, one after the other."""

    def __init__(self, body: bytes, at: int) -> None:
        self._body = body
        self._at = at

    def integers(self, number: int) -> Integers:
        first = np.frombuffer(self._body, "<u8", 1, self._at)
        width = self._body[self._at + 8]
        steps = max(0, number - 1)
        planes = np.frombuffer(self._body, np.uint8, width * steps, self._at + 9).reshape(width, steps)
        self._at += 9 + planes.size
        padded: NDArray[Any] = np.zeros((steps, 8), dtype=np.uint8)
        padded[:, :width] = planes.T
        zigzag = padded.view("<u8").ravel()
        step = (zigzag >> _ONE) ^ (np.uint64(0) - (zigzag & _ONE))
        return np.cumsum(np.concatenate([first, step]), dtype=np.uint64)

    def skip(self, number: int) -> None:
        """Passes over a column."""
        self._at += 10 + self._body[self._at + 9] * max(0, number - 1)

    def column(self, number: int) -> list[float]:
        decimals = self._body[self._at]
        self._at += 1
        integers = self.integers(number)
        if decimals == _BITS:
            return list(integers.view(np.float64).tolist())
        return list((integers.view(np.int64) / 10.0**decimals).tolist())
