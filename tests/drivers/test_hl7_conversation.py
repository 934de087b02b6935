from __future__ import annotations

from typing import Any

import hl7
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.catalogue import Catalogue
from acquisition.driver import Emission, Reading
from acquisition.errors import ForbiddenFrameError, WireError
from acquisition.wire.mllp import frame
from drivers.hl7 import Hl7Driver
from tests.drivers import hl7_vectors as vectors
from tests.drivers.hl7_vectors import message, msh, nm, report

HR = nm("147842^MDC_ECG_HEART_RATE^MDC", "70", "bpm")


def driver(**options: Any) -> Hl7Driver:
    built = Hl7Driver.build(options, Catalogue.shipped())
    built.start(0)
    return built


def said(listening: Hl7Driver, raw: bytes) -> list[Emission]:
    listening.receive(frame(raw), 0)
    return listening.take_emissions()


def acknowledged(listening: Hl7Driver) -> list[bytes]:
    listening.stored(listening.take_keys())
    return listening.take_frames()


def outcome(framed: bytes) -> tuple[str, str]:
    """What an independent parser reads in an acknowledgement."""
    parsed = hl7.parse(framed[1:-2].decode())
    return str(parsed["MSA"][0][1]), str(parsed["MSA"][0][2])


def test_an_acknowledgement_leaves_only_after_the_message_is_stored() -> None:
    listening = driver()
    said(listening, report(HR))
    assert listening.take_frames() == []
    keys = listening.take_keys()
    assert len(keys) == 1
    listening.stored(keys)
    (ack,) = listening.take_frames()
    assert outcome(ack) == ("AA", "1")


def test_a_message_the_journal_refused_is_not_acknowledged_and_used_when_it_comes_again() -> None:
    listening = driver()
    assert said(listening, report(HR))
    listening.failed(listening.take_keys())
    assert listening.take_frames() == []
    assert said(listening, report(HR))
    assert outcome(acknowledged(listening)[0]) == ("AA", "1")


def test_a_message_sent_again_after_a_reconnect_is_acknowledged_and_emitted_once() -> None:
    listening = driver()
    assert said(listening, report(HR))
    acknowledged(listening)
    listening.start(1)
    assert said(listening, report(HR)) == []
    assert outcome(acknowledged(listening)[0]) == ("AA", "1")
    assert listening.counters["duplicate"] == 1


def test_a_message_sent_again_before_it_is_stored_is_emitted_once_and_acknowledged_on_the_new_link() -> None:
    listening = driver()
    assert said(listening, report(HR))
    keys = listening.take_keys()
    listening.start(1)
    assert said(listening, report(HR)) == []
    listening.stored(keys)
    assert [outcome(ack) for ack in listening.take_frames()] == [("AA", "1")]


def test_a_message_that_a_former_run_stored_is_a_repetition() -> None:
    first, second = driver(), driver()
    said(first, report(HR))
    second.remember(first.take_keys())
    assert said(second, report(HR)) == []


def test_another_message_with_the_same_control_id_is_new() -> None:
    listening = driver()
    said(listening, report(HR))
    acknowledged(listening)
    assert said(listening, report(HR.replace("|70|", "|71|")))


@pytest.mark.parametrize("header", [msh(""), msh(time=""), msh(time="yesterday")])
def test_a_message_that_cannot_be_recognised_again_is_stored_acknowledged_and_never_taken_for_a_repetition(
    header: str,
) -> None:
    listening = driver()
    for _ in range(2):
        assert said(listening, report(HR, header=header))
        assert listening.take_frames() == []
        assert len(acknowledged(listening)) == 1
    later = driver()
    said(listening, report(HR, header=header))
    later.remember(listening.take_keys())
    assert said(later, report(HR, header=header))


@pytest.mark.parametrize(
    ("asked", "code"),
    [("NE|AL", "AA"), ("AL|NE", "CA"), ("|", "AA"), ("NE|NE", None), ("AL|AL", "AA"), ("SU|NE", "CA"), ("ER|NE", None),
     ("|AL", "AA"), ("AL|", "CA"), ("NE|", None), ("NE|ER", None), ("ne|al", "AA")],
)  # fmt: skip
def test_the_sender_gets_the_acknowledgement_it_asks_for(asked: str, code: str | None) -> None:
    listening = driver()
    assert said(listening, report(HR, header=msh("77", acks=asked)))
    assert [outcome(ack) for ack in acknowledged(listening)] == ([] if code is None else [(code, "77")])


