"""How much room the disk of the journal has, and how worn it says it is: eMMC by itself, others through smartctl."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from acquisition.doctor.commands import told
from acquisition.doctor.findings import Finding, fail, ok, warn

GB = 1_000_000_000
WORN = 80
"""Per cent of its life, from which on a disk should be replaced at leisure rather than in haste."""
REPLACE = "docs/how-to/replace-a-mini-pc.md"
# Attributes of SATA disks whose normalised value counts down from 100 (smartctl -A; the makers' names in its database).
_LIFE_LEFT = {
    "Media_Wearout_Indicator", "Percent_Lifetime_Remain", "Remaining_Lifetime_Perc", "SSD_Life_Left",
    "Wear_Leveling_Count",
}  # fmt: skip


def room(path: Path, min_free_gb: float) -> Finding:
    """Whether there is space for more than what must stay free."""
    free = shutil.disk_usage(path).free
    text = f"{free / GB:.1f} GB free for the journal"
    least = max(min_free_gb, 1.0) * GB
    return ok(text) if free > 2 * least else fail(text, "free space on this disk, or give the journal a larger one")


def wear(path: Path, sys: Path = Path("/sys")) -> Iterator[Finding]:
    """How worn the disk under `path` is; nothing where there is no disk, as in memory or in a container."""
    device = os.stat(path).st_dev
    node = sys / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}"
    if not node.exists():
        return
    whole = _whole(node.resolve())
    life = whole / "device" / "life_time"  # eMMC: two numbers, tenths of its life (JESD84-B51, EXT_CSD 268 and 269)
    if life.exists():
        yield used(whole.name, max(int(word, 16) for word in life.read_text(encoding="ascii").split()) * 10)
    elif (smartctl := shutil.which("smartctl", path="/usr/sbin:/usr/bin:/sbin:/bin")) is None:
        yield warn(f"disk {whole.name}: how worn it is cannot be asked", "apt-get install smartmontools")
    elif os.geteuid() != 0:
        yield warn(f"disk {whole.name}: only root may ask how worn it is", "run this as root")
    else:
        yield from smart(whole.name, told(smartctl, "--json", "-H", "-A", f"/dev/{whole.name}"))


def _whole(node: Path) -> Path:
    """The disk that a partition is on, also below encryption, volumes and arrays."""
    while True:
        if (node / "partition").exists():
            node = node.parent
        below = sorted((node / "slaves").glob("*"))
        if not below:
            return node
        node = below[0].resolve()


def used(name: str, percent: int) -> Finding:
    """The verdict on so much of a disk's life."""
    text = f"disk {name} has used {percent} % of its life"
    return ok(text) if percent < WORN else warn(text, f"plan its replacement: {REPLACE}")


def smart(name: str, text: str) -> Iterator[Finding]:
    """What `smartctl --json -H -A` says of a disk (smartctl(8); NVMe base specification, SMART log page 02h).

    Args:
        name: Of the disk, for people.
        text: Its output.
    """
    try:
        data = json.loads(text)
    except ValueError:
        data = {}
    if _at(data, "smart_status", "passed") is False:
        yield fail(f"disk {name} says that it is failing", f"copy the data now and replace it: {REPLACE}")
    health = data.get("nvme_smart_health_information_log", {})
    spare, least = health.get("available_spare"), health.get("available_spare_threshold")
    if spare is not None and least is not None and spare <= least:
        yield fail(f"disk {name} has {spare} % of its spare blocks left", f"replace it: {REPLACE}")
    percent = _percent_used(data)
    if percent is not None:
        yield used(name, percent)
    else:
        yield ok(f"disk {name} does not tell how worn it is")


def _percent_used(data: Mapping[str, Any]) -> int | None:
    outright: int | None = _at(data, "endurance_used", "current_percent")
    nvme: int | None = _at(data, "nvme_smart_health_information_log", "percentage_used")
    left = [
        each["value"] for each in _at(data, "ata_smart_attributes", "table") or () if each.get("name") in _LIFE_LEFT
    ]
    percent = outright if outright is not None else nvme
    return 100 - min(left) if percent is None and left else percent


def _at(data: Mapping[str, Any], *keys: str) -> Any:
    found: Any = data
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found
