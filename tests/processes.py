"""Commands that tests start: none hangs without telling what it said so far and, if it is Python, where it hangs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

PATIENCE_S = 120.0
"""Many times what any command of the tests takes, since the machine may be busy."""
LAST_WORDS_S = 5.0
ENDINGS = (signal.SIGABRT, signal.SIGKILL)
"""The first makes Python say where it is (`PYTHONFAULTHANDLER` in conftest.py)."""


def finished(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    patience_s: float = PATIENCE_S,
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, whatever its exit code; if it hangs, it ends with its children and the test fails."""
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            told, complained = process.communicate(timeout=patience_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{command} did not end in {patience_s:.0f} s; it said:\n{_last_words(process)}")
    return subprocess.CompletedProcess(list(command), process.returncode, told, complained)


def _last_words(process: subprocess.Popen[str]) -> str:
    for ending in ENDINGS:
        os.killpg(process.pid, ending)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return "\n".join(process.communicate(timeout=LAST_WORDS_S))
    return "(not known: somebody holds its output)"


async def all_said(process: asyncio.subprocess.Process, *, patience_s: float = PATIENCE_S) -> tuple[str, str]:
    """What a process says on both its outputs until it ends; if it hangs, it ends and the test fails."""
    saying = asyncio.create_task(process.communicate())
    await asyncio.wait([saying], timeout=patience_s)
    in_time = saying.done()
    for ending in ENDINGS:
        if not saying.done():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(ending)
            await asyncio.wait([saying], timeout=LAST_WORDS_S)
    saying.cancel()
    await asyncio.wait([saying])
    told, complained = ("", "") if saying.cancelled() else (each.decode() if each else "" for each in saying.result())
    if not in_time:
        pytest.fail(f"process {process.pid} did not end in {patience_s:.0f} s; it said:\n{told}\n{complained}")
    return told, complained
