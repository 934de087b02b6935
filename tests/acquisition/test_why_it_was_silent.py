"""A gap between two runs is put down to what ended the first: a stop, a crash, or a restart of the host (promise 7)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from acquisition.clock import NS, Instant, SystemClock, rfc3339
from acquisition.daemon import Daemon
from acquisition.journal import Journal
from acquisition.journal.cursors import Cursors
from acquisition.model import Event, EventKind, GapCause
from tests.acquisition.journal_observations import numerics
from tests.system.beds import daemon, device, until, write_config

PUMP = device("pump", "hl7", "tcp://127.0.0.1:9")


async def started(config: Path) -> tuple[Daemon, str]:
    """A run that is over; what it said of the one before."""
    async with daemon(config) as running:
        await until(lambda: running.latest is not None)
    async with Journal(config.parent / "journal") as journal:
        told = (await journal.read(0, 10_000)).observations
    return running, [each.text for each in told if isinstance(each, Event) and each.event is EventKind.DAEMON][-1]


@pytest.mark.parametrize("rebooted", [False, True])
@pytest.mark.parametrize("clean", [False, True])
async def test_a_start_knows_how_the_run_before_it_ended(
    rebooted: bool, clean: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, PUMP, commit_ms=20)
    monkeypatch.setenv("ECMO_DAQ_BOOT_ID", "one")
    with monkeypatch.context() as crash:
        if not clean:
            crash.setattr(Cursors, "end_run", lambda *_: None)
        before, text = await started(config)
    assert text == "started for the first time with this journal"
    if rebooted:
        monkeypatch.setenv("ECMO_DAQ_BOOT_ID", "an-other")
    after, text = await started(config)
    ending = ("was stopped" if clean else "did not end cleanly") + ", host rebooted" * rebooted
    assert re.fullmatch(rf"started; the run of {rfc3339(before._started_ns)[:19]}\.\d+Z {ending}", text), text
    assert after._cause is (GapCause.HOST_REBOOT if rebooted else GapCause.DAEMON_DOWN)


async def test_a_run_continues_the_time_line_and_the_silence_of_the_one_before(tmp_path: Path) -> None:
    config = write_config(tmp_path, PUMP, commit_ms=20)
    ahead = SystemClock().now().utc_ns + 3600 * NS  # the clock was set back by an hour while the service was off
    async with Journal(tmp_path / "journal") as journal:
        await journal.append([numerics(ahead, device="pump")])
    async with daemon(config) as running:
        await until(lambda: running.latest is not None)
        (session,) = running.sessions
        later = Instant(ahead + 60 * NS, 0)
        assert session.stamper.silent_since(later) == ahead, "the next reading ends a gap"
    async with Journal(tmp_path / "journal") as journal:
        first, *others = (await journal.read(0, 10_000)).observations
    assert first.time_ns == ahead
    assert others
    assert min(each.time_ns for each in others) > ahead, "nothing is met again, nothing overwritten"
