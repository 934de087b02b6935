"""A journal and the InfluxDB that it was delivered to answer alike, by the daemon's own forwarder and sink."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from random import Random

import numpy as np
import pyarrow.parquet as pq
import pytest

from acquisition.archive import open_archive
from acquisition.archive.chunk import Chunk, Window
from acquisition.archive.episodes.registry import Registry
from acquisition.archive.export.dataset import export
from acquisition.archive.export.pseudonyms import Pseudonyms
from acquisition.archive.export.request import Request
from acquisition.archive.influx import InfluxSource
from acquisition.archive.report.gather import gather
from acquisition.archive.report.page import page
from acquisition.archive.resample import resample
from acquisition.archive.scope import of_bed
from acquisition.archive.source import JournalSource, Source
from acquisition.clock import SystemClock
from acquisition.errors import SinkRefusedError, SinkUnavailableError
from acquisition.forwarder import Forwarder
from acquisition.journal import Journal
from acquisition.model import MISSING_COUNT, Event, EventKind, Numerics, Observation, Quality, State, Waveform
from acquisition.sinks.influxdb import InfluxV1Sink
from acquisition.sinks.influxdb_purging import InfluxPurge
from acquisition.sinks.influxdb_servers import Credentials, InfluxV1Server, InfluxV2Server
from tests.acquisition.journal_observations import T0
from tests.system.beds import DATABASE, until
from tests.system.servers import free_port, influxd, victoria_metrics

pytestmark = pytest.mark.system

S = 1_000_000_000
MINUTES = 75
BED = Window("bed-1", T0, T0 + MINUTES * 60 * S)


def observations() -> list[Observation]:
    """More than an hour of a bed, with states, three qualities, a gap and samples that were not sent."""
    chance = np.random.default_rng(7)
    found: list[Observation] = []
    for second in range(0, MINUTES * 60, 5):
        at = T0 + second * S
        quality = list(Quality)[second % 3]
        states = {"spo2": State.NOT_CONNECTED} if second % 50 == 0 else {}
        values = {"abp_mean": float(chance.normal(75, 3)), "mdc_150016": second / 7}
        if not states:
            values["spo2"] = 97.0
        found.append(
            Numerics(
                device="mon", time_ns=at + 123, values=values, states=states,
                quality={name: quality if name == "abp_mean" else Quality.GOOD for name in values},
            )
        )  # fmt: skip
        found.append(Numerics(device="pump", time_ns=at + 7, values={"ecmo_flow": 3.5}, quality={"ecmo_flow": quality}))
        if not 600 < second < 900:
            counts = chance.integers(300, 1200, 250).astype("<i4")
            counts[second % 250] = MISSING_COUNT
            found += [
                Waveform(device="mon", channel=name, time_ns=at, period_ns=20_000_000, raw=counts.tobytes(), scale=0.1,
                         quality=quality)
                for name in ("wf_abp", "wf_cvp")
            ]  # fmt: skip
        if second % 300 == 0:
            found.append(Event(device="mon", time_ns=at, event=EventKind.ALARM, text='a "high" one', detail={"n": 1}))
            found.append(Event(device="daemon", time_ns=at, event=EventKind.GAP, text="gap", detail={"cause": "quota"}))
    return found


def told(chunks: Iterable[Chunk]) -> list[tuple[object, ...]]:
    return [
        (
            each.device,
            each.channel,
            each.time_ns.tolist(),
            np.nan_to_num(each.values, nan=-1.0).tolist(),
            each.quality.tolist(),
            None if each.state is None else each.state.tolist(),
        )
        for each in chunks
    ]


def answers(source: Source, window: Window) -> list[object]:
    everything = [
        source.series(window),
        told(source.numerics(window)),
        told(source.waves(window)),
        list(source.events(window)),
        list(source.events(window, [EventKind.GAP])),
        told(source.numerics(window, devices=["pump"])),
        told(source.numerics(window, channels=["spo2", "ecmo_flow"])),
        told(source.waves(window, channels=["wf_cvp"])),
    ]
    minutes = [
        (each.channel, each.start_ns.tolist(), {name: figure.tolist() for name, figure in each.figures.items()})
        for each in resample(source.numerics(window), 60 * S, ["mean", "median", "p95", "count"])
    ]
    return [*everything, minutes]


@pytest.mark.timeout(120)  # two exports and two reports
async def test_a_journal_and_its_influxdb_give_the_same_answer(tmp_path: Path) -> None:
    async with influxd(tmp_path / "influx", DATABASE) as server, Journal(tmp_path / "journal") as journal:
        everything = observations()
        await asyncio.gather(*(journal.append(everything[at : at + 50]) for at in range(0, len(everything), 50)))
        sink = InfluxV1Sink(InfluxV1Server(url=server.url, database=DATABASE), site="site-1", bed="bed-1", timeout_s=60)
        forwarder = Forwarder("central", sink, journal, SystemClock(), batch_points=5000, rng=Random(1))
        task = asyncio.create_task(forwarder.run())
        await until(lambda: journal.backlog("central") == 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        central = InfluxSource(server.url, DATABASE)
        own = await asyncio.to_thread(JournalSource, tmp_path / "journal", "bed-1")
        for window in (BED, Window("bed-1", T0 + 61 * S, T0 + 1900 * S), Window("bed-2", T0, T0 + S)):
            expected = await asyncio.to_thread(answers, own, window)
            assert await asyncio.to_thread(answers, central, window) == expected
            assert bool(expected[1]) is (window.bed == "bed-1")
        own_set, central_set = tmp_path / "own", tmp_path / "central"
        for source, out in ((own, own_set), (central, central_set)):
            await asyncio.to_thread(export, source, Registry(), [of_bed("bed-1")], Request(), out)
        # Without the hour at which it was made, which a pseudonymous page must not tell.
        request = Request(pseudonyms=Pseudonyms(b"k" * 32, "r"))
        pages = [page(await asyncio.to_thread(gather, source, of_bed("bed-1"), request)) for source in (own, central)]
        tables = [
            await asyncio.to_thread(archive.query, ["abp_mean", "wf_abp"], every="1m", bed="bed-1")
            for archive in (
                open_archive(tmp_path / "journal", bed="bed-1"),
                await asyncio.to_thread(open_archive, influx=server.url, database=DATABASE),
            )
        ]
    assert len(pages[0]) > 20_000
    assert pages[0] == pages[1]
    assert tables[0].num_rows > MINUTES
    assert tables[0].equals(tables[1])
    files = {path.relative_to(own_set) for path in own_set.rglob("*.parquet")}
    assert files == {path.relative_to(central_set) for path in central_set.rglob("*.parquet")}
    assert all(pq.read_table(own_set / path).equals(pq.read_table(central_set / path)) for path in files)
    for name in ("completeness.csv", "codebook.csv", "gaps.csv"):
        assert (own_set / name).read_text() == (central_set / name).read_text()


async def test_what_the_server_says_is_told_and_the_password_is_not(tmp_path: Path) -> None:
    async with influxd(tmp_path / "influx", DATABASE) as server:
        source = InfluxSource(server.url, "nowhere", Credentials("someone", "s3cret"))
        with pytest.raises(SinkRefusedError, match="database not found") as error:
            await asyncio.to_thread(lambda: list(source.numerics(BED)))
        assert "s3cret" not in str(error.value)
    with pytest.raises(SinkUnavailableError, match="cannot be read"):
        await asyncio.to_thread(lambda: list(InfluxSource(f"http://127.0.0.1:{free_port()}", DATABASE).numerics(BED)))


async def test_victoria_metrics_answers_no_influxql_and_deletes_nothing_and_both_are_said(tmp_path: Path) -> None:
    async with victoria_metrics(tmp_path / "vm") as server, influxd(tmp_path / "influx", DATABASE) as influx:
        source = InfluxSource(server.url, DATABASE)
        with pytest.raises(SinkRefusedError, match="VictoriaMetrics does so"):
            await asyncio.to_thread(lambda: list(source.numerics(BED)))
        for place, why in (
            (InfluxV2Server(url=server.url, bucket=DATABASE), "deletes only whole series"),
            (InfluxV1Server(url=server.url, database=DATABASE), "deletes only whole series"),
            (InfluxV1Server(url=influx.url, database=DATABASE), ""),
        ):
            async with InfluxPurge(place, site="site-1", bed="bed-1") as database:
                told = await database.why_not()
            assert (why in told) if why else not told
