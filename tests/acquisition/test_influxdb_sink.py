from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acquisition.errors import (
    SinkRefusedError,
    SinkRejectedError,
    SinkTooLargeError,
    SinkUnavailableError,
)
from acquisition.model import Event, EventKind, Numerics, Observation, Waveform
from acquisition.sinks.influxdb import InfluxV1Sink, InfluxV2Sink
from acquisition.sinks.influxdb_servers import InfluxV1Server, InfluxV2Server
from tests.acquisition.certificates import server_context
from tests.acquisition.scripted_influx import Answer, scripted_influx

SECRET = "-".join(["do", "not", "tell", "7f3a"])
BATCH: list[Observation] = [
    Numerics(device="mon", time_ns=1, values={"hr": 80.0}),
    Event(device="daemon", time_ns=2, event=EventKind.DAEMON, text="started"),
]
AnySink = InfluxV1Sink | InfluxV2Sink
Factory = Callable[[str], AnySink]


def v1(url: str) -> InfluxV1Sink:
    return InfluxV1Sink(
        InfluxV1Server(url=url, database="ecmo", username="writer", password=SECRET),
        site="here",
        bed="bed-1",
        timeout_s=2.0,
    )


def v2(url: str) -> InfluxV2Sink:
    return InfluxV2Sink(
        InfluxV2Server(url=url, bucket="ecmo", org="icu", token=SECRET), site="here", bed="bed-1", timeout_s=2.0
    )


both = pytest.mark.parametrize("factory", [v1, v2])


