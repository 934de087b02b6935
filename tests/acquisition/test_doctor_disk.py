"""What smartctl prints is written here from its documented fields; no disk's own output was copied."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from acquisition.doctor import disk
from acquisition.doctor.findings import Verdict


def node_of(tmp_path: Path, target: Path) -> None:
    number = os.stat(tmp_path).st_dev
    node = tmp_path / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}"
    node.parent.mkdir(parents=True)
    node.symlink_to(target)


def partition(tmp_path: Path, name: str) -> Path:
    part = tmp_path / "devices" / name / f"{name}p1"
    part.mkdir(parents=True)
    (part / "partition").touch()
    return part


def emmc(part: Path, life: str) -> None:
    (part.parent / "device").mkdir()
    (part.parent / "device" / "life_time").write_text(life + "\n")


@pytest.mark.parametrize(("life", "verdict"), [("0x01 0x03", Verdict.OK), ("0x02 0x09", Verdict.WARN)])
def test_the_wear_of_an_emmc_is_told_by_the_kernel(life: str, verdict: Verdict, tmp_path: Path) -> None:
    part = partition(tmp_path, "mmcblk0")
    emmc(part, life)
    node_of(tmp_path, part)
    (found,) = disk.wear(tmp_path, tmp_path)
    assert found.verdict is verdict
    assert found.what.startswith("disk mmcblk0 has used ")


def test_the_disk_below_encryption_and_volumes_is_found(tmp_path: Path) -> None:
    part = partition(tmp_path, "mmcblk1")
    emmc(part, "0x01 0x01")
    for name, below in (("dm-0", part), ("dm-1", tmp_path / "devices" / "dm-0")):
        slaves = tmp_path / "devices" / name / "slaves"
        slaves.mkdir(parents=True)
        (slaves / below.name).symlink_to(below)
    node_of(tmp_path, tmp_path / "devices" / "dm-1")
    (found,) = disk.wear(tmp_path, tmp_path)
    assert found.what == "disk mmcblk1 has used 10 % of its life"


def test_without_smartctl_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node_of(tmp_path, partition(tmp_path, "nvme0n1"))
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    (found,) = disk.wear(tmp_path, tmp_path)
    assert (found.verdict, found.todo) == (Verdict.WARN, "apt-get install smartmontools")


def test_a_directory_in_memory_has_no_disk_to_wear(tmp_path: Path) -> None:
    assert list(disk.wear(tmp_path, tmp_path / "no-sys")) == []


def nvme(**health: int) -> dict[str, Any]:
    well = {"critical_warning": 0, "available_spare": 100, "available_spare_threshold": 10, "percentage_used": 3}
    return {
        "json_format_version": [1, 0],
        "smartctl": {"version": [7, 3], "exit_status": 0},
        "device": {"name": "/dev/nvme0n1", "type": "nvme", "protocol": "NVMe"},
        "smart_status": {"passed": True, "nvme": {"value": 0}},
        "nvme_smart_health_information_log": well | health,
    }


def sata(*attributes: tuple[int, str, int], passed: bool = True) -> dict[str, Any]:
    table = [
        {"id": number, "name": name, "value": value, "worst": value, "thresh": 5, "raw": {"value": 123456}}
        for number, name, value in attributes
    ]
    return {
        "json_format_version": [1, 0],
        "smartctl": {"version": [7, 3], "exit_status": 0 if passed else 8},
        "device": {"name": "/dev/sda", "type": "sat", "protocol": "ATA"},
        "smart_status": {"passed": passed},
        "ata_smart_attributes": {"revision": 1, "table": table},
    }


WEARS = (177, "Wear_Leveling_Count")
HOURS = (9, "Power_On_Hours")


@pytest.mark.parametrize(
    ("told", "verdicts", "text"),
    [
        (nvme(), "ok", "has used 3 % of its life"),
        (nvme(percentage_used=91), "WARN", "has used 91 % of its life"),
        (nvme(percentage_used=130), "WARN", "has used 130 % of its life"),
        (nvme(available_spare=8), "FAIL ok", "8 % of its spare blocks left"),
        (sata((*HOURS, 95), (*WEARS, 97)), "ok", "has used 3 % of its life"),
        (sata((*HOURS, 95), (233, "Media_Wearout_Indicator", 12)), "WARN", "has used 88 % of its life"),
        (sata((*HOURS, 95), passed=False), "FAIL ok", "says that it is failing"),
        (sata((*HOURS, 95)), "ok", "does not tell how worn it is"),
        (sata((*WEARS, 97)) | {"endurance_used": {"current_percent": 85}}, "WARN", "has used 85 % of its life"),
        ({"smartctl": {"exit_status": 2, "messages": [{"string": "open failed"}]}}, "ok", "does not tell"),
    ],
)
def test_what_smartctl_says_becomes_a_verdict(told: dict[str, Any], verdicts: str, text: str) -> None:
    found = list(disk.smart("sda", json.dumps(told)))
    assert [each.verdict.upper() for each in found] == verdicts.upper().split()
    assert text in "; ".join(each.what for each in found)
    assert all(each.todo for each in found if each.verdict is not Verdict.OK)


def test_a_smartctl_that_prints_nothing_is_taken_for_a_disk_that_says_nothing() -> None:
    (found,) = disk.smart("sda", "")
    assert found.what == "disk sda does not tell how worn it is"


@pytest.mark.parametrize(("min_free_gb", "verdict"), [(0.0, Verdict.OK), (1e9, Verdict.FAIL)])
def test_a_disk_with_less_than_must_stay_free_fails(min_free_gb: float, verdict: Verdict, tmp_path: Path) -> None:
    assert disk.room(tmp_path, min_free_gb).verdict is verdict