def test_an_acknowledgement_is_addressed_back_and_reads_no_clock() -> None:
    listening = driver()
    said(listening, vectors.NIHON_KOHDEN)
    (ack,) = acknowledged(listening)
    header = hl7.parse(ack[1:-2].decode())["MSH"][0]
    fields = [str(header[number]) for number in range(3, 13)]
    assert fields == [
        "CLIENT APP", "CLIENT FACILITY", "NIHON KOHDEN", "NIHON KOHDEN", "20260422000007", "", "ACK^R01^ACK",
        "20260422000007", "P", "2.4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("event", "expected", "counter"),
    [
        ("ADT^A01", "AA", "ignored_adt"),
        ("ORM^O01", "AR", "rejected_message_type"),
        ("ORU^R40^ORU_R40", "AR", "rejected_message_type"),
        ("", "AE", "rejected_message_type"),
    ],
)
def test_a_message_of_another_kind_is_answered_counted_and_not_stored(event: str, expected: str, counter: str) -> None:
    listening = driver()
    assert said(listening, message(msh("5", event=event), vectors.PID, "OBR|1", HR)) == []
    assert listening.take_keys() == ()
    assert [outcome(ack) for ack in listening.take_frames()] == [(expected, "5")]
    assert listening.counters[counter] == 1


def test_an_acknowledgement_is_never_acknowledged() -> None:
    listening = driver()
    assert said(listening, message(msh("5", event="ACK^R01^ACK"), "MSA|AA|4")) == []
    assert (listening.take_keys(), listening.take_frames()) == ((), [])


@pytest.mark.parametrize("raw", [b"", b"MSH", b"PID|1\r", b"MSHA^~\\&A", b"MSH|||||", b"MSH|ab|", b"\x00\xff"])
def test_what_is_no_message_gets_no_answer_that_could_be_wrong(raw: bytes) -> None:
    listening = driver()
    assert said(listening, raw) == []
    assert listening.take_keys() == ()
    for ack in listening.take_frames():
        assert b"MSA|AE|\r" in ack


def test_a_header_that_lost_its_backslash_is_understood() -> None:
    listening = driver()
    (reading,) = said(listening, report(HR, header=msh(encoding="^~&")))
    assert isinstance(reading, Reading)
    assert reading.values == {"hr": 70.0}
    assert outcome(acknowledged(listening)[0]) == ("AA", "1")


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_any_line_end_separates_segments(line_end: bytes) -> None:
    (reading,) = said(driver(), report(HR).replace(b"\r", line_end))
    assert isinstance(reading, Reading)
    assert reading.values == {"hr": 70.0}


@pytest.mark.parametrize("charset", ["", "UNICODE UTF-8", "ASCII", "8859/1", "ISO IR87", "KLINGON"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_one_letter_that_is_not_ascii_costs_nothing(charset: str, encoding: str) -> None:
    listening = driver()
    raw = report(HR, header=msh("8", charset=charset).replace("GE Healthcare", "Hôpital")).decode().encode(encoding)
    assert said(listening, raw)
    (ack,) = acknowledged(listening)
    assert b"MSA|AA|8" in ack
    assert "Hôpital".encode(encoding) in ack or charset in ("8859/1",)


def test_only_acknowledgements_can_be_sent() -> None:
    listening = driver()
    said(listening, report(HR))
    (ack,) = acknowledged(listening)
    assert listening.may_send(ack)
    for forged in (
        frame(report(HR)),
        ack + ack,
        ack[1:],
        ack[:-2] + b"OBX|1\r\x1c\r",
        frame(b"MSH|^~\\&|ACK\rMSA|QQ|1\r"),
    ):
        assert not listening.may_send(forged)
        with pytest.raises(ForbiddenFrameError):
            listening.send(forged)


def test_messages_arrive_byte_by_byte_after_garbage_and_two_in_one_piece() -> None:
    wire = b"garbage" + frame(report(HR)) + frame(report(HR, header=msh("2")))
    whole, single = driver(), driver()
    whole.receive(wire, 0)
    for byte in wire:
        single.receive(bytes([byte]), 0)
    assert whole.take_emissions() == single.take_emissions()
    assert whole.take_keys() == single.take_keys()
    assert whole.counters == single.counters
    assert whole.counters["frames_good"] == 2
    assert whole.counters["bytes_noise"] == 7


def test_an_oversized_message_is_counted_and_the_next_one_used() -> None:
    listening = driver(max_message_bytes=2048)
    said(listening, report(HR, "NTE|" + "x" * 4096))
    assert listening.take_keys() == ()
    assert listening.counters["rejected_oversized"] == 1
    assert said(listening, report(HR))


SEPARATORS = st.sampled_from(["|", "^", "~", "\\", "&", "\r", "\n", "\x0b", "\x1c\r", ""])
SEGMENT = st.sampled_from(["OBX", "OBR|1", "PID", "PV1", "MSH", HR, vectors.XH80X_WAVE.decode("latin-1")])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=40), SEPARATORS.map(str.encode), SEGMENT.map(str.encode)), max_size=30),
    st.booleans(),
)
def test_any_bytes_give_emissions_or_a_wire_error_and_bounded_memory(parts: list[bytes], framed: bool) -> None:
    listening = driver(max_message_bytes=1024)
    raw = b"".join(parts)
    try:
        listening.receive(frame(msh().encode() + b"\r" + raw) if framed else raw, 0)
        listening.receive(b"".join(map(frame, parts)), 0)
    except WireError:
        listening.start(0)
    listening.take_emissions()
    assert len(listening.buffer) <= 2048
    assert all(map(listening.may_send, acknowledged(listening)))
