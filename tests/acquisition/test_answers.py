"""The table of answers of DESIGN.md section 8, row by row: from a journal, through a forwarder, to a hostile server."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from acquisition.clock import NS, ManualClock
from acquisition.forwarder import Forwarder, ForwarderState, ForwarderStatus
from acquisition.journal import Journal
from acquisition.model import Numerics, Observation, Waveform
from acquisition.sinks.influxdb import InfluxV1Sink, InfluxV2Sink
from acquisition.sinks.line_protocol import render
from tests.acquisition.certificates import server_context
from tests.acquisition.hostile_influx import (
    Exchange,
    HostileInflux,
    Key,
    Move,
    answers,
    head,
    hostile_influx,
    says,
)
from tests.acquisition.journal_observations import QUICK, T0, event, numerics, waveform
from tests.acquisition.strict_line_protocol import Point, parse
from tests.system.servers import free_port

TIMEOUT_S = 0.25
SOON_S = 5.0
AnySink = InfluxV1Sink | InfluxV2Sink
Make = Callable[..., AnySink]
WRONG = '{"code":"invalid","message":"partial write: field type conflict","error":"partial write: field type conflict"}'


def v1(url: str, **options: Any) -> InfluxV1Sink:
    return InfluxV1Sink(url=url, database="ecmo", site="here", bed="bed-1", timeout_s=TIMEOUT_S, **options)


def v2(url: str, **options: Any) -> InfluxV2Sink:
    return InfluxV2Sink(url=url, bucket="ecmo", site="here", bed="bed-1", timeout_s=TIMEOUT_S, **options)


both = pytest.mark.parametrize("make", [v1, v2])
READINGS: list[Observation] = [
    one
    for at in range(10)
    for one in (numerics(T0 + at * NS, float(at)), waveform(T0 + at * NS, [at * 10 + k for k in range(10)]))
] + [event(T0 + 5 * NS, "alarm")]


def fields_of(readings: Sequence[Observation]) -> dict[Key, dict[str, float | str]]:
    points = parse(render(readings, site="here", bed="bed-1"))
    return {(point.measurement, point.tags, point.time_ns): dict(point.fields) for point in points}


@dataclass
class Bed:
    """A journal with readings in it, and a forwarder on virtual time.

    Attributes:
        waits: How long each wait was, and how the forwarder stood while it waited.
        while_waiting: What happens in the world meanwhile.
    """

    journal: Journal
    clock: ManualClock = field(default_factory=lambda: ManualClock(utc_ns=T0))
    waits: list[tuple[float, ForwarderStatus]] = field(default_factory=list)
    while_waiting: Callable[[int], Awaitable[None]] | None = None
    forwarder: Forwarder = field(init=False)

    async def carry(
        self,
        sink: AnySink,
        *,
        batch_points: int = 5000,
        then: Callable[[], Awaitable[None]] | None = None,
        patience_s: float = SOON_S,
    ) -> None:
        """Runs a forwarder until the sink has everything; if there is a `then`, also what that appends."""

        async def sleep(seconds: float) -> None:
            self.waits.append((seconds, self.forwarder.status))
            if self.while_waiting is not None:
                await self.while_waiting(len(self.waits))
            self.clock.advance_to(self.clock.now().mono_ns + int(seconds * NS))
            await asyncio.sleep(0)

        self.forwarder = Forwarder(
            "central", sink, self.journal, self.clock, rng=random.Random(7), batch_points=batch_points, sleep=sleep
        )
        run = asyncio.create_task(self.forwarder.run())
        try:
            async with asyncio.timeout(patience_s):
                await self._carried(run)
                if then is not None:
                    await then()
                    await self._carried(run)
        finally:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

    async def _carried(self, run: asyncio.Task[None]) -> None:
        # Nobody tells of a commit: it is a number in the journal.
        while self.journal.progress("central").cursor < self.journal.last_seq and not run.done():  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    @property
    def said(self) -> str:
        """What the status said at the first wait."""
        return self.waits[0][1].last_error


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    async with Journal(tmp_path / "journal", commit_interval_s=QUICK) as journal:
        await journal.append(READINGS)
        yield Bed(journal)


@asynccontextmanager
async def all_there(bed: Bed, server: HostileInflux, readings: Sequence[Observation] = ()) -> AsyncIterator[None]:
    """Afterwards the server has every reading, each complete, and nothing was set aside; the cursor is at the end."""
    yield
    assert server.stored == fields_of(readings or READINGS)
    assert bed.journal.quarantined() == []
    assert bed.journal.progress("central").cursor == bed.journal.last_seq
    assert bed.journal.backlog("central") == 0
    assert bed.forwarder.status.last_error == ""
    assert bed.forwarder.status.quarantined == 0


def only_waited(bed: Bed, state: ForwarderState, words: str) -> None:
    """Nothing was delivered before the first wait, the cursor stood, and the status said why."""
    assert bed.waits
    _, status = bed.waits[0]
    assert status.state is state
    assert status.cursor == 0
    assert status.delivered == 0
    assert status.attempts == 1
    assert re.search(words, status.last_error), status.last_error


# -- 2xx ---------------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_success_commits_the_cursor_without_a_wait(make: Make, bed: Bed, status: int) -> None:
    async with hostile_influx(otherwise=answers(status)) as server, all_there(bed, server):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"), batch_points=20)
    assert bed.waits == []
    assert set(server.times_taken.values()) == {1}
    assert bed.forwarder.status.delivered == 111


@both
async def test_a_204_that_comes_too_late_is_asked_for_again_and_stores_nothing_twice(make: Make, bed: Bed) -> None:
    async with hostile_influx(answers(204, after_s=2 * TIMEOUT_S)) as server, all_there(bed, server):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    only_waited(bed, ForwarderState.WAITING, r"did not answer within 0\.25 s")
    assert set(server.times_taken.values()) == {2}


@both
async def test_an_answer_that_trickles_in_within_the_time_limit_is_an_answer(make: Make, bed: Bed) -> None:
    trickle = says(head(204, {}), stores=True, each_s=0.001, then="goes on")
    async with hostile_influx(trickle) as server, all_there(bed, server):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    assert bed.waits == []


@both
@pytest.mark.parametrize("pause_s", [0.0, 0.05])
async def test_an_answer_that_nobody_asked_for_is_not_the_answer_to_the_next_batch(
    make: Make, bed: Bed, pause_s: float
) -> None:
    unasked = asyncio.Event()

    async def twice(exchange: Exchange) -> None:
        exchange.store()
        await exchange.say(head(204, {}) * (1 if pause_s else 2))
        await asyncio.sleep(pause_s)
        if pause_s:
            await exchange.say(head(204, {}))
        unasked.set()

    async def say_more() -> None:
        await unasked.wait()
        await asyncio.sleep(pause_s)
        await bed.journal.append([more])

    more = numerics(T0 + 100 * NS, 100.0)
    swallow = says(b"", then="stalls")
    async with hostile_influx(twice, swallow) as server, all_there(bed, server, [*READINGS, more]):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"), then=say_more)


# -- 429, 503 and other 5xx --------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:50:07 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}, 30.0),
        ({"Retry-After": "86400"}, 3600.0),
    ],
)
async def test_a_server_that_says_how_long_is_waited_for_so_long_and_an_hour_at_most(
    make: Make, bed: Bed, status: int, headers: dict[str, str], waits: float
) -> None:
    busy = answers(status, '{"error":"too busy"}', headers)
    async with hostile_influx(busy, busy) as server, all_there(bed, server):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    only_waited(bed, ForwarderState.WAITING, f"answered {status}: too busy")
    assert [seconds for seconds, _ in bed.waits] == [waits, waits]
    first = bed.waits[0][1]
    assert first.backoff_until_ns == T0 + round(waits * NS)


@both
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 599])
async def test_a_server_that_does_not_say_how_long_is_tried_for_ever_and_at_least_once_a_minute(
    make: Make, bed: Bed, status: int
) -> None:
    tries = 40
    async with hostile_influx(*[answers(status, "busy")] * tries) as server, all_there(bed, server):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    only_waited(bed, ForwarderState.WAITING, f"answered {status}: busy")
    assert len(bed.waits) == tries
    assert all(seconds <= min(60.0, 2.0**at) for at, (seconds, _) in enumerate(bed.waits))
    assert sum(seconds for seconds, _ in bed.waits) > 600
    assert bed.waits[-1][1].attempts == tries
    assert server.requests == tries + 1


@both
async def test_a_server_that_is_not_there_is_tried_until_it_is(make: Make, bed: Bed) -> None:
    port = free_port()
    async with AsyncExitStack() as later:
        servers: list[HostileInflux] = []

        async def start(waits: int) -> None:
            if waits == 5:
                servers.append(await later.enter_async_context(hostile_influx(port=port)))

        bed.while_waiting = start
        await bed.carry(make(f"http://127.0.0.1:{port}"))
        async with all_there(bed, servers[0]):
            pass
    only_waited(bed, ForwarderState.WAITING, r"127\.0\.0\.1:\d+ cannot be reached")
    assert len(bed.waits) == 5


NO_HTTP = "answered what is no HTTP: .*check the URL"
SILENT = [
    ("closes without a word", says(b""), "cannot be reached"),
    ("resets", says(b"", then="resets"), "cannot be reached"),
    ("never answers", says(b"", then="stalls"), "did not answer within"),
    ("stores and resets", says(b"", stores=True, then="resets"), "cannot be reached"),
    ("stores and never answers", says(b"", stores=True, then="stalls"), "did not answer within"),
    ("closes in the status line", says(b"HTTP/1.1 20"), "cannot be reached"),
    ("resets in the headers", says(b"HTTP/1.1 204 No Content\r\nDate:", then="resets"), "cannot be reached"),
    ("stalls in the headers", says(b"HTTP/1.1 204 No Content\r\n", then="stalls"), "did not answer within"),
    ("trickles without end", says(head(200, {"X": "y" * 5000}), each_s=0.02), "did not answer within"),
    ("stalls in mid-body", says(head(200, {"Content-Length": 9}) + b"{}", then="stalls"), "did not answer within"),
    ("resets in mid-body", says(head(200, {"Content-Length": 9}) + b"{}", then="resets"), "cannot be reached"),
    ("closes in mid-body", says(head(200, {"Content-Length": 9}) + b"{}"), "cannot be reached"),
    ("closes in a mid-body of 400", says(head(400, {"Content-Length": 999}) + WRONG.encode()), "cannot be reached"),
    ("breaks its chunks", says(head(200, {"Transfer-Encoding": "chunked"}) + b"zz\r\n"), NO_HTTP),
    ("stops in its chunks", says(head(200, {"Transfer-Encoding": "chunked"}) + b"5\r\nab"), "cannot be reached"),
    (
        "lies about compression",
        says(head(200, {"Content-Encoding": "gzip", "Content-Length": 4}) + b"abcd"),
        "cannot be reached",
    ),
    ("contradicts its length", says(head(200, {"Content-Length": "2\r\nContent-Length: 5"}) + b"{}"), NO_HTTP),
    ("has no sensible length", says(head(200, {"Content-Length": "many"}) + b"{}"), NO_HTTP),
    ("is no HTTP but a letter box", says(b"220 mail.example ESMTP\r\n"), NO_HTTP),
    ("is no HTTP but noise", says(bytes(range(256)) * 4), NO_HTTP),
    ("is no HTTP but SSH", says(b"SSH-2.0-OpenSSH_9.2\r\n", then="stalls"), NO_HTTP),
    ("speaks TLS", says(b"\x15\x03\x01\x00\x02\x02\x16"), NO_HTTP),
]


@both
@pytest.mark.parametrize(("move", "words"), [(move, words) for _, move, words in SILENT], ids=[s[0] for s in SILENT])
async def test_what_is_no_whole_answer_proves_nothing_and_the_batch_goes_again(
    make: Make, bed: Bed, move: Move, words: str
) -> None:
    async with hostile_influx(move, move) as server, all_there(bed, server):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    only_waited(bed, ForwarderState.WAITING, words)
    assert f"127.0.0.1:{server.port}" in bed.said
    assert len(bed.waits) == 2
    assert server.requests == 3


@both
async def test_a_content_length_that_is_too_short_spoils_no_later_answer(make: Make, bed: Bed) -> None:
    short = answers(200, '{"all":"well"}' * 10, length=2)
    async with hostile_influx(*[short] * 3) as server, all_there(bed, server):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"), batch_points=30)


@both
async def test_a_400_cut_short_by_its_own_content_length_sets_nothing_aside(make: Make, bed: Bed) -> None:
    async with hostile_influx(answers(400, WRONG, length=20)) as server, all_there(bed, server):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    only_waited(bed, ForwarderState.WAITING, "is no HTTP|not an answer of InfluxDB")


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


@both
async def test_tls_spoken_to_a_plain_port_and_plain_http_to_a_tls_port_prove_nothing(
    make: Make, bed: Bed, tmp_path: Path
) -> None:
    _, context = await server_context(tmp_path)
    async with hostile_influx() as plain, hostile_influx(tls=context) as secret:
        for url in (f"https://127.0.0.1:{plain.port}", f"http://127.0.0.1:{secret.port}"):
            bed.waits.clear()
            with pytest.raises(TimeoutError):
                await bed.carry(make(url), patience_s=3 * TIMEOUT_S)
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
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    assert server.stored == fields_of([*READINGS, numerics(T0 + 71 * NS, 71.0)])
    (quarantined,) = bed.journal.quarantined("central")
    assert json.loads(quarantined.line)["values"] == {"temp": 37.0}
    assert len(bed.waits) == 4


@both
@pytest.mark.parametrize("body", ["<html>400 Bad Request</html>", "", "[]", '{"detail":"no"}'])
async def test_a_400_of_somebody_else_than_influxdb_sets_nothing_aside(make: Make, bed: Bed, body: str) -> None:
    async with hostile_influx(*[answers(400, body)] * 3) as server, all_there(bed, server):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    only_waited(bed, ForwarderState.REFUSED, "not an answer of InfluxDB: check the URL")
    assert len(bed.waits) == 3
