"""A bed installed on a machine of its own: configuration, simulated pump, InfluxDB, and questions to them."""

from __future__ import annotations

import json

from acquisition.errors import AcquisitionError
from acquisition.health import Health
from tests.system.nspawn import Machine, until

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
SECRET = "correct-horse-battery"
ASK = f"curl -sfG http://127.0.0.1:8086/query -u root:{SECRET} --data-urlencode"


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
    """Times of all numerics that the journal has."""
    lines = bed.run("ecmo-daq query --journal /var/lib/ecmo-daq/journal --device pump --format json").splitlines()
    return {each["time_ns"] for each in map(json.loads, lines) if each["kind"] == "numerics"}


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
