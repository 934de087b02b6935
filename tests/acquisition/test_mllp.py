from __future__ import annotations

import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acquisition.wire.mllp import Deframer, frame

CONTENT = st.binary(max_size=60).map(lambda raw: raw.replace(b"\x0b", b"").replace(b"\x1c", b"") or b"x")


def take(pieces: Iterable[bytes], deframer: Deframer | None = None) -> list[bytes]:
    deframer = deframer or Deframer()
    buffer = bytearray()
    taken: list[bytes] = []
    for piece in pieces:
        buffer += piece
        taken += deframer.take(buffer)
    return taken


def test_two_messages_in_one_piece_are_two_messages() -> None:
    assert take([frame(b"MSH|one") + frame(b"MSH|two")]) == [b"MSH|one", b"MSH|two"]


def test_a_message_is_found_byte_by_byte() -> None:
    assert take(bytes([byte]) for byte in frame(b"MSH|one") + frame(b"MSH|two")) == [b"MSH|one", b"MSH|two"]


def test_noise_between_messages_is_counted() -> None:
    deframer = Deframer()
    assert take([b"abc" + frame(b"one") + b"\r\n" + frame(b"two") + b"zz"], deframer) == [b"one", b"two"]
    assert deframer.lost["noise"] == 7


def test_an_end_block_without_its_cr_ends_at_the_next_start() -> None:
    assert take([b"\x0bone\x1c", frame(b"two")]) == [b"one", b"two"]


def test_an_end_byte_inside_a_message_does_not_end_it() -> None:
    assert take([frame(b"a\x1cb")]) == [b"a\x1cb"]


def test_a_message_that_broke_off_costs_only_itself() -> None:
    deframer = Deframer()
    assert take([frame(b"one")[:3] + frame(b"two")], deframer) == [b"two"]
    assert deframer.lost["truncated"] == 1


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_an_oversized_message_is_dropped_to_its_end_and_counted(piece: int) -> None:
    deframer = Deframer(max_bytes=1000)
    wire = frame(b"x" * 5000) + frame(b"good") + frame(b"y" * 1000) + frame(b"z" * 1001)
    assert take((wire[at : at + piece] for at in range(0, len(wire), piece)), deframer) == [b"good", b"y" * 1000]
    assert deframer.lost == {"oversized": 2, "noise": 0}


def test_an_oversized_message_that_breaks_off_is_counted_once() -> None:
    deframer = Deframer(max_bytes=10)
    assert take([b"\x0b" + b"x" * 50, b"yyy", frame(b"good")], deframer) == [b"good"]
    assert deframer.lost["oversized"] == 1
    assert deframer.lost["truncated"] == 0


def test_a_new_link_forgets_the_half_message_of_the_old() -> None:
    deframer = Deframer()
    take([b"\x0bhalf"], deframer)
    deframer.reset()
    assert take([b"rest\x1c\r" + frame(b"good")], deframer) == [b"good"]


def test_the_work_is_linear_in_the_bytes() -> None:
    started = time.process_time()
    take([b"\x0b" * 400_000])
    take([b"\x1c" * 400_000 + b"\x0b" + b"\x1c" * 400_000])
    take([b"\x0b", *([b"x" * 100] * 20_000)])
    assert time.process_time() - started < 3


@given(st.lists(st.one_of(CONTENT.map(frame), st.binary(max_size=20))), st.data())
def test_every_split_gives_the_same_messages_and_losses(parts: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    whole, split = Deframer(max_bytes=40), Deframer(max_bytes=40)
    pieces = [wire[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert take(pieces, split) == take([wire], whole)
    assert +split.lost == +whole.lost


@given(st.lists(CONTENT), st.binary(max_size=20).filter(lambda noise: b"\x0b" not in noise))
def test_every_whole_message_is_taken(messages: list[bytes], noise: bytes) -> None:
    assert take([noise + b"".join(map(frame, messages))]) == messages


@given(st.lists(st.binary(max_size=50), max_size=40))
def test_memory_stays_bounded_whatever_comes(pieces: list[bytes]) -> None:
    deframer, buffer = Deframer(max_bytes=16), bytearray()
    for piece in pieces:
        buffer += piece
        deframer.take(buffer)
        assert len(buffer) <= 17
