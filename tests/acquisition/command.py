"""Runs `ecmo-daq` inside the test's process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from acquisition.cli import main

Run = Callable[..., tuple[int, str, str]]
"""Words of the command line to exit code, output and errors."""


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What runs the command with the words that it is called with."""

    def command(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ecmo-daq", *map(str, words)])
        with pytest.raises(SystemExit) as ending:
            main()
        captured = capsys.readouterr()
        code = ending.value.code
        return code if isinstance(code, int) else 0, captured.out, captured.err

    return command
