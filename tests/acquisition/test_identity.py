from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.catalogue import Catalogue
from acquisition.driver import Reading, Samples
from acquisition.wire.identity import MAX_SEGMENT_BYTES, Redactor
from acquisition.wire.mllp import frame
from drivers.hl7 import Hl7Driver
from tests.drivers import hl7_vectors as vectors
from tests.drivers.hl7_vectors import PID, message, msh, nm, report

VECTORS = [vectors.GE_B1X5, vectors.XH80X, vectors.XH80X_WAVE, vectors.MDIL, vectors.NIHON_KOHDEN, vectors.COMEN]
SECRET = "ZZTOPSECRET"


def cut(wire: bytes, *places: int) -> bytes:
    redactor = Redactor()
    edges = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    return b"".join(redactor.feed(wire[start:stop]) for start, stop in pairwise(edges))


def decoded(wire: bytes, bed: str | None = None) -> list[str]:
    driver = Hl7Driver.build({"bed": bed, "channels": {"007000": "spo2"}}, Catalogue.shipped())
    driver.start(0)
    driver.receive(wire, 0)
    found = []
    for emission in driver.take_emissions():
        if isinstance(emission, Samples):
            found.append(f"{emission.channel} {emission.counts.tolist()} {emission.scale} {emission.period_ns}"
                         f" {emission.start} {emission.doubtful}")  # fmt: skip
        elif isinstance(emission, Reading):
            found.append(repr(emission))
    return [*found, repr(driver.identity)]


@pytest.mark.parametrize("raw", VECTORS)
def test_a_vendors_message_gives_the_same_readings_without_its_identity(raw: bytes) -> None:
    wire = b"noise" + frame(raw)
    redacted = cut(wire)
    assert decoded(redacted) == decoded(wire)
    assert not any(secret.encode() in redacted for secret in vectors.SECRETS)


def test_what_stays_of_a_message_is_structure_and_what_the_driver_needs() -> None:
    raw = message(
        msh(), PID, "PD1|x", "NK1|1|MOTHER^MARY", "PV1|1|E|ICU^R3^B1^HOSP|||DR^NOBODY", "ORC|RE|12",
        "OBR|1|77|78|182777000^monitoring^SCT|||20260101080000|||NURSE^NAME",
        nm("147842^MDC_ECG_HEART_RATE^MDC", "70", "bpm", flags="L") + "|x|y", "OBX|2|ST|1^NAME^L||ALPHA",
        "NTE|1||ALPHA", "ZPI|1|ALPHA", "ALPHA^BETA",
    )  # fmt: skip
    assert cut(frame(raw)).decode() == frame(
        message(
            "MSH|^~\\&|^080019FFFE0B4020^EUI-64||||20260101080000+0000||ORU^R01^ORU_R01|1|P|2.6|||NE|AL||UNICODE UTF-8",
            "PID", "PD1", "NK1", "PV1|||^^B1", "ORC", "OBR|1|||182777000|||20260101080000",
            "OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.13.1.1|70|264864^MDC_DIM_BEAT_PER_MIN^MDC||L|||R|||||||"
            "^080019FFFE0B4020^EUI-64",
            "OBX|2|ST|1^^L", "NTE", "", "",
        )
    ).decode()  # fmt: skip


def test_bytes_that_are_no_hl7_pass_unchanged_and_at_once() -> None:
    redactor = Redactor()
    for piece in (b"\x01\x03\x04\x00\x0b", b"\x0bXY", b"MS", b"P1 -35 mmHg\r\n", bytes(range(256)), b"|PI", b"\x1c\r"):
        assert redactor.feed(piece) == piece


@pytest.mark.parametrize(
    "wire",
    [
        message(msh(), PID),
        PID.encode(),
        b"\x0b\n" + message(msh(), PID),
        b"\x0b\xef\xbb\xbf" + message(msh(encoding="^~&"), PID),
        b"\x0bMSH#^~\\&#a\rPID#1##IPP0000042#DRNOBODY\r\x1c\r",
        b"\x0bZPD|DRNOBODY\r\x1c\r",
        frame(message(msh(), PID))[:-9] + frame(message(msh(), PID)),
        frame(b"MSHA^~\\&AIPP0000042\rPID|1||IPP0000042\r"),
        frame(message(msh(), PID.replace("|", "|\x1cx"))),
        frame(message(msh(), PID).replace(b"\r", b"\n")),
    ],
)
def test_identity_goes_however_the_message_is_wrapped(wire: bytes) -> None:
    for size in (1, 5, len(wire)):
        redactor = Redactor()
        out = b"".join(redactor.feed(wire[at : at + size]) for at in range(0, len(wire), size))
        out += redactor.feed(b"\r")
        assert not any(secret.encode() in out for secret in vectors.SECRETS)


