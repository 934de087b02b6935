"""Refusals, batches too large and points rejected (DESIGN.md section 8): from a journal to a hostile server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from acquisition.clock import NS
from acquisition.forwarder import ForwarderState
from acquisition.model import Numerics, Waveform
from tests.acquisition.answers_bench import (
    READINGS,
    TIMEOUT_S,
    WRONG,
    Bed,
    Make,
    all_there,
    bed_in,
    both,
    fields_of,
    only_waited,
)
from tests.acquisition.certificates import server_context
from tests.acquisition.hostile_influx import (
    Exchange,
    Move,
    answers,
    head,
    hostile_influx,
    says,
)
from tests.acquisition.journal_observations import T0, numerics
from tests.acquisition.strict_line_protocol import Point


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    async with bed_in(tmp_path / "journal") as bed:
        yield bed


# -- who must act ------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "check the token or the password"),
        (403, "may not write there"),
        (404, "bucket or database exists"),
        (405, "answered 405"),
        (410, "answered 410"),
    ],
)
async def test_a_refusal_keeps_everything_until_a_person_has_mended_it(
    make: Make, bed: Bed, status: int, words: str
) -> None:
    tries = 25
    refusal = answers(status, '{"code":"no","message":"not you"}')
    async with hostile_influx(*[refusal] * tries) as server, all_there(bed, server):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    only_waited(bed, ForwarderState.REFUSED, words)
    assert all(status.state is ForwarderState.REFUSED and status.delivered == 0 for _, status in bed.waits)
    assert len(bed.waits) == tries
    assert max(seconds for seconds, _ in bed.waits) <= 60.0


@both
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_names_where_a_person_must_look(make: Make, bed: Bed, status: int) -> None:
    async with hostile_influx() as elsewhere:
        there = {"Location": f"http://127.0.0.1:{elsewhere.port}/write?secret=1"}
        async with hostile_influx(*[answers(status, "", there)] * 2) as server, all_there(bed, server):
            await bed.carry(make(f"http://127.0.0.1:{server.port}"))
        only_waited(bed, ForwarderState.REFUSED, rf"points to http://127\.0\.0\.1:{elsewhere.port};.*final URL")
        assert elsewhere.requests == 0


BAD_CERTIFICATES = [
    ("self-signed", {}, False, "not trusted: .*self-signed", "give the authority's certificate as ca_file"),
    (
        "for another host",
        {"name": "DNS:other.example"},
        True,
        "not trusted: .*mismatch",
        "by the name it is made out to",
    ),
    ("expired", {"days": -1}, True, "not trusted: .*expired", "have it renewed, and look at this host's clock"),
]


@both
@pytest.mark.parametrize(
    ("options", "known", "words", "hint"),
    [bad[1:] for bad in BAD_CERTIFICATES],
    ids=[bad[0] for bad in BAD_CERTIFICATES],
)
async def test_nothing_is_sent_to_a_server_with_a_bad_certificate_until_a_person_has_mended_it(
    make: Make, bed: Bed, tmp_path: Path, options: dict[str, Any], known: bool, words: str, hint: str
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    good_certificate, _ = await server_context(good)
    bad_certificate, shown = await server_context(bad, **options)
    trusted = tmp_path / "trusted.pem"
    trusted.write_text(good_certificate.read_text() + (bad_certificate.read_text() if known else ""))

    async def mend(waits: int) -> None:
        assert server.requests == 0
        if waits == 3:
            shown.load_cert_chain(good_certificate, good / "key.pem")

    bed.while_waiting = mend
    async with hostile_influx(tls=shown) as server, all_there(bed, server):
        await bed.carry(make(f"https://127.0.0.1:{server.port}", ca_file=trusted))
    only_waited(bed, ForwarderState.REFUSED, words)
    assert hint in bed.said
    assert len(bed.waits) == 3


@pytest.mark.slow
@both
async def test_tls_spoken_to_a_plain_port_and_plain_http_to_a_tls_port_prove_nothing(
    make: Make, bed: Bed, tmp_path: Path
) -> None:
    _, context = await server_context(tmp_path)
    async with hostile_influx() as plain, hostile_influx(tls=context) as secret:
        for url in (f"https://127.0.0.1:{plain.port}", f"http://127.0.0.1:{secret.port}"):
            bed.waits.clear()
            with pytest.raises(TimeoutError):
                await bed.carry(make(url, timeout_s=TIMEOUT_S), patience_s=3 * TIMEOUT_S)
            only_waited(bed, ForwarderState.WAITING, "cannot be reached|did not answer")
        assert plain.stored == secret.stored == {}


# -- 413 ---------------------------------------------------------------------------------------------------------------


def takes_at_most(most: int, *, then: str) -> Move:
    async def move(exchange: Exchange) -> None:
        if len(exchange.points) <= most:
            await answers(204)(exchange)
        elif then == "closes":
            await says(head(413, {"Connection": "close", "Content-Length": 0}))(exchange)
        else:
            await answers(413, "<html>nginx</html>")(exchange)

    return move


@both
@pytest.mark.parametrize("then", ["closes", "goes on"])
@pytest.mark.parametrize("most", [64, 7, 1])
async def test_a_batch_that_is_too_large_arrives_in_parts_and_complete(
    make: Make, bed: Bed, most: int, then: str
) -> None:
    async with hostile_influx(otherwise=takes_at_most(most, then=then)) as server, all_there(bed, server):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    assert bed.waits == []
    assert set(server.times_taken.values()) == {1}


# -- 400 and 422 -------------------------------------------------------------------------------------------------------


def rejects(bad: Callable[[Point], bool], status: int, *, stores_good_ones: bool) -> Move:
    async def move(exchange: Exchange) -> None:
        good = [point for point in exchange.points if not bad(point)]
        if len(good) == len(exchange.points):
            await answers(204)(exchange)
            return
        if stores_good_ones:
            exchange.store(good)
        await answers(status, WRONG, stores=False)(exchange)

    return move


def has_field(name: str) -> Callable[[Point], bool]:
    return lambda point: name in dict(point.fields)


@both
@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("stores_good_ones", [False, True])
async def test_exactly_the_rejected_channel_is_set_aside_with_the_servers_reason(
    make: Make, bed: Bed, status: int, *, stores_good_ones: bool
) -> None:
    mixed = Numerics(device="mon", time_ns=T0 + 60 * NS, values={"hr": 80.0, "temp": 37.0, "spo2": 97.0})
    after = numerics(T0 + 61 * NS, 61.0)
    await bed.journal.append([mixed, after])
    move = rejects(has_field("temp"), status, stores_good_ones=stores_good_ones)
    async with hostile_influx(otherwise=move) as server:
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    rest = Numerics(device="mon", time_ns=T0 + 60 * NS, values={"hr": 80.0, "spo2": 97.0})
    assert server.stored == fields_of([*READINGS, rest, after])
    (quarantined,) = bed.journal.quarantined("central")
    assert json.loads(quarantined.line)["values"] == {"temp": 37.0}
    assert f"answered {status}: partial write: field type conflict" in quarantined.reason
    assert bed.waits == []
    assert bed.journal.progress("central").cursor == bed.journal.last_seq
    assert bed.forwarder.status.quarantined == 1


@both
async def test_a_rejected_waveform_is_set_aside_whole_and_no_other(make: Make, bed: Bed) -> None:
    bad = READINGS[7]
    assert isinstance(bad, Waveform)
    times = range(bad.time_ns, bad.end_ns)
    move = rejects(lambda point: point.measurement == "waves" and point.time_ns in times, 400, stores_good_ones=False)
    async with hostile_influx(otherwise=move) as server:
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    assert server.stored == fields_of([one for one in READINGS if one is not bad])
    (quarantined,) = bed.journal.quarantined("central")
    assert json.loads(quarantined.line)["time_ns"] == bad.time_ns
    assert bed.forwarder.status.quarantined == 10


@both
async def test_an_outage_in_the_middle_of_the_search_for_a_bad_point_sets_nothing_else_aside(
    make: Make, bed: Bed
) -> None:
    bad = rejects(has_field("temp"), 400, stores_good_ones=True)
    unlucky = [bad, answers(503), bad, says(b"", then="resets"), says(b"", then="stalls"), bad, answers(401)]
    await bed.journal.append([numerics(T0 + 70 * NS, 37.0, channel="temp"), numerics(T0 + 71 * NS, 71.0)])
    async with hostile_influx(*unlucky, otherwise=bad) as server:
        await bed.carry(make(f"http://127.0.0.1:{server.port}", timeout_s=TIMEOUT_S))
    assert server.stored == fields_of([*READINGS, numerics(T0 + 71 * NS, 71.0)])
    (quarantined,) = bed.journal.quarantined("central")
    assert json.loads(quarantined.line)["values"] == {"temp": 37.0}
    assert len(bed.waits) >= 4


@both
@pytest.mark.parametrize("body", ["<html>400 Bad Request</html>", "", "[]", '{"detail":"no"}'])
async def test_a_400_of_somebody_else_than_influxdb_sets_nothing_aside(make: Make, bed: Bed, body: str) -> None:
    async with hostile_influx(*[answers(400, body)] * 3) as server, all_there(bed, server):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    only_waited(bed, ForwarderState.REFUSED, "not an answer of InfluxDB: check the URL")
    assert len(bed.waits) == 3
