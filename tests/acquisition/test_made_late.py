"""A sink that cannot be made keeps nothing from being recorded, nor any other sink from getting it (promise 6)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acquisition.daemon import Daemon
from acquisition.errors import ConfigError
from acquisition.forwarder import ForwarderState
from acquisition.interfaces import Sink
from acquisition.sinks.made_late import MadeLate
from tests.acquisition.command import runner
from tests.acquisition.forwarder_bench import Bench, JudgingSink, MemoryJournal, numerics
from tests.acquisition.scripted_influx import scripted_influx
from tests.system.beds import daemon, device, until, write_config

SINK = '\n[[sink]]\nid = "{id}"\ntype = "influxdb_v1"\nurl = "{url}"\ndatabase = "x"\n'
NO_CERTIFICATE = 'ca_file = "nowhere.pem"\n'
NO_SECRET = 'username = "bed"\npassword_file = "nowhere"\n'
PUMP = device("pump", "hl7", "tcp://127.0.0.1:9")


async def test_it_is_tried_until_a_person_has_mended_it_and_then_delivers_all() -> None:
    real, seen = JudgingSink(), list[tuple[ForwarderState, int, str]]()
    lacking: Iterator[Exception] = iter([ConfigError(["token_file: x cannot be read"]), FileNotFoundError("ca_file")])

    def make() -> Sink[Any]:
        for error in lacking:
            raise error
        return real

    async def look() -> None:
        status = rig.forwarder.status
        seen.append((status.state, status.attempts, status.last_error))

    rig = Bench(MemoryJournal([(numerics(1),)]), real, late=MadeLate(make), while_waiting=look)
    await rig.drain()
    hint = " (may the service's account read it?)"
    assert seen == [
        (ForwarderState.REFUSED, 1, "token_file: x cannot be read" + hint),
        (ForwarderState.REFUSED, 2, "ca_file" + hint),
    ]
    assert real.taken == [numerics(1)]
    assert (real.entered, real.left, rig.forwarder.status.last_error) == (1, 1, "")


async def test_what_one_sink_lacks_costs_neither_the_bed_nor_another_sink_anything(tmp_path: Path) -> None:
    async with scripted_influx() as server:
        tables = [
            SINK.format(id=name, url=server.url) + spoilt
            for name, spoilt in (("good", ""), ("certified", NO_CERTIFICATE), ("secret", NO_SECRET))
        ]
        async with daemon(write_config(tmp_path, PUMP, *tables)) as running:

            def problems() -> str:
                return "; ".join(running.latest.problems()) if running.latest is not None else ""

            await until(lambda: any(request.points for request in server.requests))
            await until(lambda: "sink certified" in problems() and "sink secret" in problems())
            told = problems()
    assert re.search(r"sink certified: \S*nowhere.pem cannot be used: No such file or directory", told), told
    assert re.search(r"sink secret: password_file: .*nowhere cannot be read", told), told
    assert "sink good" not in told


@pytest.mark.parametrize(("command", "code"), [("run", 0), ("check", 2)])
@pytest.mark.parametrize("lacks", [NO_CERTIFICATE, NO_SECRET])
def test_a_bed_starts_without_what_a_check_misses(
    command: str, code: int, lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    async def run(_daemon: Daemon) -> None:
        pass

    monkeypatch.setattr(Daemon, "run", run)
    config = write_config(tmp_path, PUMP, SINK.format(id="a", url="http://h") + lacks)
    monkeypatch.setattr("acquisition.logs.configure", lambda *_: None)
    monkeypatch.setattr("faulthandler.enable", lambda: None)
    assert runner(monkeypatch, capsys)(command, "--config", config)[0] == code
