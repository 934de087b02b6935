"""What a failed sync may have left in the log's pages in memory is moved out before anything follows it there."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from acquisition.journal import Journal, merger, store
from tests.acquisition.journal_observations import QUICK, T0, numerics


async def test_what_a_merge_that_failed_left_in_the_log_is_moved_out_before_the_next_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    empty_log, commit = store.Store._empty_log, store.Store._commit

    def merge(*_: object) -> None:
        if done == ["committed", "committed"]:  # what follows the second group in its turn of the writer
            done.append("failed")
            raise sqlite3.OperationalError("disk I/O error")

    def emptied(kept: store.Store) -> None:
        done.append("emptied")
        empty_log(kept)

    def committed(kept: store.Store, *rest: Any) -> None:
        done.append("committed")
        commit(kept, *rest)

    monkeypatch.setattr(merger.Merger, "merge", merge)
    monkeypatch.setattr(store.Store, "_empty_log", emptied)
    monkeypatch.setattr(store.Store, "_commit", committed)
    async with Journal(tmp_path, commit_interval_s=QUICK) as journal:
        for number in range(3):
            await journal.append([numerics(T0 + number)])
        assert done == ["committed", "committed", "failed", "emptied", "committed"]
