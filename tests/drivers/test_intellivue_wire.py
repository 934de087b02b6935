from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.errors import WireError
from acquisition.model import MISSING_COUNT, State
from acquisition.wire.intellivue import association, framing, messages, polls, streams, values
from tests.drivers import intellivue_vectors as vectors

REQUEST = association.request(8000, association.NUMERICS | association.WAVES)
MESSAGES = [
    vectors.MDS_CREATE,
    vectors.CONNECT_INDICATION,
    vectors.WAVE_LIST,
    vectors.REFUSAL,
    vectors.NUMERICS,
    vectors.WAVE,
]


def test_the_association_request_is_the_documented_one() -> None:
    assert REQUEST == vectors.ASSOCIATION_REQUEST


def test_the_polls_are_the_documented_ones() -> None:
    assert polls.single(7, 2, 33, 0x080C) == bytes.fromhex(
        "E1000002 0001001C 0007 0007 0016 0021 0000 0000 00000000 0C16 0008 0002 0001 0021 080C"
    )
    assert polls.extended(4, 3, 6, 0x0803) == bytes.fromhex(
        "E1000002 00010028 0004 0007 0022 0021 0000 0000 00000000 F13B 0014 0003 0001 0006 0803 0001 0008 F13E 0004"
        "00493E00"
    )
    assert polls.wave_list(3) == bytes.fromhex(
        "E1000002 00010016 0003 0003 0010 0021 0000 0000 00000000 0001 0002 F23A"
    )
    assert polls.created(1, 0x293B6F00) == bytes.fromhex(
        "E1000002 00020014 0001 0001 000E 0021 0000 0000 293B6F00 0D06 0000"
    )


def test_what_ends_an_association_is_as_documented() -> None:
    assert framing.frame(association.RELEASE) == vectors.RELEASE_FRAMED
    assert len(association.ABORT) == association.ABORT[1] + 2 == 48
    for message, kind in (
        (association.RELEASE, association.Kind.FINISH),
        (association.RELEASED, association.Kind.DISCONNECT),
        (association.ABORT, association.Kind.ABORT),
        (bytes.fromhex("0C03C10101"), association.Kind.REFUSE),
    ):
        assert association.read(message) == (kind, 0, None)


def test_an_acceptance_tells_the_granted_period_and_profile() -> None:
    assert association.read(vectors.ACCEPTED) == (association.Kind.ACCEPT, 8000, 0x88000000)
    assert association.read(vectors.NUMERICS) is None
    assert association.read(b"") is None


@pytest.mark.parametrize("size", range(2, len(vectors.ACCEPTED) - 1, 7))
def test_half_an_acceptance_is_none(size: int) -> None:
    with pytest.raises(WireError):
        association.read(vectors.ACCEPTED[:size])


@pytest.mark.parametrize(("period_s", "patience_s"), [(1, 10), (3.3, 10), (4, 12), (43, 129), (44, 130)])
def test_an_association_lives_as_long_as_its_period_allows(period_s: float, patience_s: float) -> None:
    assert association.patience_ns(round(period_s * 1e9)) == round(patience_s * 1e9)


# PROTOCOLS.md 1.11
@pytest.mark.parametrize(("data", "wire"), [("3A71", "9B26"), ("3A91", "95C1")])
def test_the_checksum_is_the_documented_one(data: str, wire: str) -> None:
    assert framing.checksum(b"123456789") == 0x906E
    assert framing.checksum(bytes.fromhex(data)).to_bytes(2, "little").hex().upper() == wire
    assert framing.escaped(bytes.fromhex("95C1")) == bytes.fromhex("957DE1")


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5), st.integers(1, 9), st.binary(max_size=12))
def test_framed_messages_come_out_however_the_line_is_split(payloads: list[bytes], step: int, before: bytes) -> None:
    noise = before.replace(b"\xc0", b"").replace(b"\xc1", b"")
    wire = noise + b"".join(framing.frame(payload) for payload in payloads)
    deframer, buffer, found = framing.Deframer(), bytearray(), []
    for at in range(0, len(wire), step):
        buffer += wire[at : at + step]
        found += deframer.take(buffer)
    assert found == payloads
    assert deframer.lost == ({"noise": len(noise)} if noise else {})
    assert [framing.unframe(framing.frame(payload)) for payload in payloads] == payloads


