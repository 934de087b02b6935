from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acquisition.clock import ScaledClock
from acquisition.recording import trace_files
from simulators.hl7_monitor import Hl7Monitor
from simulators.links import attached
from simulators.recordings import RecordedWave, read_recording
from tests.system.beds import consecutive, daemon, delivered, device, rows, until, v1_sink, write_config
from tests.system.servers import Server, free_port, influxd

pytestmark = pytest.mark.system

RECORD = "mimic-03700181/03700181"
SAMPLES = 75_000
PERIOD_NS = 8_000_000
SPEED = 10.0


async def assert_whole(server: Server, recording: RecordedWave, gaps: list[list[Any]]) -> None:
    stored = await rows(server, "SELECT wf_abp FROM waves WHERE device = 'mon'")
    assert len(stored) == SAMPLES
    times = np.array([row[0] for row in stored], dtype=np.int64)
    values = np.array([row[1] for row in stored])
    order = np.argsort(times)
    assert np.array_equal(np.diff(times[order]), np.full(SAMPLES - 1, PERIOD_NS))
    assert np.array_equal(np.round(values[order] / recording.resolution).astype(np.int32), recording.counts)
    assert np.abs(values[order] - recording.counts * recording.resolution).max() < recording.resolution / 100
    assert gaps == []


@pytest.mark.timeout(300)
async def test_a_real_arterial_wave_sent_as_hl7_and_replayed_from_its_trace_is_in_influxdb_sample_by_sample(
    shared_data: Path, tmp_path: Path
) -> None:
    async with influxd(tmp_path / "influxd", "ecmo") as server:
        recording = read_recording(shared_data / RECORD).waves["wf_abp"]
        assert recording.counts.size == SAMPLES
        port = free_port()
        link = f"tcp-listen://127.0.0.1:{port}"
        options = 'gap_after_s = 30\noptions = { channels = { "1^99ECMODAQSIM" = "sim_counter" } }'
        clock = ScaledClock(SPEED)
        # Ten seconds a report: at this speed acknowledgements never hold the next one up, and the delays of a machine
        # under load, which count tenfold, are not taken for drift (which test_sample_clock.py is about).
        monitor = Hl7Monitor(
            lambda: {"hr": 95.0}, {"wf_abp": recording}, every_s=10.0, clock=clock, counter=True, identity=True
        )
        config = write_config(
            tmp_path, device("mon", "hl7", link, options, 'record = "mon.trace.zst"'), v1_sink(server), commit_ms=20
        )
        async with daemon(config, clock) as running:
            async with attached(f"tcp://127.0.0.1:{port}", monitor):
                await until(lambda: recording.exhausted, 90)
                monitor.stop()
                await until(lambda: monitor.waiting == 0)
            (session,) = running.sessions
            await until(lambda: delivered(running) >= SAMPLES, 60)
            assert session.driver.counters["frames_bad"] == 0
        gaps = await rows(server, "SELECT * FROM events WHERE kind = 'gap' AND device = 'mon'")
        await assert_whole(server, recording, gaps)
        counter = await rows(server, "SELECT sim_counter FROM numerics WHERE device = 'mon'")
        assert consecutive([row[1] for row in counter])

        # The same bytes, recorded on the way in, through the same driver into a second database.
        secret = b"FICTITIOUS"
        await server.get("/query", {"q": "DROP DATABASE ecmo"}, method="POST")
        await server.get("/query", {"q": "CREATE DATABASE ecmo"}, method="POST")
        (recorded,) = trace_files(tmp_path / "mon.trace.zst")
        replayed = tmp_path / "replayed"
        replayed.mkdir()
        config = write_config(replayed, device("mon", "hl7", f"trace://{recorded}?speed=max", options), v1_sink(server))
        async with daemon(config) as running:
            await until(lambda: delivered(running) >= SAMPLES, 60)
        await assert_whole(server, recording, await rows(server, "SELECT * FROM events WHERE kind = 'gap'"))
        assert all(secret not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
