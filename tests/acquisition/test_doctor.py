from __future__ import annotations

import os
from pathlib import Path

import pytest

from acquisition import doctor
from acquisition.clock import KernelClock, SystemClock
from acquisition.config import load_config
from acquisition.daemon import make_sink
from acquisition.doctor import Verdict
from tests.acquisition.command import Run, runner
from tests.system.beds import device, write_config
from tests.system.servers import free_port


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def test_a_configuration_that_others_may_change_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "bed.toml"
    path.touch()
    path.chmod(0o640)
    assert doctor.config_file(path).verdict is Verdict.OK
    path.chmod(0o666)
    assert doctor.config_file(path).todo == f"chmod 0640 {path}"


def test_a_port_that_is_absent_or_none_fails(tmp_path: Path) -> None:
    (absent,) = doctor.serial_port("pump", f"serial://{tmp_path}/absent?baud=9600")
    assert (absent.verdict, absent.what) == (Verdict.FAIL, f"device pump: {tmp_path}/absent is not there")
    (tmp_path / "file").touch()
    (none,) = doctor.serial_port("pump", f"serial://{tmp_path}/file")
    assert (none.verdict, none.what) == (Verdict.FAIL, f"device pump: {tmp_path}/file is no serial port")


def test_a_port_named_by_its_number_is_told_its_lasting_name(tmp_path: Path) -> None:
    _, port = os.openpty()
    by_path = tmp_path / "by-path"
    by_path.mkdir()
    lasting = by_path / "pci-0000:00:14.0-usb-0:1:1.0-port0"
    lasting.symlink_to(os.ttyname(port))
    told = list(doctor.serial_port("pump", f"serial://{os.ttyname(port)}", by_path))
    assert told[0].todo == f"use {lasting} in its link"
    assert [
        each.todo for each in doctor.serial_port("pump", f"serial://{lasting}", by_path) if "use " in each.todo
    ] == []


@pytest.mark.parametrize(("life", "verdict"), [("0x01 0x03", Verdict.OK), ("0x02 0x09", Verdict.WARN)])
def test_the_wear_of_a_disk_is_told_where_it_tells(life: str, verdict: Verdict, tmp_path: Path) -> None:
    number = os.stat(tmp_path).st_dev
    whole = tmp_path / "devices" / "mmcblk0"
    part = whole / "mmcblk0p1"
    part.mkdir(parents=True)
    (part / "partition").touch()
    (whole / "device").mkdir()
    (whole / "device" / "life_time").write_text(life + "\n")
    node = tmp_path / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}"
    node.parent.mkdir(parents=True)
    node.symlink_to(part)
    (found,) = doctor.disk(tmp_path, tmp_path)
    assert found.verdict is verdict
    assert found.what.startswith("disk mmcblk0 has used ")


def test_a_clock_that_nobody_steers_is_warned_of() -> None:
    assert doctor.clock(KernelClock(True, 1_000_000, 2, 3)).verdict is Verdict.OK
    assert doctor.clock(KernelClock(False, 1, 2, 3)).verdict is Verdict.WARN
    assert doctor.clock(None).verdict is Verdict.WARN


async def test_a_sink_that_is_not_there_fails_and_says_why(tmp_path: Path) -> None:
    port = free_port()
    path = write_config(
        tmp_path,
        device("pump", "modbus", "tcp://127.0.0.1:1502", 'profile = "sim_pump_console"'),
        f'\n[[sink]]\nid = "central"\ntype = "influxdb_v1"\nurl = "https://127.0.0.1:{port}"\ndatabase = "x"\n',
    )
    config = load_config(path)
    found = await doctor.sink(config.sink[0], lambda: make_sink(config.sink[0], config), SystemClock())
    assert [each.verdict for each in found] == [Verdict.OK, Verdict.FAIL, Verdict.FAIL]
    assert f"no TLS with 127.0.0.1:{port}" in found[1].what
    assert "cannot be reached" in found[2].what


def test_the_command_ends_with_1_when_anything_fails_and_names_it(run: Run, tmp_path: Path) -> None:
    config = write_config(
        tmp_path, device("flow", "delimited", f"serial://{tmp_path}/no", 'profile = "emtec_bioprott"')
    )
    code, out, _ = run("doctor", "--config", str(config))
    assert code == 1
    assert f"FAIL  device flow: {tmp_path}/no is not there: check cable and power" in out
