"""The daemon as it is, in its own process, on a fast clock: `soak_daemon.py CONFIG SPEED UTC_NS MONO_NS`."""

from __future__ import annotations

import sys
from pathlib import Path

from acquisition.clock import Instant, ScaledClock
from acquisition.commands.arguments import until_stopped
from acquisition.config import load_config
from acquisition.daemon import Daemon
from acquisition.logs import configure

if __name__ == "__main__":
    configure("info", "json")
    fast = ScaledClock(float(sys.argv[2]), start=Instant(int(sys.argv[3]), int(sys.argv[4])))
    until_stopped(Daemon(load_config(Path(sys.argv[1])), clock=fast).run())
