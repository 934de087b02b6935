from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from acquisition.commands.arguments import until_stopped
from acquisition.errors import SinkUnavailableError
from acquisition.event_loop import EventLoop
from acquisition.sinks.mqtt import MqttSink

SILENT = 100
"""More names than asyncio has threads."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A name server that says nothing of .silent until the test is over, and that .none has no address."""
    over, names = threading.Event(), list[str]()
    real = socket.getaddrinfo

    def look_up(host: str, *rest: Any, **named: Any) -> Any:
        names.append(host)
        if host.endswith(".silent"):
            over.wait(30)
        if host.endswith(".none"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real("127.0.0.1", *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield names
    over.set()


def test_a_name_server_that_is_silent_holds_up_neither_other_work_nor_the_end(asked: list[str]) -> None:
    ended = threading.Event()

    async def work() -> None:
        loop = asyncio.get_running_loop()
        for number in range(SILENT):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(loop.getaddrinfo(f"host-{number}.silent", 80), 0.001)
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "read"), 10) == "read"

    def command() -> None:
        with asyncio.Runner(loop_factory=EventLoop) as runner:
            runner.run(work())
        ended.set()

    threading.Thread(target=command, daemon=True).start()
    assert ended.wait(20)
    assert len(asked) == SILENT


def test_the_commands_run_in_it() -> None:
    async def kind() -> type:
        return type(asyncio.get_running_loop())

    assert until_stopped(kind()) is EventLoop


def test_who_asks_the_same_shares_the_answer_and_may_give_up_alone(asked: list[str]) -> None:
    async def work() -> list[Any]:
        loop = asyncio.get_running_loop()
        first, *others = (asyncio.create_task(loop.getaddrinfo("db.here", 80)) for _ in range(3))
        await asyncio.sleep(0)
        first.cancel()
        return await asyncio.gather(first, *others, return_exceptions=True)

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        cancelled, *answers = runner.run(work())
        assert isinstance(cancelled, asyncio.CancelledError)
        assert [answer[0][4] for answer in answers] == [("127.0.0.1", 80)] * 2
        assert asked == ["db.here"]
        with pytest.raises(socket.gaierror):
            runner.run(runner.get_loop().getaddrinfo("db.none", 80))


@pytest.mark.parametrize(("name", "words"), [("mqtt.silent", "does not answer"), ("mqtt.none", "not known")])
def test_a_broker_is_not_sought_in_a_thread_that_the_end_waits_for(asked: list[str], name: str, words: str) -> None:
    async def work() -> None:
        async with MqttSink(host=name, site="here", bed="bed-1", timeout_s=0.05) as sink:
            with pytest.raises(SinkUnavailableError, match=words):
                await sink.deliver(())

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(work())
    assert asked == [name]
