"""What a program of the system says, or nothing where there is no such program."""

from __future__ import annotations

import subprocess

PATIENCE_S = 20.0


def told(*command: str) -> str:
    """Standard output of a fixed command; empty if it cannot be run or does not end."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            command, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
