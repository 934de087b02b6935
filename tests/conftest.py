"""Guards that are always on: no task left behind, loopback only, every log record formats."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import logging
import os
import socket
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from structlog.stdlib import ProcessorFormatter

SYSTEM_TIMEOUT_S = 300
"""A test with real processes waits for each of them with a limit of its own; this ends what has none."""

# How long an example takes says more about the other work of the machine than about the code.
hypothesis_settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("any machine")

# A process of Python's that a test ends because it hangs says where.
os.environ["PYTHONFAULTHANDLER"] = "1"

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keeps the garbage collector off six thousand tests and the libraries they import: all of them stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives tests with real processes the time that a busy machine needs, and keeps those of one machine together."""
    for item in items:
        if item.path.name.startswith("test_on_systemd"):
            item.add_marker(pytest.mark.xdist_group("systemd"))
        heavy = item.get_closest_marker("system") or item.get_closest_marker("slow")
        if heavy and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SYSTEM_TIMEOUT_S))


@pytest.fixture
def shared_data() -> Path:
    """Real recordings beside the checkout; a test that needs them says loudly that they are absent."""
    data = SHARED / "data"
    if not data.is_dir():
        pytest.skip(f"REAL RECORDINGS ABSENT: {data} is not there; this test proves nothing without them")
    return data


@pytest.fixture(scope="session")
def reference() -> Path:
    """What is known of devices, beside the checkout; a test that reads it says loudly that it is absent."""
    found = SHARED / "reference"
    if not found.is_dir():
        pytest.skip(f"REFERENCE ABSENT: {found} is not there; nothing is compared with it")
    return found


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection that would leave this machine fails the test."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            assert host in ("127.0.0.1", "::1", "localhost"), f"a test tried to reach {address}"
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(autouse=True)
def guard_of_tasks(request: pytest.FixtureRequest) -> None:
    """Watches the loop of tests that have one; the others are spared making one."""
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("no_task_left")


@pytest_asyncio.fixture
async def no_task_left() -> AsyncIterator[None]:
    """A test that leaves a task pending fails."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    mine = asyncio.current_task()
    left = [task for task in asyncio.all_tasks() - before if task is not mine and not task.done()]
    for task in left:
        task.cancel()
    assert not left, f"tasks left pending: {left}"


@pytest_asyncio.fixture
async def no_descriptor_left() -> AsyncIterator[None]:
    """A test that leaves a file or a socket open fails; for those of links, which say so by `usefixtures`."""
    before = _open_descriptors()
    yield
    await asyncio.sleep(0)
    assert _open_descriptors() == before


def _open_descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that lists them
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


@pytest.fixture(autouse=True)
def every_log_record_formats(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A log call whose arguments do not fit its text fails the test."""
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.get_records("call"):
        record.getMessage()


@pytest.fixture(autouse=True)
def logging_ends_with_the_test() -> Iterator[None]:
    """What a command set up for its terminal would print every failure that later tests provoke, with its frames."""
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, ProcessorFormatter) and handler not in before:
            root.removeHandler(handler)
