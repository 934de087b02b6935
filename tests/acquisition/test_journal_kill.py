"""What was acknowledged is there after SIGKILL (promise 1)."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from acquisition.journal import Journal
from acquisition.journal.reader import JournalReader
from acquisition.journal.schema import day_files
from acquisition.model import Numerics, Waveform
from tests.acquisition.journal_child import INTERVAL_S, MONITOR
from tests.acquisition.journal_observations import everything
from tests.system.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("ECMO_DAQ_KILLS", "200"))
KILLS_OF_A_JOURNAL = 25
DISK_S = 0.5
"""What the disk itself may take to sync two groups on a busy machine."""


@dataclass
class Run:
    """What a child said until it was killed: numbers it made, with their times, and those that are safe."""

    made: dict[int, int] = field(default_factory=dict)
    safe: set[int] = field(default_factory=set)
    killed_ns: int = 0


class Nursery:
    """The process that makes children."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def raise_and_kill(self, directory: Path, first: int, port: int, after: int) -> Run:
        """Kills a child as soon as it has said that `after` readings are safe, or some milliseconds later."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{directory} {first} {port}\n".encode())
        self._process.stdin.flush()
        run, child = Run(), 0
        for line in self._process.stdout:
            match line.split():
                case [b"born", pid]:
                    child = int(pid)
                case [b"made", number, mono_ns]:
                    run.made[int(number)] = int(mono_ns)
                case [b"safe", number]:
                    run.safe.add(int(number))
                    if len(run.safe) >= after and not run.killed_ns:
                        time.sleep(random.Random(first).uniform(0, 2 * INTERVAL_S))
                        run.killed_ns = time.monotonic_ns()
                        os.kill(child, signal.SIGKILL)
                case [b"died", status]:
                    assert int(status) == -signal.SIGKILL
                    break
        return run


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    command = [sys.executable, "-m", "tests.acquisition.journal_child"]
    # numpy's threads would not survive a fork.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment) as process:
        yield Nursery(process)


class Sender(threading.Thread):
    """An HL7 gateway: sends the next message when the last is acknowledged, and else the same again on a new link."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.acknowledged: list[int] = []
        self._port = port
        self._over = threading.Event()

    def run(self) -> None:
        number = 1
        while not self._over.wait(0.005):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 5) as link:
                number = self._converse(link, number)

    def _converse(self, link: socket.socket, number: int) -> int:
        """Sends until the link is lost; returns the number of the message that is not acknowledged."""
        link.settimeout(5)
        while not self._over.is_set():
            try:
                link.sendall(message(number))
                answer = b""
                while not answer.endswith(b"\x1c\r"):
                    piece = link.recv(4096)
                    if not piece:
                        return number
                    answer += piece
            except OSError:
                return number
            assert f"MSA|AA|{number}\r".encode() in answer, answer
            self.acknowledged.append(number)
            number += 1
        return number

    def stop(self) -> None:
        self._over.set()
        self.join()


def message(number: int) -> bytes:
    lines = (
        f"MSH|^~\\&|GATEWAY|WARD|||20260101000000+0000||ORU^R01^ORU_R01|{number}|P|2.6",
        "OBR|1|||182777000^monitoring of patient^SCT|||20260101000000+0000",
        f"OBX|1|NM|1^SIM_COUNTER^99ECMODAQSIM|1.0.0.1|{number}|262656^MDC_DIM_DIMLESS^MDC|||||R",
    )
    return b"\x0b" + "".join(f"{line}\r" for line in lines).encode() + b"\x1c\r"


@pytest.mark.system
@pytest.mark.alone
@pytest.mark.timeout(24 * 3600)
async def test_nothing_that_was_acknowledged_is_missing_after_a_kill(tmp_path: Path, nursery: Nursery) -> None:
    chance = random.Random(20260101)
    messages = 0
    for begin in range(0, KILLS, KILLS_OF_A_JOURNAL):
        directory, port = tmp_path / str(begin), free_port()
        sender = Sender(port)
        sender.start()
        acknowledged: set[int] = set()
        try:
            for _ in range(min(KILLS_OF_A_JOURNAL, KILLS - begin)):
                first = max(acknowledged, default=-1) + 1000
                run = nursery.raise_and_kill(directory, first, port, chance.randrange(1, 60))
                acknowledged |= run.safe
                found = {
                    int(each.values["abp_mean"])
                    for each in JournalReader(directory).query(devices=["mon"], channels=["abp_mean"])
                    if isinstance(each, Numerics)
                }
                assert acknowledged <= found
                lost = [run.killed_ns - run.made[number] for number in run.made.keys() - found]
                assert max(lost, default=0) <= (INTERVAL_S + DISK_S) * 1e9
        finally:
            sender.stop()
        messages += len(sender.acknowledged)
        await complete_and_in_order(directory, acknowledged, sender)
    assert messages > KILLS / 2


async def complete_and_in_order(directory: Path, acknowledged: set[int], sender: Sender) -> None:
    seqs = []
    for path in day_files(directory):
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if connection.execute("PRAGMA user_version").fetchone() != (0,):  # a kill may come while a new file is made
            seqs += [seq for (seq,) in connection.execute("SELECT seq FROM block ORDER BY seq")]
        connection.close()
    assert len(day_files(directory)) > 1
    assert seqs == sorted(set(seqs))

    async with Journal(directory) as journal:
        assert journal.damaged == []
        forwarded = await everything(journal)
        readings = [each for each in forwarded if isinstance(each, Numerics)]
        numbers = [int(each.values["abp_mean"]) for each in readings if each.device == "mon"]
        assert numbers == sorted(set(numbers))
        assert acknowledged <= set(numbers)
        assert [int(each.counts[0]) for each in forwarded if isinstance(each, Waveform)] == numbers
        assert int(journal.keys("mon")[-1]) == numbers[-1]
        received = [int(each.values["sim_counter"]) for each in readings if each.device == MONITOR]
    # The last may be stored and its acknowledgement lost with the process.
    assert received in (sender.acknowledged, [*sender.acknowledged, len(sender.acknowledged) + 1])
