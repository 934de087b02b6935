from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acquisition.errors import TraceError
from acquisition.trace import Direction, Piece, TraceHeader, TraceWriter, read_trace

HEADER = TraceHeader(link="tcp://192.0.2.7:4001", driver="pump", started="2026-01-01T00:00:00.000000001Z")
PIECES = [Piece(0, ">", b"\x01\x03"), Piece(5, "<", b"\x01"), Piece(5, "<", b"\x02\xff"), Piece(10**12, ">", b"")]
SUFFIXES = pytest.mark.parametrize("suffix", [".trace", ".trace.gz", ".trace.zst"])


def written(path: Path, pieces: list[Piece] = PIECES) -> Path:
    with TraceWriter(path, HEADER) as writer:
        for piece in pieces:
            writer.write(*piece)
    return path


def lines(*pieces: str, **changed: object) -> str:
    header = {"format": "ecmo-daq-trace", "version": 1, "link": "l", "driver": "d", "started": "2026-01-01T00:00:00Z"}
    return "".join(line + "\n" for line in (json.dumps(header | changed), *pieces))


def read(path: Path) -> tuple[list[Piece], str | None]:
    _, pieces = read_trace(path)
    found = list(pieces)
    return found, pieces.damage


@SUFFIXES
def test_what_was_written_is_read(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"a{suffix}")
    header, pieces = read_trace(path)
    assert header == HEADER
    assert list(pieces) == PIECES
    assert pieces.damage is None


@given(st.lists(st.tuples(st.integers(0, 2**62), st.sampled_from(("<", ">")), st.binary(max_size=50))))
def test_any_pieces_in_order_of_time_come_back(pieces: list[tuple[int, Direction, bytes]]) -> None:
    ordered = [Piece(*piece) for piece in sorted(pieces, key=lambda piece: piece[0])]
    file = io.BytesIO()
    writer = TraceWriter(file, HEADER)
    for piece in ordered:
        writer.write(*piece)
    writer.close()
    first, *rest = file.getvalue().decode().splitlines()
    assert json.loads(first)["format"] == "ecmo-daq-trace"
    back = [json.loads(line) for line in rest]
    assert [(one["t"], one["d"], bytes.fromhex(one["x"])) for one in back] == [piece[:3] for piece in ordered]


def test_a_piece_is_the_line_that_the_format_says(tmp_path: Path) -> None:
    path = written(tmp_path / "a.trace", [Piece(1_250_000_000, "<", b"\x0a\x1b")])
    assert path.read_text().splitlines()[1] == '{"t":1250000000,"d":"<","x":"0a1b"}'


def test_the_start_keeps_its_nanoseconds(tmp_path: Path) -> None:
    header, pieces = read_trace(written(tmp_path / "a.trace"))
    pieces.close()
    assert header.started_ns % 10**9 == 1


def test_a_trace_is_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "a.trace")
    with pytest.raises(TraceError, match="exists"):
        TraceWriter(path, HEADER)
    assert read(path) == (PIECES, None)


