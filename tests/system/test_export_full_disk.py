"""A disk that fills up in the middle of an export leaves no half data set that looks whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from acquisition.archive.episodes import Registry
from acquisition.archive.export.dataset import export
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
    with tmpfs(tmp_path / "small", kib) as disk:
        with pytest.raises(ConfigError, match=r"[Nn]o space left"):
            export(JournalSource(journal), Registry(), [of_bed("bed-17")], Request(form), disk / "set")
        assert list(disk.iterdir()) == []
