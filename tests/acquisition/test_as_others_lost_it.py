"""How others lost data between a device and a server (PEERS.md, "Store and forward"), and the test of each here.

First the system, what happened and the file, then the name of the test.

influxdb-client-python | one bad point in 1,000 drops all 1,000 | acquisition/test_as_others_lost_it.py
    test_one_bad_point_in_a_thousand_costs_that_point
influxdb-client-python | gives up after 5 tries or 180 s | acquisition/test_answers.py
    test_a_server_that_does_not_say_how_long_is_tried_for_ever_and_at_least_once_a_minute
Telegraf disk buffer | a corrupt log stops it from starting | acquisition/test_journal_recover.py
    test_a_day_file_that_is_no_database_any_more_is_set_aside_and_numbers_go_on
Telegraf disk buffer | a 400 drops the batch | acquisition/test_answers_refused.py
    test_exactly_the_rejected_channel_is_set_aside_with_the_servers_reason
Telegraf disk buffer | metrics of the past re-stamped after a clock step | acquisition/test_as_others_lost_it.py
    test_what_waited_through_a_step_of_the_clock_arrives_with_the_time_it_was_made_at
Telegraf disk buffer | a step of the clock while it records | system/test_clock_steps.py
    test_steps_of_an_hour_and_slews_lose_no_reading_and_are_recorded
Vector disk_v2 | a crash at the roll-over of files | acquisition/test_journal_kill.py
    test_nothing_that_was_acknowledged_is_missing_after_a_kill
Vector disk_v2 | an unlink or write that never reached the disk | acquisition/test_power_cut.py
    test_nothing_that_was_acknowledged_is_missing_after_a_power_cut
vmagent | seconds lost at SIGKILL | acquisition/test_journal_kill.py
    test_nothing_that_was_acknowledged_is_missing_after_a_kill
vmagent | a corrupt chunk deletes the queue | acquisition/test_journal_recover.py
    test_damage_inside_the_file_costs_only_the_blocks_of_that_page
vmagent | a 400 drops the block | acquisition/test_answers_refused.py
    test_an_outage_in_the_middle_of_the_search_for_a_bad_point_sets_nothing_else_aside
OpenTelemetry file storage | a restart loses an hour of backlog | acquisition/test_as_others_lost_it.py
    test_a_restart_keeps_the_whole_backlog
OpenTelemetry file storage | after a power cut it crashes at start | acquisition/test_journal_recover.py
    test_a_day_file_truncated_anywhere_opens
ThingsBoard gateway | the first seconds after link loss are gone | acquisition/test_as_others_lost_it.py
    test_the_first_seconds_after_the_link_is_lost_are_there
ThingsBoard gateway | polling stops half an hour into an outage | acquisition/test_as_others_lost_it.py
    test_polling_goes_on_throughout_an_outage_of_hours
ThingsBoard gateway | full store: accepted messages gone, not a word | system/test_full_disk.py
    test_a_full_disk_stops_nothing_is_told_and_when_there_is_space_all_is_normal_again
ThingsBoard gateway | clean-up compares seconds with milliseconds | acquisition/test_journal_retention.py
    test_an_old_day_that_every_sink_has_is_deleted_whole_and_the_present_day_stays
Fluent Bit | oldest chunk discarded at the limit | acquisition/test_journal_retention.py
    test_at_the_quota_the_oldest_waveforms_go_first_and_every_numeric_stays
Fluent Bit | start-up grows with the backlog | acquisition/test_as_others_lost_it.py
    test_a_start_takes_no_more_for_a_hundred_times_the_backlog
Node-RED influxdb node | stops writing at random | acquisition/test_as_others_lost_it.py
    test_a_forwarder_that_makes_no_progress_is_unhealthy_and_says_so
InfluxDB 1.x server | 400, yet the good lines are stored | system/test_sinks_on_real_servers.py
    test_a_type_conflict_is_quarantined_with_the_servers_reason_and_its_neighbours_are_stored
InfluxDB | equal time and tags overwrite silently | acquisition/test_stamping.py
    test_two_readings_of_one_instant_never_share_a_timestamp
VictoriaMetrics | skips a bad line with 204 | acquisition/test_line_protocol.py
    test_an_independent_parser_reads_back_the_same_numerics
VictoriaMetrics | strings become 0, times milliseconds | system/test_sinks_on_real_servers.py
    test_victoriametrics_keeps_milliseconds_and_fifteen_digits_and_makes_zeros_of_strings
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import random
import tracemalloc
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from acquisition.catalogue import Catalogue
from acquisition.clock import NS, ManualClock, ScaledClock
from acquisition.driver import Driver, DriverOptions
from acquisition.errors import TransportError
from acquisition.forwarder import Forwarder
from acquisition.health import ClockHealth, Health, JournalHealth, SinkHealth
from acquisition.journal import Journal, summary
from acquisition.journal.reader import JournalReader
from acquisition.lanes import Progress
from acquisition.model import Numerics, Observation
from acquisition.session import Session
from acquisition.sinks.influxdb import InfluxV1Sink
from acquisition.sinks.influxdb_servers import InfluxV1Server
from acquisition.sinks.line_protocol import render
from acquisition.stamping import Stamper
from acquisition.transports.memory import MemoryTransport, memory_pair
from tests.acquisition.hostile_influx import Exchange, HostileInflux, Key, Move, answers, hostile_influx, says
from tests.acquisition.journal_observations import QUICK, T0, numerics, waveform
from tests.acquisition.strict_line_protocol import parse
from tests.conftest import SHARED
from tests.system.servers import free_port

TESTS = Path(__file__).resolve().parents[1]
PATIENCE_S = 30.0


def sink_to(port: int, timeout_s: float = 1.0) -> InfluxV1Sink:
    return InfluxV1Sink(
        InfluxV1Server(url=f"http://127.0.0.1:{port}", database="d"), site="here", bed="bed-1", timeout_s=timeout_s
    )


def fields_of(readings: list[Observation]) -> dict[Key, dict[str, float | str]]:
    points = parse(render(readings, site="here", bed="bed-1"))
    return {(point.measurement, point.tags, point.time_ns): dict(point.fields) for point in points}


@contextlib.asynccontextmanager
async def forwarding(
    journal: Journal, port: int, clock: ManualClock, while_waiting: Callable[[float], None] = lambda _: None
) -> AsyncIterator[Forwarder]:
    """A forwarder on virtual time."""

    async def sleep(seconds: float) -> None:
        while_waiting(seconds)
        clock.advance_to(clock.now().mono_ns + round(seconds * NS))
        await asyncio.sleep(0.001)

    forwarder = Forwarder("central", sink_to(port), journal, clock, rng=random.Random(1), sleep=sleep)
    run = asyncio.create_task(forwarder.run())
    try:
        yield forwarder
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for is a number that somebody else counts
            await asyncio.sleep(0.005)


def has_all(journal: Journal) -> bool:
    return journal.progress("central").cursor == journal.last_seq


# -- the table itself --------------------------------------------------------------------------------------------------


def rows() -> list[tuple[str, str]]:
    """System and test of each row of the docstring."""
    lines = (__doc__ or "").splitlines()
    found = []
    for head, name in pairwise(lines):
        if head.count("|") == 2:
            system, _, path = (cell.strip() for cell in head.split("|"))
            found.append((system, f"{path}::{name.strip()}"))
    return found


@pytest.mark.parametrize("test", sorted({test for _, test in rows()}))
def test_every_row_of_the_table_names_a_test_that_exists(test: str) -> None:
    path, _, name = test.partition("::")
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_no_row_of_the_collection_is_missing_from_the_table() -> None:
    peers = SHARED / "reference" / "PEERS.md"
    if not peers.is_file():
        pytest.skip(f"COLLECTION ABSENT: {peers} is not there; this test proves nothing without it")
    section = peers.read_text(encoding="utf-8").partition("## Store and forward")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|")[0].strip() for line in section.splitlines() if line.startswith("|")]
    collected = [line for line in lines if line != "system" and line.strip("-")]
    assert len(collected) >= 11
    named = {system for system, _ in rows()}
    assert [line for line in collected if not any(line.startswith(system) for system in named)] == []


# -- what had no test of its own ---------------------------------------------------------------------------------------


async def test_one_bad_point_in_a_thousand_costs_that_point(tmp_path: Path) -> None:
    async def judge(exchange: Exchange) -> None:
        bad = any("temp" in dict(point.fields) for point in exchange.points)
        await answers(400 if bad else 204, '{"error":"field type conflict"}' if bad else "")(exchange)

    good: list[Observation] = [numerics(T0 + n * NS, float(n)) for n in range(999)]
    bad = numerics(T0 + 5000 * NS, 37.0, channel="temp")
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal, hostile_influx(otherwise=judge) as server:
        await journal.append([*good[:614], bad, *good[614:]])
        async with forwarding(journal, server.port, ManualClock(utc_ns=T0)):
            await until(lambda: has_all(journal))
        assert server.stored == fields_of(good)
        assert len(journal.quarantined("central")) == 1
        assert server.requests <= 25


async def test_what_waited_through_a_step_of_the_clock_arrives_with_the_time_it_was_made_at(tmp_path: Path) -> None:
    made: list[Observation] = [numerics(T0 + n * NS, float(n)) for n in range(50)]
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append(made)
        for step in (3600 * NS, -7200 * NS):
            async with (
                hostile_influx(*[answers(503)] * 5) as server,
                forwarding(journal, server.port, ManualClock(utc_ns=T0 + 60 * NS + step)) as forwarder,
            ):
                await until(lambda: has_all(journal))
                assert forwarder.status.last_success_ns is not None
                if step > 0:
                    assert server.stored == fields_of(made)
                    made.append(numerics(T0 + 100 * NS, 100.0))
                    await journal.append(made[-1:])
                    continue
                assert server.stored == fields_of(made[-1:])


async def test_a_restart_keeps_the_whole_backlog(tmp_path: Path) -> None:
    made: list[Observation] = []
    port = free_port()
    for run in range(4):
        async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
            async with forwarding(journal, port, ManualClock(utc_ns=T0)) as forwarder:
                more = [numerics(T0 + (run * 900 + n) * NS, float(n)) for n in range(900)]
                made += more
                await journal.append(more)
                await until(lambda: forwarder.status.attempts > 3)
            assert journal.backlog("central") == len(made)
    async with (
        Journal(tmp_path, commit_interval_s=QUICK) as journal,
        hostile_influx(port=port) as server,
        forwarding(journal, port, ManualClock(utc_ns=T0)),
    ):
        await until(lambda: has_all(journal))
    assert server.stored == fields_of(made)


@pytest.mark.parametrize("loss", [says(b"", then="resets"), says(b""), says(b"", then="stalls")])
async def test_the_first_seconds_after_the_link_is_lost_are_there(tmp_path: Path, loss: Move) -> None:
    made: list[Observation] = []
    appended: list[asyncio.Future[None]] = []

    def say_more(seconds: float = 1.0) -> None:
        for _ in range(max(1, round(seconds))):
            made.append(numerics(T0 + len(made) * NS, float(len(made))))
            appended.append(journal.append(made[-1:]))

    script = [answers(204), answers(204), loss, loss, answers(503)]
    async with (
        Journal(tmp_path, commit_interval_s=QUICK) as journal,
        hostile_influx(*script) as server,
        forwarding(journal, server.port, ManualClock(utc_ns=T0), say_more),
    ):
        for _ in range(60):
            say_more()
            await asyncio.sleep(0.005)
        await until(lambda: not server.moves)
        await asyncio.gather(*appended)
        await until(lambda: has_all(journal) and all(future.done() for future in appended))
    assert server.stored == fields_of(made)


class MinuteDriver(Driver):
    """Asks once a minute; the answer is a mean pressure."""

    def on_start(self, now: int) -> None:
        self.call_me_at(now)

    def on_timer(self, now: int) -> None:
        self.send(b"?")
        self.call_me_at(now + 60 * NS)

    def on_data(self, now: int) -> None:
        while b"\n" in self.buffer:
            line, _, rest = bytes(self.buffer).partition(b"\n")
            self.buffer[:] = rest
            self.measured({"abp_mean": float(line)})

    def may_send(self, frame: bytes) -> bool:
        return frame == b"?"


async def reply(far: MemoryTransport) -> None:
    with contextlib.suppress(TransportError):
        while asked := await far.receive(None):
            await far.send(b"75\n" * len(asked))


@pytest.mark.slow
async def test_polling_goes_on_throughout_an_outage_of_hours(tmp_path: Path) -> None:
    speed, half_an_hour = 3600.0, 1800 * NS
    clock = ScaledClock(speed)
    begin = clock.now().utc_ns
    far, near = memory_pair()
    port = free_port()

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / speed)

    async with Journal(tmp_path, commit_interval_s=QUICK) as journal, far, contextlib.AsyncExitStack() as later:
        stamper = Stamper("mon", Catalogue.shipped(), gap_after_ns=10 * half_an_hour)
        session = Session("mon", MinuteDriver(DriverOptions(), Catalogue.shipped()), near, clock, journal, stamper)
        forwarder = Forwarder("central", sink_to(port), journal, clock, rng=random.Random(1), sleep=sleep)
        tasks = [asyncio.create_task(work) for work in (session.run(), forwarder.run(), reply(far))]
        await until(lambda: clock.now().utc_ns > begin + 6 * half_an_hour)
        assert forwarder.status.delivered == 0
        assert forwarder.status.attempts > 100
        server: HostileInflux = await later.enter_async_context(hostile_influx(port=port))
        await until(lambda: forwarder.status.delivered > 0 and journal.backlog("central") < 10)
        for task in tasks[:1]:
            task.cancel()
        await asyncio.gather(*tasks[:1], return_exceptions=True)
        await until(lambda: has_all(journal))
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks[1:], return_exceptions=True)
        kept = list(JournalReader(tmp_path).query())
    times = [each.time_ns for each in kept if isinstance(each, Numerics)]
    assert {(time - begin) // half_an_hour for time in times} >= set(range(6))
    assert server.stored == fields_of(kept)


def bytes_read() -> int:
    """By this process since its beginning, through system calls (proc(5), /proc/self/io)."""
    return int(Path("/proc/self/io").read_text(encoding="ascii").splitlines()[0].removeprefix("rchar: "))


async def cost_of_a_start(directory: Path) -> tuple[int, int]:
    """Bytes read and peak of Python's memory until a first batch is there and the backlog is told."""
    before = bytes_read()
    tracemalloc.start()
    try:
        async with Journal(directory, commit_interval_s=QUICK) as journal:
            batch = await journal.read(0, 5000)
            assert batch.points == 8004
            backlog = journal.backlog("central")
            assert backlog > 60_000
            assert journal.sink_bytes("central", backlog).waiting > 0
            assert journal.oldest_unsent("central") == T0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return bytes_read() - before, peak


