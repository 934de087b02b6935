from __future__ import annotations

import os
from pathlib import Path

import pytest

from acquisition.config import Config, load_config
from acquisition.doctor import unit
from acquisition.doctor.findings import Verdict
from acquisition.doctor.unit import Unit, boot, reach, rights, unit_of
from tests.system.beds import device, write_config

SHIPPED = {
    "UnitFileState": "enabled", "ActiveState": "active", "SubState": "running", "NeedDaemonReload": "no",
    "StateDirectory": "ecmo-daq/bed-2", "RuntimeDirectory": "ecmo-daq/bed-2", "LogsDirectory": "ecmo-daq/bed-2",
    "ReadWritePaths": "",
    "IPAddressDeny": "::/0 0.0.0.0/0", "DevicePolicy": "closed",
    "DeviceAllow": "char-ttyS rw char-ttyUSB rw char-ttyACM rw",
    "IPAddressAllow": "fc00::/7 192.168.0.0/16 172.16.0.0/12 10.0.0.0/8 fe80::/64 127.0.0.0/8 ::1/128",
}  # fmt: skip
NAME = "ecmo-daq@bed-2.service"
GIVEN = frozenset({"influx"})


def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, base: str, credential: str = "influx") -> Config:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / credential).write_text("secret")
    path = write_config(
        tmp_path,
        f'[status]\nfile = "/run/{base}/status.json"\n',
        device("pump", "modbus", "tcp://127.0.0.1:1502", 'profile = "sim_pump_console"'),
        '\n[[sink]]\nid = "central"\ntype = "influxdb_v1"\nurl = "http://127.0.0.1"\ndatabase = "x"\n'
        f'username = "bed"\npassword_credential = "{credential}"\n',
    )
    path.write_text(path.read_text().replace('directory = "journal"', f'directory = "/var/lib/{base}/journal"'))
    return load_config(path)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/etc/ecmo-daq/acquisition.toml", "ecmo-daq.service"),
        ("/etc/ecmo-daq/bed-2.toml", NAME),
        ("/home/engineer/bed-2.toml", "ecmo-daq.service"),
    ],
)
def test_the_unit_of_a_bed_follows_from_its_configuration(path: str, name: str) -> None:
    assert unit_of(Path(path)) == name


@pytest.mark.parametrize(
    ("changed", "exposure", "todo"),
    [
        ({}, 1.4, ""),
        ({"ActiveState": "inactive", "SubState": "dead"}, 1.4, f"systemctl start {NAME}"),
        ({"ActiveState": "failed", "SubState": "failed"}, 1.4, f"systemctl start {NAME}"),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, 1.4, f"journalctl -u {NAME} -n 20"),
        (
            {"ActiveState": "activating", "SubState": "start"},
            1.4,
            f"systemctl status {NAME}, and look again in a minute",
        ),
        ({"UnitFileState": "disabled"}, 1.4, f"systemctl enable --now {NAME}"),
        ({"NeedDaemonReload": "yes"}, 1.4, f"systemctl daemon-reload; systemctl restart {NAME}"),
        ({}, 3.1, f"a drop-in has loosened its sandbox: systemctl cat {NAME}"),
        ({"UnitFileState": ""}, None, "install the package: docs/how-to/install.md"),
    ],
)
def test_a_unit_that_does_not_start_or_is_loosened_is_told(
    changed: dict[str, str], exposure: float | None, todo: str
) -> None:
    found = list(boot(Unit(NAME, SHIPPED | changed, GIVEN, exposure)))
    assert "".join(each.todo for each in found) == todo
    assert all(each.verdict is Verdict.OK for each in found) == (todo == "")


