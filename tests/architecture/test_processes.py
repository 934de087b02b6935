"""A command that hangs says what it said so far, and where it hangs."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.processes import all_said, finished

HANGS = "import sys, time\nprint('so far')\nsys.stdout.flush()\ndef here():\n    time.sleep(60)\nhere()"

pytestmark = pytest.mark.system


def test_a_command_that_hangs_ends_with_what_it_said_and_where_it_hung() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"(?s)did not end in 2 s; it said:\nso far\n.*in here"):
        finished([sys.executable, "-c", HANGS], patience_s=2)


def test_a_command_whose_child_hangs_ends_with_its_child() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"(?s)it said:\nso far\n.*in here"):
        finished(["bash", "-c", f'"{sys.executable}" -c "$0"; true', HANGS], patience_s=2)


async def test_a_process_that_hangs_ends_with_what_it_said_and_where_it_hung() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGS, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    with pytest.raises(pytest.fail.Exception, match=r"(?s)did not end in 2 s; it said:\nso far\n.*in here"):
        await all_said(process, patience_s=2)
    assert process.returncode is not None


def test_a_command_that_ends_gives_its_code_and_both_outputs() -> None:
    done = finished(["bash", "-c", "echo told; echo complained >&2; exit 3"])
    assert (done.returncode, done.stdout, done.stderr) == (3, "told\n", "complained\n")
