"""The chain of data sets, without data sets."""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from acquisition.archive.export import proof

NOW = "2026-01-01T00:00:00Z"


def hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def test_two_exports_at_once_follow_each_other_in_the_chain(tmp_path: Path) -> None:
    """Each hashes its files for a while between reading the chain and adding to it."""
    ledger = tmp_path / proof.LEDGER

    def one(name: str) -> None:
        with proof.chained(ledger) as chain:
            time.sleep(0.05)
            chain.enter(hashed(name), NOW)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, "abcd"))
    with proof.chained(ledger) as chain:
        assert chain.last != proof.NOTHING
    assert len(ledger.read_text().splitlines()) == 4


def test_a_disk_that_refuses_the_line_leaves_the_chain_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / proof.LEDGER
    with proof.chained(ledger) as chain:
        chain.enter(hashed("a"), NOW)
    before = ledger.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, proof.chained(ledger) as chain:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            chain.enter(hashed("b"), NOW)
    assert ledger.read_bytes() == before