def test_of_what_systemd_shows_in_several_lines_all_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = "ActiveState=active\nDeviceAllow=char-ttyS rw\nDeviceAllow=char-ttyUSB rw\nReadWritePaths=\n"
    monkeypatch.setattr(unit, "told", lambda *command: shown if command[:2] == ("systemctl", "show") else "")
    monkeypatch.setattr(Path, "exists", lambda _path: True)
    asked = Unit.ask(NAME)
    assert asked is not None
    assert asked.settings == {
        "ActiveState": "active", "DeviceAllow": "char-ttyS rw char-ttyUSB rw", "ReadWritePaths": ""
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "todo"),
    [
        ({}, "DeviceAllow=char-ttyAMA rw"),
        ({"DeviceAllow": "char-ttyS rw char-ttyAMA rw"}, None),
        ({"DeviceAllow": "char-tty* rw"}, None),
        ({"DeviceAllow": "/dev/null rw"}, None),
        ({"DeviceAllow": "", "DevicePolicy": "auto"}, None),
    ],
)
def test_a_port_of_a_driver_that_the_sandbox_forbids_is_told(
    changed: dict[str, str], todo: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "devices").write_text("Character devices:\n  1 ttyAMA\n  4 ttyS\n\nBlock devices:\n  1 ramdisk\n")
    monkeypatch.setattr(unit, "DRIVERS", tmp_path / "devices")
    config = linked(tmp_path, monkeypatch, "serial:///dev/null")
    told = [each.todo for each in rights(Unit(NAME, SHIPPED | changed, GIVEN), config)]
    assert told == ([] if todo is None else [f"systemctl edit {NAME}, [Service] {todo}"])


def test_a_pseudo_terminal_is_open_to_every_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, port = os.openpty()
    config = linked(tmp_path, monkeypatch, f"serial://{os.ttyname(port)}")
    assert list(rights(Unit(NAME, SHIPPED, GIVEN), config)) == []


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ("tcp://192.0.2.7:2575", [f"device pump: {NAME} may not reach 192.0.2.7"]),
        ("udp://192.0.2.7:24105", [f"device pump: {NAME} may not reach 192.0.2.7"]),
        ("tcp://192.168.1.7:2575", []),
        ("tcp://monitor.icu:2575", []),
        ("tcp-listen://192.0.2.7:2575", []),
    ],
)
def test_a_device_that_the_firewall_hides_is_told(
    link: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = linked(tmp_path, monkeypatch, link)
    assert [each.what for each in rights(Unit(NAME, SHIPPED, GIVEN), config)] == told


def linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str) -> Config:
    config = bed(tmp_path, monkeypatch, base="ecmo-daq/bed-2")
    (pump,) = config.device
    return config.model_copy(update={"device": (pump.model_copy(update={"link": link}),)})


def test_a_machine_without_systemd_is_warned_of() -> None:
    (found,) = boot(None)
    assert found.verdict is Verdict.WARN


def test_a_bed_that_keeps_to_the_directories_of_its_unit_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(rights(Unit(NAME, SHIPPED, GIVEN), bed(tmp_path, monkeypatch, base="ecmo-daq/bed-2"))) == []


def test_a_place_that_the_sandbox_forbids_is_told_with_what_would_allow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = bed(tmp_path, monkeypatch, base="ecmo-daq/other")
    found = list(rights(Unit(NAME, SHIPPED, GIVEN), config))
    assert [each.what for each in found if each.verdict is Verdict.FAIL] == [
        f"journal: {NAME} may not write /var/lib/ecmo-daq/other/journal",
        f"status: {NAME} may not write /run/ecmo-daq/other",
    ]
    assert "ReadWritePaths=/var/lib/ecmo-daq/other/journal, or give one of /var/lib/ecmo-daq/bed-2" in found[0].todo
    allowed = SHIPPED | {"ReadWritePaths": "-/var/lib/ecmo-daq/other +/run/ecmo-daq/other"}
    assert list(rights(Unit(NAME, allowed, GIVEN), config)) == []


def test_a_secret_that_systemd_does_not_hand_over_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = rights(Unit(NAME, SHIPPED, GIVEN), bed(tmp_path, monkeypatch, base="ecmo-daq/bed-2", credential="mqtt"))
    assert found.what == f"sink central: {NAME} is not given the secret mqtt"
    assert "LoadCredential=mqtt:/etc/ecmo-daq/credentials/mqtt" in found.todo


def test_an_address_that_the_firewall_hides_is_told() -> None:
    shipped = Unit(NAME, SHIPPED, GIVEN)
    assert list(reach(shipped, "sink central", ["10.1.2.3", "127.0.0.1", "fe80::1%eth0"])) == []
    (found,) = reach(shipped, "sink central", ["192.0.2.7"])
    assert found.todo == f"systemctl edit {NAME}, [Service] IPAddressAllow=192.0.2.7"
    assert list(reach(Unit(NAME, SHIPPED | {"IPAddressDeny": ""}), "sink central", ["192.0.2.7"])) == []
    assert list(reach(None, "sink central", ["192.0.2.7"])) == []
