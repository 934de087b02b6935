"""No log, status or recording tells a secret or whose data it is, whatever is logged, in either form."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from pathlib import Path

import pytest

from acquisition.health import Health
from simulators.hl7_monitor import FICTITIOUS_PID, Hl7Monitor
from simulators.links import attached
from tests.system.beds import DATABASE, HEAD, device, until
from tests.system.servers import Server, free_port, influxd, mosquitto

pytestmark = pytest.mark.system

PASSWORD, TOKEN, BROKER = "open-sesame-4711", "influx-token-0815", "broker-secret-4242"
SECRETS = (PASSWORD, TOKEN, BROKER, base64.b64encode(f"bed:{PASSWORD}".encode()).decode())
PATIENT = ("SIM-4711", "FICTITIOUS", "SIMHOSPITAL", "19010101")
HEADER = "MSH|^~\\&|GW^1^EUI-64|X|||20260101000000+0000||{}|{}|P|2.6"
ODD = (
    (HEADER.format("ADT^A01^ADT_A01", "1"), FICTITIOUS_PID),
    (HEADER.format("ORU^R01^ORU_R01", "2"), FICTITIOUS_PID, "OBR|1", "OBX|1|ST|x^y^z|1|FICTITIOUS PERSON|||||||R"),
    (HEADER.format("ORU^R01^ORU_R01", "3"), FICTITIOUS_PID, "OBR|1", "OBX|1|NM|147842^MDC^MDC|1|SIM-4711|||||||R"),
    (HEADER.format("QBP^FICTITIOUS^X", "4"), FICTITIOUS_PID),
    (FICTITIOUS_PID, HEADER.format("ORU^R01^ORU_R01", "5")),
    (HEADER.format("ORU^R01^ORU_R01", "6"), FICTITIOUS_PID, FICTITIOUS_PID.replace("SIM-", "SIM-2-"), "OBR|FICTITIOUS"),
)
"""Messages that are refused, not understood or damaged: what a program would want to quote in a complaint."""


async def say(port: int) -> None:
    """Says all that is odd, each on a connection of its own, and reads what is answered for a moment."""
    for lines in ODD:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"noise\x0b" + "".join(f"{line}\r" for line in lines).encode() + b"\x1c\rnoise")
        try:
            async with asyncio.timeout(0.5):
                await reader.readuntil(b"\x1c\r")
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


def configuration(home: Path, layout: str, ports: tuple[int, int], servers: tuple[Server, Server]) -> Path:
    influx, broker = servers
    for name, secret in (("influx", PASSWORD), ("token", TOKEN), ("mqtt", BROKER)):
        (home / name).write_text(secret)
    odd = '[device.options]\nchannels = { "1^99ECMODAQSIM" = "sim_counter" }\n'
    listens = [
        device(name, "hl7", f"tcp-listen://127.0.0.1:{port}", f'record = "{home}/{name}.trace"', odd)
        for name, port in zip(("monitor", "gateway"), ports, strict=True)
    ]
    path = home / "bed.toml"
    path.write_text(
        HEAD.format(commit_ms=50, min_free_gb=0)
        + f'[log]\nlevel = "debug"\nformat = "{layout}"\n'
        + "".join(listens)
        + f'\n[[sink]]\nid = "one"\ntype = "influxdb_v1"\nurl = "{influx.url}"\ndatabase = "{DATABASE}"\n'
        'username = "bed"\npassword_file = "influx"\n'
        f'\n[[sink]]\nid = "two"\ntype = "influxdb_v2"\nurl = "{influx.url}"\nbucket = "absent"\ntoken_file = "token"\n'
        f'\n[[sink]]\nid = "broker"\ntype = "mqtt"\nhost = "127.0.0.1"\nport = {broker.port}\n'
        'username = "bed"\npassword_file = "mqtt"\n'
    )
    return path


@pytest.mark.parametrize("layout", ["json", "console"])
async def test_a_bed_with_secrets_and_a_patients_name_on_the_wire_tells_neither(layout: str, tmp_path: Path) -> None:
    ports = (free_port(), free_port())
    monitor = Hl7Monitor(lambda: {"hr": 90.0}, every_s=0.1, counter=True, identity=True)
    log, status = tmp_path / "log", tmp_path / "journal" / "status.json"
    async with (
        influxd(tmp_path / "influxd", DATABASE) as influx,
        mosquitto(tmp_path / "mosquitto", users={"bed": "another"}) as broker,
    ):
        config = configuration(tmp_path, layout, ports, (influx, broker))
        with log.open("wb") as stderr:
            daemon = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "acquisition.cli", "run", "--config", str(config)),
                stderr=stderr,
                stdout=stderr,
                env={**os.environ, "PYTHONASYNCIODEBUG": "1"},
            )
        try:
            async with attached(f"tcp://127.0.0.1:{ports[0]}", monitor):
                await until(lambda: monitor.acknowledged >= 5)
                await say(ports[1])
                await influx.stop()
                await until(lambda: all(sink.attempts for sink in Health.read(status).sinks))
                acknowledged = monitor.acknowledged
                await until(lambda: monitor.acknowledged > acknowledged)
            daemon.terminate()
            assert await daemon.wait() == 0
        finally:
            if daemon.returncode is None:
                daemon.kill()
                await daemon.wait()
    told = log.read_text()
    gateway = next(each for each in Health.read(status).devices if each.id == "gateway")
    assert gateway.frames_bad, "nothing of what was odd was met"
    assert "broker" in told
    assert layout == "console" or [json.loads(line)["level"] for line in told.splitlines()]
    kept = [path for path in (tmp_path / "journal").iterdir() if path.is_file()]
    for path in (log, *tmp_path.glob("*.trace"), *kept):
        content = path.read_bytes().decode("latin-1")
        assert content
        assert [word for word in (*SECRETS, *PATIENT) if word in content] == [], path.name
        assert [word for word in PATIENT if word.encode().hex() in content] == [], path.name