async def filled(directory: Path, groups: int) -> Path:
    """A journal of one day with so many groups that nobody has got."""
    noise = random.Random(1)
    counts = [[noise.randrange(-1000, 1000) for _ in range(2001)] for _ in range(41)]
    async with Journal(directory, commit_interval_s=0.0) as journal:
        for group in range(groups):
            times = [T0 + (10 * group + n) * 10 * NS for n in range(10)]
            await journal.append([*(waveform(time, noise.choice(counts)) for time in times), *map(numerics, times)])
        journal.commit("other", Progress(journal.last_seq))
    return directory


@pytest.mark.system  # a large journal takes its time to fill
async def test_a_start_takes_no_more_for_a_hundred_times_the_backlog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "FLUSH_GROUPS", 4)  # so that blocks are merged in both
    small, large = await filled(tmp_path / "small", 8), await filled(tmp_path / "large", 800)
    size = sum(path.stat().st_size for path in large.iterdir())
    assert JournalReader(large).stat().points == 100 * JournalReader(small).stat().points
    await cost_of_a_start(small)  # what only the first start in a process takes
    read_small, peak_small = await cost_of_a_start(small)
    read_large, peak_large = await cost_of_a_start(large)
    assert peak_large < 1.5 * peak_small
    assert read_large < 3 * read_small
    assert read_large < size / 5