@pytest.mark.parametrize(
    ("wire", "lost"),
    [
        (vectors.RELEASE_FRAMED[:9] + vectors.RELEASE_FRAMED, {"truncated": 1}),
        (vectors.RELEASE_FRAMED[:9] + b"\x7d\xc1" + vectors.RELEASE_FRAMED, {"aborted": 1}),
        (vectors.RELEASE_FRAMED[:9] + b"\xc1" + vectors.RELEASE_FRAMED, {"checksum": 1}),
        (b"\xc0\xc1" + vectors.RELEASE_FRAMED, {"checksum": 1}),
        (b"\xc0\x3a\x91\x95\x7d\xe1\xc1" + vectors.RELEASE_FRAMED, {"checksum": 1}),
        (b"\xc0" + framing.escaped(bytes.fromhex("11010000") + b"\xd1\x8b") + b"\xc1" + vectors.RELEASE_FRAMED, None),
    ],
)
def test_a_damaged_frame_costs_no_other(wire: bytes, lost: dict[str, int] | None) -> None:
    deframer, buffer = framing.Deframer(), bytearray(wire)
    assert deframer.take(buffer)[-1] == association.RELEASE
    assert not buffer
    if lost is not None:
        assert deframer.lost == lost


def test_a_frame_that_never_ends_is_given_up() -> None:
    deframer, buffer = framing.Deframer(), bytearray(b"\xc0" + b"x" * framing.MAX_FRAME)
    assert deframer.take(buffer) == []
    assert not buffer
    assert deframer.lost == {"oversized": 1}


def test_the_captured_monitor_says_what_it_is_and_its_bed_is_not_kept() -> None:
    event = messages.read(vectors.MDS_CREATE)
    assert isinstance(event, messages.Event)
    assert (event.invoke, event.confirmed, event.event, event.relative) == (1, True, polls.MDS_CREATE, 0x293B6F00)
    assert values.texts(event.attributes[messages.SYSTEM_MODEL]) == ["Philips", "M8000"]
    assert set(event.attributes) == {messages.SYSTEM_MODEL}


def test_the_captured_connect_indication_reads_without_residue() -> None:
    event = messages.read(vectors.CONNECT_INDICATION)
    assert isinstance(event, messages.Event)
    assert (event.confirmed, event.event) == (False, polls.CONNECT_INDICATION)
    assert values.texts(event.attributes[messages.SYSTEM_MODEL]) == ["Philips", "866062"]
    assert set(event.attributes) == {messages.SYSTEM_MODEL, messages.PRODUCTION, messages.PROTOCOLS}
    serial, software, firmware = 1, 4, 5
    specification = values.production(event.attributes[messages.PRODUCTION])
    assert [specification[kind] for kind in (serial, software, firmware)] == ["SIM0001", "J.10.52", "FW 3"]
    assert messages.export_port(event.attributes[messages.PROTOCOLS]) == 24105


def test_captured_results_and_errors_are_read() -> None:
    assert messages.read(vectors.WAVE_LIST) == messages.WaveList(0, ())
    assert messages.read(vectors.REFUSAL) == messages.Refusal(0, 7)


def test_the_numerics_of_the_document_are_read() -> None:
    result = messages.read(vectors.NUMERICS)
    assert isinstance(result, messages.Result)
    assert result[:9] == (4, 3, 1, 0x10000, (2026, 8, 1, 12, 0, 0), None, True, True, 6)
    found = {each.handle: values.numerics(each.attributes) for each in result.objects}
    assert found == {
        0x55: [(18965, 0, 3872, 120.0, None), (18966, 0, 3872, 80.0, None), (18967, 0, 3872, 93.0, None)],
        0x41: [(16770, 0, 2720, 72.0, None)],
        0x61: [(57364, 0, 6048, 36.7, None)],
    }


def test_the_wave_of_the_document_is_scaled() -> None:
    result = messages.read(vectors.WAVE)
    assert isinstance(result, messages.Result)
    stream = streams.Stream()
    (wave,) = result.objects
    (block,) = values.blocks(wave.attributes)
    stream.learn(wave.attributes, (block.term,))
    assert stream.ready
    assert (stream.array, stream.period_ns, stream.unit) == ((8, 16, 0x3FFF), 8_000_000, None)
    assert stream.array is not None
    assert stream.scale is not None
    counts = values.counts(block.data, stream.array, frozenset())
    assert counts.tolist() == list(range(0x1000, 0x1080, 16))
    assert counts[0] * stream.scale.factor + stream.scale.offset == pytest.approx(206.0)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        (0xFD007D00, 32.0),
        (0xFF000140, 32.0),
        (0x01000140, 3200.0),
        (0x02000020, 3200.0),
        (0xFF00016F, 36.7),
        (0x00FFFFD8, -40.0),
        (0x007FFFFD, 8_388_605.0),
        (0x00800003, -8_388_605.0),
        (0x00FFFFFF, -1.0),
        (0x007FFFFF, State.INVALID),
        (0xFF800000, State.UNAVAILABLE),
        (0x007FFFFE, State.ABOVE_RANGE),
        (0x00800002, State.BELOW_RANGE),
        (0x00800001, State.INVALID),
    ],
)
def test_a_float_is_its_decimal_or_what_it_says_instead(word: int, value: float | State) -> None:
    assert values.real(word) == value


