"""Several beds, the log, the commands of the other pages, and the way out: removal, purge, another machine."""

from __future__ import annotations

import json
import re

import pytest

from acquisition.health import Health
from tests.system.installed import ASK, PUMP, SECRET, journal_times, nothing_is_missing, problems
from tests.system.nspawn import Machine, until
from tests.system.packages import commands

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

SERIES = "--data-urlencode 'q=SHOW SERIES FROM numerics'"


def test_several_beds_run_side_by_side(bed: Machine) -> None:
    bed.put("/etc/systemd/system/sim-pump-2.service", PUMP.replace("sim/", "sim2/").replace("=sim\n", "=sim2\n"))
    bed.run("systemctl daemon-reload; systemctl enable --now sim-pump-2")
    (copy,), (start,) = commands("install.md", "beds"), commands("install.md", "beds-start")
    bed.run(copy)
    bed.run("sed -i 's|bed-1|bed-2|; s|/run/sim/|/run/sim2/|' /etc/ecmo-daq/bed-2.toml")
    bed.run(start)
    told = "all is well"
    until(lambda: told in bed.try_run("ecmo-daq status --file /run/ecmo-daq-bed-2/status.json").stdout)
    until(lambda: {"bed-1", "bed-2"} <= set(re.findall(r"bed=([a-z0-9-]+)", bed.run(f"{ASK} db=ecmo {SERIES}"))))
    doctor = bed.run("ecmo-daq doctor --config /etc/ecmo-daq/bed-2.toml")
    assert "ok    ecmo-daq@bed-2.service starts at boot" in doctor
    assert "ok    ecmo-daq@bed-2.service is shut in" in doctor
    bed.run("systemctl stop ecmo-daq")  # takes nothing of the other bed's with it
    fresh = bed.inside("/run/ecmo-daq-bed-2/status.json")
    before = Health.read(fresh).time_ns
    until(lambda: Health.read(fresh).time_ns > before)
    assert bed.property("ActiveState", "ecmo-daq@bed-2") == "active"
    bed.run("systemctl start ecmo-daq")
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
    clock = bed.log("ecmo-daq-clock").splitlines()
    # What is told every minute would fill the log; the shut-downs of this story met it while it ran.
    assert [line for line in clock if line.startswith(("Starting", "Finished", "Started"))] == []
    assert [line for line in clock if "Failed with result" in line] == []
    assert SECRET not in bed.run("journalctl --no-pager --output=export")


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
    for unit in ("ecmo-daq", "ecmo-daq@bed-2"):
        assert bed.try_run(f"systemctl is-active {unit}").stdout.strip() != "active"
    assert bed.run("find /etc/systemd/system -name 'ecmo-daq*' -type l") == ""
    bed.run(install)
    assert kept <= journal_times(bed)
    bed.run("systemctl enable --now ecmo-daq")
    (save,) = commands("replace-a-mini-pc.md", "save")
    bed.run(save)
    kept = journal_times(bed)
    bed.run("apt-get purge -y ecmo-daq; rm -r /etc/systemd/system/ecmo-daq*.service.d; userdel ecmo-daq")
    assert bed.run("ls -d /var/lib/ecmo-daq /etc/ecmo-daq /opt/ecmo-daq 2>/dev/null || true") == ""
    bed.run("useradd --system another")  # so that the account has another number, as on another machine
    bed.run(install)
    (restore,) = commands("replace-a-mini-pc.md", "restore")
    bed.run(restore)
    until(lambda: problems(bed) == "[]", told=lambda: problems(bed))
    assert kept < journal_times(bed)
    nothing_is_missing(bed)
