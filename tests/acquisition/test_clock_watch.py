from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from acquisition import clock as clock_module
from acquisition.clock import KernelClock, SystemClock
from acquisition.model import EventKind
from acquisition.upkeep import clock_watch
from acquisition.upkeep.clock_watch import ClockWatch

STEERED = KernelClock(True, 1_500_000, 20_000_000, 0)
ADRIFT = KernelClock(False, 16_000_000_000, 16_000_000_000, 0)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(clock_watch, "KERNEL_EVERY_NS", 0)
    return []


def watch(told: list[str], states: list[KernelClock | None]) -> ClockWatch:
    def tell(time_ns: int, kind: EventKind, text: str, detail: Mapping[str, object]) -> None:
        assert kind is EventKind.CLOCK
        told.append(text)

    return ClockWatch(SystemClock(), tell, read_kernel=lambda: states.pop(0))


def test_synchronisation_is_told_at_first_and_whenever_it_changes(told: list[str]) -> None:
    watching = watch(told, [ADRIFT, ADRIFT, STEERED, STEERED, ADRIFT])
    for _ in range(5):
        watching.look()
    assert told == [
        "the system clock is not synchronised",
        "the system clock is synchronised, estimated error 1.5 ms",
        "the system clock is not synchronised",
    ]


def test_health_says_since_when_nobody_steers_the_clock(told: list[str]) -> None:
    watching = watch(told, [ADRIFT, ADRIFT, STEERED])
    watching.look()
    since_ns = watching.health().unsynchronised_since_ns
    assert since_ns is not None
    watching.look()
    assert watching.health().unsynchronised_since_ns == since_ns
    watching.look()
    health = watching.health()
    assert (health.synchronised, health.unsynchronised_since_ns) == (True, None)
    assert (health.estimated_error_ns, health.max_error_ns) == (1_500_000, 20_000_000)


def test_where_the_kernel_cannot_be_asked_nothing_is_claimed(told: list[str]) -> None:
    watching = watch(told, [None])
    watching.look()
    assert (watching.health().synchronised, told) == (None, [])


def test_the_kernel_of_this_machine_answers() -> None:
    state = KernelClock.read()
    assert state is not None
    assert 0 <= state.estimated_error_ns <= state.max_error_ns or not state.synchronised


def test_a_service_that_may_not_ask_the_kernel_reads_what_was_left_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    clock_module._leave_kernel_clock(path)
    monkeypatch.setattr(clock_module, "KERNEL_CLOCK_FILE", path)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Denied())
    left = KernelClock.read()
    assert left is not None
    old = json.loads(path.read_text())
    old["read_ns"] -= clock_module.KERNEL_CLOCK_STALE_NS
    path.write_text(json.dumps(old))
    assert KernelClock.read() is None
    path.write_text("{")
    assert KernelClock.read() is None


class Denied:
    def adjtimex(self, _buffer: object) -> int:
        return -1
