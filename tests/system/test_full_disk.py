"""What a full disk, a disk gone read-only and the quota do to a running bed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from acquisition.clock import SystemClock
from acquisition.daemon import Daemon
from acquisition.errors import JournalError
from acquisition.health import Health
from acquisition.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.model import Event, EventKind, Numerics, Waveform
from simulators.hl7_monitor import Hl7Monitor
from simulators.links import attached
from simulators.sim_pump_console import SimPumpConsole
from tests.acquisition.journal_observations import DAY_NS, event, numerics, waveform
from tests.system.beds import daemon, device, until, write_config
from tests.system.servers import free_port
from tests.system.small_disks import ext4, fail_for_good, fill

pytestmark = pytest.mark.system

COUNTED = 'options = { channels = { "1^99ECMODAQSIM" = "sim_counter" } }'
STATUS = '[status]\nfile = "status.json"\n'


class Bed:
    """A pump that is polled and a monitor that waits for acknowledgements, both with counters."""

    def __init__(self, directory: Path, min_free_gb: float) -> None:
        self.pump = SimPumpConsole(lambda: {"ecmo_flow": 3.5, "ecmo_rpm": 3000.0})
        self.monitor = Hl7Monitor(lambda: {"hr": 90.0}, counter=True, every_s=0.2)
        self.port = free_port()
        self.link = f"{directory}/pump"
        self.journal = directory / "journal"
        self.config = write_config(
            directory,
            STATUS,
            device("pump", "modbus", f"serial://{self.link}", 'profile = "sim_pump_console"'),
            device("mon", "hl7", f"tcp-listen://127.0.0.1:{self.port}", COUNTED),
            commit_ms=20,
            min_free_gb=min_free_gb,
        )

    def counts(self, name: str) -> list[int]:
        found = JournalReader(self.journal).query(devices={name}, kinds={"numerics"})
        return sorted(int(each.values["sim_counter"]) for each in found if isinstance(each, Numerics))

    def events(self, kind: EventKind, name: str) -> list[Event]:
        found = JournalReader(self.journal).query(devices={name}, kinds={"event"})
        return [each for each in found if isinstance(each, Event) and each.event is kind]


@pytest.fixture
async def bed(small_disk: Path, tmp_path: Path) -> AsyncIterator[Bed]:
    bed = Bed(tmp_path, 0.0)
    assert bed.journal == small_disk
    async with (
        attached(f"pty://{bed.link}", bed.pump),
        attached(f"tcp://127.0.0.1:{bed.port}", bed.monitor),
    ):
        yield bed


def problems(running: Daemon) -> str:
    return "\n".join(running.latest.problems()) if running.latest else ""


async def test_a_full_disk_stops_nothing_is_told_and_when_there_is_space_all_is_normal_again(bed: Bed) -> None:
    async with daemon(bed.config) as running:
        await until(lambda: len(running.sessions) == 2)
        pump, _ = running.sessions
        await until(lambda: bed.pump.counter >= 5 and bed.monitor.acknowledged >= 5)
        ballast = fill(bed.journal)
        await until(lambda: pump.status.lost >= 5 and "nothing can be stored" in problems(running))
        acknowledged = bed.monitor.acknowledged
        await asyncio.sleep(1.0)
        assert bed.monitor.acknowledged == acknowledged
        assert bed.monitor.waiting >= 1
        assert Health.read(running.config.status_file).journal.refusal
        ballast.unlink()
        await until(lambda: running.latest is not None and not running.latest.journal.refusal)
        bed.monitor.stop()
        await until(lambda: bed.monitor.waiting == 0)
        stored = len(bed.counts("pump"))
        await until(lambda: len(bed.counts("pump")) >= stored + 5)
        bed.pump.muted = True
        await asyncio.sleep(0.3)
        lost = pump.status.lost
        assert pump.stamper.gaps == 1
        assert not [service for service in running._supervisor.services if service.restarts]
    # What was acknowledged is there, each message once; what the pump said meanwhile is lost, counted and a gap.
    assert set(range(1, bed.monitor.counted + 1)) == set(bed.counts("mon"))
    kept = bed.counts("pump")
    missing = sorted(set(range(1, bed.pump.counter + 1)) - set(kept))
    assert 5 <= len(missing) <= lost
    assert missing == list(range(missing[0], missing[-1] + 1))
    (gap,) = bed.events(EventKind.GAP, "pump")
    assert gap.detail["cause"] == "quota"
    times = {int(each.values["sim_counter"]): each.time_ns for each in of_pump(bed)}
    assert times[missing[0] - 1] < gap.detail["from_ns"] < gap.detail["to_ns"] == times[missing[-1] + 1]


def of_pump(bed: Bed) -> list[Numerics]:
    found = JournalReader(bed.journal).query(devices={"pump"}, kinds={"numerics"})
    return [each for each in found if isinstance(each, Numerics)]


async def test_a_file_system_gone_read_only_is_told_and_ends_neither_the_daemon_nor_its_stop(tmp_path: Path) -> None:
    with ext4(tmp_path / "journal", 16):
        bed = Bed(tmp_path, 0.001)
        async with attached(f"pty://{bed.link}", bed.pump), daemon(bed.config) as running:
            await until(lambda: len(of_pump(bed)) >= 5)
            fail_for_good(bed.journal)
            await until(lambda: running.sessions[0].status.lost >= 5)
            await until(lambda: "journal: nothing can be stored" in problems(running))
            asked = bed.pump.counter
            await until(lambda: bed.pump.counter >= asked + 5)
            assert not [service for service in running._supervisor.services if service.restarts]
        assert "nothing can be stored" in "\n".join(Health.read(tmp_path / "status.json").problems())
        kept = [int(each.values["sim_counter"]) for each in of_pump(bed)]
        assert kept == list(range(1, len(kept) + 1))


async def past_days(directory: Path, days: int) -> list[Numerics]:
    """Full days before today, each some 700 kB of waveform and a few numerics."""
    today = SystemClock().now().utc_ns // DAY_NS * DAY_NS
    noise, kept = np.random.default_rng(1), []
    async with Journal(directory, commit_interval_s=0.001) as journal:
        for number in range(days, 0, -1):
            for n in range(9):
                time_ns = today - number * DAY_NS + n * 60_000_000_000
                counts = noise.integers(-(2**30), 2**30, 20_000).tolist()
                kept.append(numerics(time_ns, float(n)))
                await journal.append([kept[-1], waveform(time_ns, counts)])
    return kept


async def test_on_a_full_disk_sinks_still_get_what_is_there(small_disk: Path) -> None:
    kept = await past_days(small_disk, 2)
    async with Journal(small_disk, commit_interval_s=0.001) as journal:
        ballast = fill(small_disk)
        batch = await journal.read(0, 10**9)
        assert [each for each in batch.observations if isinstance(each, Numerics)] == kept
        assert batch.damaged == ()
        assert journal.backlog("central") == len(kept) * 20_001
        with pytest.raises(JournalError, match="full"):
            await journal.append([event(1, np.random.default_rng(1).bytes(500_000).hex())])
        assert "full" in journal.refusal
        ballast.unlink()
        async with asyncio.timeout(90):
            await taken_again(journal)
        assert journal.refusal == ""


async def taken_again(journal: Journal) -> None:
    while True:
        try:
            return await journal.append([numerics(1)])
        except JournalError:
            await asyncio.sleep(0.01)


async def test_when_somebody_else_fills_the_disk_old_waveforms_make_room_and_numerics_stay(
    tmp_path: Path, small_disk: Path
) -> None:
    kept = await past_days(small_disk, 3)
    bed = Bed(tmp_path, 0.0005)
    async with attached(f"pty://{bed.link}", bed.pump), daemon(bed.config) as running:
        await until(lambda: bed.pump.counter >= 3 and (small_disk / "reserve").exists())
        fill(small_disk)
        await until(lambda: bool(bed.events(EventKind.RETENTION, "daemon")))
        stored = len(of_pump(bed))
        await until(lambda: len(of_pump(bed)) >= stored + 5)
        await until(lambda: running.latest is not None and running.latest.journal.dropped > 0)
        assert "points were deleted for want of space" in problems(running)
        assert running.sessions[0].stamper.gaps <= 1
    reader = JournalReader(small_disk)
    left = list(reader.query(devices={"mon"}))
    assert [each for each in left if isinstance(each, Numerics)] == kept
    waves = [each for each in left if isinstance(each, Waveform)]
    told = bed.events(EventKind.RETENTION, "daemon")
    oldest = min((each.time_ns for each in waves), default=None)
    assert all(event.detail["part"] == "waveforms" for event in told)
    assert sum(event.detail["points"] for event in told) + sum(len(each.raw) // 4 for each in waves) == 27 * 20_000
    assert oldest is None or oldest > max(event.detail["to_ns"] for event in told)
    assert reader.damaged == []
