"""What a report holds does not grow with the readings of a run, only by some numbers an hour."""

from __future__ import annotations

import tracemalloc
from collections.abc import Collection, Iterator

import numpy as np
import pytest

from acquisition.archive.chunk import Chunk, Window
from acquisition.archive.export.request import Request
from acquisition.archive.report.gather import gather
from acquisition.archive.report.page import page
from acquisition.archive.scope import of_bed
from acquisition.archive.source import Series
from acquisition.model import Event, EventKind

S = 1_000_000_000
HOUR = 3600 * S
T0 = 1_773_475_200 * S
CHANNELS = ("abp_mean", "hr", "pp_num")


class Endless:
    """A source that makes its readings up while it is read: three signals and a wave, an hour at a time.

    Args:
        hours: How long it lasts.
        per_hour: Readings of a signal in an hour; a wave has ten times as many.
    """

    def __init__(self, hours: int, per_hour: int) -> None:
        self._end_ns = T0 + hours * HOUR
        self._per_hour = per_hour

    def series(self, window: Window) -> list[Series]:
        return [Series("mon", channel, wave=False) for channel in CHANNELS] + [Series("mon", "wf_abp", wave=True)]

    def extent(self, window: Window) -> Window | None:
        return Window(window.bed, max(T0, window.from_ns), min(self._end_ns, window.to_ns), window.devices)

    def numerics(
        self, window: Window, devices: Collection[str] | None = None, channels: Collection[str] | None = None
    ) -> Iterator[Chunk]:
        return self._made(window, CHANNELS, self._per_hour)

    def waves(
        self, window: Window, devices: Collection[str] | None = None, channels: Collection[str] | None = None
    ) -> Iterator[Chunk]:
        return self._made(window, ("wf_abp",), 10 * self._per_hour)

    def events(self, window: Window, kinds: Collection[EventKind] | None = None) -> Iterator[Event]:
        return iter(())

    def _made(self, window: Window, channels: Collection[str], per_hour: int) -> Iterator[Chunk]:
        for begin in range(window.from_ns, window.to_ns, HOUR):
            period = HOUR // per_hour
            times = np.arange(begin, min(begin + HOUR, window.to_ns), period, dtype=np.int64)
            for channel in channels:
                yield Chunk("mon", channel, times, 70 + np.sin(times / HOUR), np.zeros(times.size, np.uint8))


def peak_of(hours: int, per_hour: int) -> int:
    tracemalloc.start()
    try:
        found = gather(Endless(hours, per_hour), of_bed("bed"), Request())
        assert found.values == hours * per_hour * len(CHANNELS)
        assert len(page(found)) > 20_000
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_ten_days_are_held_in_no_more_than_two() -> None:
    few, many = peak_of(48, 900), peak_of(240, 900)
    assert many < few + 4_000_000
    assert many < 20_000_000
