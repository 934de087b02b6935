"""InfluxQL over `/query` as 2.x and 3.x answer it, on a scripted server; the real 1.x is in the system tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acquisition.archive.chunk import Chunk, Window
from acquisition.archive.episodes.registry import Registry
from acquisition.archive.influx import CHUNK_ROWS, InfluxSource
from acquisition.archive.opened import Archive
from acquisition.commands.options import Place
from acquisition.errors import ConfigError, SinkRefusedError, SinkUnavailableError
from acquisition.sinks.influxdb_servers import Credentials
from tests.acquisition.archive_bed import write_config
from tests.acquisition.scripted_influx import Answer, scripted_influx

S = 1_000_000_000
T0 = 1_767_225_600 * S
BED = Window("bed-1", T0, T0 + 3600 * S)
TOKEN = "-".join(["not", "to", "be", "told"])
Rows = list[list[object]]


def series(
    columns: str, rows: Rows, tags: Mapping[str, str] | None = None, name: str = "numerics"
) -> dict[str, object]:
    found: dict[str, object] = {"name": name, "columns": columns.split(), "values": rows}
    return found | ({"tags": dict(tags)} if tags else {})


def answer(*lines: list[dict[str, object]]) -> Answer:
    """A chunked answer: a document a line, each with its series; all but the last say that there is more."""
    documents = [
        {"results": [{"statement_id": 0, "series": own} | ({"partial": True} if number + 1 < len(lines) else {})]}
        for number, own in enumerate(lines)
    ]
    return Answer(200, "".join(json.dumps(each) + "\n" for each in documents), {"Content-Type": "application/json"})


def end(at: int) -> Answer:
    return answer([series("time hr", [[at, 1.0]])])


FIELDS = answer([series("fieldKey fieldType", [["hr", "float"], ["spo2", "float"], ["spo2_state", "string"]])])
DEVICES = answer([series("key value", [["device", "mon"]])])
GOOD, BAD = {"quality": "good"}, {"quality": "bad"}


async def numerics(*answers: Answer, auth: Credentials) -> tuple[list[Chunk], list[tuple[dict[str, str], str]]]:
    async with scripted_influx(*answers) as server:
        source = InfluxSource(server.url, "ecmo", auth)
        chunks = await asyncio.to_thread(lambda: list(source.numerics(BED)))
        return chunks, [(each.query, each.headers.get("Authorization", "")) for each in server.requests]


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (Credentials(secret=TOKEN), f"Token {TOKEN}"),
        (Credentials("reader", "x"), "Basic cmVhZGVyOng="),
        (Credentials(), ""),
    ],
)
async def test_an_answer_in_many_chunks_is_one_of_each_channel_in_the_order_of_time(
    auth: Credentials, header: str
) -> None:
    columns = "time hr spo2 spo2_state"
    pieces = answer(
        [series(columns, [[T0 + 9 * S, 80, 97.0, None]], BAD)],
        [series(columns, [[T0 + S, 81, None, "not_connected"]], GOOD)],
        [
            series(columns, [[T0 + 2 * S, 82.5, None, None]], GOOD),
            series(columns, [[T0 + 3 * S, 83, None, None]], GOOD),
        ],
    )
    chunks, asked = await numerics(FIELDS, DEVICES, end(T0 + S), end(T0 + 9 * S), pieces, auth=auth)
    rate, saturation = chunks
    assert (rate.channel, rate.values.tolist(), rate.quality.tolist()) == ("hr", [81, 82.5, 83, 80], [0, 0, 0, 2])
    assert rate.time_ns.tolist() == [T0 + second * S for second in (1, 2, 3, 9)]
    assert saturation.state is not None
    assert (saturation.channel, saturation.state.tolist()) == ("spo2", [1, 0])
    assert np.isnan(saturation.values[0])
    for query, shown in asked:
        assert (query["db"], query["epoch"], query["chunked"], query["chunk_size"]) == (
            "ecmo", "ns", "true", str(CHUNK_ROWS)
        )  # fmt: skip
        assert shown == header
    assert 'GROUP BY "quality"' in asked[-1][0]["q"]


@pytest.mark.parametrize(
    ("refusal", "kind", "told"),
    [
        (Answer(401, '{"code":"unauthorized","message":"token ' + TOKEN + '"}'), SinkRefusedError, "user and password"),
        (Answer(404, '{"code":"not found","message":"no mapping for ecmo"}'), SinkRefusedError, "no mapping for ecmo"),
        (Answer(200, '{"results":[{"error":"database not found: ecmo"}]}'), SinkRefusedError, "database not found"),
        (Answer(503, "later"), SinkUnavailableError, "503"),
        (Answer(200, '{"results":[{"series":['), SinkUnavailableError, "cannot be read"),
        (
            answer([series("name", [["_internal"]], name="databases")]),
            SinkRefusedError,
            "VictoriaMetrics does so",
        ),
    ],
)
async def test_a_server_that_does_not_answer_is_told_in_words_and_the_token_is_not(
    refusal: Answer, kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told) as caught:
        await numerics(refusal, auth=Credentials(secret=TOKEN))
    assert TOKEN not in str(caught.value)


async def test_an_answer_that_is_cut_off_in_the_middle_is_no_answer() -> None:
    with pytest.raises(SinkUnavailableError, match="cannot be read"):
        await numerics(FIELDS, DEVICES, end(T0), end(T0), Answer(200, cut=True), auth=Credentials())


def tags(*names: str) -> Answer:
    return answer([series("key value", [["", name] for name in names])])


@pytest.mark.parametrize(
    ("site", "bed", "answers", "told"),
    [
        (
            None,
            "bed-1",
            [tags("paris", "lyon"), tags("paris")],
            "bed-1 is at more than one site: lyon, paris; give --site",
        ),
        (None, "bed-1", [tags("paris"), tags("lyon")], "give --site"),
        ("paris", None, [tags("bed-1", "bed-2"), tags()], "more than one bed: bed-1, bed-2; give --bed or --subject"),
        (None, None, [tags("paris"), tags(), tags("bed-1"), tags("bed-2")], "give --bed"),
        (None, None, [tags("paris"), tags("paris"), tags("bed-1"), tags("bed-1")], ""),
        ("paris", "bed-1", [], ""),
    ],
)
async def test_two_beds_are_never_read_as_one(
    site: str | None, bed: str | None, answers: list[Answer], told: str
) -> None:
    """A trial has a bed-1 at each site, and readings carry no name of a subject."""
    async with scripted_influx(*answers) as server:
        archive = Archive(InfluxSource(server.url, "ecmo", site=site), Registry())
        if told:
            with pytest.raises(ConfigError, match=told):
                await asyncio.to_thread(archive.scope, bed=bed)
        else:
            assert (await asyncio.to_thread(archive.scope, bed=bed)).beds == ((bed,) if bed else ())
        questions = [each.query["q"] for each in server.requests]
    assert all(('"bed" = ' in each) == (bed is not None) for each in questions)
    assert all(('"site" = ' in each) == (site is not None) for each in questions)


@pytest.mark.parametrize(
    ("words", "site"), [({"site": "par'is"}, "par\\'is"), ({"config": Path("bed.toml")}, "site-paris")]
)
async def test_readings_are_of_the_named_site_alone_or_of_that_of_the_configuration(
    words: dict[str, Any], site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(tmp_path)
    (tmp_path / "journal").mkdir()
    monkeypatch.chdir(tmp_path)
    found = answer([series("time hr", [[T0, 1.0]], GOOD)])
    async with scripted_influx(FIELDS, DEVICES, end(T0), end(T0), found) as server:
        source = Place(influx=server.url, **words).opened(None).source
        await asyncio.to_thread(lambda: list(source.numerics(BED)))
        questions = [each.query["q"] for each in server.requests]
    assert all(f"\"site\" = '{site}'" in each for each in questions if each.startswith("SELECT"))
    assert sum(each.startswith("SELECT") for each in questions) == 3
