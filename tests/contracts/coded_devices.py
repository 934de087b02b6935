"""Every simulated device, showing values that tell when it said them, and the driver that speaks to it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

import acquisition.clock
from acquisition.catalogue import Catalogue
from acquisition.clock import NS
from acquisition.driver import Driver
from acquisition.errors import ConfigError
from acquisition.registry import available_drivers, available_profiles, build_driver
from simulators.cli import devices
from simulators.virtual_time import STARTED_NS

WITHOUT_CHECK_CODE = {"emtec_bioprott", "hl7_monitor", "masimo_ascii1", "vigilance"}
"""A flipped bit in the text of these is a wrong number that nobody can know; nor how Vigilance makes its check byte.

That these and no others let one through is a test of its own.
"""

SIMULATORS: Mapping[str, Any] = devices()
NUMERIC = [channel.id for channel in Catalogue.shipped() if not channel.id.startswith("wf_")]


def code(channel: str) -> tuple[float, float]:
    """Value in the first second, and how much more each second, so that a value tells when the device said it."""
    if channel in ("ecmo_flow", "ecmo_sweep"):
        return 1.0, 0.05
    return (1000.0, 10.0) if "rpm" in channel else (20.0, 1.0)


def present() -> dict[str, float]:
    second = round(asyncio.get_running_loop().time() * NS) // NS  # as the simulators' clocks round
    return {channel: code(channel)[0] + code(channel)[1] * second for channel in NUMERIC}


OPTIONS: Mapping[str, dict[str, Any]] = {
    "bcc": {
        "drugs": {"Arterenol": "dose_norepinephrine", "Dobutamin": "dose_dobutamine"},
        "slots": {"50113": "study_drug_rate"},
    },
    "intellivue": {"mode": "mib"},  # a link in memory is a stream of bytes, as a serial line is
}


def spoken_by(name: str) -> Callable[[], Driver]:
    """The driver of a simulated device: its profile's, or the one whose name its own begins with."""
    candidates: list[tuple[str, str | None]] = [(driver, name) for driver in available_drivers()]
    if name not in available_profiles(()):
        candidates = [(driver, None) for driver in available_drivers() if name.startswith(driver)]
    for driver, profile in candidates:
        with contextlib.suppress(ConfigError):
            build_driver(driver, profile, OPTIONS.get(name, {}), Catalogue.shipped(), ())
            return lambda: build_driver(driver, profile, OPTIONS.get(name, {}), Catalogue.shipped(), ())
    raise AssertionError(f"no driver speaks to simulators/{name}.py")


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulators that were given no clock read the loop's too."""

    def mono() -> int:
        try:
            return round(asyncio.get_running_loop().time() * NS)
        except RuntimeError:
            return time.monotonic_ns()

    fake = SimpleNamespace(monotonic_ns=mono, time_ns=lambda: STARTED_NS + mono())
    monkeypatch.setattr(acquisition.clock, "time", fake)
