from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import aiomqtt
import pytest

from acquisition.catalogue import Catalogue
from acquisition.clock import ScaledClock
from acquisition.health import Health
from acquisition.journal.reader import JournalReader
from acquisition.model import Event, EventKind, Numerics, Waveform, json_line
from acquisition.recording import trace_files
from acquisition.registry import build_driver
from acquisition.replay import replay
from acquisition.session import LinkState
from acquisition.trace import TraceHeader, TraceWriter
from simulators.hl7_monitor import Hl7Monitor
from simulators.links import attached
from simulators.sim_pump_console import SimPumpConsole
from tests.processes import all_said
from tests.system.beds import consecutive, daemon, device, until, write_config
from tests.system.servers import free_port, mosquitto, victoria_metrics

pytestmark = pytest.mark.system


def pump_table(directory: Path, *lines: str) -> str:
    return device("pump", "modbus", f"serial://{directory}/pump", 'profile = "sim_pump_console"', *lines)


async def test_every_reading_reaches_victoriametrics_and_mosquitto_while_a_third_sink_is_dead(tmp_path: Path) -> None:
    pump = SimPumpConsole(lambda: {"ecmo_flow": 3.5, "ecmo_rpm": 3000.0})
    async with AsyncExitStack() as stack:
        metrics = await stack.enter_async_context(victoria_metrics(tmp_path / "vm"))
        broker = await stack.enter_async_context(mosquitto(tmp_path / "mqtt"))
        subscriber = await stack.enter_async_context(aiomqtt.Client("127.0.0.1", broker.port))
        await subscriber.subscribe("ecmo/#", qos=1)
        config = write_config(
            tmp_path,
            pump_table(tmp_path),
            f'\n[[sink]]\nid = "vm"\ntype = "influxdb_v2"\nurl = "{metrics.url}"\nbucket = "b"\n',
            f'\n[[sink]]\nid = "broker"\ntype = "mqtt"\nhost = "127.0.0.1"\nport = {broker.port}\n',
            f'\n[[sink]]\nid = "dead"\ntype = "influxdb_v1"\nurl = "http://127.0.0.1:{free_port()}"\ndatabase = "x"\n',
        )
        received: list[float] = []
        statuses: list[str] = []

        async def listen() -> None:
            async for message in subscriber.messages:
                assert isinstance(message.payload, bytes)
                if message.topic.matches("ecmo/site-1/bed-1/pump/numerics"):
                    received.append(json.loads(message.payload)["values"]["sim_counter"])
                elif message.topic.matches("ecmo/site-1/bed-1/status"):
                    statuses.append(message.payload.decode())

        listening = asyncio.create_task(listen())
        async with attached(f"pty://{tmp_path}/pump", pump):
            async with daemon(config):
                await until(lambda: pump.counter >= 12)
                pump.muted = True
                await until(lambda: len(received) >= pump.counter)

                async def stored() -> list[float]:
                    await metrics.get("/internal/force_flush")
                    answer = await metrics.get("/api/v1/export", {"match[]": "numerics_sim_counter"})
                    return [value for line in answer.splitlines() for value in json.loads(line)["values"]]

                async def all_stored() -> bool:
                    return len(await stored()) >= pump.counter

                await until(all_stored)
                status = tmp_path / "journal" / "status.json"  # up to a second old
                await until(lambda: Health.read(status).sinks[2].backlog >= 12)
                health = Health.read(status)
                assert [problem for problem in health.problems() if problem.startswith("sink")] == [
                    f"sink dead: {health.sinks[2].last_error}"
                ]
                assert health.started_ns <= (health.sinks[2].oldest_unsent_ns or 0) <= health.time_ns
                assert health.sinks[2].points_per_second == 0 < health.sinks[0].points_per_second
            assert sorted(await stored()) == sorted(received) == list(range(1, pump.counter + 1))
        await until(lambda: statuses[-1:] == ["offline"])
        assert statuses[0] == "online"
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening


