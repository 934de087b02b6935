"""Peers that have nothing to do: what they take from a machine merely by being there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import queue_vmagent
from benchmarks.footprint import Footprint, measured
from benchmarks.processes import PEERS as ENVIRONMENT
from benchmarks.processes import NotMeasuredError, free_port, running, scratch

SECONDS = 20.0
SETTLED_S = 5.0
"""After this a program has started."""

Idle = Callable[[], Footprint]


def vmagent() -> Footprint:
    """A vmagent without a target, its remote end down."""
    with scratch() as directory, queue_vmagent.vmagent(directory, free_port(), free_port()) as process:
        return _over_a_while(process.pid)


def gateway() -> Footprint:
    """A thingsboard-gateway with SQLite storage and no connector, waiting for its server.

    Raises:
        NotMeasuredError: it is not installed, or ends.
    """
    python = ENVIRONMENT / "python"
    if not python.exists():
        raise NotMeasuredError("its environment is not there: make bench makes it")
    with scratch() as directory:
        (directory / "logs").mkdir()
        thingsboard = {"host": "127.0.0.1", "port": free_port(), "remoteConfiguration": False,
                       "security": {"type": "accessToken", "accessToken": "bench"}}  # fmt: skip
        storage = {"type": "sqlite", "data_file_path": f"{directory}/data/"}
        settings = {"thingsboard": thingsboard, "storage": storage, "grpc": {"enabled": False}, "connectors": []}
        (directory / "tb_gateway.json").write_text(json.dumps(settings), encoding="utf-8")
        # It asks its makers for updates and installs what it misses: neither is wanted here.
        environment = {"TB_GW_CONFIG_DIR": str(directory), "https_proxy": "http://127.0.0.1:9", "PIP_NO_INDEX": "1"}
        command: list[str | Path] = [python, "-c", "from thingsboard_gateway.tb_gateway import main; main()"]
        with running(command, directory, environment=environment) as process:
            footprint = _over_a_while(process.pid)
            if process.poll() is not None:
                raise NotMeasuredError(f"thingsboard-gateway ended with status {process.returncode}")
            return footprint


def _over_a_while(pid: int) -> Footprint:
    time.sleep(SETTLED_S)
    try:
        with measured(pid) as footprint:
            time.sleep(SECONDS)
    except OSError as error:
        raise NotMeasuredError("it ended") from error
    return footprint[0]


PEERS: Mapping[str, Idle] = {"vmagent, idle": vmagent, "thingsboard-gateway, idle": gateway}
