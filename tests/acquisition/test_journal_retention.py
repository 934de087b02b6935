"""At the quota, waveforms go before numerics, oldest first, counted and reported (promise 8)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from acquisition.clock import SystemClock
from acquisition.forwarder import Forwarder
from acquisition.journal import Journal, dropping
from acquisition.journal.dropping import space
from acquisition.journal.reader import JournalReader
from acquisition.journal.retention import Limits, Part, Why
from acquisition.journal.schema import day_file, day_files
from acquisition.lanes import Progress
from acquisition.model import Numerics, Observation, Waveform
from tests.acquisition.journal_observations import DAY_NS, QUICK, T0, everything, numerics, waveform
from tests.system.beds import until

SECOND = 1_000_000_000
NOW = T0 + 10 * DAY_NS
PER_DAY = 20
FAR = Limits(quota_bytes=10**12)


def day_of_observations(number: int, count: int = PER_DAY, samples: int = 5000) -> list[list[Observation]]:
    noise = np.random.default_rng(number)
    start = T0 + number * DAY_NS
    return [
        [
            numerics(start + n * 10 * SECOND, float(n)),
            waveform(start + n * 10 * SECOND, noise.integers(-(2**30), 2**30, samples).tolist()),
        ]
        for n in range(count)
    ]


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    """Three days of waveforms that hardly compress, some 400 kB each, and a few numerics."""
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for number in range(3):
            for group in day_of_observations(number):
                await journal.append(group)
        yield journal


def names(directory: Path) -> list[str]:
    return [path.name[:10] for path in day_files(directory)]


def kinds(observations: list[Observation]) -> tuple[int, int]:
    waves = sum(isinstance(each, Waveform) for each in observations)
    return sum(isinstance(each, Numerics) for each in observations), waves


async def test_below_the_quota_nothing_is_deleted_that_a_sink_has_not_acknowledged(
    journal: Journal, tmp_path: Path
) -> None:
    journal.commit("a", Progress(journal.last_seq))
    assert await journal.tidy(Limits(keep_days=2, quota_bytes=10**12), ["a", "b"], NOW) == []
    assert await journal.tidy(FAR, ["a"], NOW) == []
    assert names(tmp_path) == ["2026-01-01", "2026-01-02", "2026-01-03"]


async def test_an_old_day_that_every_sink_has_is_deleted_whole_and_the_present_day_stays(
    journal: Journal, tmp_path: Path
) -> None:
    journal.commit("a", Progress(journal.last_seq))
    journal.commit("gone", Progress(0))  # a sink that is configured no more holds nothing back
    dropped = await journal.tidy(Limits(keep_days=1), ["a"], NOW)
    assert [(each.part, each.why, each.lost) for each in dropped] == [(Part.ALL, Why.AGE, 0)] * 2
    assert names(tmp_path) == ["2026-01-03"]
    assert not list(tmp_path.glob("2026-01-01*"))
    assert kinds(await everything(journal)) == (PER_DAY, PER_DAY)


async def test_at_the_quota_the_oldest_waveforms_go_first_and_every_numeric_stays(
    journal: Journal, tmp_path: Path
) -> None:
    size, _ = space(tmp_path)
    journal.commit("a", Progress(3))
    (dropped,) = await journal.tidy(Limits(quota_bytes=size - 1), ["a", "b"], NOW)
    assert (dropped.name, dropped.part, dropped.why) == ("2026-01-01.journal", Part.WAVEFORMS, Why.QUOTA)
    (tally,) = dropped.tallies
    assert (tally.device, tally.channel, tally.blocks, tally.points) == ("mon", "wf_abp", PER_DAY, 5000 * PER_DAY)
    assert (tally.first_ns, tally.last_ns) == (T0, T0 + (190 + 10) * SECOND - 2_000_000)
    assert dict(dropped.missing) == {"a": 5000 * (PER_DAY - 1), "b": 5000 * PER_DAY}
    assert dropped.detail["not_delivered"] == dropped.missing
    assert "b had not got 100000" in dropped.text
    assert space(tmp_path)[0] < size * 0.75
    found = await everything(journal)
    assert kinds(found) == (3 * PER_DAY, 2 * PER_DAY)
    assert found[:PER_DAY] == [group[0] for group in day_of_observations(0)]


async def test_what_is_left_is_read_verified_and_summed_up_like_any_other_day(journal: Journal, tmp_path: Path) -> None:
    await journal.tidy(Limits(quota_bytes=space(tmp_path)[0] - 1), ["a"], NOW)
    await journal.append(day_of_observations(3, 1)[0])
    reader = JournalReader(tmp_path)
    assert dict(reader.verify())["2026-01-01.journal"] == PER_DAY
    stat = reader.stat()
    assert stat.readings == {"mon": {"abp_mean": 3 * PER_DAY + 1, "wf_abp": 5000 * (2 * PER_DAY + 1)}}
    assert stat.blocks == 5 * PER_DAY + 2
    assert kinds(list(reader.query(from_ns=T0 + 50 * SECOND, to_ns=T0 + DAY_NS))) == (15, 0)
    assert reader.damaged == []


async def test_when_no_waveform_is_left_whole_days_go_but_never_the_present_days_numerics(
    journal: Journal, tmp_path: Path
) -> None:
    dropped = await journal.tidy(Limits(quota_bytes=1), ["a"], NOW)
    parts = [(each.name[:10], each.part) for each in dropped]
    assert parts[:2] == [("2026-01-01", Part.WAVEFORMS), ("2026-01-02", Part.WAVEFORMS)]
    assert set(parts[2:-2]) == {("2026-01-03", Part.WAVEFORMS)}
    assert parts[-2:] == [("2026-01-01", Part.ALL), ("2026-01-02", Part.ALL)]
    assert names(tmp_path) == ["2026-01-03"]
    assert kinds(await everything(journal)) == (PER_DAY, 0)
    assert sum(each.points for each in dropped) == 3 * PER_DAY * 5000 + 2 * PER_DAY


async def test_without_a_sink_nobody_has_what_goes_at_the_quota(journal: Journal, tmp_path: Path) -> None:
    (dropped,) = await journal.tidy(Limits(quota_bytes=space(tmp_path)[0] - 1), [], NOW)
    assert (dropped.part, dropped.lost) == (Part.WAVEFORMS, 5000 * PER_DAY)


async def test_space_in_the_present_days_file_is_used_again_and_the_file_grows_no_more(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for group in day_of_observations(0, 40):
            await journal.append(group)
        quota, _ = space(tmp_path)
        limits = Limits(quota_bytes=quota)
        seen = []
        for group in day_of_observations(0, 160)[40:]:
            await journal.append(group)
            seen += await journal.tidy(limits, ["a"], NOW)
            assert space(tmp_path)[0] < quota * 1.3
        found = await everything(journal)
        assert kinds(found)[0] == 160
        assert kinds(found)[1] == 160 - sum(tally.blocks for each in seen for tally in each.tallies)
        assert [each.time_ns for each in found if isinstance(each, Waveform)][-1] == T0 + 159 * 10 * SECOND
    stat = JournalReader(tmp_path).stat()
    assert stat.readings["mon"]["wf_abp"] == 5000 * kinds(found)[1]


async def test_a_forwarder_that_finds_blocks_gone_goes_on_with_what_is_left(journal: Journal, tmp_path: Path) -> None:
    taken: list[Observation] = []
    some = asyncio.Event()
    go = asyncio.Event()

    class Slow:
        async def __aenter__(self) -> Slow:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        def prepare(self, observations: Sequence[Observation]) -> Sequence[Observation]:
            return observations

        async def deliver(self, prepared: Sequence[Observation]) -> None:
            taken.extend(prepared)
            some.set()
            await go.wait()

    sink: object = Slow()
    forwarder = Forwarder("a", sink, journal, SystemClock(), rng=random.Random(1), batch_points=20_000)  # type: ignore[arg-type]  # a sink by shape
    task = asyncio.create_task(forwarder.run())
    await some.wait()
    await journal.tidy(Limits(quota_bytes=1), ["a"], NOW)
    last = numerics(NOW, 77.0)
    await journal.append([last])
    go.set()
    await until(lambda: journal.progress("a").cursor == journal.last_seq, 10)
    task.cancel()
    await asyncio.wait([task])
    assert last in taken
    assert journal.backlog("a") == 0
    assert kinds(taken)[0] >= PER_DAY + 1


async def test_numbers_and_keys_survive_a_restart_after_everything_old_has_gone(
    journal: Journal, tmp_path: Path
) -> None:
    await journal.append([numerics(T0 + 2 * DAY_NS + 900 * SECOND)], [("mon", "k1")])
    last = journal.last_seq
    await journal.tidy(Limits(quota_bytes=1), ["a"], NOW)
    await journal._writer.close()
    async with Journal(tmp_path, commit_interval_s=QUICK) as again:
        assert again.damaged == []
        assert again.keys("mon") == ["k1"]
        await again.append([numerics(NOW)])
        assert again.last_seq > last


async def test_a_day_that_cannot_be_written_anew_is_passed_over_and_later_waveforms_go(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = dropping.rewrite

    def full(path: Path, cursors: dict[str, int]) -> dropping.Dropped:
        if path.name.startswith("2026-01-01"):
            raise OSError(28, "No space left on device")
        return real(path, cursors)

    monkeypatch.setattr("acquisition.journal.tidying.rewrite", full)
    (dropped,) = await journal.tidy(Limits(quota_bytes=space(tmp_path)[0] - 1), ["a"], NOW)
    assert dropped.name == "2026-01-02.journal"


async def test_a_file_that_a_power_cut_left_half_written_is_discarded_at_the_start(tmp_path: Path) -> None:
    (tmp_path / ".2026-01-01.journal.new").write_bytes(b"half")
    async with Journal(tmp_path):
        assert not list(tmp_path.glob(".*"))


async def test_a_damaged_file_that_was_set_aside_goes_only_whole(journal: Journal, tmp_path: Path) -> None:
    await journal._writer.close()
    path = day_file(tmp_path, "2026-01-01")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    async with Journal(tmp_path, commit_interval_s=QUICK) as again:
        assert again.damaged
        dropped = await again.tidy(Limits(quota_bytes=1), ["a"], NOW)
        whole = [each.name for each in dropped if each.part is Part.ALL]
        assert whole == ["2026-01-01.journal.damaged-1", "2026-01-02.journal"]
