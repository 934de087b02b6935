from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from acquisition.archive.episodes.events import registries
from acquisition.archive.episodes.registry import Registry, registry_path
from acquisition.clock import from_rfc3339
from acquisition.config import RESERVED_DEVICE
from acquisition.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.model import Event, EventKind, Numerics, Observation, Waveform
from acquisition.sinks.influxdb import InfluxV1Sink
from acquisition.sinks.influxdb_servers import InfluxV1Server
from acquisition.upkeep.episode_relay import EpisodeRelay
from tests.episode_bed import BED
from tests.processes import all_said
from tests.system.beds import daemon, until
from tests.system.servers import Server, influxd

pytestmark = pytest.mark.system

T0 = from_rfc3339("2026-10-24T10:00:00Z")
S = 1_000_000_000
CONFIG = (
    BED
    + """\
[[sink]]
id = "central"
type = "influxdb_v1"
url = "{url}"
database = "bedside"
"""
)


async def command(*words: object) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "acquisition.cli", "episode", *map(str, words),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await all_said(process)
    assert process.returncode is not None
    return process.returncode, said


def readings() -> list[Observation]:
    found: list[Observation] = []
    for minute in range(60):
        at = T0 + minute * 60 * S
        found += [
            Numerics(device="m", time_ns=at, values={"hr": 80.0 + minute}),
            Waveform(device="m", channel="wf_abp", time_ns=at, period_ns=S // 4, raw=bytes(16)),
            Event(device="m", time_ns=at, event=EventKind.STATE, text=f"{minute}"),
        ]
    return found


async def relay_and_send(directory: Path, server: Server, observations: list[Observation]) -> int:
    """What the daemon does: keeps, relays, forwards."""
    before = JournalReader(directory).stat().last_seq if directory.is_dir() else 0
    async with Journal(directory, commit_interval_s=0.02) as journal:
        if observations:
            await journal.append(observations)
        told = await EpisodeRelay(directory, journal).relay()
        batch = await journal.read(before, 1_000_000)
    async with InfluxV1Sink(InfluxV1Server(url=server.url, database="bedside"), site="par", bed="bed12") as sink:
        await sink.deliver(sink.prepare(batch.observations))
    return told


async def asked(server: Server, query: str) -> list[list[object]]:
    answer = json.loads(await server.get("/query", {"db": "bedside", "epoch": "ns", "q": query}))
    return [row for series in answer["results"][0].get("series", []) for row in series["values"]]


async def from_database(server: Server) -> Registry:
    rows = await asked(server, "SELECT detail FROM events WHERE kind = 'episode'")
    events = [
        Event(
            device=RESERVED_DEVICE, time_ns=int(str(at)), event=EventKind.EPISODE, text="", detail=json.loads(str(text))
        )
        for at, text in rows
    ]
    (registry,) = registries(events).values()
    return registry


async def test_a_central_database_alone_answers_and_a_withdrawal_leaves_a_tombstone_there_too(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    async with influxd(tmp_path / "influx", "bedside") as server:
        config = tmp_path / "c.toml"
        config.write_text(CONFIG.format(url=server.url))
        for words in (
            ("start", "LEV-03-012", "--at", "2026-10-24T10:10:00Z"),
            ("note", "LEV-03-012", 'a "secret" note', "--at", "2026-10-24T10:11:00Z"),
            ("stop", "LEV-03-012", "--at", "2026-10-24T10:40:00Z"),
            ("start", "LEV-03-013", "--at", "2026-10-24T10:40:00Z"),
        ):
            code, said = await command(*words, "-c", config)
            assert code == 0, said
        assert await relay_and_send(directory, server, readings()) == 4
        path = registry_path(directory)
        assert (await from_database(server)).entries == Registry.open(path).entries

        purge = ("purge", "LEV-03-012", "--ground", "withdrawn", "--reason", "form of today", "-c", config)
        async with Journal(directory):
            code, said = await command(*purge, "--yes")
            assert (code, "the daemon writes this journal" in said) == (1, True)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "acquisition.cli", "episode", *map(str, purge), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await all_said(process)
        assert process.returncode == 1, "nobody said yes"
        assert len(await asked(server, "SELECT hr FROM numerics")) == 60
        code, said = await command(*purge, "--yes")
        assert code == 0, said

        assert len(await asked(server, "SELECT hr FROM numerics")) == 30
        assert len(await asked(server, "SELECT wf_abp FROM waves")) == 120
        assert len(await asked(server, "SELECT text FROM events WHERE kind = 'state'")) == 30
        left = [each for each in JournalReader(directory).query() if each.device == "m"]
        assert {each.time_ns for each in left} == {
            T0 + minute * 60 * S for minute in range(60) if not 10 <= minute < 40
        }
        assert "secret" not in str(await asked(server, "SELECT * FROM events"))
        assert "secret" not in path.read_text()

        assert await relay_and_send(directory, server, []) == 4, "three entries without their data, and the tombstone"
        rebuilt = await from_database(server)
        assert rebuilt.entries == Registry.open(path).entries
        assert rebuilt.stay("LEV-03-012").purged
        assert rebuilt.subjects() == ("LEV-03-013",)
        tombstone = rebuilt.entries[-1].data
        assert tombstone is not None
        assert (tombstone["ground"], tombstone["reason"], tombstone["entries"]) == (
            "withdrawn",
            "form of today",
            [1, 2, 3],
        )
        assert sum(each["points"] for each in tombstone["journal"] if each["device"] == "m") == 30 + 120 + 30
        assert sum(each["values"] for each in tombstone["influx"] if each["device"] == "m") == 30 + 120 + 60
        code, said = await command(*purge, "--yes")
        assert (code, "was purged already" in said) == (2, True)


async def test_each_entry_reaches_the_database_once_while_the_daemon_runs_and_after_it_was_off(tmp_path: Path) -> None:
    async with influxd(tmp_path / "influx", "bedside") as server:
        config = tmp_path / "c.toml"
        config.write_text(CONFIG.format(url=server.url))

        async def numbers() -> list[int]:
            rows = await asked(server, "SELECT detail FROM events WHERE kind = 'episode'")
            return [json.loads(str(text))["entry"]["number"] for _, text in rows]

        async def has(count: int) -> bool:
            return len(await numbers()) == count

        async with daemon(config):
            assert (await command("start", "LEV-03-012", "--at", "2026-10-24T10:10:00Z", "-c", config))[0] == 0
            await until(lambda: has(1))
            assert (await command("run", "start", "LEV-03-012", "--at", "2026-10-24T10:20:00Z", "-c", config))[0] == 0
            await until(lambda: has(2))
        assert (await command("note", "LEV-03-012", "while it was off", "-c", config))[0] == 0
        async with daemon(config):
            await until(lambda: has(3))
        assert await numbers() == [1, 2, 3]
        path = registry_path(tmp_path / "journal")
        assert (await from_database(server)).entries == Registry.open(path).entries
        kept = JournalReader(tmp_path / "journal").query(devices={RESERVED_DEVICE}, kinds=("event",))
        told = [each for each in kept if isinstance(each, Event) and each.event is EventKind.EPISODE]
        assert len(told) == 3
