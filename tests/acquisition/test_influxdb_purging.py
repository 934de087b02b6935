"""Deleting from an InfluxDB, and what is said of servers that cannot; the real 1.x is in the system tests."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from acquisition.commands.episode_purge import from_influx
from acquisition.config import load_config
from acquisition.errors import SinkError, SinkRefusedError
from acquisition.journal.purging import Window
from acquisition.sinks.influxdb_purging import InfluxPurge, Points
from acquisition.sinks.influxdb_servers import InfluxV1Server, InfluxV2Server
from tests.acquisition.scripted_influx import Answer, Request, scripted_influx
from tests.episode_bed import BED

TOKEN = "-".join(["not", "to", "be", "told"])
T0 = 1_790_000_000_000_000_000
POINTS = Points("mon", T0 + 1, T0 + 60_000_000_001, ("numerics",))


def v2(url: str) -> InfluxPurge:
    return InfluxPurge(InfluxV2Server(url=url + "/", bucket="ecmo", org="icu", token=TOKEN), site="par", bed="bed12")


def answer(*rows: list[object]) -> Answer:
    result = {"results": [{"series": [{"name": "numerics", "columns": ["time", "n"], "values": rows}]} if rows else {}]}
    return Answer(200, json.dumps(result), {"Content-Type": "application/json"})


def asked(request: Request) -> str:
    return parse_qs(request.body.decode())["q"][0]


async def test_2x_deletes_by_predicate_and_what_goes_is_counted_before_and_missed_afterwards() -> None:
    async with scripted_influx(answer([0, 40, 2]), Answer(204), answer()) as server, v2(server.url) as database:
        gone = await database.delete([POINTS])
    assert gone == [{"device": "mon", "measurement": "numerics", "values": 42}]
    counted, deleted, again = server.requests
    assert (counted.path, counted.query) == ("/query", {"db": "ecmo", "epoch": "ns"})
    assert asked(counted) == asked(again)
    assert f"time >= {T0 + 1} AND time < {T0 + 60_000_000_001}" in asked(counted)
    assert (deleted.path, deleted.query) == ("/api/v2/delete", {"bucket": "ecmo", "org": "icu"})
    assert json.loads(deleted.body) == {
        "start": "2026-09-21T14:13:20.000000001Z",
        "stop": "2026-09-21T14:14:20.000000000Z",
        "predicate": '_measurement="numerics" AND site="par" AND bed="bed12" AND device="mon"',
    }
    assert {each.headers["Authorization"] for each in server.requests} == {f"Token {TOKEN}"}


async def test_where_there_is_nothing_nothing_is_deleted() -> None:
    async with scripted_influx(answer()) as server, v2(server.url) as database:
        assert await database.delete([POINTS]) == []
    assert [each.path for each in server.requests] == ["/query"]


@pytest.mark.parametrize("body", ["", f"<html>a portal says {TOKEN}</html>", "[1]", "[" * 100_000])
async def test_what_is_no_answer_to_a_query_is_said_so(body: str) -> None:
    async with scripted_influx(Answer(200, body)) as server, v2(server.url) as database:
        with pytest.raises(SinkRefusedError, match="did not answer a query") as caught:
            await database.delete([POINTS])
    assert TOKEN not in str(caught.value)


async def test_points_that_outlive_their_deletion_are_an_error() -> None:
    async with scripted_influx(answer([0, 1]), Answer(204), answer([0, 1])) as server, v2(server.url) as database:
        with pytest.raises(SinkError, match="still there"):
            await database.delete([POINTS])


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (Answer(401, '{"code":"unauthorized","message":"no"}'), "check the token"),
        (Answer(404, '{"code":"not found","message":"bucket not found"}'), "bucket not found"),
        (Answer(200, '{"results":[{"error":"no such database"}]}', {"Content-Type": "application/json"}), "dbrp"),
        (Answer(200, '{"error":"database not found: ecmo"}', {"Content-Type": "application/json"}), "map the bucket"),
    ],
)  # fmt: skip
async def test_a_refusal_says_what_a_person_must_mend_and_never_the_token(refusal: Answer, told: str) -> None:
    async with scripted_influx(refusal) as server, v2(server.url) as database:
        with pytest.raises(SinkRefusedError, match=told) as caught:
            await database.delete([POINTS])
    assert TOKEN not in str(caught.value)


async def test_a_name_cannot_end_the_text_that_it_stands_in() -> None:
    async with scripted_influx(answer([0, 1]), Answer(204), answer()) as server:
        place = InfluxV2Server(url=server.url, bucket="b")
        async with InfluxPurge(place, site="St. Mary's", bed='bed "1" \\') as database:
            await database.delete([POINTS])
    assert r"""site = 'St. Mary\'s' AND bed = 'bed "1" \\'""" in asked(server.requests[0])
    assert r"""AND site="St. Mary's" AND bed="bed \"1\" \\" AND""" in json.loads(server.requests[1].body)["predicate"]


@pytest.mark.parametrize(
    ("version", "pong", "why"),
    [
        (1, Answer(204, headers={"X-Influxdb-Version": "1.6.7"}), ""),
        (1, Answer(204, headers={"X-Influxdb-Version": "v2.7.11"}), ""),
        (2, Answer(204, headers={"X-Influxdb-Version": "v2.7.11"}), ""),
        (2, Answer(204, headers={"X-Influxdb-Version": "1.8.10"}), "name this sink influxdb_v1"),
        (1, Answer(200, '{"version":"3.4.1","revision":"x"}'), "InfluxDB 3.4.1 cannot delete single points"),
        (2, Answer(200, '{"version":"3.4.1","revision":"x"}'), "retention period"),
        (2, Answer(204, headers={"X-Server-Hostname": "vm"}), "VictoriaMetrics deletes only whole series"),
        (1, Answer(200, "[]"), "does not say that it is InfluxDB"),
    ],
)
async def test_a_server_that_cannot_delete_is_known_before_and_says_what_to_do(
    version: int, pong: Answer, why: str
) -> None:
    async with scripted_influx(pong) as server:
        place = (
            InfluxV1Server(url=server.url, database="d") if version == 1 else InfluxV2Server(url=server.url, bucket="d")
        )
        async with InfluxPurge(place, site="s", bed="b") as database:
            told = await database.why_not()
    assert (why in told) if why else not told
    assert [each.path for each in server.requests] == ["/ping"]


async def test_what_stays_where_it_cannot_be_deleted_is_in_the_tombstone_and_the_other_sinks_are_gone_on_with(
    tmp_path: Path,
) -> None:
    three = Answer(200, '{"version":"3.4.1","revision":"x"}')
    tags = answer(["device", "mon"])
    counted = [answer([0, 7]), Answer(204), answer(), answer(), answer()]
    two = [Answer(204, headers={"X-Influxdb-Version": "v2.7.11"}), tags, answer(), answer(), *counted]
    async with scripted_influx(three, *two) as server:
        (tmp_path / "c.toml").write_text(
            f"""{BED}
[[sink]]
id = "queue"
type = "mqtt"
host = "127.0.0.1"
[[sink]]
id = "three"
type = "influxdb_v2"
url = "{server.url}"
bucket = "ecmo"
[[sink]]
id = "two"
type = "influxdb_v2"
url = "{server.url}"
bucket = "ecmo"
""",
            encoding="utf-8",
        )
        gone = await from_influx(load_config(tmp_path / "c.toml"), [Window(T0, T0 + 10)], ())
    assert [(each["sink"], each["deleted"]) for each in gone] == [("queue", False), ("three", False), ("two", True)]
    assert "stays with who received it" in gone[0]["why"]
    assert "cannot delete" in gone[1]["why"]
    assert (gone[2]["device"], gone[2]["measurement"], gone[2]["values"]) == ("mon", "numerics", 7)
