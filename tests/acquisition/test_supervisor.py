from __future__ import annotations

import asyncio
import logging

import pytest

from acquisition import supervisor as module
from acquisition.supervisor import FIRST_RESTART_S, LAST_RESTART_S, Supervisor


class Waits:
    """Stands in for sleeping: notes how long and yields once."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


class Fails:
    """A service that fails a number of times and then returns."""

    def __init__(self, times: int, error: BaseException | None = None) -> None:
        self.left = times
        self.runs = 0
        self.error = error or RuntimeError("boom")

    async def __call__(self) -> None:
        self.runs += 1
        await asyncio.sleep(0)
        if self.left:
            self.left -= 1
            raise self.error


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_a_failing_service_starts_again_after_waits_that_double_up_to_a_minute() -> None:
    waits, service = Waits(), Fails(10)
    supervisor = Supervisor(waits)
    supervisor.add("pump", service)
    await supervisor.run()
    assert waits.seconds == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert waits.seconds[0] == FIRST_RESTART_S
    assert waits.seconds[-1] == LAST_RESTART_S
    assert service.runs == 11


async def test_failures_are_counted_logged_and_the_last_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor(Waits())
    supervisor.add("pump", Fails(2, KeyError("flow")))
    await supervisor.run()
    (service,) = supervisor.services
    assert service.restarts == 2
    assert service.error == "KeyError: 'flow'"
    assert service.ended
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert messages == [f"pump failed and starts again (restart {number})" for number in (1, 2)]
    assert all(record.exc_info for record in caplog.records if record.levelno == logging.ERROR)


async def test_a_failing_service_harms_no_other() -> None:
    turns = 0

    async def healthy() -> None:
        nonlocal turns
        for _ in range(40):
            await asyncio.sleep(0)
            turns += 1

    supervisor = Supervisor(Waits())
    supervisor.add("bad", Fails(5))
    supervisor.add("good", healthy)
    await supervisor.run()
    bad, good = supervisor.services
    assert turns == 40
    assert (bad.restarts, good.restarts) == (5, 0)
    assert good.error == ""


async def test_a_service_that_has_ended_is_not_started_again() -> None:
    service = Fails(0)
    supervisor = Supervisor(Waits())
    supervisor.add("trace", service)
    await supervisor.run()
    assert service.runs == 1
    assert supervisor.services[0].ended
    assert supervisor.services[0].restarts == 0


async def test_it_runs_until_the_last_service_has_ended() -> None:
    gate = asyncio.Event()

    async def waits_for_the_gate() -> None:
        await gate.wait()

    supervisor = Supervisor(Waits())
    supervisor.add("short", Fails(0))
    supervisor.add("long", waits_for_the_gate)
    running = asyncio.create_task(supervisor.run())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not running.done()
    assert [service.ended for service in supervisor.services] == [True, False]
    gate.set()
    await running
    assert supervisor.services[1].ended


async def test_after_a_long_steady_run_the_waits_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, service = Waits(), Fails(3)
    supervisor = Supervisor(waits)
    supervisor.add("pump", service)
    monkeypatch.setattr(module, "STEADY_S", -1.0)
    await supervisor.run()
    assert waits.seconds == [0.5, 0.5, 0.5]


async def test_cancelling_ends_every_service_cleanly_and_restarts_none() -> None:
    cleaned: list[str] = []

    async def tidy() -> None:
        try:
            await for_ever()
        finally:
            cleaned.append("tidy")

    supervisor = Supervisor(Waits())
    supervisor.add("one", tidy)
    supervisor.add("two", tidy)
    running = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert cleaned == ["tidy", "tidy"]
    assert [service.restarts for service in supervisor.services] == [0, 0]


async def test_cancelling_does_not_wait_for_a_restart_to_come() -> None:
    async def endless(seconds: float) -> None:
        await for_ever()

    supervisor = Supervisor(endless)
    supervisor.add("pump", Fails(1))
    running = asyncio.create_task(supervisor.run())
    for _ in range(5):
        await asyncio.sleep(0)
    assert supervisor.services[0].restarts == 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_service_whose_own_wait_was_cancelled_is_started_again() -> None:
    service = Fails(1, asyncio.CancelledError())
    supervisor = Supervisor(Waits())
    supervisor.add("pump", service)
    await supervisor.run()
    assert service.runs == 2
    assert supervisor.services[0].restarts == 1
