"""Installed by the documented commands and started by a real systemd; the tests are one story, in their order."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.installed import (
    CONFIG,
    INFLUX,
    INFLUX_CONFIG,
    PUMP,
    SECRET,
    journal_times,
    nothing_is_missing,
    problems,
    runs_again,
    server_times,
    status,
)
from tests.system.nspawn import Machine, machine, until
from tests.system.packages import as_version, commands, package

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def bed(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine")) as booted:
        (booted.root / deb.name).write_bytes(deb.read_bytes())
        booted.put("/etc/systemd/system/sim-pump.service", PUMP)
        booted.put("/etc/systemd/system/influx-test.service", INFLUX)
        booted.put("/etc/influx-test.conf", INFLUX_CONFIG)
        booted.put("/etc/ecmo-test/acquisition.toml", CONFIG)
        yield booted


def test_the_documented_commands_install_it_from_nothing(bed: Machine) -> None:
    assert bed.try_run("command -v ecmo-daq").returncode != 0
    bed.run("systemctl enable --now influx-test")
    until(lambda: bed.try_run("curl -sf http://127.0.0.1:8086/ping").returncode == 0)
    ask = "curl -sf -XPOST http://127.0.0.1:8086/query"
    bed.run(f"{ask} --data-urlencode \"q=CREATE USER root WITH PASSWORD '{SECRET}' WITH ALL PRIVILEGES\"")
    bed.run(f"{ask} -u root:{SECRET} --data-urlencode 'q=CREATE DATABASE ecmo'")
    bed.run(f"{ask} -u root:{SECRET} --data-urlencode \"q=CREATE USER bed WITH PASSWORD '{SECRET}'\"")
    bed.run(f"{ask} -u root:{SECRET} --data-urlencode 'q=GRANT ALL ON ecmo TO bed'")
    install, sample, secrets, start = commands("install.md")
    bed.run(install)
    bed.run("systemctl enable --now sim-pump")
    bed.run(sample)
    bed.run("cat /etc/ecmo-test/acquisition.toml > /etc/ecmo-daq/acquisition.toml")
    bed.run(secrets)
    bed.run(f"printf %s {SECRET} > /etc/ecmo-daq/credentials/influx")
    assert "1 devices, 1 sinks: valid" in bed.run(start)
    until(lambda: server_times(bed), told=lambda: bed.log())


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
    began = time.monotonic()
    bed.run("systemctl stop ecmo-daq")
    assert time.monotonic() - began < 5
    assert bed.property("Result") == "success"
    bed.run("systemctl start ecmo-daq")
    assert "was stopped" in bed.log()
    nothing_is_missing(bed)


FORBIDDEN = {
    "write outside its state": "open('/etc/ecmo-daq/mine', 'w')",
    "write into its own program": "open('/opt/ecmo-daq/bin/mine', 'w')",
    "read the secrets of root": "open('/etc/ecmo-daq/credentials/influx')",
    "open a device that is no serial line": "os.open('/dev/forbidden', os.O_RDWR)",
    "speak AF_PACKET": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "speak AF_NETLINK": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "reach an address outside private networks": "udp.sendto(b'x', ('192.0.2.1', 9))",
    "see the processes of others": "open('/proc/1/status')",
    "set the clock": "time.clock_settime(time.CLOCK_REALTIME, time.time())",
    "become another user": "os.setuid(0)",
    "trace": "ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0 or sys.exit(1)",
    "make memory that can be written and run": "mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
}
ALLOWED = {
    "write its state": "open('/var/lib/ecmo-daq/mine', 'w')",
    "open a terminal": "os.open('/run/sim/pump', os.O_RDWR | os.O_NOCTTY)",
    "reach a private address": "udp.sendto(b'x', ('127.0.0.1', 9))",
    "use the null device": "os.open('/dev/null', os.O_RDWR)",
}


def test_a_program_in_its_sandbox_can_do_what_the_service_needs_and_nothing_else(bed: Machine) -> None:
    bed.run("mknod /dev/forbidden c 10 229; chmod 666 /dev/forbidden; ip route add default dev lo")
    probe = """\
