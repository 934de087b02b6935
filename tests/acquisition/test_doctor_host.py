from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from acquisition.clock import KernelClock
from acquisition.doctor import host
from acquisition.doctor.findings import Verdict
from tests.acquisition.command import Run, runner
from tests.system.beds import device, write_config


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def test_a_configuration_that_others_may_change_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "bed.toml"
    path.touch()
    path.chmod(0o640)
    assert host.config_file(path).verdict is Verdict.OK
    path.chmod(0o666)
    assert host.config_file(path).todo == f"chmod 0640 {path}"


def test_a_secret_that_others_may_read_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "influx"
    path.touch()
    path.chmod(0o600)
    assert host.secret_file("central", path).verdict is Verdict.OK
    path.chmod(0o640)
    assert host.secret_file("central", path).todo == f"chmod 0600 {path}"


def test_a_journal_that_is_not_there_yet_is_no_failure(tmp_path: Path) -> None:
    found = host.journal(tmp_path / "journal")
    assert (found.verdict, found.todo) == (Verdict.WARN, "the service makes it when it starts")


def test_a_disk_that_the_kernel_made_read_only_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = os.statvfs(tmp_path)
    monkeypatch.setattr(
        os, "statvfs", lambda _path: os.statvfs_result([*true[:8], true.f_flag | os.ST_RDONLY, *true[9:]])
    )
    found = host.journal(tmp_path, "root")
    assert (found.verdict, found.what) == (Verdict.FAIL, f"journal: the disk of {tmp_path} can only be read")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is told of the service's account")
def test_a_journal_one_of_whose_files_belongs_to_somebody_else_fails(tmp_path: Path) -> None:
    assert host.journal(tmp_path, "nobody-at-all").todo.startswith("install the package")
    (tmp_path / "cursors.db").touch()
    assert host.journal(tmp_path, "root").verdict is Verdict.OK
    os.chown(tmp_path / "cursors.db", 12345, -1)
    found = host.journal(tmp_path, "root")
    assert (found.verdict, found.todo) == (Verdict.FAIL, f"chown -R root: {tmp_path}")
    assert "cursors.db" in found.what


def test_a_port_that_is_absent_or_none_fails(tmp_path: Path) -> None:
    (absent,) = host.serial_port("pump", f"serial://{tmp_path}/absent?baud=9600")
    assert (absent.verdict, absent.what) == (Verdict.FAIL, f"device pump: {tmp_path}/absent is not there")
    (tmp_path / "file").touch()
    (none,) = host.serial_port("pump", f"serial://{tmp_path}/file")
    assert (none.verdict, none.what) == (Verdict.FAIL, f"device pump: {tmp_path}/file is no serial port")


def test_a_port_named_by_its_number_is_told_its_lasting_name(tmp_path: Path) -> None:
    _, port = os.openpty()
    by_path = tmp_path / "by-path"
    by_path.mkdir()
    lasting = by_path / "pci-0000:00:14.0-usb-0:1:1.0-port0"
    lasting.symlink_to(os.ttyname(port))
    told = list(host.serial_port("pump", f"serial://{os.ttyname(port)}", by_path))
    assert told[0].todo == f"use {lasting} in its link"
    assert [each.todo for each in host.serial_port("pump", f"serial://{lasting}", by_path) if "use " in each.todo] == []


@pytest.mark.parametrize(("mode", "verdict"), [(0o666, Verdict.OK), (0o600, Verdict.FAIL), (0o602, Verdict.FAIL)])
def test_a_port_that_the_service_cannot_read_and_write_fails_with_its_group(mode: int, verdict: Verdict) -> None:
    _, port = os.openpty()
    path = Path(os.ttyname(port))
    before = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode)
    found = list(host.serial_port("pump", f"serial://{path}", Path("/nowhere")))[-1]
    path.chmod(before)
    assert found.verdict is verdict
    assert found.todo.startswith("usermod -aG ") == (verdict is Verdict.FAIL)


def test_a_clock_that_nobody_steers_is_warned_of() -> None:
    assert host.clock(KernelClock(True, 1_000_000, 2, 3)).verdict is Verdict.OK
    assert "chrony" in host.clock(KernelClock(False, 1, 2, 3)).todo
    assert host.clock(None).verdict is Verdict.WARN


def test_the_command_ends_with_1_when_anything_fails_and_says_of_all_that_is_not_well_what_to_do(
    run: Run, tmp_path: Path
) -> None:
    config = write_config(
        tmp_path, device("flow", "delimited", f"serial://{tmp_path}/no", 'profile = "emtec_bioprott"')
    )
    code, out, _ = run("doctor", "--config", str(config))
    assert code == 1
    assert f"FAIL  device flow: {tmp_path}/no is not there: check cable and power" in out
    assert [line for line in out.splitlines() if line.startswith("ok")]
    for line in out.splitlines():
        assert line.startswith("ok ") or line.count(": ") >= 1, line
