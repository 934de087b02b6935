"""Waves and numerics as AtriumDB, read back by its own package."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from atriumdb import AtriumSDK
from numpy.typing import NDArray

from acquisition.archive.chunk import Chunk
from acquisition.archive.episodes.registry import Registry
from acquisition.archive.export.atrium_files import AtriumFiles
from acquisition.archive.export.dataset import export
from acquisition.archive.export.request import Format, Request
from acquisition.archive.scope import of_bed
from acquisition.archive.source import JournalSource
from acquisition.errors import ConfigError
from acquisition.journal import Journal
from acquisition.model import Numerics, Quality
from tests.acquisition.journal_observations import T0
from tests.acquisition.wave_bed import ALL, S, bed, truth

END = T0 + 10_000 * S


def numerics() -> list[Numerics]:
    """Ten minutes at about 1 Hz, never on the beat, with a break; now and then a value that is bad."""
    late = np.random.default_rng(5).integers(0, S // 5, 600)
    return [
        Numerics(
            device="mon", time_ns=T0 + second * S + int(late[second]), values={"hr": 80.0 + second / 7},
            quality={"hr": Quality.BAD if second % 50 == 0 else Quality.GOOD},
        )
        for second in range(600)
        if not 200 <= second < 260
    ]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, JournalSource]:
    async def fill() -> None:
        async with Journal(directory / "journal", commit_interval_s=0.001) as journal:
            for each in [*bed(900, (720, 840)), *numerics()]:
                await journal.append([each])

    directory = tmp_path_factory.mktemp("atriumdb")
    asyncio.run(fill())
    source = JournalSource(directory / "journal")
    request = Request(Format.ATRIUMDB, utc=True)
    export(source, Registry(), [of_bed("bed-1")], request, directory / "set")
    return AtriumSDK(dataset_location=directory / "set" / "atriumdb"), source


def read(sdk: Any, channel: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    (measure,) = sdk.get_measure_id_list_from_tag(channel)
    device = sdk.get_device_id("bed-1/mon")
    _, times, values = sdk.get_data(measure, T0 - S, END, device_id=device)
    return times, values


@pytest.mark.parametrize(("channel", "rate"), [("wf_abp", 250.0), ("wf_ecg_ii", 250.0)])
def test_every_sample_is_there_at_its_own_time(made: tuple[Any, JournalSource], channel: str, rate: float) -> None:
    sdk, source = made
    times, values = read(sdk, channel)
    expected, samples = truth(source, channel)
    assert times.tolist() == expected.tolist()
    np.testing.assert_allclose(values, samples, atol=5e-4 if channel == "wf_ecg_ii" else 1e-9)
    info = sdk.get_measure_info(sdk.get_measure_id_list_from_tag(channel)[0])
    assert (info["freq_nhz"], info["unit"]) == (rate * 1e9, "mm[Hg]" if channel == "wf_abp" else "mV")


def test_numerics_keep_their_times_and_the_bad_ones_are_left_out(made: tuple[Any, JournalSource]) -> None:
    sdk, source = made
    (chunk,) = source.numerics(ALL, channels=["hr"])
    usable = chunk.at(chunk.quality < 2)
    times, values = read(sdk, "hr")
    assert 0 < len(usable) < len(chunk)
    assert times.tolist() == usable.time_ns.tolist()
    assert values.tolist() == usable.values.tolist()


def test_the_subject_is_the_patient_of_its_devices(made: tuple[Any, JournalSource]) -> None:
    sdk, _ = made
    patient = sdk.get_patient_id("bed-1")
    ((device, who, begin, end),) = sdk.get_device_patient_data(patient_id_list=[patient])
    assert (device, who) == (sdk.get_device_id("bed-1/mon"), patient)
    assert begin == T0
    assert end >= T0 + 900 * S


def test_the_next_subject_goes_into_the_same_data_set(tmp_path: Path) -> None:
    for subject in ("P-1", "P-2"):
        files = AtriumFiles(tmp_path, subject)
        chunk = Chunk("mon", "hr", T0 + np.arange(3) * S, np.array([1.0, 2.0, 3.0]), np.zeros(3, np.uint8))
        files.numerics(chunk, "mon")
        files.close()
    sdk = AtriumSDK(dataset_location=tmp_path / "atriumdb")
    assert [each["tag"] for each in sdk.get_all_devices().values()] == ["P-1/mon", "P-2/mon"]
    (measure,) = sdk.get_measure_id_list_from_tag("hr")
    for subject in ("P-1", "P-2"):
        _, times, _ = sdk.get_data(measure, T0, END, device_id=sdk.get_device_id(f"{subject}/mon"))
        assert times.size == 3


def test_hours_since_an_event_are_refused() -> None:
    with pytest.raises(ConfigError, match="--format atriumdb: that has dates"):
        Request(Format.ATRIUMDB)