@pytest.mark.parametrize(
    ("bits", "instead", "beside"),
    [
        (0, None, None),
        (0x0080 | 0x0040 | 0x0020 | 0x0003, None, None),
        (0x8000, State.INVALID, None),
        (0x2000, State.UNAVAILABLE, None),
        (0x4000, None, State.QUESTIONABLE),
        (0x1000, None, State.CALIBRATING),
        (0x0800, None, State.DEMO),
        (0x4400, None, State.DEMO),
        (0x5C00, None, State.DEMO),
        (0x5000, None, State.CALIBRATING),
    ],
)
def test_the_measurement_state_is_told_as_a_state(bits: int, instead: State | None, beside: State | None) -> None:
    assert (values.instead_of(bits), values.beside(bits)) == (instead, beside)


def test_marks_among_the_samples_are_no_samples() -> None:
    marks = values.fixed(bytes.fromhex("0003 000C 0001 0FFF 0002 8000 0004 0010"))
    assert marks == {0x0FFF, 0x8000}
    data = bytes.fromhex("0001 0FFF 8000 0010 F002 1FFF")
    counts = values.counts(data, values.Array(6, 16, 0x0FFF), marks)
    assert counts.tolist() == [1, MISSING_COUNT, MISSING_COUNT, 16, 2, MISSING_COUNT]


def test_samples_of_eight_bits_and_of_a_wrong_number() -> None:
    assert values.counts(b"\x01\xff", values.array(bytes.fromhex("000208080000")), frozenset()).tolist() == [1, 255]
    for data, layout in ((b"\x01", values.Array(2, 8, 255)), (b"\x01\x02\x03", values.Array(1, 16, 1))):
        with pytest.raises(WireError):
            values.counts(data, layout, frozenset())


@pytest.mark.parametrize(
    "read",
    [
        lambda: values.array(bytes.fromhex("0008200E2000")),
        lambda: values.array(bytes.fromhex("000810112000")),
        lambda: values.array(bytes.fromhex("0000100E2000")),
        lambda: values.scale(bytes.fromhex("00FFFFD8 00000208 00A0 00A0")),
        lambda: values.scale(bytes.fromhex("007FFFFF 00000208 00A0 23A0")),
        lambda: values.scale(bytes.fromhex("00FFFFD8 00000208 00A0 23A0 0000")),
        lambda: values.numerics({messages.NUMERIC: bytes(11)}),
        lambda: values.numerics({messages.COMPOUND_NUMERIC: bytes.fromhex("0002000A") + bytes(10)}),
        lambda: values.blocks({messages.SAMPLES: bytes.fromhex("4A14 0000 0004 0000")}),
    ],
)
def test_an_attribute_that_does_not_come_out_is_refused(read: Callable[[], object]) -> None:
    with pytest.raises(WireError):
        read()


def test_a_scale_can_come_as_a_calibration() -> None:
    scale = values.scale(bytes.fromhex("00FFFFD8 00000208 00A0 23A0 0001 0000"), calibration=True)
    assert scale == values.scale(bytes.fromhex("00FFFFD8 00000208 00A0 23A0"))


@pytest.mark.parametrize("message", MESSAGES)
def test_every_truncation_and_every_extension_is_refused(message: bytes) -> None:
    for size in range(len(message)):
        with pytest.raises(WireError):
            messages.read(message[:size])
    with pytest.raises(WireError, match="length"):
        messages.read(message + b"\0")


