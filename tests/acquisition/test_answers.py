"""Success, a busy server, none at all and no whole answer (DESIGN.md section 8): from a journal to a hostile server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from acquisition.clock import NS
from acquisition.forwarder import ForwarderState
from acquisition.sinks import http_answers
from tests.acquisition.answers_bench import (
    PLENTY_S,
    READINGS,
    TIMEOUT_S,
    WRONG,
    Bed,
    Make,
    all_there,
    bed_in,
    both,
    only_waited,
)
from tests.acquisition.hostile_influx import (
    Exchange,
    HostileInflux,
    Move,
    answers,
    head,
    hostile_influx,
    says,
)
from tests.acquisition.journal_observations import T0, numerics
from tests.system.servers import free_port


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    async with bed_in(tmp_path / "journal") as bed:
        yield bed


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
        await bed.carry(make(f"http://127.0.0.1:{server.port}", timeout_s=TIMEOUT_S))
    only_waited(bed, ForwarderState.WAITING, r"did not answer within 0\.25 s")
    assert min(server.times_taken.values()) >= 2


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
        await bed.carry(make(f"http://127.0.0.1:{server.port}", timeout_s=TIMEOUT_S), then=say_more)


SPOILED = [
    ("names what is no text encoding", {"Content-Type": "application/json; charset=hex"}, ""),
    ("names an encoding that decodes nothing", {"Content-Type": "application/json; charset=undefined"}, ""),
    ("names an encoding that replaces nothing", {"Content-Type": "application/json; charset=idna"}, ""),
    ("names a year beyond all integers", {"Retry-After": "Sun, 06 Nov 99999999999 08:50:07 GMT"}, ""),
    ("names a zone beyond all integers", {"Retry-After": "Sun, 06 Nov 1994 08:50:07 +99999999999999"}, ""),
    ("nests without end", {}, "[" * 200_000),
]


@both
@pytest.mark.parametrize(("headers", "body"), [one[1:] for one in SPOILED], ids=[one[0] for one in SPOILED])
@pytest.mark.parametrize("status", [400, 503])
async def test_an_answer_that_cannot_be_understood_is_one_more_outage_and_no_defect_of_ours(
    make: Make, bed: Bed, status: int, headers: dict[str, str], body: str
) -> None:
    spoiled = answers(status, body or "too busy", headers)
    async with hostile_influx(spoiled, spoiled) as server, all_there(bed, server):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    assert len(bed.waits) == 2
    assert bed.said.startswith(f"http://127.0.0.1:{server.port} answered {status}: ")


@both
@pytest.mark.parametrize("status", [200, 400])
async def test_of_an_answer_without_end_no_more_is_read_than_an_influxdb_would_say(
    make: Make, bed: Bed, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_answers, "LONGEST_BODY", 1 << 20)
    endless = says(head(status, {"Content-Length": 10**12}) + b"x" * (2 << 20), then="stalls")
    async with hostile_influx(endless) as server, all_there(bed, server):
        await bed.carry(make(f"http://127.0.0.1:{server.port}"))
    only_waited(bed, ForwarderState.REFUSED, rf"answered {status} and more than 1 MiB.*not an answer of InfluxDB")


# -- 429, 503 and other 5xx --------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "waits"),
    [
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
@pytest.mark.parametrize(
    ("move", "words"),
    [
        # Those that have to be waited for in real time are slow.
        pytest.param(move, words, id=name, marks=[pytest.mark.slow] * words.startswith("did not answer"))
        for name, move, words in SILENT
    ],
)
async def test_what_is_no_whole_answer_proves_nothing_and_the_batch_goes_again(
    make: Make, bed: Bed, move: Move, words: str
) -> None:
    waits_for_more = words.startswith("did not answer")
    async with hostile_influx(move, move) as server, all_there(bed, server):
        limit_s = TIMEOUT_S if waits_for_more else PLENTY_S  # a busy machine is no silent server
        await bed.carry(make(f"http://127.0.0.1:{server.port}", timeout_s=limit_s))
    only_waited(bed, ForwarderState.WAITING, words)
    assert f"127.0.0.1:{server.port}" in bed.said
    assert len(bed.waits) >= 2
    assert server.requests >= 3


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
