import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from acquisition.cli import app

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "ecmo-daq.service"


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^([A-Z][A-Za-z]+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.system
@pytest.mark.parametrize(
    "unit", sorted([*UNIT.parent.glob("*.service"), *UNIT.parent.glob("*.timer")]), ids=lambda path: path.name
)
def test_systemd_has_nothing_to_say_against_the_unit(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.system
def test_systemd_does_find_fault_with_a_spoiled_unit(tmp_path: Path) -> None:
    spoiled = tmp_path / UNIT.name
    spoiled.write_text(UNIT.read_text().replace("/usr/bin/env", "/usr/bin/nowhere").replace("Nice=-5", "Nicety=1"))
    done = subprocess.run(["systemd-analyze", "verify", spoiled], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Nicety" in done.stderr


def test_the_unit_starts_a_command_that_there_is() -> None:
    (command,) = settings()["ExecStart"]
    words = command.split()
    assert words[:3] == ["/usr/bin/env", "ecmo-daq", "run"]
    help_text = CliRunner().invoke(app, ["run", "--help"], env={"NO_COLOR": "1", "COLUMNS": "120"}).output
    assert all(word in help_text for word in words if word.startswith("--"))


def test_the_service_is_watched_restarted_for_ever_and_shut_in() -> None:
    found = settings()
    assert found["Type"] == ["notify"]
    assert found["WatchdogSec"] == ["30"]
    assert found["Restart"] == ["always"]
    assert found["StartLimitIntervalSec"] == ["0"]
    assert found["DevicePolicy"] == ["closed"]
    assert {value.split()[0] for value in found["DeviceAllow"]} == {"char-ttyS", "char-ttyUSB", "char-ttyACM"}
    assert found["CapabilityBoundingSet"] == [""]


def test_the_service_is_unattended_as_promised() -> None:
    found = settings()
    assert found["After"] == ["network.target modprobe@usbserial.service modprobe@cdc_acm.service"], "no network needed"
    assert "Requires" not in found
    assert found["WantedBy"] == ["multi-user.target"]
    assert found["SyslogIdentifier"] == ["%N"], "the log names the bed, and not env"
    assert found["LimitCORE"] == ["0"], "a dump has what is cut before anything is stored"
    assert found["UMask"] == ["0077"]
    assert found["StateDirectoryMode"] == ["0700"]
    assert found["RuntimeDirectoryPreserve"] == ["restart"], "why it does not start is told between two tries"
    assert "ECMO_DAQ_BOOT_ID=%b" in found["Environment"], "a gap is put down to a reboot"
    assert found["OOMScoreAdjust"] == ["-500"]


@pytest.mark.parametrize("how", ["directory", "link", "absent", "stays"])
def test_a_purge_deletes_every_recording_wherever_it_is_and_does_not_fail(how: str, tmp_path: Path) -> None:
    state, disk = tmp_path / "var/lib/ecmo-daq", tmp_path / "disk"
    state.parent.mkdir(parents=True)
    disk.mkdir()
    if how == "link":
        state.symlink_to(disk)
    elif how != "absent":
        state.mkdir()
    if how != "absent":
        (state / "journal").mkdir()
        (state / "journal" / "2026-01-01.journal").write_text("readings")
    script = (ROOT / "deploy" / "debian" / "postrm").read_text()
    for place in ("/etc/ecmo-daq", "/var/lib/ecmo-daq", "/var/log/ecmo-daq"):
        script = script.replace(place, f"{tmp_path}{place}")
    if how == "stays":  # as a place where a disk is mounted does
        script = script.replace("rm -df", "false")
    subprocess.run(["sh", "-c", script, "postrm", "purge"], check=True)
    assert not list(disk.iterdir())
    assert state.exists() == (how == "stays")
    assert not state.is_symlink()
    assert how != "stays" or not list(state.iterdir())


BUFFERS = """
import ctypes, sys
class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena a b c d e f used free g".split()]
heap = ctypes.CDLL(None).mallinfo2
heap.restype = Heap
for _ in range(4):  # a batch, and something small that outlives it
    batch, kept = bytearray(4 << 20), [bytearray(1000) for _ in range(100)]
    del batch
large, small = [bytearray(1 << 20) for _ in range(8)], bytearray(1000)
before = heap().free
del large
print(heap().free - before)
"""


def test_the_c_library_gives_large_buffers_back_as_the_unit_says() -> None:
    def left(environment: dict[str, str]) -> int:
        told = subprocess.run(
            [sys.executable, "-c", BUFFERS], env={**os.environ, **environment}, capture_output=True, check=True
        )
        return int(told.stdout)

    (said,) = (value for value in settings()["Environment"] if "MALLOC" in value)
    unit = dict(re.findall(r"(\S+)=(\S+)", said))
    assert left({}) > 7 << 20  # free, and the daemon's all the same
    assert left(unit) < 1 << 20


def test_the_template_differs_from_the_unit_by_the_name_of_the_bed_alone() -> None:
    done = subprocess.run([ROOT / "deploy" / "template-of", UNIT], capture_output=True, text=True, check=True)
    pairs = zip(UNIT.read_text().splitlines(), done.stdout.splitlines(), strict=True)
    assert [new for old, new in pairs if old != new] == [
        "Description=Bedside data acquisition for ECMO (research use only): %i",
        "ExecStart=/usr/bin/env ecmo-daq run --config /etc/ecmo-daq/%i.toml",
        "StateDirectory=ecmo-daq/%i",
        "LogsDirectory=ecmo-daq/%i",
        "RuntimeDirectory=ecmo-daq-%i",
        "WorkingDirectory=%S/ecmo-daq/%i",
    ]


def test_every_target_of_the_makefile_says_what_it_does() -> None:
    text = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    told = re.findall(r"^  make ([a-z]+) +\S.*$", done.stdout, re.MULTILINE)
    assert sorted(told) == sorted(phony.split())


def test_the_build_machine_runs_what_a_person_runs() -> None:
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & stat.S_IXUSR
    assert "set -euo pipefail" in run.read_text()
    assert run.read_text().rstrip().endswith("make test")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    for step in ("ruff format --check", "ruff check", "mypy", "lint-imports"):
        assert step in done.stdout
    passes = re.findall(r'pytest .*-m "([^"]+)"', done.stdout)
    quick, beside, alone = "not system and not slow", "(system or slow) and not alone", "system and alone"
    assert passes == [quick, beside, alone], "between them every test; none is slow and alone"
