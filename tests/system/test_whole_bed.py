from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from acquisition.clock import NS
from acquisition.health import Health
from acquisition.journal.reader import JournalReader
from acquisition.model import Event, EventKind, Numerics, Waveform
from tests.processes import all_said
from tests.system.beds import until

SECONDS = float(os.environ.get("ECMO_DAQ_BED_S", "20"))
"""How long one daemon reads the whole bed; ten minutes in `make soak`."""
PERIODS = {
    # of one channel of each device, in seconds
    ("pump", "ecmo_flow"): 0.5, ("sweep", "ecmo_sweep"): 1.0, ("flow_inline", "ecmo_flow"): 1.0,
    ("drive", "ecmo_rpm"): 1.0, ("flow", "ecmo_flow"): 0.1, ("oximeter", "spo2"): 1.0, ("console", "ecmo_rpm"): 1.0,
    ("blood_gas", "ecmo_svo2"): 1.0, ("syringes", "dose_norepinephrine"): 5.0, ("output", "abp_mean"): 2.0,
    ("ventilator", "vent_fio2"): 1.0, ("ge", "abp_mean"): 5.0, ("philips", "abp_mean"): 1.0,
    ("gateway", "abp_mean"): 1.0,
}  # fmt: skip
WAVES = {
    "ventilator": {"medibus_wf_00": 16_000_000, "medibus_wf_01": 16_000_000},
    "ge": {"dri_wf_ecg1": 3_333_333, "wf_abp": 10_000_000, "wf_cvp": 10_000_000, "dri_wf_p3": 10_000_000},
    "philips": dict.fromkeys(("wf_abp", "wf_cvp", "wf_pleth", "wf_ecg_ii"), 8_000_000),
    "gateway": dict.fromkeys(("wf_abp", "wf_cvp", "wf_pleth", "wf_ecg_ii"), 8_000_000),
}
IDENTITIES = {
    "pump": "ecmo-daq SIM-PUMP console", "sweep": "Alicat mass-flow controller",
    "flow_inline": "Levitronix LEVIFLOW LFSC-iX", "drive": "Levitronix PuraLev i30",
    "flow": "em-tec BioProTT / FlowTrack SL", "oximeter": "Masimo Radical-7 ASCII 1", "console": "Xenios iLA activve",
    "blood_gas": "Terumo CDI 500", "syringes": "B. Braun Space", "output": "Edwards",
    "ventilator": "Draeger SIM Evita, device id 8210, firmware 04.21, protocol 04.03",
    "ge": "GE Datex-Ohmeda, interface DRI level 11", "philips": "Philips SIMULATED, serial SIM0001",
    "gateway": "Generic IHE PCD-01, eui64 02005EFFFE000001",
}  # fmt: skip
BEGUN_S = 12.0
"""By then every device must be heard: the slowest was told to be quiet, or asks who we are first."""

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(SECONDS + 300)]


@contextlib.asynccontextmanager
async def process(module: str, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command for the length of the block, then told to stop, which it must do by itself."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield running
        assert running.returncode is None
        running.send_signal(signal.SIGTERM)
        assert await running.wait() == 0
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


@contextlib.asynccontextmanager
async def whole_bed(directory: Path) -> AsyncIterator[Path]:
    """Every simulated device on its wire; yields the configuration for the daemon."""
    async with process("simulators.cli", "whole-bed", "--dir", str(directory)) as bed:
        assert bed.stdout is not None
        async with asyncio.timeout(90):
            config = (await bed.stdout.readline()).decode().strip()
        yield Path(config)


async def test_check_lists_and_identifies_every_device_of_a_whole_bed(tmp_path: Path) -> None:
    async with whole_bed(tmp_path) as config:
        words = ("check", "--config", str(config), "--devices", "--acknowledge", "--seconds", "12")
        check = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "acquisition.cli", *words, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await all_said(check)
    lines = {line.split(": ok: ")[0]: line.split(": ok: ")[1] for line in told.splitlines() if ": ok: " in line}
    assert {name: line.rpartition(": ")[0] for name, line in lines.items()} == IDENTITIES, told
    for device, waves in WAVES.items():
        assert set(waves) <= set(lines[device].rpartition(": ")[2].split(", "))
    assert check.returncode == 0


async def test_one_daemon_reads_fourteen_devices_and_fourteen_waves_without_a_gap(tmp_path: Path) -> None:
    status = tmp_path / "journal" / "status.json"
    async with whole_bed(tmp_path) as config, process("acquisition.cli", "run", "--config", str(config)):
        await until(status.exists)
        await asyncio.sleep(SECONDS)
        await until(lambda: all(device.last_reading_ns for device in Health.read(status).devices))
        health = Health.read(status)
    assert health.problems() == []
    wrong = {each.id: (each.gaps, each.lost, each.frames_bad, each.frames_late) for each in health.devices}
    assert wrong == dict.fromkeys(IDENTITIES, (0, 0, 0, 0))
    assert {device.id: device.identity for device in health.devices}["philips"]["serial"] == "SIM0001"
    assert all(device.frames_good for device in health.devices)

    times: dict[tuple[str, str], list[int]] = {}
    blocks: dict[tuple[str, str], list[Waveform]] = {}
    for each in JournalReader(tmp_path / "journal").query():
        if isinstance(each, Event):
            assert each.event is not EventKind.GAP, each
        elif isinstance(each, Numerics):
            for channel in each.values:
                times.setdefault((each.device, channel), []).append(each.time_ns)
        else:
            blocks.setdefault((each.device, each.channel), []).append(each)

    for key, period_s in PERIODS.items():
        own = times[key]
        span_s = (own[-1] - own[0]) / NS
        assert span_s > SECONDS - BEGUN_S - period_s, key
        # A device that paces itself may be slower by the time that it takes to wake up.
        assert len(own) - 1 >= span_s / period_s * 0.995 - 1, key
        # What the gateway kept while nobody listened comes all at once.
        assert key[0] == "gateway" or len(own) - 1 <= span_s / period_s * 1.005 + 1, key

    assert {device: {wave for each, wave in blocks if each == device} for device in WAVES} == {
        device: set(waves) for device, waves in WAVES.items()
    }
    for (device, wave), drawn in ((key, blocks[key]) for key in sorted(blocks)):
        period_ns = WAVES[device][wave]
        assert {block.period_ns for block in drawn} == {period_ns}
        for before, after in pairwise(drawn):
            assert abs(before.time_ns + before.counts.size * period_ns - after.time_ns) <= period_ns, (device, wave)
        stored = sum(block.counts.size for block in drawn)
        assert stored * period_ns > (SECONDS - BEGUN_S) * NS, (device, wave)