async def test_a_forwarder_that_makes_no_progress_is_unhealthy_and_says_so(tmp_path: Path) -> None:
    clock = ManualClock(utc_ns=T0)
    # Whatever keeps it: this server takes the first batch, and then never answers, and nobody's patience ends.
    async with (
        Journal(tmp_path, commit_interval_s=QUICK) as journal,
        hostile_influx(answers(204), says(b"", then="stalls")) as server,
    ):
        forwarder = Forwarder("central", sink_to(server.port, 900.0), journal, clock, rng=random.Random(1))
        run = asyncio.create_task(forwarder.run())
        await journal.append([numerics(T0)])
        await until(lambda: has_all(journal))
        await journal.append([numerics(T0 + n * NS) for n in range(1, 301)])
        await until(lambda: server.requests == 2)
        said = []
        for minute in range(8):
            clock.advance_to(minute * 60 * NS)
            status = forwarder.status
            sink = SinkHealth(
                id="central", state=status.state.value, last_success_ns=status.last_success_ns,
                backlog=journal.backlog("central"), oldest_unsent_ns=journal.oldest_unsent("central"),
            )  # fmt: skip
            health = Health(
                version="", site="here", bed="bed-1", pid=1, started_ns=T0, time_ns=clock.now().utc_ns, devices=(),
                sinks=(sink,), journal=JournalHealth(directory="", size_bytes=0, free_bytes=0),
                clock=ClockHealth(ahead_ns=0, steps=0),
            )  # fmt: skip
            said.append(health.problems())
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
    assert said[:5] == [[]] * 5
    assert said[7] == ["sink central: has taken nothing for 6 min, 300 points wait"]