async def test_what_was_recorded_live_replays_to_the_very_observations_that_were_stored_live(tmp_path: Path) -> None:
    port = free_port()
    pump = SimPumpConsole(lambda: {"ecmo_flow": 3.5, "ecmo_rpm": 3000.0})
    monitor = Hl7Monitor(lambda: {"hr": 90.0, "abp_sys": 91.0, "abp_dia": 66.0}, identity=True)
    config = write_config(
        tmp_path,
        pump_table(tmp_path, 'record = "pump.trace.gz"'),
        device("mon", "hl7", f"tcp-listen://127.0.0.1:{port}", 'record = "mon.trace"'),
    )
    async with (
        daemon(config, ScaledClock(1.0)),
        attached(f"pty://{tmp_path}/pump", pump),
        attached(f"tcp://127.0.0.1:{port}", monitor),
    ):
        await until(lambda: pump.counter >= 10 and monitor.acknowledged >= 4)
        pump.muted = True
        await asyncio.sleep(1.2)  # a time-out of the driver is in the trace too
    ((of_pump,), (of_mon,)) = (trace_files(tmp_path / name) for name in ("pump.trace.gz", "mon.trace"))
    assert b"FICTITIOUS" not in of_mon.read_bytes()
    for name, trace, profile in (("pump", of_pump, "sim_pump_console"), ("mon", of_mon, None)):
        driver = build_driver("modbus" if profile else "hl7", profile, {}, Catalogue.shipped(), ())
        replayed: list[str] = []

        def take(observation: object, kept: list[str] = replayed) -> None:
            if isinstance(observation, Numerics | Waveform):
                kept.append(json_line(observation))

        await replay(trace, driver, take, device=name)
        live = JournalReader(tmp_path / "journal").query(devices={name}, kinds={"numerics", "waveform"})
        assert replayed == [json_line(observation) for observation in live]
        assert len(replayed) >= 4
        if profile:
            events = JournalReader(tmp_path / "journal").query(devices={name}, kinds={"event"})
            told = [each for each in events if isinstance(each, Event) and each.event is EventKind.IDENTITY]
            assert [each.detail["identity"] for each in told] == [dict(driver.identity)]
            counts = [json.loads(line)["values"]["sim_counter"] for line in replayed]
            assert consecutive(counts)


async def test_two_daemons_never_write_one_journal(tmp_path: Path) -> None:
    config = write_config(tmp_path, pump_table(tmp_path))
    async with daemon(config):
        await until(lambda: (tmp_path / "journal" / "status.json").exists())
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "acquisition.cli", "run", "--config", str(config), stderr=asyncio.subprocess.PIPE
        )
        _, told = await all_said(process)
        assert process.returncode == 1
        assert "another process writes this journal" in told


async def test_a_daemon_tells_which_raw_traces_had_to_go_for_their_quota(tmp_path: Path) -> None:
    header = TraceHeader("serial:///dev/ttyS0", "delimited", "2026-01-01T00:00:00Z")
    with TraceWriter(tmp_path / "source.trace", header) as writer:
        for number in range(400):
            writer.write(number * 10**9, "<", b"00 40 100 1.00 %7d    3500    3500    +41 \r\n" % (3500 + number % 9))
    table = device(
        "flow", "delimited", f"trace://{tmp_path}/source.trace?speed=max", 'profile = "emtec_bioprott"',
        'record = { file = "kept.trace", file_mb = 0.01, quota_mb = 0.02 }',
    )  # fmt: skip
    config = write_config(tmp_path, table)

    def told() -> list[Event]:
        events = JournalReader(tmp_path / "journal").query(kinds={"event"})
        return [each for each in events if isinstance(each, Event) and each.event is EventKind.RETENTION]

    async with daemon(config) as running:
        await until(lambda: [each.status.state for each in running.sessions] == [LinkState.ENDED])
        await until(lambda: len(told()) >= 2)
    events = told()
    assert {each.detail["device"] for each in events} == {"flow"}
    assert [each.detail["files_in_all"] for each in events] == list(range(1, len(events) + 1))
    left = {file.name for file in trace_files(tmp_path / "kept.trace")}
    assert left
    assert not left & {each.detail["first"] for each in events}
