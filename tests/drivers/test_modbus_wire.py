from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acquisition.errors import ConfigError
from acquisition.wire.modbus import (
    Mode,
    Read,
    RtuFraming,
    TcpFraming,
    framing_of,
    next_transaction,
)
from acquisition.wire.probes import Probes
from tests.drivers.modbus_bench import rtu

# PROTOCOLS.md 4.8, 4.9, 4.18, 4.19
REQUESTS = {
    "puralev": (Read(1, 4, 0x4000, 9), "01 04 40 00 00 09 25 CC"),
    "leviflow": (Read(1, 4, 0, 10), "01 04 00 00 00 0A 70 0D"),
    "alicat": (Read(1, 4, 1208, 2), "01 04 04 B8 00 02 F0 DE"),
    "bronkhorst": (Read(1, 3, 0xA100, 2), "01 03 A1 00 00 02 E7 F7"),
}
REPLIES = {
    "puralev": (
        "01 04 12 00 02 0D 61 00 00 0D 61 00 00 00 00 00 00 00 00 01 9C 95 3F",
        [2, 3425, 0, 3425, 0, 0, 0, 0, 412],
    ),
    "leviflow": (
        "01 04 14 00 00 01 81 00 00 00 00 00 00 00 00 0E 60 00 00 00 00 0F 0A 90 78",
        [0, 385, 0, 0, 0, 0, 3680, 0, 0, 3850],
    ),
    "alicat": ("01 04 04 40 76 66 66 A4 14", [0x4076, 0x6666]),
}
RTU = RtuFraming()
TCP = TcpFraming()


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_the_documented_frame(name: str) -> None:
    read, frame = REQUESTS[name]
    assert RTU.encode(read, 0) == bytes.fromhex(frame)


@pytest.mark.parametrize("name", REPLIES)
def test_a_documented_reply_has_the_documented_words(name: str) -> None:
    frame, words = REPLIES[name]
    read = REQUESTS[name][0]
    reply = RTU.find(bytearray.fromhex(frame), read, 0)
    assert reply is not None
    assert read.words(reply.data) == words


@pytest.mark.parametrize("name", REPLIES)
@given(before=st.binary(max_size=40), after=st.binary(max_size=40))
def test_a_reply_is_found_among_anything_and_never_before_it_is_whole(name: str, before: bytes, after: bytes) -> None:
    frame = bytes.fromhex(REPLIES[name][0])
    read = REQUESTS[name][0]
    for end in range(len(frame)):
        found = RTU.find(bytearray(before + frame[:end]), read, 0)
        assert found is None
    found = RTU.find(bytearray(before + frame + after), read, 0)
    assert found is not None
    assert (found.start, found.end) == (len(before), len(before) + len(frame))


@pytest.mark.parametrize("header", ["01 04 FF", "01 04 04", "01 03 FF", "01 84", "FF FF FF"])
def test_stray_bytes_that_look_like_a_header_hide_nothing(header: str) -> None:
    frame = bytes.fromhex(REPLIES["alicat"][0])
    noise = bytes.fromhex(header)
    found = RTU.find(bytearray(noise + frame), REQUESTS["alicat"][0], 0)
    assert found is not None
    assert found.start == len(noise)


@pytest.mark.parametrize("position", range(9))
def test_any_flipped_bit_spoils_a_reply(position: int) -> None:
    for bit in range(8):
        frame = bytearray.fromhex(REPLIES["alicat"][0])
        frame[position] ^= 1 << bit
        assert RTU.find(frame, REQUESTS["alicat"][0], 0) is None


def test_only_the_unit_function_and_length_asked_for_are_a_reply() -> None:
    read = Read(1, 4, 0, 2)
    for other in (rtu(2, 4, b"\4abcd"), rtu(1, 3, b"\4abcd"), rtu(1, 4, b"\2ab"), rtu(1, 4, b"\6abcdef")):
        assert RTU.find(bytearray(other), read, 0) is None
        assert RTU.strays(other) == [0]


def test_an_exception_reply_gives_its_code() -> None:
    reply = RTU.find(bytearray(b"\x55" + rtu(1, 0x84, b"\x02")), Read(1, 4, 0, 2), 0)
    assert reply is not None
    assert (reply.start, reply.exception) == (1, 2)


def test_the_first_of_a_reply_and_an_exception_is_taken() -> None:
    good, bad = rtu(1, 4, b"\4abcd"), rtu(1, 0x84, b"\x06")
    first = RTU.find(bytearray(good + bad), Read(1, 4, 0, 2), 0)
    second = RTU.find(bytearray(bad + good), Read(1, 4, 0, 2), 0)
    assert first is not None
    assert second is not None
    assert (first.data, first.exception) == (b"abcd", 0)
    assert second.exception == 6


def test_an_echo_that_has_the_form_of_a_reply_is_not_taken_for_one() -> None:
    # 24 coils have three data bytes, and so has every request; its address begins with the byte count here.
    read = Read(1, 1, 0x0312, 24)
    request = RTU.encode(read, 0)
    reply = rtu(1, 1, b"\3\1\2\3")
    assert RTU.find(bytearray(request), read, 0) is None
    found = RTU.find(bytearray(request + reply), read, 0)
    assert found is not None
    assert found.start == len(request)


def test_bits_come_lowest_first_and_padding_is_dropped() -> None:
    assert Read(1, 2, 0, 10).words(bytes((0b0000_0101, 0b0000_0010))) == [1, 0, 1, 0, 0, 0, 0, 0, 0, 1]


