from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.errors import WireError
from acquisition.model import MISSING_COUNT, State
from acquisition.wire import medibus
from acquisition.wire.medibus import Flaw, Flow, Message, command, response
from acquisition.wire.medibus_curves import Block, Curve, Streams, configuration, enable, offered

PAW = Curve("00", 16_000, -10.0, 100.0, 0x370)
CO2 = Curve("06", 16_000, -20.0, 100.0, 0x460)
CONFIG = b"00   16000  -10  100370" + b"06   16000  -20  100460"


@pytest.mark.parametrize(
    ("made", "printed"),
    [
        (command(0x51), "1B 51 36 43 0D"),
        (response(0x51), "01 51 35 32 0D"),
        (command(0x52), "1B 52 36 44 0D"),
        (response(0x52), "01 52 35 33 0D"),
        (command(0x30), "1B 30 34 42 0D"),
        (command(0x24), "1B 24 33 46 0D"),
        (response(0x24), "01 24 32 35 0D"),
        (response(0x24, b"EB 98 E1 70 "), "01 24" + b"EB 98 E1 70 ".hex() + "37 41 0D"),
        (command(0x28), "1B 28 34 33 0D"),
        (response(0x28, b"11:11:1911-NOV-93"), "01 28" + b"11:11:1911-NOV-93".hex() + "45 36 0D"),
        (command(0x49), "1B 49 36 34 0D"),
        (response(0x49), "01 49 34 41 0D"),
        (command(0x53), "1B 53 36 45 0D"),
        (command(0x54, b"00020603"), "1B 54" + b"00020603".hex() + "46 41 0D"),
        (response(0x54), "01 54 35 35 0D"),
        (enable(2), "D0 C1 C3 C0 C0"),
    ],
)
def test_messages_are_those_printed_in_the_definition(made: bytes, printed: str) -> None:
    assert made == bytes.fromhex(printed)


def test_a_stream_is_taken_apart_in_its_order() -> None:
    wire = b"x" + command(0x30) + response(0x24, b"EB 98 ")[:5] + b"\x11" + response(0x24, b"EB\xd1 98 ") + b"\x13"
    assert list(medibus.Deframer().take(wire)) == [
        Flaw("noise", 1), Message(True, 0x30, b""), Flow.SUSPEND, Flaw("broken_off", 5), 0xD1,
        Flaw("checksum", 10), Flow.RESUME,
    ]  # fmt: skip
    interleaved = response(0x24, b"EB 98 ")
    interleaved = interleaved[:4] + b"\xd1\x91\x81" + interleaved[4:]
    assert list(medibus.Deframer().take(interleaved)) == [0xD1, 0x91, 0x81, Message(False, 0x24, b"EB 98 ")]


def test_an_endless_message_is_given_up() -> None:
    deframer = medibus.Deframer()
    found = list(deframer.take(b"\x01" + b"0" * 5000 + b"\r" + response(0x30)))
    assert found[0] == Flaw("oversized", medibus.LONGEST + 1)
    assert found[-1] == Message(False, 0x30, b"")


def test_records_are_numbers_or_states() -> None:
    assert medibus.measured(b"F0 60 78 10 7D 24 ") == {"F0": 60.0, "78": 10.0, "7D": 24.0}
    assert medibus.measured(b"EB    E1----E6-1.5") == {"EB": State.UNAVAILABLE, "E1": State.INVALID, "E6": -1.5}
    assert medibus.settings(b"01 40.004-.450") == {"01": 40.0, "04": -0.45}
    assert medibus.measured(b"") == {}


@pytest.mark.parametrize("data", [b"EB 98", b"eb 98 ", b"EB 98 EB 97 ", b"?? 98 "])
def test_what_are_no_whole_records_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        medibus.measured(data)


def test_the_time_is_read_in_english_and_german_and_else_not_at_all() -> None:
    assert medibus.date(b"11:11:1911-NOV-93") == (1993, 11, 11, 11, 11, 19)
    assert medibus.date(b"23:59:0101-DEZ-26") == (2026, 12, 1, 23, 59, 1)
    assert medibus.date(b"23:59:0101-XYZ-26") is None
    assert medibus.date(b"") is None


