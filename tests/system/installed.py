"""A bed installed on a machine of its own: configuration, simulated pump, InfluxDB, and questions to them."""

from __future__ import annotations

import json

from acquisition.errors import AcquisitionError
from acquisition.health import Health
from tests.system.nspawn import Machine, until
from tests.system.packages import commands

CONFIG = """\
[site]
site = "site-1"
bed = "bed-1"
timezone = "UTC"

[journal]
directory = "/var/lib/ecmo-daq/journal"
min_free_gb = 0

[status]
file = "/run/ecmo-daq/status.json"

[[device]]
id = "pump"
driver = "modbus"
profile = "sim_pump_console"
link = "serial:///run/sim/pump"

[[sink]]
id = "central"
type = "influxdb_v1"
url = "http://127.0.0.1:8086"
database = "ecmo"
username = "bed"
password_credential = "influx"
timeout_s = 3
"""
PUMP = """\
[Service]
RuntimeDirectory=sim
ExecStart=/usr/bin/ecmo-sim sim_pump_console --link pty:///run/sim/pump
ExecStartPost=sh -c 'until chgrp -f dialout /run/sim/pump; do sleep 0.1; done; chmod 660 /run/sim/pump'
[Install]
WantedBy=multi-user.target
"""
INFLUX = """\
[Service]
ExecStart=/usr/bin/influxd run -config /etc/influx-test.conf
[Install]
WantedBy=multi-user.target
"""
INFLUX_CONFIG = """\
reporting-enabled = false
bind-address = "127.0.0.1:8088"
[meta]
dir = "/var/lib/influx-test/meta"
[data]
dir = "/var/lib/influx-test/data"
wal-dir = "/var/lib/influx-test/wal"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:8086"
auth-enabled = true
log-enabled = false
"""
TIMES = """\
from pathlib import Path
from acquisition.journal.reader import JournalReader
found = JournalReader(Path("/var/lib/ecmo-daq/journal")).query(devices={"pump"}, kinds={"numerics"})
print(*(each.time_ns for each in found))
"""
"""What `ecmo-daq query` would say, without the half second that the whole command takes to start."""
SECRET = "correct-horse-battery"
ASK = f"curl -sfG http://127.0.0.1:8086/query -u root:{SECRET} --data-urlencode"


def install(bed: Machine) -> str:
    """Starts server and pump, and types what install.md says; what its last block printed."""
    bed.run("systemctl enable --now influx-test")
    until(lambda: bed.try_run("curl -sf http://127.0.0.1:8086/ping").returncode == 0)
    ask = "curl -sf -XPOST http://127.0.0.1:8086/query"
    bed.run(f"{ask} --data-urlencode \"q=CREATE USER root WITH PASSWORD '{SECRET}' WITH ALL PRIVILEGES\"")
    for question in (
        "CREATE DATABASE ecmo", f"CREATE USER bed WITH PASSWORD '{SECRET}'", "GRANT ALL ON ecmo TO bed",
    ):  # fmt: skip
        bed.run(f'{ask} -u root:{SECRET} --data-urlencode "q={question}"')
    package, sample, secrets, start = commands("install.md")
    bed.run(package)
    bed.run("systemctl enable --now sim-pump")
    bed.run(sample)
    bed.run("cat /etc/ecmo-test/acquisition.toml > /etc/ecmo-daq/acquisition.toml")
    bed.run(secrets)
    bed.run(f"printf %s {SECRET} > /etc/ecmo-daq/credentials/influx")
    return bed.run(start)


def status(bed: Machine) -> Health | None:
    """What the daemon tells of itself; None if it does not."""
    try:
        return Health.read(bed.inside("/run/ecmo-daq/status.json"))
    except AcquisitionError:
        return None


def problems(bed: Machine) -> str:
    """What needs a person, `[]` if nothing does."""
    health = status(bed)
    return "no status" if health is None else str(health.problems())


def journal_times(bed: Machine) -> set[int]:
    """Times of all numerics of the pump that the journal has."""
    return set(map(int, bed.run(f"/opt/ecmo-daq/bin/python -c '{TIMES}'").split()))


def server_times(bed: Machine) -> set[int]:
    """Times of all numerics that InfluxDB has."""
    answer = json.loads(bed.run(f"{ASK} db=ecmo --data-urlencode epoch=ns --data-urlencode 'q=SELECT * FROM numerics'"))
    return {row[0] for series in answer["results"][0].get("series", []) for row in series["values"]}


def nothing_is_missing(bed: Machine) -> None:
    """Everything that is in the journal now reaches the server."""
    journal = journal_times(bed)
    assert journal
    until(lambda: journal <= server_times(bed), told=lambda: f"{len(journal - server_times(bed))} readings are missing")


def runs_again(bed: Machine, *, not_as: str) -> None:
    """Another process of the service is ready, and has written its status."""
    until(
        lambda: bed.property("ActiveState") == "active" and (health := status(bed)) and str(health.pid) != not_as,
        told=lambda: bed.log(),
    )
    assert bed.property("MainPID") != not_as
