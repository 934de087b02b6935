from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import mean

import pytest

from acquisition.clock import NS
from acquisition.config import load_config
from acquisition.errors import JournalError
from acquisition.journal.reader import JournalReader
from acquisition.model import Event, Numerics
from simulators.bed import Bed
from simulators.bed_devices import KINDS
from simulators.scenario import Scenario, load_scenario, parse_scenario
from simulators.truth import read_truth
from tests.processes import all_said
from tests.system.beds import daemon, until

pytestmark = [pytest.mark.system, pytest.mark.alone]

SPEED = 10.0
WEANING = {
    "title": "a short weaning trial",
    "duration": "5 min",
    "truth_every": "0.2 s",  # shorter than any beat: nothing is shown that is not written down
    "patient": {"phenotype": "P1", "variability": 0.02, "collapsible": True},
    "event": [
        {"at": "90 s", "label": "turned down", "set": {"rpm": 1650}, "over": "5 s"},
        {"at": "190 s", "label": "back", "set": {"rpm": 3000}, "over": "5 s"},
    ],
}


@asynccontextmanager
async def living(bed: Bed) -> AsyncIterator[None]:
    async with bed.up():
        task = asyncio.create_task(bed.live())
        try:
            yield
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            await asyncio.wait([task])


async def recorded(scenario: Scenario, directory: Path, names: list[str], seconds: float) -> Bed:
    """Lets a bed live with a daemon on its own `bed.toml`; ends with `seconds` of its time over."""
    bed = Bed(scenario, directory, names, SPEED)
    async with living(bed), daemon(bed.config, clock=bed.clock):
        await until(lambda: bed.life.time_s >= seconds, patience_s=seconds / SPEED + 30)
    return bed


def stored(bed: Bed) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Device and channel to times and values."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    with suppress(JournalError):  # there is none yet
        for row in JournalReader(bed.config.parent / "journal").query(kinds={"numerics"}):
            if isinstance(row, Numerics):
                for channel, value in row.values.items():
                    found[row.device, channel].append((row.time_ns, value))
    return found


async def test_what_is_stored_of_a_weaning_trial_is_what_was_true_and_answers_the_pump(tmp_path: Path) -> None:
    bed = await recorded(parse_scenario(WEANING, "short"), tmp_path, ["pump", "flow", "mon"], 290.0)
    header, *lines = read_truth(bed.truth)
    assert header["scenario"] == "short"
    states = [line for line in lines if "values" in line]
    events = [(line["event"], line["t"]) for line in lines if "event" in line]
    assert events == [("turned down", 90.0), ("back", 190.0)]
    times = [state["time_ns"] for state in states]
    found = stored(bed)
    # What was true within 3 s of the reading: transport, the monitor's turn and ten times real time lie between.
    for device, channel, step in (
        ("pump", "ecmo_flow", 0.001), ("pump", "ecmo_rpm", 1.0), ("pump", "ecmo_p_drain", 0.1),
        ("pump", "ecmo_p_post", 0.1), ("mon", "abp_mean", 0.1), ("mon", "abp_sys", 0.1), ("mon", "cvp", 0.1),
    ):  # fmt: skip
        readings = found[device, channel]
        assert len(readings) > 150, (device, channel)
        wrong = 0
        for at, value in readings:
            near = states[max(0, bisect_right(times, at - 3 * NS)) : bisect_right(times, at + 3 * NS)]
            truths = [state["values"][channel] for state in near]
            wrong += not truths or not min(truths) - step <= value <= max(truths) + step
        assert wrong <= 0.005 * len(readings), (device, channel, wrong, len(readings))
    assert len(found["flow", "ecmo_flow"]) > 1000

    def level(device: str, channel: str, begin_s: float, end_s: float) -> float:
        begin = times[0] + begin_s * NS
        return mean(v for at, v in found[device, channel] if begin <= at < times[0] + end_s * NS)

    full, low, again = (30, 85), (130, 185), (235, 285)
    for device in ("pump", "flow"):
        assert level(device, "ecmo_flow", *low) < level(device, "ecmo_flow", *full) - 2.0
    assert level("mon", "abp_mean", *low) < level("mon", "abp_mean", *full) - 5.0
    pulse = {span: level("mon", "abp_sys", *span) - level("mon", "abp_dia", *span) for span in (full, low, again)}
    assert pulse[low] > pulse[full] + 2.0
    assert pulse[again] == pytest.approx(pulse[full], abs=1.0)
    assert level("pump", "ecmo_flow", *again) == pytest.approx(level("pump", "ecmo_flow", *full), abs=0.1)