@pytest.mark.parametrize("message", MESSAGES)
def test_the_other_endian_is_known_for_what_it_is(message: bytes) -> None:
    swapped = np.frombuffer(message[: len(message) // 2 * 2], ">u2").astype("<u2").tobytes()
    if message.startswith(polls.ENVELOPE):
        with pytest.raises(WireError, match="byte_order"):
            messages.read(swapped)
    with pytest.raises(WireError):
        messages.read(swapped)


def demographics() -> bytes:
    """The captured head with an invented person in it."""
    texts = {0x095A: "SIM-4711", 0x095C: "FICTITIOUS", 0x095D: "PERSON"}
    listed = b"".join(
        name.to_bytes(2, "big") + (2 * len(text) + 2).to_bytes(2, "big") + (2 * len(text)).to_bytes(2, "big")
        + text.encode("utf-16-be") for name, text in texts.items()
    )  # fmt: skip
    listed += bytes.fromhex("09500004 01020304")
    body = (len(texts) + 1).to_bytes(2, "big") + len(listed).to_bytes(2, "big") + listed
    head = bytearray(vectors.DEMOGRAPHICS_HEAD[:-4])
    for at, behind in ((6, 8), (12, 14), (22, 24), (46, 48), (52, 54)):
        head[at : at + 2] = (len(head) + len(body) - behind).to_bytes(2, "big")
    head[50:52] = (1).to_bytes(2, "big")
    return bytes(head) + body


def test_an_answer_about_the_patient_loses_every_attribute_at_the_wire() -> None:
    result = messages.read(demographics())
    assert isinstance(result, messages.Result)
    assert result.kind == polls.DEMOGRAPHICS
    assert [each.attributes for each in result.objects] == [{}]


def test_the_patients_name_is_dropped_from_any_object() -> None:
    disguised = demographics().replace(bytes.fromhex("0001002a0000"), bytes.fromhex("000100060000"))
    result = messages.read(disguised)
    assert isinstance(result, messages.Result)
    assert [set(each.attributes) for each in result.objects] == [{messages.NUMERIC}]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        bytes.fromhex("E1000002 0001001C 0007 0007 0016 0021 0000 0000 00000000 0C16 0008 0002 0001 002A 0807"),
        bytes.fromhex(
            "E1000002 00010022 0000 0005 001C 0021 0000 0000 00000000 0001 000E 0000 F23A 0008 0001 0004 00020102"
        ),
        polls.single(1, 1, 6, 0),
        polls.extended(1, 1, 9, 0) + b"\0",
        polls.created(1, 1)[:-1],
        REQUEST[:-1],
        association.request(8000, association.NUMERICS),
    ],
)
def test_what_is_not_on_the_list_is_not_listed(frame: bytes) -> None:
    assert not polls.is_listed(frame, REQUEST)


def test_what_is_on_the_list_is_listed() -> None:
    for frame in (
        REQUEST, association.RELEASE, association.RELEASED, association.ABORT, polls.wave_list(9), polls.created(3, 7),
        polls.single(65535, 65535, 33, 0x080C), polls.single(1, 2, 6, 0x0811), polls.extended(8, 9, 6, 0x0803),
        polls.extended(8, 9, 9, 0),
    ):  # fmt: skip
        assert polls.is_listed(frame, REQUEST)


@pytest.mark.parametrize("wander_ns", [-30_000_000, 0, 30_000_000])
@pytest.mark.parametrize("lost", [1, 2, 3])
def test_lost_blocks_leave_a_hole_of_whole_blocks_although_the_stamps_wander(lost: int, wander_ns: int) -> None:
    stream = streams.Stream(period_ns=8_000_000)
    length = 32 * stream.period_ns
    assert stream.start(10**9, 32) == 10**9
    stream.broken = True
    assert stream.start(10**9 + (1 + lost) * length + wander_ns, 32) == 10**9 + (1 + lost) * length


def test_the_running_time_goes_on_across_the_end_of_its_32_bits() -> None:
    ticks = streams.Ticks(0xFFFF_F000, 10**9)
    assert ticks.place(0xFFFF_F000) == 10**9
    assert ticks.place(0x1000) == 10**9 + 0x2000 * 125_000
    assert ticks.ahead(0xFFFF_F000) == -0x2000
    assert ticks.place(0xFFFF_F000) == 10**9
    assert ticks.place(0x2000) == 10**9 + 0x3000 * 125_000


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(MESSAGES),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=6),
)
def test_a_message_with_bytes_changed_is_read_or_refused(message: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(message)
    for place, byte in changes:
        damaged[place % len(damaged)] = byte
    try_all(bytes(damaged))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for head in (b"", polls.ENVELOPE, vectors.NUMERICS[:24], vectors.WAVE[:60], vectors.ACCEPTED[:140]):
        try_all(head + data)


def try_all(data: bytes) -> None:
    for read in (messages.read, association.read):
        try:
            message = read(data)
        except WireError:
            continue
        for each in message.objects if isinstance(message, messages.Result) else ():
            try_values(each.attributes)


def try_values(attributes: dict[int, bytes]) -> None:
    stream = streams.Stream()
    try:
        values.numerics(attributes)
        blocks = values.blocks(attributes)
        stream.learn(attributes, tuple(block.term for block in blocks))
        for block in blocks:
            if stream.array is not None and stream.ready:
                values.counts(block.data, stream.array, stream.marks)
    except WireError:
        pass