import ctypes, json, mmap, os, socket, sys, time
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
done = {}
for name, attempt in json.load(open("/etc/ecmo-test/attempts.json")).items():
    try:
        eval(attempt)
        done[name] = "done"
    except (OSError, SystemExit) as error:
        done[name] = str(error)
print(json.dumps(done))
"""
    bed.put("/etc/ecmo-test/probe.py", probe)
    beyond_root = {"become another user", "trace", "set the clock"}
    harmless = {name: attempt for name, attempt in (FORBIDDEN | ALLOWED).items() if name not in beyond_root}
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


def test_a_full_state_partition_is_named_and_what_was_acknowledged_stays(bed: Machine) -> None:
    bed.run("systemctl stop ecmo-daq; cp -a /var/lib/ecmo-daq /root/state")
    bed.run("mount -t tmpfs -o size=8m,mode=755 state /var/lib/ecmo-daq; cp -a /root/state/. /var/lib/ecmo-daq/")
    bed.run("chown ecmo-daq:ecmo-daq /var/lib/ecmo-daq; systemctl start ecmo-daq")
    until(lambda: problems(bed) == "[]", told=lambda: problems(bed))
    bed.try_run("dd if=/dev/zero of=/var/lib/ecmo-daq/full bs=64k")
    until(lambda: "journal: nothing can be stored" in problems(bed), told=lambda: problems(bed))
    assert "a person: " in bed.property("StatusText")
    kept = journal_times(bed)
    bed.run("rm /var/lib/ecmo-daq/full")
    until(lambda: "nothing can be stored" not in problems(bed), told=lambda: problems(bed))
    assert kept <= journal_times(bed)
    nothing_is_missing(bed)
    bed.run("systemctl stop ecmo-daq; cp -a /var/lib/ecmo-daq /root/after; umount /var/lib/ecmo-daq")
    bed.run("rm -rf /var/lib/ecmo-daq/*; cp -a /root/after/. /var/lib/ecmo-daq/; systemctl start ecmo-daq")


def test_a_wrong_token_is_named_and_loses_nothing(bed: Machine) -> None:
    bed.run("printf wrong > /etc/ecmo-daq/credentials/influx; systemctl restart ecmo-daq")
    until(lambda: "sink central: " in problems(bed) and "401" in problems(bed), told=lambda: problems(bed))
    assert SECRET not in bed.log()
    done = bed.try_run("ecmo-daq doctor --config /etc/ecmo-daq/acquisition.toml")
    assert done.returncode == 1
    assert re.search(r"^FAIL  sink central: .*401", done.stdout, re.MULTILINE)
    bed.run(f"printf %s {SECRET} > /etc/ecmo-daq/credentials/influx; systemctl restart ecmo-daq")
    until(lambda: problems(bed) == "[]", told=lambda: problems(bed))
    nothing_is_missing(bed)


def test_without_network_it_records_and_sends_it_all_when_there_is_one(bed: Machine) -> None:
    bed.run("ip link set lo down")
    until(lambda: "sink central: " in problems(bed), told=lambda: problems(bed))
    before = len(journal_times(bed))
    until(lambda: len(journal_times(bed)) > before)
    bed.run("ip link set lo up")
    until(lambda: problems(bed) == "[]", told=lambda: problems(bed))
    nothing_is_missing(bed)


def test_a_reboot_in_the_middle_of_an_outage_loses_nothing(bed: Machine) -> None:
    bed.run("systemctl disable --now influx-test")
    until(lambda: "sink central: " in problems(bed), told=lambda: problems(bed))
    waiting = journal_times(bed)
    bed.reboot()
    until(lambda: "sink central: " in problems(bed), told=lambda: problems(bed))
    bed.run("systemctl enable --now influx-test")
    assert waiting <= journal_times(bed)
    nothing_is_missing(bed)


def test_an_upgrade_and_the_way_back_in_the_middle_of_an_outage_keep_everything(
    bed: Machine, deb: Path, tmp_path: Path
) -> None:
    newer = as_version(deb, "0.1.1", tmp_path / "newer")
    (bed.root / newer.name).write_bytes(newer.read_bytes())
    bed.run("systemctl disable --now influx-test")
    waiting = journal_times(bed)
    assert waiting
    for page, version in (("upgrade", "0.1.1"), ("rollback", "0.1.0")):
        was = bed.property("MainPID")
        (command,) = commands("install.md", page)
        bed.run(command)
        assert version in bed.run("ecmo-daq --version")
        runs_again(bed, not_as=was)
        health = status(bed)
        assert health is not None
        assert health.version == version
    assert bed.run("cat /etc/ecmo-daq/acquisition.toml") == CONFIG
    bed.run("systemctl enable --now influx-test")
    assert waiting <= journal_times(bed)
    nothing_is_missing(bed)


def test_several_beds_run_side_by_side(bed: Machine) -> None:
    config = CONFIG.split("[[sink]]")[0].replace("/ecmo-daq/", "/ecmo-daq/bed-2/").replace("bed-1", "bed-2")
    bed.put("/etc/ecmo-daq/bed-2.toml", config.replace("/run/sim/pump", "/dev/absent"))
    bed.run("chgrp ecmo-daq /etc/ecmo-daq/bed-2.toml; systemctl enable --now ecmo-daq@bed-2")
    until(lambda: "/dev/absent" in bed.try_run("ecmo-daq status --file /run/ecmo-daq/bed-2/status.json").stdout)
    assert bed.property("ActiveState") == "active"
    bed.run("systemctl disable --now ecmo-daq@bed-2")
    until(lambda: problems(bed) == "[]", told=lambda: problems(bed))


def test_what_it_logs_is_one_line_each_with_its_level(bed: Machine) -> None:
    entries = [json.loads(line) for line in bed.run("journalctl -u ecmo-daq -o json --no-pager").splitlines()]
    aborted = {entry["INVOCATION_ID"] for entry in entries if "result 'watchdog'" in entry["MESSAGE"]}
    own = [
        entry
        for entry in entries
        if entry.get("_COMM") == "ecmo-daq" and entry["_SYSTEMD_INVOCATION_ID"] not in aborted
    ]
    levels = {"info": "6", "warning": "4", "error": "3", "critical": "2"}
    assert own
    for entry in own:
        line = json.loads(entry["MESSAGE"])
        assert entry["PRIORITY"] == levels[line["level"]]
    assert "State of the system clock" not in bed.log("ecmo-daq-clock")


def test_the_commands_of_the_other_pages_work_as_they_stand(bed: Machine) -> None:
    for page, label in (
        ("read-the-status.md", "status"),
        ("configure-a-bed.md", "check"),
        ("configure-a-bed.md", "restart"),
    ):
        (command,) = commands(page, label)
        bed.run(command)


def test_a_removal_keeps_the_recordings_a_purge_deletes_them_and_another_machine_goes_on(bed: Machine) -> None:
    kept = journal_times(bed)
    install = commands("install.md")[0]
    (remove,) = commands("install.md", "remove")
    bed.run(remove)
    assert bed.try_run("systemctl is-active ecmo-daq").stdout.strip() != "active"
    bed.run(install)
    assert kept <= journal_times(bed)
    bed.run("systemctl enable --now ecmo-daq")
    (save,) = commands("replace-a-mini-pc.md", "save")
    bed.run(save)
    kept = journal_times(bed)
    bed.run("apt-get purge -y ecmo-daq; rm -r /etc/systemd/system/ecmo-daq.service.d; userdel ecmo-daq")
    assert bed.run("ls -d /var/lib/ecmo-daq /etc/ecmo-daq /opt/ecmo-daq 2>/dev/null || true") == ""
    bed.run("useradd --system another")  # so that the account has another number, as on another machine
    bed.run(install)
    (restore,) = commands("replace-a-mini-pc.md", "restore")
    bed.run(restore)
    until(lambda: problems(bed) == "[]", told=lambda: problems(bed))
    assert kept < journal_times(bed)
    nothing_is_missing(bed)
