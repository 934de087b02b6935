from __future__ import annotations

import time
from collections.abc import Callable

import hl7 as oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acquisition.errors import WireError
from acquisition.wire.hl7 import Delimiters, Times, Timestamp, acknowledgement, field, parse, parse_time, unescape
from tests.drivers import hl7_vectors as vectors

STANDARD = Delimiters()
VECTORS = [vectors.GE_B1X5, vectors.XH80X, vectors.XH80X_WAVE, vectors.MDIL, vectors.NIHON_KOHDEN, vectors.COMEN]


@pytest.mark.parametrize("raw", VECTORS)
def test_every_field_of_a_vendors_message_is_what_an_independent_parser_reads(raw: bytes) -> None:
    message, expected = parse(raw), oracle.parse(raw.decode())
    assert len(message.segments) == len(expected)
    for segment, other in zip(message.segments, expected, strict=True):
        assert segment == [str(one) for one in other]


def test_the_header_of_a_ge_b40_is_read() -> None:
    message = parse(vectors.GE_B40_HEADER.encode())
    assert [message.header(number) for number in (1, 2, 7, 9, 10, 12, 15, 16, 18)] == [
        "|", "^~\\&", "20230309143900", "ORU^R01^ORU_R01", "0040971443EC", "2.6", "NE", "AL", "UNICODE UTF-8",
    ]  # fmt: skip
    assert message.header(99) == ""
    assert message.components(message.header(3))[1] == "080019FFFE1443EC"


@pytest.mark.parametrize(
    ("header", "delimiters"),
    [
        (r"MSH|^~\&|a", ("|", "^", "~", "\\", "&")),
        (r"MSH|^~\&#|a", ("|", "^", "~", "\\", "&")),
        ("MSH|^~&|a", ("|", "^", "~", "\\", "&")),
        ("MSH#*@!%#a", ("#", "*", "@", "!", "%")),
        ("MSH|", ("|", "^", "~", "\\", "&")),
    ],
)
def test_delimiters_are_those_that_the_message_declares(header: str, delimiters: tuple[str, ...]) -> None:
    assert parse(header.encode()).delimiters == delimiters


@pytest.mark.parametrize("raw", [b"", b"MSH", b"MSHA^~", b"MSH |", b"msh|^~\\&", b"PID|1", b"MSH|^^^^|", b"\xff"])
def test_a_message_without_usable_delimiters_is_refused(raw: bytes) -> None:
    with pytest.raises(WireError):
        parse(raw)


def test_a_byte_order_mark_and_blank_lines_do_no_harm() -> None:
    assert parse(b"\xef\xbb\xbf\r\nMSH|^~\\&|a\r\n\r\nOBX|1\r\n").segments[1] == ["OBX", "1"]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f"),
        (r"\X2F\min", "/min"),
        (r"\XB0\C", "°C"),
        (r"\Xzz\x", "x"),
        (r"\H\bold\N\ ", "bold "),
        (r"one \ alone", r"one \ alone"),
        (r"\F\ and \ alone", r"| and \ alone"),
        ("none", "none"),
    ],
)
def test_escapes_are_resolved(text: str, plain: str) -> None:
    assert unescape(text, STANDARD) == plain


@given(st.text(alphabet="|^~\\&FSTREX0a", max_size=30))
def test_escaping_what_was_unescaped_is_never_an_exception_and_round_trips(text: str) -> None:
    unescape(text, STANDARD)
    escaped = text.replace("\\", "\\E\\")
    for plain, code in (("|", "F"), ("^", "S"), ("&", "T"), ("~", "R")):
        escaped = escaped.replace(plain, f"\\{code}\\")
    assert unescape(escaped, STANDARD) == text


