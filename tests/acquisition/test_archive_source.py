"""The journal as a source; that InfluxDB answers alike is a system test."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from acquisition.archive.chunk import Window
from acquisition.archive.source import JournalSource, Series
from acquisition.journal import Journal
from acquisition.model import MISSING_COUNT, Numerics, Quality, State
from tests.acquisition.journal_observations import QUICK, T0, event, numerics, waveform

S = 1_000_000_000
ALL = Window(None, 0, 2**63 - 1)


async def test_numerics_are_columns_of_each_channel_with_states_and_quality(tmp_path: Path) -> None:
    said = Numerics(
        device="mon", time_ns=T0, values={"abp_mean": 70.5}, states={"spo2": State.NOT_CONNECTED},
        quality={"abp_mean": Quality.SUSPECT},
    )  # fmt: skip
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([said, numerics(T0 + S, 71.0)])
    pressure, saturation = JournalSource(tmp_path).numerics(ALL)
    assert (pressure.channel, pressure.values.tolist(), pressure.quality.tolist()) == ("abp_mean", [70.5, 71.0], [1, 0])
    assert pressure.time_ns.tolist() == [T0, T0 + S]
    assert saturation.state is not None
    assert (saturation.channel, saturation.state.tolist(), saturation.quality.tolist()) == ("spo2", [1], [2])
    assert np.isnan(saturation.values).all()


async def test_chunks_are_cut_at_the_same_places_of_utc_however_they_were_written(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([waveform(T0 + 599 * S, list(range(2000)), period_ns=10**6)])
        await journal.append([waveform(T0 + 601 * S, [7], period_ns=10**6)])
        await journal.append(
            [waveform(T0 + 5000 * S, [8], period_ns=10**6), waveform(T0 + 5000 * S, [9], channel="wf_cvp")]
        )
    chunks = list(JournalSource(tmp_path).waves(ALL))
    assert [(each.channel, len(each), int(each.time_ns[0])) for each in chunks] == [
        ("wf_abp", 1000, T0 + 599 * S),
        ("wf_abp", 1001, T0 + 600 * S),
        ("wf_abp", 1, T0 + 5000 * S),
        ("wf_cvp", 1, T0 + 5000 * S),
    ]
    assert chunks[1].values[:2].tolist() == [100.0, 100.1]
    assert (chunks[1].period_ns, chunks[1].scale) == (10**6, 0.1)


async def test_a_block_longer_than_a_slice_is_cut_more_than_once(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([waveform(T0, list(range(1500)), period_ns=S)])
    assert [len(each) for each in JournalSource(tmp_path).waves(ALL)] == [600, 600, 300]


async def test_each_sample_keeps_its_time_value_and_quality_among_blocks_that_differ(tmp_path: Path) -> None:
    """Blocks of a slice become arrays together; these differ in scale, period and quality, and two overlap."""
    blocks = [
        waveform(T0, [1, MISSING_COUNT, 3], period_ns=S),
        waveform(T0 + 3 * S, [4, 5], period_ns=S).model_copy(update={"quality": Quality.BAD}),
        waveform(T0 + 5 * S, [6, 7], period_ns=S),
        waveform(T0 + 6 * S - 7, [MISSING_COUNT, 9], period_ns=S),
        waveform(T0 + 8 * S, [10, 11], period_ns=S // 2).model_copy(update={"scale": 0.25, "offset": -3.0}),
        waveform(T0 + 10 * S, [12], period_ns=S),
        waveform(T0 + 11 * S, [13], period_ns=S).model_copy(update={"scale": 0.5}),
        waveform(T0 + 12 * S, [14, 15, 16], period_ns=S),
        waveform(T0 + 13 * S - 7, [17, 18], period_ns=S),
    ]
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for block in blocks:
            await journal.append([block])
    expected = sorted(
        (block.time_ns + number * block.period_ns, value, ("good", "suspect", "bad").index(block.quality.value))
        for block in blocks
        for number, value in enumerate(block.samples.tolist())
        if value == value
    )
    (chunk,) = JournalSource(tmp_path).waves(ALL)
    found = zip(chunk.time_ns.tolist(), chunk.values.tolist(), chunk.quality.tolist(), strict=True)
    assert list(found) == expected
    assert (chunk.period_ns, chunk.scale, chunk.offset) == (None, None, None)


async def test_blocks_that_interleave_are_cut_where_a_slice_ends(tmp_path: Path) -> None:
    """Those of a device whose clock runs fast overlap with the ones before."""
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([waveform(T0 + 598 * S, [0, 2, 4, 6], period_ns=S)])
        await journal.append([waveform(T0 + 599 * S - 7, [1, 3, 5], period_ns=S)])
    early, late = JournalSource(tmp_path).waves(ALL)
    assert np.round(early.values / 0.1).tolist() == [0, 1, 2, 3]
    assert np.round(late.values / 0.1).tolist() == [4, 5, 6]


async def test_a_sample_that_was_not_sent_is_in_no_chunk(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([waveform(T0, [1, MISSING_COUNT, 3], period_ns=S)])
    (chunk,) = JournalSource(tmp_path).waves(ALL)
    assert chunk.time_ns.tolist() == [T0, T0 + 2 * S]


async def test_devices_channels_and_the_window_narrow_the_answer(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0 + n * S, n, device) for n in range(9) for device in ("mon", "pump")])
        await journal.append([event(T0), event(T0 + 9 * S, device="pump")])
    source = JournalSource(tmp_path)
    (chunk,) = source.numerics(Window(None, T0 + 2 * S, T0 + 5 * S), devices=["pump"])
    assert (chunk.device, chunk.values.tolist()) == ("pump", [2.0, 3.0, 4.0])
    assert list(source.numerics(ALL, channels=["cvp"])) == []
    assert [each.device for each in source.events(ALL)] == ["mon", "pump"]
    assert source.series(ALL) == [Series("mon", "abp_mean", False), Series("pump", "abp_mean", False)]


async def test_a_journal_says_nothing_about_another_bed(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        await journal.append([numerics(T0), event(T0)])
    source = JournalSource(tmp_path, "bed-1")
    other = Window("bed-2", 0, 2**63 - 1)
    assert [*source.numerics(other), *source.waves(other), *source.events(other), *source.series(other)] == []
    assert len(list(source.numerics(Window("bed-1", 0, 2**63 - 1)))) == 1
