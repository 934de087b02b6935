from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.errors import WireError
from acquisition.wire import dri
from acquisition.wire.dri_values import block, displayed
from tests.drivers import dri_vectors as vectors


def pieces_of(*pieces: bytes) -> list[bytes | dri.Flaw]:
    deframer, buffer = dri.Deframer(), bytearray()
    found: list[bytes | dri.Flaw] = []
    for piece in pieces:
        buffer += piece
        found += deframer.take(buffer)
    return found


def contents(*pieces: bytes) -> list[bytes]:
    return [piece for piece in pieces_of(*pieces) if isinstance(piece, bytes)]


def test_the_requests_are_those_printed_in_the_specification() -> None:
    assert dri.displayed_request(10, 0x0E) == vectors.DISPLAYED_10_S
    assert dri.displayed_request(0, 0) == vectors.STOP_DISPLAYED
    assert dri.wave_request([1]) == vectors.ECG1
    assert dri.wave_request([4, 5]) == vectors.INVP1_INVP2


def test_a_checksum_that_looks_like_a_flag_or_an_escape_is_escaped() -> None:
    assert dri.values_request(3, 60, 0x0E) == vectors.TREND_60_S
    assert contents(vectors.TREND_60_S) == [
        contents(vectors.DISPLAYED_10_S)[0][:40] + bytes.fromhex("033c000e") + bytes(5)
    ]


@given(st.binary(max_size=80))
def test_any_record_comes_out_of_a_frame_as_it_went_in(body: bytes) -> None:
    record = (40 + len(body)).to_bytes(2, "little") + bytes(38) + body
    assert contents(b"lost", dri.frame(record), dri.frame(record)) == [record, record]


def test_a_frame_whose_beginning_was_not_seen_is_not_used() -> None:
    headless = dri.Flaw("headless", len(vectors.WAVE) - 11)
    assert pieces_of(vectors.WAVE[10:] + vectors.WAVE) == [headless, vectors.WAVE[1:-2]]


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (vectors.WAVE[:50] + b"\x01" + vectors.WAVE[51:], "checksum"),
        (vectors.WAVE[:50] + b"\x7d" + vectors.WAVE[51:], "escape"),
        (vectors.WAVE[:-2] + b"\x7d\x7e", "escape"),
        (vectors.WAVE[:30] + b"\x7e", "checksum"),
        (b"\x7e" + vectors.WAVE[1:-2] + b"\0\x2c\x7e", "length"),
        (b"\x7e\x05\x05\x7e", "length"),
    ],
)
def test_a_damaged_frame_is_counted_and_costs_no_other(damaged: bytes, reason: str) -> None:
    flaw, sound = pieces_of(damaged, vectors.WAVE)
    assert isinstance(flaw, dri.Flaw)
    assert flaw.reason == reason
    assert sound == vectors.WAVE[1:-2]


def test_an_endless_frame_is_given_up() -> None:
    deframer, buffer = dri.Deframer(), bytearray(b"\x7e")
    found: list[bytes | dri.Flaw] = []
    for _ in range(5):
        buffer += bytes(dri.MAX_RAW // 2)
        found += deframer.take(buffer)
        assert len(buffer) <= dri.MAX_RAW
    buffer += vectors.WAVE
    found += deframer.take(buffer)
    assert [piece.reason for piece in found if isinstance(piece, dri.Flaw)] == ["oversized", "headless"]
    assert found[-1] == vectors.WAVE[1:-2]


def test_the_header_tells_level_time_and_where_the_parts_are() -> None:
    record = dri.parse(contents(vectors.WAVE)[0])
    assert (record.level, record.main, [part.kind for part in record.parts]) == (10, dri.Main.WAVE, [4])
    assert dri.civil(record.time) == (2026, 8, 1, 12, 0, 0)


@pytest.mark.parametrize("table", ["0000 01 0000 01", "0100 01 0000 01", "7000 01 0000 ff", "ffff 01 0000 ff"])
def test_parts_outside_of_the_record_or_out_of_order_are_refused(table: str) -> None:
    record = bytearray(vectors.record(0, (1, bytes(20))))
    record[16:22] = bytes.fromhex(table)
    with pytest.raises(WireError):
        dri.parse(bytes(record))


@pytest.mark.parametrize("main", [2, 4, 5, 8, 99])
def test_nothing_is_taken_from_a_record_of_another_type(main: int) -> None:
    assert dri.parse(vectors.record(main, (1, b"ZZSECRETNAME"))).parts == ()


def test_a_part_that_is_cut_short_is_refused() -> None:
    with pytest.raises(WireError):
        displayed(dri.Part(1, bytes(277)), 11)
    for data in (b"\x01\x00", bytes.fromhex("0300 0000 0100 0000 0000"), bytes.fromhex("ffff 0000 0100")):
        with pytest.raises(WireError):
            block(dri.Part(4, data))


def test_control_codes_among_samples_are_no_numbers() -> None:
    found = block(dri.Part(*vectors.wave(4, 1, [-31999, -32000, -32767, 12])))
    assert found is not None
    assert found.counts.tolist() == [-31999, -(2**31), -(2**31), 12]
    assert found.counts.dtype == np.int32


def test_what_may_be_written_of_a_stream_decodes_as_the_stream_does_and_tells_of_no_patient() -> None:
    strange = vectors.framed(vectors.record(5, (1, b"ZZSECRETNAME")))
    wire = b"ZZSECRETNAME" + vectors.WAVE + strange + strange[:60] + vectors.MONITOR + strange[:-3] + b"\0\x7e"
    cut = dri.Cut()
    kept = b"".join(cut.feed(wire[at : at + 1]) for at in range(len(wire)))
    assert kept == dri.Cut().feed(wire)
    assert b"ZZSECRETNAME" in wire
    assert b"SECRET" not in kept
    read = [piece for piece in pieces_of(wire) if isinstance(piece, bytes)]
    written = [piece for piece in pieces_of(kept) if isinstance(piece, bytes)]
    assert [dri.parse(piece) for piece in written] == [dri.parse(piece) for piece in read]
    assert sum(isinstance(piece, dri.Flaw) for piece in pieces_of(kept)) == 2


@settings(max_examples=300)
@given(st.lists(st.one_of(st.binary(max_size=60), st.just(vectors.WAVE), st.just(vectors.MONITOR)), max_size=6))
def test_where_the_stream_is_split_does_not_matter(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert pieces_of(whole) == pieces_of(*(whole[at : at + 1] for at in range(len(whole))))


def test_ten_thousand_records_of_any_content_are_read_or_refused_and_fast() -> None:
    rng = np.random.default_rng(3)
    began, read = time.process_time(), 0
    for turn in range(10_000):
        head = bytearray(vectors.record(turn % 2, (int(rng.choice([1, 1, 4, 9])), b"")))
        body = rng.bytes(int(rng.integers(0, 500)))
        head[16:22] = rng.bytes(6) if turn % 3 else head[16:22]
        try:
            record = dri.parse(bytes(head) + body)
            for part in record.parts:
                read += displayed(part, 11) is not None if record.main == 0 else block(part) is not None
        except WireError:
            continue
    assert read > 100
    assert 10_000 / (time.process_time() - began) > 5_000
