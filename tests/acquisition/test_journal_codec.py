"""The codec gives back what it was given, to the last bit."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from acquisition.journal.codec import COLUMNS_FROM, MAX_WEIGHT, Codec, decode, encode, pack, tally, unpack
from acquisition.journal.merged import MERGED, originals
from acquisition.journal.schema import Block
from acquisition.model import (
    MISSING_COUNT,
    Event,
    EventKind,
    Numerics,
    Observation,
    Quality,
    State,
    Waveform,
    json_line,
)
from tests.acquisition.journal_observations import T0, event, numerics, waveform

INT64 = st.integers(-(2**62), 2**62)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
COUNTS = st.lists(
    st.one_of(st.integers(-(2**31), 2**31 - 1), st.sampled_from([MISSING_COUNT, 2**31 - 1, -1, 0])), max_size=50
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | FLOAT | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)

waveforms = st.builds(
    Waveform,
    device=st.just("mon"),
    channel=st.just("wf_abp"),
    time_ns=INT64,
    period_ns=st.integers(1, 2**40),
    raw=COUNTS.map(lambda counts: np.array(counts, dtype="<i4").tobytes()),
    scale=FLOAT,
    offset=FLOAT,
    quality=st.sampled_from(Quality),
)
column_numerics = st.builds(
    Numerics,
    device=st.just("mon"),
    time_ns=INT64,
    device_time=st.none() | TEXT,
    values=st.dictionaries(st.sampled_from("abcdef"), FLOAT | st.integers(-2000, 2000).map(lambda n: n / 10)),
    states=st.dictionaries(TEXT, st.sampled_from(State), max_size=5),
    quality=st.dictionaries(TEXT, st.sampled_from(Quality), max_size=5),
)
line_observations = st.one_of(
    st.builds(
        Numerics,
        device=TEXT,
        time_ns=INT64,
        device_time=st.none() | TEXT,
        values=st.dictionaries(TEXT, FLOAT, max_size=5),
        states=st.dictionaries(TEXT, st.sampled_from(State), max_size=5),
        quality=st.dictionaries(TEXT, st.sampled_from(Quality), max_size=5),
    ),
    st.builds(
        Event,
        device=TEXT,
        time_ns=INT64,
        event=st.sampled_from(EventKind),
        text=TEXT,
        detail=st.dictionaries(TEXT, JSON, max_size=3),
    ),
)


def round_trip(observations: list[Observation]) -> list[Observation]:
    found: list[Observation] = []
    for each in pack(observations):
        found += unpack(each.codec, each.payload, device=each.device, channel=each.channel)
    return found


@given(observation=line_observations)
def test_numerics_and_events_read_as_they_were_appended(observation: Observation) -> None:
    assert round_trip([observation]) == [observation]


@given(pieces=st.lists(waveforms, min_size=1, max_size=6))
def test_waveforms_read_as_they_were_appended(pieces: list[Waveform]) -> None:
    found = [each for each in round_trip(list(pieces)) if isinstance(each, Waveform)]
    assert b"".join(each.raw for each in found) == b"".join(each.raw for each in pieces)
    assert [row for each in found for row in rows(each)] == [row for each in pieces for row in rows(each)]


def rows(each: Waveform) -> list[tuple[object, ...]]:
    steps = range(len(each.raw) // 4)
    return [(each.time_ns + n * each.period_ns, each.period_ns, each.scale, each.offset, each.quality) for n in steps]


def test_the_full_range_of_counts_and_the_missing_count_survive() -> None:
    extremes = waveform(T0, [MISSING_COUNT, 2**31 - 1, MISSING_COUNT, 0, -1, 2**31 - 1, -(2**31) + 1, MISSING_COUNT])
    assert round_trip([extremes]) == [extremes]


def test_pieces_of_a_waveform_that_continue_each_other_are_one_piece_when_read_again() -> None:
    first, second = waveform(T0, [1, 2, 3]), waveform(T0 + 6_000_000, [4, 5])
    assert round_trip([first, second]) == [waveform(T0, [1, 2, 3, 4, 5])]


@pytest.mark.parametrize(
    "change",
    [
        {"time_ns": T0 + 6_000_001},
        {"time_ns": T0 + 4_000_000},
        {"period_ns": 1_000_000},
        {"scale": 0.2},
        {"offset": 1.0},
        {"quality": Quality.SUSPECT},
    ],
    ids=str,
)
def test_pieces_that_do_not_continue_each_other_exactly_stay_apart(change: dict[str, Any]) -> None:
    first = waveform(T0, [1, 2, 3])
    second = waveform(T0 + 6_000_000, [4, 5]).model_copy(update=change)
    assert round_trip([first, second]) == [first, second]


def test_a_block_is_what_one_device_said_on_one_channel_or_in_numerics_or_in_events() -> None:
    group: list[Observation] = [
        numerics(T0),
        waveform(T0, [1]),
        event(T0),
        numerics(T0, device="pump"),
        waveform(T0, [1], channel="wf_ecg"),
        numerics(T0 + 1),
        event(T0 + 1),
    ]
    assert [(each.device, each.kind, each.channel, each.points) for each in pack(group)] == [
        ("mon", "numerics", "", 2),
        ("mon", "waveform", "wf_abp", 1),
        ("mon", "event", "", 2),
        ("pump", "numerics", "", 1),
        ("mon", "waveform", "wf_ecg", 1),
    ]


def test_a_block_spans_from_its_earliest_time_to_its_last_sample() -> None:
    (packed,) = pack([waveform(T0 + 50, [1, 2, 3]), waveform(T0, [1])])
    assert (packed.first_ns, packed.last_ns) == (T0, T0 + 50 + 4_000_000)


def test_a_long_stall_gives_several_blocks_of_bounded_size() -> None:
    packed = pack([waveform(T0 + index, [0] * 3000) for index in range(10)])
    assert [each.points for each in packed] == [9000, 9000, 9000, 3000]
    assert max(each.points for each in packed) <= MAX_WEIGHT


def test_a_block_is_bounded_by_the_values_within_and_not_by_the_instants() -> None:
    many = [Numerics(device="mon", time_ns=T0 + n, values={f"c{at}": 1.0 for at in range(4000)}) for n in range(5)]
    assert [each.points for each in pack(many)] == [2, 2, 1]


@given(few=st.lists(column_numerics, min_size=1, max_size=8), times=st.integers(1, 12))
def test_a_group_of_many_numerics_reads_as_it_was_appended(few: list[Numerics], times: int) -> None:
    many = few * times
    assert list(map(json_line, round_trip(list(many)))) == list(map(json_line, many))


@pytest.mark.parametrize("number", [1, COLUMNS_FROM])
@pytest.mark.parametrize("change", [{"device": "\ud800"}, {"device_time": "\ud800"}], ids=ascii)
def test_text_that_is_no_unicode_cannot_be_packed(number: int, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        pack([numerics(T0).model_copy(update=change)] * number)


@given(observations=st.lists(column_numerics, max_size=8))
def test_readings_are_counted_once_for_each_numerics_that_has_a_value_or_a_state(observations: list[Numerics]) -> None:
    counted: Counter[str] = Counter()
    for each in observations:
        counted.update({*each.values, *each.states})
    assert tally(observations) == counted


def test_half_a_sample_cannot_be_packed() -> None:
    with pytest.raises(ValueError, match="not whole samples"):
        pack([waveform(T0, [1]).model_copy(update={"raw": b"\0\0\0\0\0\0"})])


def test_a_time_beyond_64_bits_cannot_be_packed() -> None:
    with pytest.raises(ValueError, match="beyond 64 bits"):
        pack([numerics(2**63)])


@given(observations=st.lists(column_numerics, min_size=1, max_size=8))
def test_numerics_in_columns_read_as_they_were_appended(observations: list[Numerics]) -> None:
    found = decode(Codec.COLUMNS, encode(Codec.COLUMNS, observations), device="mon", channel="")
    assert list(map(json_line, found)) == list(map(json_line, observations))  # 0.0 is not -0.0, and the order counts


@pytest.mark.parametrize(
    "values",
    [
        [0.0, -0.0, 0.0],
        [0.1, 0.2, 0.1 + 0.2],
        [1e300, -1e-300, 5e-324],
        [2.0**53 - 1, 2.0**53, 2.0**53 + 2],
        [36.6, 36.7, -36.6],
        [70.0],
        [1 / 3, 2 / 3],
    ],
    ids=str,
)
def test_every_float_comes_out_of_a_column_to_the_last_bit(values: list[float]) -> None:
    observations = [numerics(T0 + index, value) for index, value in enumerate(values)]
    found = decode(Codec.COLUMNS, encode(Codec.COLUMNS, observations), device="mon", channel="")
    assert [repr(each.values["abp_mean"]) for each in found if isinstance(each, Numerics)] == list(map(repr, values))


@given(codec=st.integers(0, 4), merged=st.booleans(), body=st.binary(max_size=90), compressed=st.booleans())
def test_any_row_whatever_gives_blocks_or_a_value_error(
    codec: int, merged: bool, body: bytes, compressed: bool
) -> None:
    payload = zstandard.compress(body) if compressed else body
    with contextlib.suppress(ValueError):
        originals(Block(9, 5, "mon", "numerics", "", 0, 0, 2, 2, 2, codec | MERGED * merged, 0, payload))


@given(codec=st.integers(0, 4), body=st.binary(max_size=60), compressed=st.booleans())
def test_any_payload_whatever_gives_observations_or_a_value_error(codec: int, body: bytes, compressed: bool) -> None:
    with contextlib.suppress(ValueError):
        unpack(codec, zstandard.compress(body) if compressed else body, device="mon", channel="wf_abp")


def test_real_arterial_pressure_takes_less_than_a_byte_a_sample_in_blocks_of_five_seconds(shared_data: Path) -> None:
    # WFDB format 212, two 12-bit samples in three bytes; a frame is four of the ECG, one pressure, one respiration.
    triples = np.fromfile(shared_data / "mimic-03700181" / "03700181.dat", dtype=np.uint8).reshape(-1, 3).astype("i4")
    first = triples[:, 0] | (triples[:, 1] & 0x0F) << 8
    second = triples[:, 2] | (triples[:, 1] & 0xF0) << 4
    pressure = (np.stack([first, second], axis=1).reshape(-1, 6)[:, 4] ^ 0x800) - 0x800
    assert pressure[0] == -943  # as the header says
    blocks = [pressure[at : at + 625] for at in range(0, pressure.size - 625, 625)]
    packed = [pack([waveform(T0, block.tolist(), period_ns=8_000_000)])[0] for block in blocks]
    assert all(each.codec is Codec.DELTA_PLANES for each in packed)
    assert sum(len(each.payload) for each in packed) / sum(each.points for each in packed) < 0.95
