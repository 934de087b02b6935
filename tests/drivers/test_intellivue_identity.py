from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acquisition.catalogue import Catalogue
from acquisition.trace import Piece
from acquisition.wire.intellivue import framing
from acquisition.wire.intellivue.identity import Cut, cut
from drivers.intellivue import IntelliVueDriver
from simulators import intellivue_pdu as pdu
from tests.contracts.cases import Bench as Replayed
from tests.drivers import intellivue_vectors as vectors
from tests.drivers.intellivue_bench import Bench
from tests.drivers.test_intellivue_wire import demographics

SECRETS = [text.encode("utf-16-be") for text in ("SIM-4711", "FICTITIOUS", "PERSON")]


def test_nothing_of_the_patient_is_left_in_a_recording() -> None:
    disguised = demographics().replace(bytes.fromhex("0001002a0000"), bytes.fromhex("000100060000"))
    for message in (demographics(), disguised, demographics()[:-3], demographics() + b"\0"):
        for kept in (cut(message), framing.unframe(Cut(mib=True).feed(framing.frame(message)))):
            assert kept is not None
            assert len(kept) == len(message)
            assert not any(secret in kept for secret in SECRETS)


def test_the_bed_and_the_addresses_are_left_out_as_well() -> None:
    assert "SIM".encode("utf-16-be") in vectors.MDS_CREATE
    assert "SIM".encode("utf-16-be") not in cut(vectors.MDS_CREATE)
    assert b"\xc0\x00\x02\x07" in vectors.CONNECT_INDICATION
    assert b"\xc0\x00\x02\x07" not in cut(vectors.CONNECT_INDICATION)


@pytest.mark.parametrize("message", [vectors.ACCEPTED, vectors.WAVE_LIST, vectors.NUMERICS, vectors.WAVE, pdu.RELEASED])
def test_what_is_read_is_left_as_it_is(message: bytes) -> None:
    assert cut(message) == message


@pytest.mark.parametrize("mode", ["lan", "mib"])
def test_a_recording_replays_to_what_the_driver_read(mode: str) -> None:
    bench = Bench(mode=mode)
    bench.monitor.wrong.twice = 2
    bench.run(2.5)
    following = IntelliVueDriver.build({"mode": mode}, Catalogue.shipped()).trace_cut()
    outcomes = []
    for pieces in (bench.pieces, [_kept(following, piece) for piece in bench.pieces]):
        replayed = Replayed(IntelliVueDriver.build({"mode": mode}, Catalogue.shipped()))
        replayed.start(0)
        replayed.run(pieces)
        outcomes.append((replayed.outcome, replayed.driver.identity, replayed.driver.counters))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0].measured


def _kept(following: object, piece: Piece) -> Piece:
    assert isinstance(following, Cut)
    return piece._replace(data=following.feed(piece.data)) if piece.direction == "<" else piece


@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([b"\xc0", b"\xc1", b"\x7d"])), max_size=12),
       st.lists(st.integers(0, 400), max_size=6))  # fmt: skip
def test_where_the_serial_line_is_split_makes_no_difference_and_damage_stays_damage(
    noise: list[bytes], places: list[int]
) -> None:
    wire = b"".join(noise) + framing.frame(vectors.NUMERICS) + b"".join(noise) + framing.frame(demographics())
    whole = Cut(mib=True).feed(wire)
    following = Cut(mib=True)
    edges = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    pieces = [following.feed(wire[start:stop]) for start, stop in pairwise(edges)]
    assert b"".join(pieces) == whole
    found = [framing.Deframer().take(bytearray(data)) for data in (wire, whole)]
    assert [cut(message) for message in found[0]] == found[1]
