"""`ecmo-daq journal verify` and `ecmo-daq journal quarantine`, as the operator calls them."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acquisition.journal import Journal
from acquisition.journal.cursors import Quarantined
from acquisition.journal.quarantine import Quarantine, line_of, observation_of
from acquisition.journal.schema import day_file
from acquisition.lanes import Progress
from acquisition.model import Quality
from tests.acquisition.command import Run, runner
from tests.acquisition.journal_observations import QUICK, T0, alter, numerics, waveform
from tests.acquisition.scripted_influx import Answer, scripted_influx

DAY = "2026-01-01"
SECOND = 1_000_000_000
REJECTED = Answer(400, '{"code":"invalid","message":"field type conflict"}')


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return partial(runner(monkeypatch, capsys), "journal")


@pytest.fixture
async def directory(tmp_path: Path) -> Path:
    async with Journal(tmp_path / "journal", commit_interval_s=QUICK) as journal:
        for number in range(40):
            await journal.append([numerics(T0 + number * SECOND, float(number))])
        journal.quarantine("central", numerics(T0), "no")
        journal.quarantine("central", waveform(T0 + SECOND, [1, 2]), "no")
        journal.quarantine("central", numerics(T0), "field type conflict")  # a crash repeated it
        journal.quarantine("other", numerics(T0 + 2 * SECOND, channel="cvp"), "never")
    return tmp_path / "journal"


def configured(directory: Path, url: str, name: str = "central") -> Path:
    path = directory.parent / "bed.toml"
    path.write_text(
        f"""
[site]
site = "site-1"
bed = "bed-1"
timezone = "UTC"
[journal]
directory = "{directory}"
[[device]]
id = "mon"
driver = "hl7"
link = "tcp-listen://127.0.0.1:2575"
[[sink]]
id = "{name}"
type = "influxdb_v1"
url = "{url}"
database = "ecmo"
timeout_s = 2.0
""",
        encoding="utf-8",
    )
    return path


def test_verify_counts_the_sound_blocks_of_every_file(run: Run, directory: Path) -> None:
    code, out, err = run("verify", "--journal", directory)
    assert (code, err) == (0, "")
    assert f"{DAY}.journal: 40 sound blocks" in out
    assert "cursors.db" in out


def test_verify_names_a_damaged_block_and_ends_with_one(run: Run, directory: Path) -> None:
    alter(day_file(directory, DAY), "UPDATE block SET payload = x'00' WHERE seq = 7")
    code, out, _ = run("verify", "--journal", directory)
    assert code == 1
    assert f"{DAY}.journal: 39 sound blocks" in out
    assert "block 7 (mon numerics) fails its checksum" in out


def test_verify_tells_programs_the_same(run: Run, directory: Path) -> None:
    alter(day_file(directory, DAY), "UPDATE block SET last_ns = last_ns + 1 WHERE seq IN (3, 4)")
    code, out, _ = run("verify", "--journal", directory, "--json")
    told = json.loads(out)
    assert code == 1
    assert told["files"] == [{"file": f"{DAY}.journal", "blocks": 38}, {"file": "cursors.db", "blocks": 0}]
    assert len(told["damaged"]) == 2


def test_verify_finds_damage_that_is_in_no_block(run: Run, directory: Path) -> None:
    file = directory / "cursors.db"
    content = bytearray(file.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    file.write_bytes(content)
    code, out, _ = run("verify", "--journal", directory)
    assert code == 1
    assert "! damaged: cursors.db" in out


def test_quarantine_lists_sink_time_device_channels_and_reason_and_a_repetition_once(run: Run, directory: Path) -> None:
    code, out, err = run("quarantine", "--journal", directory)
    assert code == 0
    assert out.splitlines() == [
        "central  2026-01-01T00:00:00.000Z  mon  abp_mean: field type conflict",
        "central  2026-01-01T00:00:01.000Z  mon  wf_abp: no",
        "other  2026-01-01T00:00:02.000Z  mon  cvp: never",
    ]
    assert "3 rejected" in err


def test_quarantine_of_one_sink_for_programs(run: Run, directory: Path) -> None:
    _, out, _ = run("quarantine", "--journal", directory, "--sink", "other", "--json")
    assert json.loads(out) == [
        {
            "sink": "other",
            "time": "2026-01-01T00:00:02.000Z",
            "time_ns": T0 + 2 * SECOND,
            "device": "mon",
            "kind": "numerics",
            "channels": ["cvp"],
            "reason": "never",
        }
    ]


async def test_resend_strikes_off_what_is_taken_and_keeps_the_rest_with_its_new_reason(
    run: Run, directory: Path
) -> None:
    async with scripted_influx(REJECTED, Answer(), REJECTED) as server:
        config = configured(directory, server.url)
        code, out, _ = await asyncio.to_thread(run, "quarantine", "--resend", "--config", config, "--sink", "central")
    assert code == 1
    assert "1 taken, 1 rejected again" in out
    assert [len(request.points) for request in server.requests] == [3, 1, 2]
    (left,) = Quarantine(directory).entries("central")
    assert "wf_abp" in left.line
    assert "field type conflict" in left.reason
    assert len(Quarantine(directory).entries("other")) == 1


async def test_resend_works_beside_a_daemon_that_records(run: Run, directory: Path) -> None:
    async with scripted_influx() as server, Journal(directory, commit_interval_s=QUICK) as journal:
        config = configured(directory, server.url)
        work = asyncio.to_thread(run, "quarantine", "--resend", "--config", config, "--sink", "central", "--json")
        resending = asyncio.create_task(work)
        number = 0
        while not resending.done():
            await journal.append([numerics(T0 + (1000 + number) * SECOND)])
            journal.commit("central", Progress(journal.last_seq))
            number += 1
        code, out, _ = await resending
        assert (code, json.loads(out)) == (0, {"taken": 2, "rejected": 0, "failed": []})
        assert [each.sink for each in journal.quarantined()] == ["other"]
    assert number > 0


async def test_resend_changes_nothing_when_the_sink_cannot_be_reached(run: Run, directory: Path) -> None:
    before = Quarantine(directory).entries()
    async with scripted_influx(Answer(503)) as server:
        config = configured(directory, server.url)
        code, out, err = await asyncio.to_thread(run, "quarantine", "--resend", "--config", config, "--sink", "central")
    assert code == 1
    assert "0 taken" in out
    assert "central:" in err
    assert Quarantine(directory).entries() == before


async def test_resend_says_which_sinks_are_no_longer_configured(run: Run, directory: Path) -> None:
    async with scripted_influx() as server:
        config = configured(directory, server.url)
        code, out, err = await asyncio.to_thread(run, "quarantine", "--resend", "--config", config)
    assert code == 1
    assert "2 taken" in out
    assert "other: the configuration has no such sink" in err


@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=9),
    st.sampled_from([0.1, 0.25, 1.0, 0.00244140625, 2.44e-4, 1 / 3, -0.5]),
    st.sampled_from([0.0, -40.96, 273.15]),
)
def test_a_rejected_waveform_is_made_again_exactly(counts: list[int], scale: float, offset: float) -> None:
    block = waveform(T0, counts).model_copy(update={"scale": scale, "offset": offset, "quality": Quality.SUSPECT})
    assert observation_of(Quarantined("central", "no", line_of(block))) == block


@pytest.mark.parametrize("words", [("quarantine", "--resend"), ("quarantine",), ("verify", "--journal", "/nowhere")])
def test_a_usage_mistake_is_told_and_ends_with_two(run: Run, words: tuple[str, ...]) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert err.strip()
