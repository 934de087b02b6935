"""When a group goes: an interval after its first reading, whatever was being written or merged, or when it is full."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from acquisition.journal import Journal, writer
from tests.acquisition.journal_observations import T0, numerics

FIVE = 5000
"""Five small readings fill a group of so many bytes."""


class Later:
    """The event loop with a clock that the test sets forward."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ahead_s = 0.0
        self._loop = loop

    def time(self) -> float:
        return self._loop.time() + self.ahead_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


async def test_a_group_that_is_full_goes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "FULL_BYTES", FIVE)
    async with Journal(tmp_path, commit_interval_s=60) as journal:
        await asyncio.wait_for(asyncio.gather(*(journal.append([numerics(T0 + n)]) for n in range(5))), timeout=30)


async def test_a_reading_that_comes_during_a_merge_waits_no_longer_than_an_interval_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "FULL_BYTES", FIVE)
    merging, merged = threading.Event(), threading.Event()

    def merge() -> None:
        merging.set()
        merged.wait(30)

    async with Journal(tmp_path, commit_interval_s=60) as journal:
        later = Later(asyncio.get_running_loop())
        monkeypatch.setattr(journal._writer, "_loop", later)
        monkeypatch.setattr(journal._store, "merge", merge)
        await asyncio.gather(*(journal.append([numerics(T0 + n)]) for n in range(5)))
        assert await asyncio.to_thread(merging.wait, 30)
        stored = journal.append([numerics(T0 + 5)])
        later.ahead_s = 60.0  # so long the merge took
        merged.set()
        await asyncio.wait_for(stored, timeout=30)