def test_on_tcp_only_the_transaction_asked_for_is_a_reply() -> None:
    read = Read(1, 4, 0, 2)
    body = bytes.fromhex("0000 0007 01 04 04 61626364")
    late, mine = b"\0\x05" + body, b"\0\x06" + body
    assert TCP.find(bytearray(late), read, 6) is None
    found = TCP.find(bytearray(late + mine), read, 6)
    assert found is not None
    assert (found.start, found.data) == (len(late), b"abcd")
    assert TCP.strays(late + b"\xff\xff" + mine) == [5, 6]


def test_on_tcp_a_header_that_promises_more_than_comes_hides_nothing() -> None:
    read = Read(1, 4, 0, 2)
    mine = bytes.fromhex("0006 0000 0007 01 04 04 61626364")
    found = TCP.find(bytearray(bytes.fromhex("0005 0000 00FE 01 04 FA") + mine), read, 6)
    assert found is not None
    assert found.data == b"abcd"


@pytest.mark.parametrize("cut", range(1, 13))
@pytest.mark.parametrize("other", ["0006", "0005"])
def test_on_tcp_a_frame_that_was_broken_off_is_not_completed_with_the_next_one(cut: int, other: str) -> None:
    mine, late = (bytes.fromhex(number + "0000 0007 01 04 04 61626364") for number in ("0006", other))
    found = TCP.find(bytearray(mine[:cut] + late + mine), Read(1, 4, 0, 2), 6)
    assert found is not None
    assert found.start in (cut, cut + len(late))
    assert found.data == b"abcd"


@pytest.mark.parametrize(
    "words", ["0000 0003 0003 0000", "0000 0005 0104 0200", "0000 0003 0184 0000", "0000 000b 0104"]
)
def test_on_tcp_small_numbers_that_look_like_another_header_are_read(words: str) -> None:
    data = bytes.fromhex(words)
    frame = b"\0\6\0\0" + bytes((0, len(data) + 3, 1, 4, len(data))) + data
    found = TCP.find(bytearray(frame), Read(1, 4, 0, len(data) // 2), 6)
    assert found is not None
    assert found.data == data


def test_on_tcp_an_exception_gives_its_code() -> None:
    reply = TCP.find(bytearray.fromhex("0006 0000 0003 01 84 0B"), Read(1, 4, 0, 2), 6)
    assert reply is not None
    assert reply.exception == 11


def test_transactions_roll_over_and_pass_by_those_still_outstanding() -> None:
    assert next_transaction(65534, ()) == 65535
    assert next_transaction(65535, ()) == 0
    assert next_transaction(65534, {65535: None, 0: None, 1: None}) == 2


def test_rtu_through_a_serial_server_is_rtu() -> None:
    assert isinstance(framing_of(Mode.RTU_OVER_TCP), RtuFraming)
    assert isinstance(framing_of(Mode.TCP), TcpFraming)


@pytest.mark.parametrize("counts", [(1,), (2,), (1, 2), (9,), (1, 2, 3), (125,), (2, 2)])
def test_the_probes_have_shapes_that_no_poll_and_no_other_probe_has(counts: tuple[int, ...]) -> None:
    polls = [Read(1, 4, 100 * index, count) for index, count in enumerate(counts)]
    shapes = {read.shape for read in (*polls, *Probes(polls).both)}
    assert len(shapes) == len(set(counts)) + 2


def test_probes_for_coils_count_bytes_not_bits() -> None:
    first, second = Probes([Read(1, 1, 0, 5)]).both
    assert (first.shape, second.shape) == ((1, 2), (1, 3))


def test_a_probe_as_long_as_a_poll_or_as_the_other_is_refused() -> None:
    for counts in ((2, 3), (3, 2), (3, 3)):
        with pytest.raises(ConfigError, match="probe: the two replies must differ in length"):
            Probes([Read(1, 4, 0, 2)], [Read(1, 4, 50, count) for count in counts])


def test_each_doubt_has_the_other_probe_and_keeps_to_it() -> None:
    probes = Probes([Read(1, 4, 0, 9)])
    first, second = probes.both
    assert [probes.next(), probes.next()] == [first, first]
    probes.settle()
    assert [probes.next(), probes.next()] == [second, second]
    probes.settle()
    assert probes.next() == first


def test_a_link_opened_again_begins_with_the_first_probe_unless_answers_to_it_may_still_come() -> None:
    probes = Probes([Read(1, 4, 0, 9)])
    first, second = probes.both
    probes.next()
    probes.settle()
    probes.restart()
    assert [probes.next(), probes.next()] == [first, first]
    probes.settle()
    probes.restart()
    assert probes.next() == second


def test_probes_of_a_link_that_was_closed_on_them_are_not_forgotten() -> None:
    probes = Probes([Read(1, 4, 0, 9)])
    probes.next()
    probes.restart()
    assert probes.next() == probes.both[0]
    probes.settle()
    probes.restart()
    assert probes.next() == probes.both[1]


def test_pymodbus_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    read = REQUESTS["alicat"][0]
    RTU.encode(read, 0)
    reply = RTU.find(bytearray.fromhex("01 04 FF" + REPLIES["alicat"][0]), read, 0)
    assert reply is not None
    read.words(reply.data)
    RTU.strays(b"\1\4\xff" * 20)
    assert caplog.records == []