def test_a_trace_that_cannot_be_created_says_why(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file or directory"):
        TraceWriter(tmp_path / "absent" / "a.trace", HEADER)


def test_a_writer_refuses_time_that_runs_backwards(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "a.trace", HEADER) as writer:
        writer.write(5, "<", b"x")
        with pytest.raises(TraceError, match="cannot follow"):
            writer.write(4, "<", b"y")


def test_each_piece_of_a_plain_trace_is_in_the_file_at_once(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "a.trace", HEADER) as writer:
        writer.write(0, "<", b"x")
        assert read(tmp_path / "a.trace") == ([Piece(0, "<", b"x")], None)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_compressed_trace_is_in_the_file_after_a_second_of_its_time(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.trace{suffix}"
    with TraceWriter(path, HEADER) as writer:
        writer.write(1, "<", b"x")
        writer.write(10**9, "<", b"y")
        writer.write(10**9 + 1, "<", b"z")
        assert read(path)[0] == [Piece(1, "<", b"x"), Piece(10**9, "<", b"y")]
        writer.flush()
        assert len(read(path)[0]) == 3


def test_a_trace_cut_anywhere_gives_its_whole_lines_and_reports_the_rest(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.trace").read_bytes()
    header_end = whole.index(b"\n") + 1
    cut_path = tmp_path / "cut.trace"
    for cut in range(header_end, len(whole)):
        cut_path.write_bytes(whole[:cut])
        found, damage = read(cut_path)
        assert found == PIECES[: len(found)]
        complete = whole[:cut].count(b"\n") - 1
        # A line that lacks only its end is whole.
        assert len(found) == complete + (whole[cut : cut + 1] == b"\n")
        assert (damage is None) == (whole[cut - 1 : cut] == b"\n" or whole[cut : cut + 1] == b"\n")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_compressed_trace_that_was_cut_gives_what_is_left(tmp_path: Path, suffix: str) -> None:
    pieces = [Piece(number * 10**9, "<", bytes([number])) for number in range(100)]
    path = written(tmp_path / f"a.trace{suffix}", pieces)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    found, _ = read(path)
    assert found == pieces[: len(found)]
    assert 20 < len(found) < 80


def test_a_gzip_trace_that_was_cut_says_so(tmp_path: Path) -> None:
    path = written(tmp_path / "a.trace.gz")
    path.write_bytes(path.read_bytes()[:-8])
    found, damage = read(path)
    assert found == PIECES
    assert damage is not None
    assert "cut" in damage


@pytest.mark.parametrize("tail", ["\0\0\0\0", '{"t":6,"d":"<","x":"0', '{"t":6}', "[]", '{"t":6,"d":"?","x":"00"}'])
def test_a_damaged_last_line_is_left_out_and_reported(tmp_path: Path, tail: str) -> None:
    path = tmp_path / "a.trace"
    path.write_text(lines('{"t":5,"d":"<","x":"00"}') + tail)
    found, damage = read(path)
    assert found == [Piece(5, "<", b"\x00")]
    assert damage is not None
    assert "line 3" in damage


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "\xff\x00",
        '{"t":1,"d":"<","x":"0"}',
        '{"t":1,"d":"<","x":7}',
        '{"t":-1,"d":"<","x":"00"}',
        '{"t":1.5,"d":"<","x":"00"}',
        '{"t":1,"d":"=","x":"00"}',
        '{"d":"<","x":"00"}',
    ],
)
def test_damage_before_the_last_line_names_the_line(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "a.trace"
    path.write_bytes(lines('{"t":0,"d":"<","x":"00"}', bad, '{"t":2,"d":"<","x":"00"}').encode("latin-1"))
    _, pieces = read_trace(path)
    assert next(pieces) == Piece(0, "<", b"\x00")
    with pytest.raises(TraceError, match="line 3"):
        next(pieces)


def test_time_that_runs_backwards_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    path.write_text(lines('{"t":5,"d":"<","x":"00"}', '{"t":4,"d":"<","x":"00"}'))
    with pytest.raises(TraceError, match=r"line 3: time runs backwards"):
        read(path)


def test_extra_keys_are_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    path.write_text(lines('{"t":5,"d":"<","x":"00","note":"é"}', bed="icu-1"))
    assert read(path) == ([Piece(5, "<", b"\x00")], None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "header"),
        ("hello\n", "header"),
        ("[1]\n", "header"),
        ("\0" * 100, "header"),
        (lines(format="pcap"), "pcap"),
        (lines(version=2), "use the version"),
        (lines(started="2026-01-01T00:00:00"), "no UTC offset"),
        (lines(started=5), "header"),
        (
            '{"format":"ecmo-daq-trace","version":1,"link":"l","started":"2026-01-01T00:00:00Z"}\n',
            "'driver' is missing",
        ),
    ],
)
def test_what_is_no_trace_is_refused_with_the_reason(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "a.trace"
    path.write_text(text)
    with pytest.raises(TraceError, match=words):
        read_trace(path)


def test_an_absent_trace_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"a\.trace: no such trace"):
        read_trace(tmp_path / "a.trace")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_file_that_is_not_compressed_as_its_name_says_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.trace{suffix}"
    path.write_text(lines())
    with pytest.raises(TraceError, match="cannot be read"):
        read_trace(path)


def test_a_compressed_trace_damaged_inside_says_after_which_line(tmp_path: Path) -> None:
    pieces = [Piece(number * 10**9, "<", bytes(range(256))) for number in range(300)]
    path = written(tmp_path / "a.trace.gz", pieces)
    spoiled = bytearray(path.read_bytes())
    middle = len(spoiled) // 2
    spoiled[middle : middle + 20] = b"\xff" * 20
    path.write_bytes(spoiled)
    with pytest.raises(TraceError, match=r"unreadable after line|not a piece"):
        read(path)