@pytest.mark.parametrize(
    ("declared", "raw", "expected"),
    [
        ("UNICODE UTF-8", "é".encode(), "é"),
        ("UNICODE", "é".encode(), "é"),
        ("", "é".encode(), "é"),
        ("ASCII", "é".encode(), "é"),
        ("ASCII", b"\xe9", "é"),
        ("8859/1", b"\xe9", "é"),
        ("8859/5", b"\xb0", "А"),
        ("ASCII~8859/5", b"\xb0", "А"),
        ("GB 18030-2000", "床|".encode("gb18030"), "床"),
        ("KLINGON", b"\xe9", "é"),
        ("UNICODE UTF-8", b"\xe9", "é"),
    ],
)
def test_text_is_read_in_the_declared_set_else_utf8_else_latin1(declared: str, raw: bytes, expected: str) -> None:
    header = vectors.msh(charset=declared).encode()
    assert field(parse(header + b"\rPV1|" + raw).segments[1], 1) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026", (2026, 1, 1, 0, 0, 0, 0, None)),
        ("202602", (2026, 2, 1, 0, 0, 0, 0, None)),
        ("20260203", (2026, 2, 3, 0, 0, 0, 0, None)),
        ("2026020304", (2026, 2, 3, 4, 0, 0, 0, None)),
        ("202602030405", (2026, 2, 3, 4, 5, 0, 0, None)),
        ("20260203040506", (2026, 2, 3, 4, 5, 6, 0, None)),
        ("20260203040506.25", (2026, 2, 3, 4, 5, 6, 250_000_000, None)),
        ("20260203040506.1234567890+0530", (2026, 2, 3, 4, 5, 6, 123_456_789, 330)),
        ("20260203040506-0330", (2026, 2, 3, 4, 5, 6, 0, -210)),
        ("20240229", (2024, 2, 29, 0, 0, 0, 0, None)),
        ("20000229", (2000, 2, 29, 0, 0, 0, 0, None)),
    ],
)
def test_times_are_read_to_the_precision_they_have(text: str, expected: tuple[int, ...]) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "26", "202613", "20260230", "20250229", "19000229", "2026020324", "202602030460", "20260203040560", "00000101",
     "20260203040506+2400", "20260203040506+0060", "2026-02-03", "20260203 0405", "2026020304050", "٢٠٢٦"],
)  # fmt: skip
def test_what_is_no_time_is_none(text: str) -> None:
    assert parse_time(text) is None


def test_the_header_lends_its_zone_to_times_that_have_none() -> None:
    times = Times("20260101080000+0100")
    assert times.of("", "20260101075900")[2] == Timestamp(2026, 1, 1, 7, 59, 0, 0, 60)
    assert times.of("20260101075900+0000", "")[2] == Timestamp(2026, 1, 1, 7, 59, 0, 0, 0)


@given(st.binary(max_size=200))
def test_an_acknowledgement_is_two_segments_whatever_the_request_says(rest: bytes) -> None:
    message = parse(b"MSH|^~\\&|" + rest)
    ack = acknowledgement(message)
    if ack is not None:
        assert ack.count(b"\r") == 2
        assert not {0x0B, 0x1C} & set(ack)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_message_or_a_wire_error(raw: bytes) -> None:
    for prefix in (b"", b"MSH|^~\\&|", b"MSH|"):
        try:
            message = parse(prefix + raw)
        except WireError:
            continue
        for segment in message.segments:
            for text in segment:
                message.components(text)
                parse_time(text)


def test_cutting_a_message_costs_little_more_than_a_plain_split() -> None:
    raw = vectors.report(*[vectors.nm("150033^MDC_PRESS_BLD_ART_SYS^MDC", "112")] * 30)

    def best(work: Callable[[], object]) -> float:
        times = []
        for _ in range(5):
            started = time.process_time()
            for _ in range(200):
                work()
            times.append(time.process_time() - started)
        return min(times)

    plain = best(lambda: [line.split("|") for line in raw.decode().split("\r")])
    assert best(lambda: parse(raw)) < 4 * plain
