from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulators.cli import devices
from tests.processes import all_said
from tests.system.beds import device, until, write_config
from tests.system.servers import free_port

pytestmark = pytest.mark.system

DRIVERS = {
    "alicat_mfc": ("modbus", "alicat_mfc"),
    "bcc": ("bcc", None),
    "cdi500": ("cdi500", None),
    "dri": ("dri", None),
    "emtec_bioprott": ("delimited", "emtec_bioprott"),
    "hl7_monitor": ("hl7", None),
    "intellivue": ("intellivue", None),
    "leviflow": ("modbus", "leviflow"),
    "masimo_ascii1": ("delimited", "masimo_ascii1"),
    "medibus": ("medibus", None),
    "puralev": ("modbus", "puralev"),
    "sim_pump_console": ("modbus", "sim_pump_console"),
    "vigilance": ("vigilance", None),
    "xenios": ("binary", "xenios"),
}
OPTIONS = {
    "bcc": "[device.options.slots]\n50113 = 'study_drug_rate'",
    "intellivue": "[device.options]\nmode = 'mib'",
}


async def run(module: str, *words: str, code: int | None = 0) -> tuple[str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told, complained = await all_said(process)
    assert code is None or process.returncode == code, told + complained
    return told, complained


@contextlib.asynccontextmanager
async def simulated(name: str, link: str) -> AsyncIterator[str]:
    """`ecmo-sim NAME` for the length of the block; yields the link that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators.cli", name, "--link", link, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(90):
            yield (await process.stdout.readline()).decode().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


def test_there_is_a_command_for_every_simulated_device() -> None:
    assert set(devices()) == set(DRIVERS)


async def test_check_listens_to_every_simulated_device_and_says_what_it_heard(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        tables = []
        for name, (driver, profile) in DRIVERS.items():
            wire = f"tcp://127.0.0.1:{free_port()}" if driver == "hl7" else f"pty://{tmp_path}/{name}"
            link = await stack.enter_async_context(simulated(name, wire))
            tables.append(device(name, driver, link, f'profile = "{profile}"' if profile else OPTIONS.get(driver, "")))
        config = write_config(tmp_path, *tables, device("absent", "hl7", f"tcp-listen://127.0.0.1:{free_port()}"))
        told, _ = await run("acquisition.cli", "check", "--config", str(config), "--devices", "--seconds", "12", code=1)
    lines = [line for line in told.splitlines()[1:] if "unverified" not in line]
    heard = dict(line.split(": ", 1) for line in lines)
    assert "puralev: puralev is unverified on hardware" in told
    assert {name for name, what in heard.items() if what.startswith("ok")} == set(DRIVERS)
    assert heard["absent"].startswith("FAILED")
    assert "ecmo_flow" in heard["emtec_bioprott"]
    assert "abp_mean" in heard["hl7_monitor"]
    assert "wf_abp" in heard["dri"]
    assert "vent_fio2" in heard["medibus"]
    assert {f"{name}: {name} is unverified on hardware" in told for name in ("dri", "medibus")} == {True}
    assert "intellivue: intellivue is unverified on hardware" in told
    assert "abp_mean" in heard["intellivue"]
    assert "wf_abp" in heard["intellivue"]


async def test_a_recorded_link_replays_to_what_the_device_said(tmp_path: Path) -> None:
    trace = tmp_path / "flow.trace.zst"
    async with simulated("emtec_bioprott", f"pty://{tmp_path}/flow") as link:
        await run("acquisition.cli", "record", f"{link}?baud=38400", str(trace), "--seconds", "2")
    told, _ = await run(
        "acquisition.cli", "replay", str(trace), "--driver", "delimited", "--profile", "emtec_bioprott", "--json"
    )
    flows = [json.loads(line)["values"]["ecmo_flow"] for line in told.splitlines() if '"numerics"' in line]
    assert len(flows) >= 10
    assert all(3.3 < flow < 3.7 for flow in flows)


async def test_a_polled_device_is_recorded_by_naming_its_driver(tmp_path: Path) -> None:
    trace = tmp_path / "pump.trace"
    async with simulated("sim_pump_console", f"pty://{tmp_path}/pump") as link:
        words = ["record", link, str(trace), "--driver", "modbus", "--profile", "sim_pump_console", "--seconds", "3"]
        await run("acquisition.cli", *words)
    told, _ = await run("acquisition.cli", "replay", str(trace), "--profile", "sim_pump_console", "--json")
    assert sum('"ecmo_rpm":3000.0' in line for line in told.splitlines()) >= 3


async def test_status_of_a_running_daemon_reads_well_and_ends_with_one_when_something_is_wrong(tmp_path: Path) -> None:
    async with simulated("sim_pump_console", f"pty://{tmp_path}/pump") as link:
        config = write_config(tmp_path, device("pump", "modbus", link, 'profile = "sim_pump_console"'))
        daemon = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "acquisition.cli", "run", "--config", str(config), stderr=asyncio.subprocess.PIPE
        )
        try:

            async def well() -> bool:
                told, _ = await run("acquisition.cli", "status", "--config", str(config), code=None)
                return "all is well" in told and "open" in told

            await until(well)
            document = json.loads((await run("acquisition.cli", "status", "--config", str(config), "--json"))[0])
            assert document["stale"] is False
            assert document["devices"][0]["identity"]["model"]
        finally:
            daemon.send_signal(signal.SIGTERM)
            _, logged = await all_said(daemon)
        assert daemon.returncode == 0
        assert [json.loads(line)["event"] for line in logged.splitlines()][-1] == "stopped"
    document = json.loads((tmp_path / "journal" / "status.json").read_text())
    document["time_ns"] -= 60_000_000_000
    (tmp_path / "journal" / "status.json").write_text(json.dumps(document))
    told, _ = await run("acquisition.cli", "status", "--config", str(config), code=1)
    assert "not running or hangs" in told
