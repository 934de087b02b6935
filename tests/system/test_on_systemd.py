"""Installed by the documented commands and started by a real systemd; the tests are one story, in their order."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.system.installed import (
    CONFIG,
    install,
    nothing_is_missing,
    problems,
    runs_again,
    server_times,
    status,
)
from tests.system.nspawn import Machine, until
from tests.system.packages import commands
from tests.system.sandbox import ALLOWED, BEYOND_ROOT, FORBIDDEN, PROBE

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


def test_the_documented_commands_install_it_from_nothing_without_a_network_and_twice_is_once(fresh: Machine) -> None:
    assert fresh.try_run("command -v ecmo-daq").returncode != 0
    assert fresh.run("ip -br addr").split()[0] == "lo"
    assert len(fresh.run("ip -br addr").splitlines()) == 1
    told = install(fresh)
    assert "1 devices, 1 sinks: valid" in told
    until(lambda: server_times(fresh), told=lambda: fresh.log())
    running = fresh.property("MainPID")
    fresh.run(commands("install.md")[0])
    assert fresh.property("MainPID") == running
    assert fresh.run("cat /etc/ecmo-daq/acquisition.toml") == CONFIG


def test_an_installed_file_belongs_to_root_and_recordings_to_nobody_else(bed: Machine) -> None:
    assert bed.run("find /opt/ecmo-daq -perm /022 ! -type l -o ! -user root") == ""
    assert bed.run("stat -c %U:%a /var/lib/ecmo-daq /etc/ecmo-daq/credentials/influx").split() == [
        "ecmo-daq:700", "root:600",
    ]  # fmt: skip
    assert bed.run("find /var/lib/ecmo-daq -perm /077") == ""
    assert bed.run("dpkg --verify ecmo-daq") == ""


def test_boot_starts_it_and_its_status_reads_well(bed: Machine) -> None:
    bed.reboot()
    until(lambda: bed.property("ActiveState") == "active")
    until(lambda: bed.property("StatusText") == "1 of 1 devices connected", told=lambda: bed.property("StatusText"))
    shown = bed.run("systemctl status --no-pager ecmo-daq")
    assert "Active: active (running)" in shown
    assert "host rebooted" in bed.log()
    assert "all is well" in bed.run("ecmo-daq status --config /etc/ecmo-daq/acquisition.toml")
    told = bed.run("ecmo-daq doctor --config /etc/ecmo-daq/acquisition.toml")
    for line in (
        "ok    /etc/ecmo-daq/acquisition.toml is valid",
        "ok    journal /var/lib/ecmo-daq/journal belongs to ecmo-daq",
        "GB free for the journal",
        "ok    device pump: /run/sim/pump is there",
        "ok    sink central: takes what it is sent",
        "ok    ecmo-daq.service starts at boot",
        "ok    ecmo-daq.service is shut in",
    ):
        assert line in told
    until(
        lambda: (health := status(bed)) and health.clock.synchronised is not None,
        told=lambda: bed.log("ecmo-daq-clock*"),
    )
    nothing_is_missing(bed)


def test_it_stops_within_five_seconds_with_everything_kept(bed: Machine) -> None:
    # Of the unit the main process alone: asked for all, systemd fails where one of them ends just then.
    to_server = "systemctl kill --kill-who=main influx-test --signal"
    try:
        bed.run(f"{to_server}=SIGSTOP")  # a server that takes the connection and never answers
        until(lambda: (health := status(bed)) and any(sink.state == "delivering" for sink in health.sinks))
        began = time.monotonic()
        bed.run("systemctl stop ecmo-daq")
        assert time.monotonic() - began < 5
    finally:
        bed.run(f"{to_server}=SIGCONT")
    assert bed.property("Result") == "success"
    bed.run("systemctl start ecmo-daq")
    assert "was stopped" in bed.log()
    nothing_is_missing(bed)


def test_a_program_in_its_sandbox_can_do_what_the_service_needs_and_nothing_else(bed: Machine) -> None:
    bed.run("mknod /dev/forbidden c 10 229; chmod 666 /dev/forbidden; ip route add default dev lo")
    bed.put("/etc/ecmo-test/probe.py", PROBE)
    harmless = {name: attempt for name, attempt in (FORBIDDEN | ALLOWED).items() if name not in BEYOND_ROOT}
    bed.put("/etc/ecmo-test/attempts.json", json.dumps(harmless))
    free = json.loads(bed.run("/opt/ecmo-daq/bin/python /etc/ecmo-test/probe.py"))
    bed.put("/etc/ecmo-test/attempts.json", json.dumps(FORBIDDEN | ALLOWED))
    # The unit itself, with another program in it.
    bed.put(
        "/etc/systemd/system/ecmo-daq.service.d/probe.conf",
        "[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart=/usr/bin/env python /etc/ecmo-test/probe.py\n",
    )
    bed.run("rm -f /etc/ecmo-daq/mine /opt/ecmo-daq/bin/mine /var/lib/ecmo-daq/mine")
    bed.run("systemctl daemon-reload; systemctl restart ecmo-daq")
    shut_in = json.loads(next(line for line in bed.log().splitlines() if line.startswith('{"write outside')))
    bed.run("rm /etc/systemd/system/ecmo-daq.service.d/probe.conf /var/lib/ecmo-daq/mine")
    bed.run("systemctl daemon-reload; systemctl restart ecmo-daq")
    assert free == dict.fromkeys(harmless, "done")
    assert [name for name in FORBIDDEN if shut_in[name] == "done"] == []
    assert {name: shut_in[name] for name in ALLOWED} == dict.fromkeys(ALLOWED, "done")


def test_its_exposure_is_small(bed: Machine) -> None:
    for unit in ("ecmo-daq.service", "ecmo-daq@bed-2.service", "ecmo-daq-clock.service"):
        told = bed.run(f"systemd-analyze security --no-pager {unit}")
        exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
        assert exposure is not None
        assert float(exposure[1]) <= 1.5


def test_a_kill_costs_seconds_and_a_hang_ends_by_the_watchdog(bed: Machine) -> None:
    bed.put("/etc/systemd/system/ecmo-daq.service.d/fast.conf", "[Service]\nWatchdogSec=3\nRestartSec=0.5\n")
    bed.run("systemctl daemon-reload; systemctl restart ecmo-daq")
    for signal, result in (("KILL", "signal"), ("STOP", "watchdog")):
        running = bed.property("MainPID")
        bed.run(f"systemctl kill --kill-whom=main --signal=SIG{signal} ecmo-daq")
        runs_again(bed, not_as=running)
        assert f"Failed with result '{result}'" in bed.log()
    assert bed.log().count("did not end cleanly") == 2
    nothing_is_missing(bed)


def test_a_crash_loop_goes_on_until_it_can_start_and_says_why_it_cannot(bed: Machine) -> None:
    bed.run("systemctl stop ecmo-daq; chown -R root:root /var/lib/ecmo-daq/journal")
    bed.run("systemctl start --no-block ecmo-daq")
    until(lambda: int(bed.property("NRestarts")) >= 6, told=lambda: bed.log())
    assert "nothing is recorded, the service cannot start" in problems(bed)
    assert "/var/lib/ecmo-daq/journal" in problems(bed)
    assert "Permission denied" in problems(bed) or "unable to open" in problems(bed)
    bed.run("chown -R ecmo-daq:ecmo-daq /var/lib/ecmo-daq/journal")
    until(lambda: bed.property("ActiveState") == "active")
    until(lambda: problems(bed) == "[]", told=lambda: problems(bed))
    bed.run("rm /etc/systemd/system/ecmo-daq.service.d/fast.conf; systemctl daemon-reload")
    nothing_is_missing(bed)


def test_a_serial_port_that_appears_after_the_boot_is_taken_up(bed: Machine) -> None:
    bed.run("systemctl disable --now sim-pump")
    bed.reboot()
    until(lambda: bed.property("ActiveState") == "active")
    until(
        lambda: "device pump: /run/sim/pump: cannot be opened: No such file" in problems(bed),
        told=lambda: problems(bed),
    )
    bed.run("systemctl enable --now sim-pump")
    until(lambda: problems(bed) == "[]", told=lambda: problems(bed))
    nothing_is_missing(bed)
