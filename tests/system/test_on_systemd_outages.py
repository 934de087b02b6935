"""What may go wrong at a bed that runs on a real systemd: each is named, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.installed import (
    CONFIG,
    SECRET,
    journal_times,
    nothing_is_missing,
    problems,
    runs_again,
    server_times,
    status,
)
from tests.system.nspawn import Machine, until
from tests.system.packages import as_version, commands

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@contextmanager
def state_on(bed: Machine, mount: str) -> Iterator[None]:
    """The service's state on another file system for the length of the block, with all that was in it and will be."""
    state = "/var/lib/ecmo-daq"
    bed.run(f"systemctl stop ecmo-daq; cp -a {state} /root/state; {mount} {state}")
    bed.run(f"cp -a /root/state/. {state}/; chown ecmo-daq:ecmo-daq {state}; systemctl start ecmo-daq")
    try:
        until(lambda: problems(bed) == "[]", told=lambda: problems(bed))
        yield
    finally:
        bed.run(f"systemctl stop ecmo-daq; rm -r /root/state; cp -a {state} /root/state; umount {state}")
        bed.run(f"rm -rf {state}/*; cp -a /root/state/. {state}/; rm -r /root/state; systemctl start ecmo-daq")


@contextmanager
def disk(bed: Machine, image: Path) -> Iterator[str]:
    """A real file system on a loop device; its node in the machine."""
    image.write_bytes(b"")
    os.truncate(image, 256 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    losetup = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True)
    node = losetup.stdout.strip()
    try:
        bed.run(f"mknod {node} b 7 {node.removeprefix('/dev/loop')}")
        yield node
        bed.run(f"rm {node}")
    finally:
        subprocess.run(["losetup", "--detach", node], check=True)


def test_a_disk_that_hangs_starves_the_watchdog_is_named_and_loses_nothing_acknowledged(
    bed: Machine, tmp_path: Path
) -> None:
    impatient = "[Service]\nWatchdogSec=3\nTimeoutAbortSec=1\nRestartSec=0.5\n"
    with disk(bed, tmp_path / "disk") as node, state_on(bed, f"mount -t ext4 {node}"):
        bed.put("/etc/systemd/system/ecmo-daq.service.d/fast.conf", impatient)
        bed.run("systemctl daemon-reload; systemctl restart ecmo-daq")
        nothing_is_missing(bed)
        kept, running = journal_times(bed), bed.property("MainPID")
        bed.run("fsfreeze --freeze /var/lib/ecmo-daq")  # from now on no write and no sync ends
        try:
            until(lambda: "the journal's writer has made no progress" in problems(bed), told=lambda: problems(bed))
            assert "a person: the journal's writer has made no progress" in bed.property("StatusText")
            acknowledged = server_times(bed)
            # The log itself may wait for a process that waits for a disk.
            until(lambda: bed.property("SubState") != "running", told=lambda: bed.property("SubState"))
        finally:
            bed.run("fsfreeze --unfreeze /var/lib/ecmo-daq")
        runs_again(bed, not_as=running)
        assert "systemd will start the service again" in bed.log()
        assert "Watchdog timeout" in bed.log()
        assert kept | acknowledged <= journal_times(bed)
        nothing_is_missing(bed)
        bed.run("rm /etc/systemd/system/ecmo-daq.service.d/fast.conf; systemctl daemon-reload")


def test_a_full_state_partition_is_named_and_what_was_acknowledged_stays(bed: Machine) -> None:
    with state_on(bed, "mount -t tmpfs -o size=8m,mode=755 state"):
        bed.try_run("dd if=/dev/zero of=/var/lib/ecmo-daq/full bs=64k")
        until(lambda: "journal: nothing can be stored" in problems(bed), told=lambda: problems(bed))
        until(lambda: "a person: " in bed.property("StatusText"), told=lambda: bed.property("StatusText"))
        kept = journal_times(bed)
        bed.run("rm /var/lib/ecmo-daq/full")
        until(lambda: "nothing can be stored" not in problems(bed), told=lambda: problems(bed))
        assert kept <= journal_times(bed)
        nothing_is_missing(bed)


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


def test_a_secret_that_is_gone_is_named_and_costs_no_recording(bed: Machine) -> None:
    bed.run("mv /etc/ecmo-daq/credentials/influx /root/influx; systemctl restart ecmo-daq")
    until(lambda: re.search(r"sink central: password_credential: \S+/influx is empty", problems(bed)) is not None,
          told=lambda: problems(bed))  # fmt: skip
    before = len(journal_times(bed))
    until(lambda: len(journal_times(bed)) > before)
    bed.run("mv /root/influx /etc/ecmo-daq/credentials/influx; systemctl restart ecmo-daq")
    until(lambda: problems(bed) == "[]", told=lambda: problems(bed))
    nothing_is_missing(bed)


def test_the_doctor_tells_a_name_without_address_and_an_address_that_the_service_may_not_reach(bed: Machine) -> None:
    for host, told in (
        ("central.invalid", r"^FAIL  sink central: central.invalid has no address: .*/etc/hosts$"),
        ("192.0.2.7", r"^FAIL  sink central: ecmo-daq.service may not reach 192.0.2.7: .*IPAddressAllow=192.0.2.7$"),
    ):
        bed.put("/etc/ecmo-test/elsewhere.toml", CONFIG.replace("127.0.0.1", host))
        done = bed.try_run(
            "CREDENTIALS_DIRECTORY=/etc/ecmo-daq/credentials ecmo-daq doctor --config /etc/ecmo-test/elsewhere.toml"
        )
        assert done.returncode == 1
        assert re.search(told, done.stdout, re.MULTILINE), done.stdout


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
