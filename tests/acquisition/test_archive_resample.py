from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acquisition.archive.chunk import Chunk
from acquisition.archive.resample import Unfinished, aggregate, checked_aggregates, duration_ns, lttb, resample
from acquisition.errors import ConfigError

NAMES = ("mean", "median", "min", "max", "count", "p5", "p97.5")
SERIES = st.lists(
    st.tuples(st.integers(1, 5_000), st.integers(-10_000, 10_000), st.integers(0, 2)), min_size=1, max_size=200
)
EVERY = st.integers(1, 20_000)
T0 = 1_767_225_600_000_000_000


def chunk_of(series: list[tuple[int, int, int]], channel: str = "abp_mean") -> Chunk:
    steps, values, quality = zip(*series, strict=True)
    return Chunk(
        "mon",
        channel,
        T0 + np.cumsum(steps).astype(np.int64),
        np.array(values, np.float64) / 8,
        np.array(quality, np.uint8),
    )


@given(SERIES, EVERY)
def test_every_figure_is_what_numpy_says_of_the_readings_of_that_bucket(
    series: list[tuple[int, int, int]], every: int
) -> None:
    chunk = chunk_of(series)
    start, figures = aggregate(chunk.time_ns, chunk.values, every, NAMES)
    assert sum(figures["count"].tolist()) == len(series)
    for number, begin in enumerate(start.tolist()):
        within = chunk.values[(chunk.time_ns >= begin) & (chunk.time_ns < begin + every)]
        assert begin % every == 0
        assert figures["count"][number] == within.size > 0
        assert figures["mean"][number] == pytest.approx(within.mean())
        assert figures["min"][number] == within.min()
        assert figures["max"][number] == within.max()
        for name, percent in (("median", 50), ("p5", 5), ("p97.5", 97.5)):
            assert figures[name][number] == pytest.approx(np.percentile(within, percent))


@given(SERIES, EVERY, st.lists(st.integers(0, 200)))
def test_where_chunks_are_cut_makes_no_difference(
    series: list[tuple[int, int, int]], every: int, cuts: list[int]
) -> None:
    whole = chunk_of(series)
    edges = [0, *sorted(cuts), len(series)]
    pieces = [whole.at(slice(a, b)) for a, b in pairwise(edges)]
    (expected,) = resample_all([whole], every)
    (found,) = resample_all([piece for piece in pieces if len(piece)], every)
    assert found == expected


def resample_all(chunks: list[Chunk], every: int) -> list[list[list[float]]]:
    answers: dict[str, list[list[list[float]]]] = {}
    for part in resample(chunks, every, NAMES):
        columns = [part.start_ns, *part.figures.values(), part.flagged]
        answers.setdefault(part.channel, []).append([column.tolist() for column in columns])
    return [[list(chain(*column)) for column in zip(*parts, strict=True)] for parts in answers.values()]


def test_a_day_of_a_wave_becomes_its_minutes() -> None:
    rate, seconds = 250, 3600
    time_ns = T0 + np.arange(rate * seconds, dtype=np.int64) * 4_000_000
    values = np.sin(np.arange(time_ns.size) / 40)
    wave = Chunk("mon", "wf_abp", time_ns, values, np.zeros(time_ns.size, np.uint8))
    parts = list(resample([wave], 60 * 10**9, ["count", "median"]))
    assert np.concatenate([part.figures["count"] for part in parts]).tolist() == [15_000] * 60
    assert parts[0].figures["median"][0] == pytest.approx(np.median(values[:15_000]))


def test_a_state_without_a_value_is_in_no_figure() -> None:
    chunk = Chunk(
        "mon", "spo2", np.array([T0, T0 + 1]), np.array([np.nan, 97.0]), np.array([2, 0], np.uint8),
        np.array([1, 0], np.uint8),
    )  # fmt: skip
    (found,) = resample([chunk], 10, ["count", "mean"])
    assert (found.figures["count"].tolist(), found.figures["mean"].tolist()) == ([1], [97.0])


def test_devices_and_channels_are_kept_apart() -> None:
    parts = list(resample([chunk_of([(1, 8, 0)]), chunk_of([(1, 16, 1)], "cvp")], 10, ["mean"]))
    assert [(part.channel, part.figures["mean"][0], part.flagged[0]) for part in parts] == [
        ("abp_mean", 1.0, 0),
        ("cvp", 2.0, 1),
    ]


@given(st.integers(3, 60), st.integers(0, 400))
def test_a_plot_keeps_its_ends_and_so_many_points_in_order(points: int, size: int) -> None:
    x = np.arange(size, dtype=np.float64)
    y = np.sin(x * 0.7)
    kept = lttb(x, y, points)
    assert kept.size == min(size, points)
    assert bool(np.all(np.diff(kept) > 0))
    if size:
        assert (kept[0], kept[-1]) == (0, size - 1)


def test_a_plot_keeps_the_one_spike_of_a_flat_line() -> None:
    y = np.zeros(10_000)
    y[4321] = 100.0
    assert 4321 in lttb(np.arange(10_000.0), y, 50).tolist()


@pytest.mark.parametrize(
    ("text", "ns"),
    [("500ms", 5 * 10**8), ("10s", 10**10), ("1m", 6 * 10**10), ("1.5h", 54 * 10**11), ("1d", 864 * 10**11)],
)
def test_a_length_of_time_is_written_with_its_unit(text: str, ns: int) -> None:
    assert duration_ns(text) == ns


@pytest.mark.parametrize("text", ["", "1", "m", "-1m", "0s", "1 month"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="500ms"):
        duration_ns(text)


def test_an_unknown_figure_is_refused_with_the_nearest() -> None:
    assert checked_aggregates(["mean", "p95", "mean"]) == ("mean", "p95")
    with pytest.raises(ConfigError, match="median"):
        checked_aggregates(["medain"])


def test_a_bucket_waits_for_its_rest_also_while_its_device_says_nothing() -> None:
    def said(*times: int) -> list[Chunk]:
        values = np.array(times, np.float64)
        return [Chunk("mon", "hr", np.array(times, np.int64), values, np.zeros(len(times), np.uint8))]

    unfinished = Unfinished(10)
    parts = [
        list(unfinished.held_back(said(1, 2, 11, 12), 13)),
        list(unfinished.held_back([], 16)),
        list(unfinished.held_back(said(18, 23), 25)),
        list(unfinished.held_back([], 40)),
        list(unfinished.rest()),
    ]
    assert [[each.time_ns.tolist() for each in part] for part in parts] == [[[1, 2]], [], [[11, 12, 18]], [[23]], []]
    assert list(unfinished.held_back(said(41), 45)) == []
    assert [each.time_ns.tolist() for each in unfinished.rest()] == [[41]]