def test_a_segment_without_end_costs_bounded_memory_and_is_cut() -> None:
    redactor = Redactor()
    out = redactor.feed(b"\x0b" + msh().encode() + b"\rOBX|1|NM|")
    for _ in range(MAX_SEGMENT_BYTES // 65536 + 2):
        out += redactor.feed(b"7" * 65536)
    assert len(redactor._pending) <= MAX_SEGMENT_BYTES
    out += redactor.feed(b"\rOBX|1|NM|5^MDC_X^MDC||7\r\x1c\r")
    assert out.endswith(b"\r\rOBX|1|NM|5^MDC_X^MDC||7\r\x1c\r")
    assert len(out) < 300


def test_an_odd_control_id_is_replaced_by_one_that_still_tells_messages_apart() -> None:
    first, again, other = (
        re.search(rb"ORU_R01\|([^|]*)\|", cut(frame(message(msh(odd))))) for odd in ("A SECRET", "A SECRET", "B SECRET")
    )
    assert first
    assert again
    assert other
    assert first[1] == again[1] != other[1]
    assert b"SECRET" not in first[1]


FIELD = st.sampled_from(
    [SECRET, f"{SECRET}^{SECRET}", f" {SECRET}~{SECRET}", f"\\X20\\{SECRET}&{SECRET}", f"é{SECRET}"]
)
NEVER_KEPT = st.sampled_from(
    ["PID", "PD1", "NK1", "NTE", "ORC", "PV2", "EVN", "MRG", "GT1", "IN1", "ZZZ", SECRET, "ROL"]
)
KEPT = {"MSH": {1, 2, 10}, "OBR": set(), "PV1": {3}, "OBX": {3, 4, 6}}
CODES = st.sampled_from(
    ["147842^{0}^MDC", "150037^MDC_PRESS_BLD_ART_ABP_SYS^MDC^{0}", "150344^MDC_TEMP^MDC^{0}^{0}", "{0}^{0}^{0}"]
)


@st.composite
def segments(draw: st.DrawFn) -> str:
    """A segment with a secret in every field, or subfield, that is on nobody's list."""
    name = draw(st.one_of(NEVER_KEPT, st.sampled_from(["OBX", "OBX", "OBX", "OBR", "PV1"])))
    fields = [name, *(draw(FIELD) for _ in range(24))]
    if name == "PV1":
        fields[3] = f"{SECRET}^{SECRET}^B1^{SECRET}"
    elif name == "OBR":
        fields[7] = draw(st.sampled_from(["20260101080000", f"{SECRET}", "20260101080001.5+0100"]))
    elif name == "OBX":
        kind = draw(st.sampled_from(["NM", "NM", "NA", "ST", "CWE", ""]))
        values = {"NM": ["70", "-999", "", f"{SECRET}", " 12.5 "], "NA": ["1^2^3", f"1^{SECRET}^3", "1.5^2", "^^"]}
        fields[2:7] = [
            kind,
            draw(CODES).format(f" {SECRET} y"),
            draw(st.sampled_from(["1.1.1.1", "1.7.1.9", "1.7.1.9.1"])),
            draw(st.sampled_from(values.get(kind, [SECRET]))),
            draw(st.sampled_from(["", f"mm[Hg]^^UCUM^{SECRET}", "264864^MDC_DIM_BEAT_PER_MIN^MDC", f" {SECRET} x"])),
        ]
        fields[8] = draw(st.sampled_from(["", "DEMO", "INV", f"L~{SECRET}", f"DEMO~{SECRET}"]))
        fields[11] = draw(st.sampled_from(["R", "X", "", SECRET]))
        fields[14] = draw(st.sampled_from(["", "20260101075900", SECRET]))
        if draw(st.booleans()):
            fields[18] = f"{SECRET}^080019FFFE0B4020"
    return "|".join(fields)


RATE = "OBX||NM|0^MDC_ATTR_SAMP_RATE^MDC|1.7.1.9.1|125|264608^MDC_DIM_PER_SEC^MDC"
HEADERS = st.sampled_from([
    msh(), msh(encoding="^~&"), msh("", time=""), msh(f"{SECRET} 1"), msh().replace("GE Healthcare", SECRET),
    msh().replace("VSP^", f"{SECRET}^"), msh(charset="8859/1") + f"|{SECRET}|{SECRET}", msh(time=SECRET),
])  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(HEADERS, st.lists(segments(), max_size=6), st.booleans()), min_size=1, max_size=3),
    st.lists(st.integers(0, 1 << 16), max_size=6),
    st.sampled_from(["\r", "\n", "\r\n"]),
)
def test_no_secret_comes_out_and_the_readings_stay_however_the_stream_is_split(
    messages: list[tuple[str, list[str], bool]], places: list[int], line_end: str
) -> None:
    wire = b"".join(
        # A sender that uses a control id again for something else is not told apart by what must not be kept.
        frame((line_end.join([header.replace("1|P|", f"{n}|P|"), *rows, RATE]) + line_end).encode())
        if whole
        else b"\x0b" + header.encode()
        for n, (header, rows, whole) in enumerate(messages)
    )
    redacted = cut(wire, *places)
    assert SECRET.encode() not in redacted
    assert redacted == cut(wire)
    assert decoded(redacted) == decoded(wire)
    assert decoded(redacted, "B1") == decoded(wire, "B1")


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_any_bytes_split_anywhere_give_the_same(wire: bytes, places: list[int]) -> None:
    for raw in (wire, b"\x0bMSH|^~\\&|" + wire, message(msh()) + wire):
        assert cut(raw, *places) == cut(raw)


def test_what_was_cut_once_is_cut() -> None:
    once = cut(frame(report(nm("147842^MDC_ECG_HEART_RATE^MDC", "70", "bpm"))))
    assert cut(once) == once