async def failure(factory: Factory, answer: Answer) -> Exception:
    async with scripted_influx(answer) as server, factory(server.url) as sink:
        with pytest.raises((SinkUnavailableError, SinkTooLargeError, SinkRejectedError)) as caught:
            await sink.deliver(sink.prepare(BATCH))
    assert SECRET not in str(caught.value)
    return caught.value


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that knows db.example, and that it is here."""
    real = socket.getaddrinfo

    def known(host: str, *rest: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host == "db.example" else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", known)


@pytest.mark.usefixtures("names")
async def test_v1_writes_one_compressed_request_with_nanosecond_times() -> None:
    async with scripted_influx() as server, v1(f"http://db.example:{server.port}") as sink:
        await sink.deliver(sink.prepare(BATCH))
    (request,) = server.requests
    assert request.path == "/write"
    assert request.query == {"db": "ecmo", "precision": "ns"}
    assert request.headers["Content-Encoding"] == "gzip"
    assert request.headers["Authorization"].startswith("Basic ")
    assert [point.time_ns for point in request.points] == [1, 2]


async def test_v1_names_the_retention_policy_and_no_user_if_so_configured() -> None:
    async with scripted_influx() as server:
        sink = InfluxV1Sink(
            InfluxV1Server(url=server.url + "/", database="ecmo", retention_policy="year"), site="h", bed="b"
        )
        async with sink:
            await sink.deliver(sink.prepare(BATCH))
    assert server.requests[0].query["rp"] == "year"
    assert server.requests[0].path == "/write"
    assert "Authorization" not in server.requests[0].headers


@pytest.mark.usefixtures("names")
async def test_v2_writes_one_compressed_request_with_nanosecond_times() -> None:
    async with scripted_influx() as server, v2(f"http://db.example:{server.port}") as sink:
        await sink.deliver(sink.prepare(BATCH))
    (request,) = server.requests
    assert request.path == "/api/v2/write"
    assert request.query == {"org": "icu", "bucket": "ecmo", "precision": "ns"}
    assert request.headers["Content-Encoding"] == "gzip"
    assert request.headers["Authorization"] == f"Token {SECRET}"
    assert [point.time_ns for point in request.points] == [1, 2]


@both
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_server_on_this_machine_gets_the_lines_as_they_are(factory: Factory, host: str) -> None:
    async with scripted_influx() as server, factory(f"http://{host}:{server.port}") as sink:
        await sink.deliver(sink.prepare(BATCH))
    (request,) = server.requests
    assert "Content-Encoding" not in request.headers
    assert [point.time_ns for point in request.points] == [1, 2]


@both
async def test_a_batch_without_a_single_number_asks_nothing_of_the_server(factory: Factory) -> None:
    empty = Waveform(device="mon", channel="wf_abp", time_ns=1, period_ns=1, raw=b"")
    async with scripted_influx() as server, factory(server.url) as sink:
        await sink.deliver(sink.prepare([empty]))
    assert server.requests == []


@both
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_a_server_that_is_busy_or_broken_is_unavailable(factory: Factory, status: int) -> None:
    error = await failure(factory, Answer(status, '{"error":"timeout"}'))
    assert type(error) is SinkUnavailableError
    assert error.retry_after_s is None
    assert f"answered {status}: timeout" in str(error)


@both
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:50:07 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}, 30.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:07 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "Sun, 06 Nov 1994 08:50:07 GMT", "Date": "nonsense"}, None),
        ({"Retry-After": "Sun, 06 Nov 1994 08:50:07 -0000", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}, None),
    ],
)
async def test_retry_after_is_read_as_seconds_or_as_a_date_on_the_servers_own_clock(
    factory: Factory, headers: dict[str, str], seconds: float | None
) -> None:
    error = await failure(factory, Answer(503, "", headers))
    assert isinstance(error, SinkUnavailableError)
    assert error.retry_after_s == seconds


@both
@pytest.mark.parametrize(
    ("status", "hint"), [(401, "token"), (403, "may not write"), (404, "bucket or database exists"), (405, "")]
)
async def test_a_server_that_refuses_us_says_what_a_person_must_mend(factory: Factory, status: int, hint: str) -> None:
    error = await failure(factory, Answer(status, '{"code":"x","message":"no, thank you"}'))
    assert isinstance(error, SinkRefusedError)
    assert "no, thank you" in str(error)
    assert hint in str(error)


@both
async def test_a_batch_that_is_too_large_is_told_apart(factory: Factory) -> None:
    assert isinstance(await failure(factory, Answer(413, "<html>nginx</html>")), SinkTooLargeError)


@both
@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("body", ['{"error":"field type conflict"}', '{"message":"field type conflict"}'])
async def test_rejected_points_are_reported_in_the_servers_words(factory: Factory, status: int, body: str) -> None:
    error = await failure(factory, Answer(status, body))
    assert isinstance(error, SinkRejectedError)
    assert str(error).endswith(f"answered {status}: field type conflict")


@both
async def test_influxdb_3_names_the_lines_it_rejects(factory: Factory) -> None:
    body = '{"error":"partial write of line protocol occurred","data":[{"line_number":2,"error_message":"bad type"}]}'
    assert "bad type" in str(await failure(factory, Answer(400, body)))


@both
@pytest.mark.parametrize(
    "body", ["Client sent an HTTP request to an HTTPS server.\n", "<html>400</html>", "[]", '{"error":null}', ""]
)
async def test_a_400_that_no_influxdb_wrote_sets_nothing_aside(factory: Factory, body: str) -> None:
    error = await failure(factory, Answer(400, body))
    assert isinstance(error, SinkRefusedError)
    assert "check the URL" in str(error)


@both
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_because_the_data_would_go_elsewhere(factory: Factory, status: int) -> None:
    async with scripted_influx() as elsewhere:
        error = await failure(factory, Answer(status, "", {"Location": f"{elsewhere.url}/login?next=x"}))
    assert isinstance(error, SinkRefusedError)
    assert f"points to {elsewhere.url};" in str(error)
    assert elsewhere.requests == []


@both
async def test_a_redirect_to_nowhere_is_refused_all_the_same(factory: Factory) -> None:
    assert isinstance(await failure(factory, Answer(302)), SinkRefusedError)


@both
@pytest.mark.parametrize("status", [200, 400, 404, 500])
async def test_an_answer_that_is_cut_off_proves_nothing(factory: Factory, status: int) -> None:
    assert type(await failure(factory, Answer(status, cut=True))) is SinkUnavailableError


@both
async def test_any_answer_of_success_is_success(factory: Factory) -> None:
    async with scripted_influx(Answer(200, "{}"), Answer(201), Answer(204)) as server, factory(server.url) as sink:
        for _ in range(3):
            await sink.deliver(sink.prepare(BATCH))
    assert len(server.requests) == 3


@both
async def test_a_server_that_repeats_the_secret_is_not_quoted(factory: Factory) -> None:
    error = await failure(factory, Answer(401, f'{{"error":"unknown token {SECRET}"}}'))
    assert "unknown token ***" in str(error)


@both
async def test_nothing_is_logged_of_secret_or_body(factory: Factory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await failure(factory, Answer(500, "a body that is not JSON"))
    async with scripted_influx() as server, factory(server.url) as sink:
        await sink.deliver(sink.prepare(BATCH))
    written = "\n".join(record.getMessage() for record in caplog.records)
    assert SECRET not in written
    assert "not JSON" not in written
    assert "hr=" not in written


@both
async def test_an_endless_quote_is_cut(factory: Factory) -> None:
    assert len(str(await failure(factory, Answer(500, "x" * 10_000)))) < 600


@both
async def test_a_certificate_nobody_vouches_for_is_refused_unless_its_authority_is_given(
    factory: Factory, tmp_path: Path
) -> None:
    certificate, context = await server_context(tmp_path)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with factory(url) as distrusting:
            with pytest.raises(SinkRefusedError, match=r"not trusted.*ca_file"):
                await distrusting.deliver(distrusting.prepare(BATCH))
        trusting = (
            InfluxV1Sink(InfluxV1Server(url=url, database="d", ca_file=certificate), site="h", bed="b")
            if factory is v1
            else InfluxV2Sink(InfluxV2Server(url=url, bucket="d", ca_file=certificate), site="h", bed="b")
        )
        careless = (
            InfluxV1Sink(InfluxV1Server(url=url, database="d", verify_tls=False), site="h", bed="b")
            if factory is v1
            else InfluxV2Sink(InfluxV2Server(url=url, bucket="d", verify_tls=False), site="h", bed="b")
        )
        for sink in (trusting, careless):
            async with sink:
                await sink.deliver(sink.prepare(BATCH))
