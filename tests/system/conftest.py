"""What system tests share: one machine with a real systemd, booted and installed once; a disk small enough to fill."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.system.installed import CONFIG, INFLUX, INFLUX_CONFIG, PUMP, install
from tests.system.nspawn import Machine, machine
from tests.system.packages import package
from tests.system.small_disks import ext4, tmpfs


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package of this tree."""
    return package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def fresh(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted machine with the package file, a pump and a server on it, and nothing of ours installed."""
    with machine(tmp_path_factory.mktemp("machine")) as booted:
        (booted.root / deb.name).write_bytes(deb.read_bytes())
        booted.put("/etc/systemd/system/sim-pump.service", PUMP)
        booted.put("/etc/systemd/system/influx-test.service", INFLUX)
        booted.put("/etc/influx-test.conf", INFLUX_CONFIG)
        booted.put("/etc/ecmo-test/acquisition.toml", CONFIG)
        yield booted


@pytest.fixture
def bed(fresh: Machine) -> Machine:
    """The machine with a bed that runs on it; each test leaves it so."""
    if fresh.try_run("command -v ecmo-daq").returncode != 0:
        install(fresh)
    return fresh


@pytest.fixture(params=["tmpfs", "ext4"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A place for a journal, `tmp_path / "journal"`, on a file system that is soon full."""
    make: Callable[[], AbstractContextManager[Path]] = {
        "tmpfs": lambda: tmpfs(tmp_path / "journal", 4096),
        "ext4": lambda: ext4(tmp_path / "journal", 16),
    }[request.param]
    with make() as where:
        yield where


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The machine last, so that it does not run beside all others; first where it is the longest of several lanes."""
    is_lane = "PYTEST_XDIST_WORKER" in os.environ
    items.sort(key=lambda item: ("fresh" in getattr(item, "fixturenames", ())) != is_lane)