def test_the_identification_tells_model_and_revisions() -> None:
    assert medibus.identity(b"0161'My PC'01.00:03.00") == {
        "model": "My PC", "device_id": "0161", "firmware": "01.00", "protocol": "03.00",
    }  # fmt: skip
    assert medibus.identity(b"") == {}


def test_curves_have_their_last_bin_in_hexadecimal_and_their_interval_in_microseconds() -> None:
    assert offered(CONFIG) == {"00": PAW, "06": CO2}
    assert configuration(["00", "06"]) == b"00010601"
    for bad in (CONFIG[:-1], CONFIG.replace(b"16000", b"    0"), CONFIG.replace(b"370", b"000"), b"x" * 23):
        with pytest.raises(WireError):
            offered(bad)


def blocks(wire: str, *curves: Curve) -> list[Block]:
    streams = Streams(curves)
    return [block for byte in bytes.fromhex(wire) for block in streams.take(byte)] + streams.rest()


def test_the_printed_session_gives_the_printed_values() -> None:
    pressure, gas = blocks("D3 91 81 8D 83 D1 94 81 D3", PAW, CO2)
    assert pressure.counts.tolist() == [81, 84]
    assert gas.counts.tolist() == [205, MISSING_COUNT]
    assert PAW.low + 81 * PAW.scale == pytest.approx(0.125)
    assert CO2.low + 205 * CO2.scale == pytest.approx(1.96, abs=0.005)


def test_the_printed_missing_value_is_missing_and_bins_beyond_the_last_are_no_numbers() -> None:
    wide = [Curve(code, 16_000, 0.0, 1.0, 0xFFF) for code in ("00", "01", "03")]
    assert [block.counts.tolist() for block in blocks("D5 B0 A3 8B BC D0", *wide)] == [
        [0x8F0], [MISSING_COUNT], [0xF0B],
    ]  # fmt: skip
    assert blocks("D1 B0 8D D1 B1 8D D0", PAW)[0].counts.tolist() == [880, MISSING_COUNT]
    assert blocks("D1 BF BF D0", PAW)[0].counts.tolist() == [MISSING_COUNT]


def test_commands_among_the_values_are_no_values() -> None:
    (block,) = blocks("D1 C6 C1 C0 C0 91 81 D0 C6 C0 C0 C0 D1 94 81 D0", PAW)
    assert block.counts.tolist() == [81, 84]


@pytest.mark.parametrize("damaged", ["D1 91", "D1 91 81 91", "D1 CF C0 91 81", "D1 C6 91 81", "D1 E5 E5 91 81"])
def test_a_set_that_cannot_be_used_ends_the_block_before_it(damaged: str) -> None:
    found = blocks(f"D1 91 81 {damaged} D1 94 81 D0", PAW)
    assert [(block.counts.tolist(), block.after_gap) for block in found] == [([81], True), ([84], True)]


def test_blocks_last_half_a_second() -> None:
    found = blocks("D19181" * 70 + "D0", PAW)
    assert [(block.counts.size, block.after_gap) for block in found] == [(32, True), (32, False), (6, False)]


@settings(max_examples=300)
@given(st.lists(st.one_of(st.binary(max_size=40), st.just(response(0x24, b"EB 98 "))), max_size=6))
def test_where_the_stream_is_split_does_not_matter(pieces: list[bytes]) -> None:
    whole, deframer = b"".join(pieces), medibus.Deframer()
    split = [found for at in range(len(whole)) for found in deframer.take(whole[at : at + 1])]
    assert list(medibus.Deframer().take(whole)) == split


def test_ten_thousand_pieces_of_any_content_are_read_or_refused_and_fast() -> None:
    rng, deframer, streams = np.random.default_rng(4), medibus.Deframer(), Streams([PAW, CO2])
    pieces = [
        response(0x24, b"%02X%4d" % (turn % 256, turn % 999)) if turn % 4 else rng.bytes(int(rng.integers(0, 60)))
        for turn in range(10_000)
    ]
    began, read = time.process_time(), 0
    for piece in pieces:
        for found in deframer.take(piece):
            if isinstance(found, Message) and found.data:
                read += len(medibus.measured(found.data))
            elif isinstance(found, int) and not isinstance(found, Flow):
                streams.take(found)
    assert read > 5_000
    assert 10_000 / (time.process_time() - began) > 5_000
