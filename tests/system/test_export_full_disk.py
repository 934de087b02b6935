"""A disk that fills up in the middle of an export leaves no half data set that looks whole."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from acquisition.archive.episodes.registry import Registry
from acquisition.archive.export.dataset import DataSet, export
from acquisition.archive.export.request import Format, Request
from acquisition.archive.scope import of_bed
from acquisition.archive.source import JournalSource
from acquisition.errors import ConfigError
from tests.acquisition.archive_bed import make_bed
from tests.system.small_disks import tmpfs

pytestmark = pytest.mark.system


@pytest.mark.parametrize("form", list(Format))
@pytest.mark.parametrize("kib", [64, 256])
async def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path, form: Format, kib: int) -> None:
    journal = await make_bed(tmp_path)
    request = Request(form, utc=True)
    with tmpfs(tmp_path / "small", kib) as disk:
        with pytest.raises(ConfigError, match=r"[Nn]o space left"):
            export(JournalSource(journal), Registry(), [of_bed("bed-17")], request, disk / "set")
        assert list(disk.iterdir()) == []
        gc.collect()  # atriumdb leaves a connection that it could not make use of to the collector


@pytest.mark.parametrize(
    "path",
    ["clif/clif_ecmo_mcs.csv", "omop/measurement.csv", "omop/source_codes.csv", "device_identities.csv",
     "waves/bed-17/wf_abp_monitor-17_2026-03-14_0001.edf"],
)  # fmt: skip
async def test_a_disk_that_refuses_that_file_ends_the_export(tmp_path: Path, path: str) -> None:
    journal = await make_bed(tmp_path)
    request = Request(Format.EDF, utc=True, clif="VA_ECMO", omop=True)
    (tmp_path / "set" / path).parent.mkdir(parents=True)
    (tmp_path / "set" / path).symlink_to("/dev/full")
    written = DataSet(JournalSource(journal), Registry(), request, tmp_path / "set")
    with pytest.raises(OSError, match="No space left"):
        _finish(written)
    written.abandon()
    assert not (tmp_path / "set" / "manifest.json").exists()


def _finish(written: DataSet) -> None:
    written.add(of_bed("bed-17"), lambda _: None)
    written.finish("set", "")
