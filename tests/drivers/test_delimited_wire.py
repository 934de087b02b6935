from __future__ import annotations

import pytest

from acquisition.wire.delimited import LineCutter, Piece, is_run, split_fields


def cut(cutter: LineCutter, buffer: bytearray) -> list[Piece]:
    pieces = []
    while (piece := cutter.next(buffer)) is not None:
        assert 0 < piece.size <= len(buffer)
        del buffer[: piece.size]
        pieces.append(piece)
    return pieces


def test_a_terminator_split_between_two_pieces_is_found() -> None:
    cutter, buffer = LineCutter(b"\r\n", 10), bytearray()
    cutter.reset(at_boundary=True)
    buffer += b"one\r"
    assert cut(cutter, buffer) == []
    buffer += b"\ntwo\r\nth"
    assert [piece.line for piece in cut(cutter, buffer)] == [b"one", b"two"]
    assert buffer == b"th"


def test_a_line_of_the_longest_length_passes_and_one_byte_more_does_not() -> None:
    cutter = LineCutter(b"\r\n", 4)
    cutter.reset(at_boundary=True)
    pieces = cut(cutter, bytearray(b"1234\r\n12345\r\n1\r\n"))
    assert pieces == [Piece(6, b"1234"), Piece(7, None, "overlong"), Piece(3, b"1")]


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_the_rest_of_an_overlong_line_is_headless_however_it_arrives(step: int) -> None:
    cutter, buffer, wire = LineCutter(b"\r\n", 4), bytearray(), b"x" * 9 + b"\r\nnext\r\n"
    cutter.reset(at_boundary=True)
    pieces = []
    for start in range(0, len(wire), step):
        buffer += wire[start : start + step]
        pieces += cut(cutter, buffer)
        assert len(buffer) <= 5
    assert [piece.line for piece in pieces if piece.line is not None] == [b"next"]
    assert [piece.flaw for piece in pieces].count("overlong") == 1


def test_blanks_separate_in_runs_and_other_separators_exactly() -> None:
    assert split_fields("  00  1A   -3 ", " ") == ["00", "1A", "-3"]
    assert split_fields("00,, 1A ,-3,", ",") == ["00", "", "1A", "-3", ""]
    assert split_fields("a\tb c", " ") == ["a\tb", "c"]


def test_a_run_is_one_character_filling_the_field_or_the_very_text() -> None:
    assert is_run("-------", "-")
    assert is_run("--", "--")
    assert not is_run("---", "--")
    assert not is_run("-3", "-")
    assert not is_run("", "-")
