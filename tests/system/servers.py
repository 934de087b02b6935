"""Real servers on loopback, each an async context manager with its own port and directory, and restartable on both."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

START_S = 90.0
RANGE = range(10_000, 32_000)
"""Below `net.ipv4.ip_local_port_range` of a Linux that nobody has changed."""
PORTS = random.Random()


def free_port() -> int:
    """A port of loopback that nobody listens on just now, and that is given to nobody else who asks for any port.

    Tests run side by side, and each may restart its servers: so none of those that the kernel chooses from.
    """
    while True:
        port = PORTS.choice(RANGE)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Server:
    """One server process; `start`, `stop` and `kill` keep port and data."""

    command: list[str]
    port: int
    directory: Path
    ready_path: str | None = None
    process: asyncio.subprocess.Process | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where it is, for those that speak HTTP."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Starts it and returns when it answers; a missing program fails the test."""
        program = shutil.which(self.command[0], path="/usr/sbin:/usr/bin:/usr/local/bin:/bin")
        if program is None:
            pytest.fail(f"{self.command[0]} is not installed; this test needs the real server")
        log = (self.directory / "log").open("ab")
        with log:
            self.process = await asyncio.create_subprocess_exec(
                program, *self.command[1:], cwd=self.directory, stdout=log, stderr=log
            )
        try:
            async with asyncio.timeout(START_S):
                while not await self._answers():
                    if self.process.returncode is not None:
                        pytest.fail(f"{self.command[0]} ended: {(self.directory / 'log').read_text()[-2000:]}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"{self.command[0]} did not answer: {(self.directory / 'log').read_text()[-2000:]}")

    async def stop(self) -> None:
        """Lets it end in order."""
        await self._end(kill=False)

    async def kill(self) -> None:
        """Ends it as a power cut would."""
        await self._end(kill=True)

    async def _end(self, *, kill: bool) -> None:
        process, self.process = self.process, None
        if process is None or process.returncode is not None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        await process.wait()

    async def _answers(self) -> bool:
        try:
            if self.ready_path is not None:
                await self.get(self.ready_path)
                return True
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except (OSError, aiohttp.ClientError):
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def get(self, path: str, params: Mapping[str, str] | None = None, *, method: str = "GET") -> str:
        """The body of an answer of success."""
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.request(method, self.url + path, params=params) as response,
        ):
            return await response.text()


@asynccontextmanager
async def _running(server: Server) -> AsyncIterator[Server]:
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


@asynccontextmanager
async def influxd(directory: Path, *databases: str) -> AsyncIterator[Server]:
    """InfluxDB 1.x with these databases."""
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "influxdb.conf"
    config.write_text(f"""
reporting-enabled = false
bind-address = "127.0.0.1:{free_port()}"
[meta]
dir = "{directory}/meta"
[data]
dir = "{directory}/data"
wal-dir = "{directory}/wal"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
""")
    server = Server(["influxd", "run", "-config", str(config)], port, directory, "/ping")
    async with _running(server):
        for database in databases:
            await server.get("/query", {"q": f'CREATE DATABASE "{database}"'}, method="POST")
        yield server


@asynccontextmanager
async def victoria_metrics(directory: Path) -> AsyncIterator[Server]:
    """VictoriaMetrics that keeps a century."""
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    options = [f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={directory}/data", "-retentionPeriod=100y"]
    async with _running(Server(["victoria-metrics", *options], port, directory, "/health")) as server:
        yield server


@asynccontextmanager
async def mosquitto(directory: Path, *, users: Mapping[str, str] | None = None) -> AsyncIterator[Server]:
    """Mosquitto; for everyone, or for these users and their passwords only."""
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    config, passwords = directory / "mosquitto.conf", directory / "passwords"
    # Started by root it would become another user, who cannot read a private directory.
    lines = [f"listener {port} 127.0.0.1", "user root", f"allow_anonymous {'false' if users else 'true'}"]
    if users:
        passwords.write_text("".join(f"{user}:{password}\n" for user, password in users.items()))
        passwords.chmod(0o600)
        hashing = await asyncio.create_subprocess_exec("mosquitto_passwd", "-U", str(passwords))
        assert await hashing.wait() == 0
        lines.append(f"password_file {passwords}")
    config.write_text("\n".join(lines) + "\n")
    async with _running(Server(["mosquitto", "-c", str(config)], port, directory)) as server:
        yield server