async def test_every_device_of_a_bed_is_recorded_from_its_own_file(tmp_path: Path) -> None:
    bed = Bed(load_scenario("stable"), tmp_path, list(KINDS))
    async with living(bed), daemon(bed.config):
        assert [device.id for device in load_config(bed.config).device] == list(KINDS)
        wanted = {
            "pump": "ecmo_flow", "gas": "ecmo_sweep", "flow": "ecmo_flow", "mon": "abp_mean", "philips": "abp_mean",
            "ge": "abp_mean", "vent": "vent_fio2", "infusion": "study_drug_rate", "gases": "ecmo_svo2",
        }  # fmt: skip

        def all_there() -> bool:
            return not [name for name, channel in wanted.items() if not stored(bed)[name, channel]]

        try:
            await until(all_there)
        except TimeoutError:
            missing = [name for name, channel in wanted.items() if not stored(bed)[name, channel]]
            pytest.fail(f"nothing of {missing}")
    found = stored(bed)
    means = [found[name, "abp_mean"][-1][1] for name in ("mon", "philips", "ge")]
    assert max(means) - min(means) < 6.0, "one patient, three monitors"


async def test_a_device_that_is_off_is_a_gap_and_comes_back(tmp_path: Path) -> None:
    events = [
        {"at": "30 s", "label": "unplugged", "off": ["pump", "gas"]},
        {"at": "80 s", "label": "plugged in", "on": ["pump", "gas"]},
    ]
    scenario = parse_scenario({"title": "off", "duration": "4 min", "event": events}, "off")
    bed = await recorded(scenario, tmp_path, ["pump", "gas", "flow"], 230.0)
    started = next(read_truth(bed.truth))
    found = stored(bed)
    begin = found["flow", "ecmo_flow"][0][0]
    assert started["scenario"] == "off"
    for device, channel in (("pump", "ecmo_flow"), ("gas", "ecmo_sweep")):
        away = [at for at, _ in found[device, channel] if begin + 40 * NS < at < begin + 75 * NS]
        assert not away
        assert found[device, channel][-1][0] > begin + 150 * NS
    gaps = [
        row.device
        for row in JournalReader(tmp_path / "journal").query(kinds={"event"})
        if isinstance(row, Event) and row.event == "gap"
    ]
    assert {"pump", "gas"} <= set(gaps)


async def test_the_commands_run_a_scenario_a_bed_and_a_ward(tmp_path: Path) -> None:
    told = await command("scenarios")
    assert "weaning" in told
    told = await command("scenario", "weaning-aborted", "--out", str(tmp_path / "truth"))
    pace, path = told.splitlines()
    assert pace.startswith("1.333 h: ")
    lines = list(read_truth(Path(path)))
    assert lines[-1]["t"] == 80 * 60
    assert (await command("scenario", "weening", "--out", str(tmp_path), code=2)).startswith("no scenario 'weening'")
    ward = await start("ward", "--beds", "2", "--dir", str(tmp_path / "ward"), "--devices", "pump,mon")
    assert ward.stdout is not None
    async with asyncio.timeout(90):
        links = [json.loads(await ward.stdout.readline()) for _ in range(2)]
    assert links[0]["pump"] != links[1]["pump"]
    ward.send_signal(signal.SIGTERM)
    await all_said(ward)
    assert ward.returncode == 0
    for number in (1, 2):
        directory = tmp_path / "ward" / f"bed-{number:02d}"
        assert len(load_config(directory / "bed.toml").device) == 2
        assert next(read_truth(directory / "truth.jsonl"))["seed"] == number


def start(*words: str) -> Awaitable[asyncio.subprocess.Process]:
    return asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators.cli", *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip


async def command(*words: str, code: int = 0) -> str:
    process = await start(*words)
    told, _ = await all_said(process)
    assert process.returncode == code, told
    return told
