"""What goes from the disk and in which order, as a function of what is there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acquisition.journal.retention import DayFile, Limits, Part, Step, Why, plan


def day(number: int, *, size: int = 100, waves: int = 80, acknowledged: bool = False, present: bool = False) -> DayFile:
    return DayFile(f"2026-01-{number:02d}.journal", size, waves, acknowledged, present)


def steps(
    files: list[DayFile], quota: int | None = None, *, free: int = 10_000, keep: int = 0, sinks: bool = True,
    cutoff: str | None = None,
) -> list[tuple[int, Part, Why]]:  # fmt: skip
    limits = Limits(quota_bytes=quota, min_free_bytes=keep)
    found = plan(files, limits, free=free, cutoff=cutoff, sinks=sinks)
    return [(int(step.name[8:10]), step.part, step.why) for step in found]


WAVES, ALL, AGE, QUOTA = Part.WAVEFORMS, Part.ALL, Why.AGE, Why.QUOTA
THREE = [day(1), day(2), day(3, present=True)]
SENT = [day(1, acknowledged=True), day(2, acknowledged=True), day(3, acknowledged=True, present=True)]


@pytest.mark.parametrize(
    ("files", "quota", "expected"),
    [
        (THREE, None, []),
        (THREE, 300, []),
        (THREE, 299, [(1, WAVES, QUOTA)]),
        (THREE, 220, [(1, WAVES, QUOTA)]),
        (THREE, 219, [(1, WAVES, QUOTA), (2, WAVES, QUOTA)]),
        (THREE, 100, [(1, WAVES, QUOTA), (2, WAVES, QUOTA), (3, WAVES, QUOTA)]),
        (THREE, 40, [(1, WAVES, QUOTA), (2, WAVES, QUOTA), (3, WAVES, QUOTA), (1, ALL, QUOTA)]),
        (THREE, 1, [(1, WAVES, QUOTA), (2, WAVES, QUOTA), (3, WAVES, QUOTA), (1, ALL, QUOTA), (2, ALL, QUOTA)]),
        (SENT, 299, [(1, ALL, QUOTA)]),
        (SENT, 1, [(1, ALL, QUOTA), (2, ALL, QUOTA), (3, WAVES, QUOTA)]),
        ([day(1), day(2, acknowledged=True), day(3, present=True)], 180, [(2, ALL, QUOTA), (1, WAVES, QUOTA)]),
        ([day(1, waves=0), day(2), day(3, present=True)], 299, [(2, WAVES, QUOTA)]),
    ],
)  # fmt: skip
def test_delivered_days_go_before_waveforms_and_waveforms_before_numerics(
    files: list[DayFile], quota: int | None, expected: list[tuple[int, Part, Why]]
) -> None:
    assert steps(files, quota) == expected


def test_too_little_free_space_counts_like_a_full_quota() -> None:
    assert steps(THREE, free=50, keep=50) == []
    assert steps(THREE, free=49, keep=50) == [(1, WAVES, QUOTA)]


def test_an_old_day_goes_only_when_every_sink_has_it() -> None:
    assert steps([day(1), *SENT[1:]], cutoff="2026-01-03") == [(2, ALL, AGE)]
    assert steps(SENT, cutoff="2026-02-01") == [(1, ALL, AGE), (2, ALL, AGE)]


def test_without_a_sink_an_old_day_goes_by_its_age_alone_and_at_the_quota_waveforms_go_first() -> None:
    assert steps(THREE, sinks=False, cutoff="2026-01-02") == [(1, ALL, AGE)]
    assert steps(THREE, 290, sinks=False) == [(1, WAVES, QUOTA)]


def test_what_goes_by_age_is_not_asked_for_again_at_the_quota() -> None:
    assert steps(SENT, 200, cutoff="2026-01-02") == [(1, ALL, AGE)]


files = st.lists(
    st.tuples(st.integers(1, 1000), st.integers(0, 1000), st.booleans()), min_size=1, max_size=12
).map(
    lambda rows: [
        day(n, size=size, waves=min(waves, size), acknowledged=sent, present=n == len(rows))
        for n, (size, waves, sent) in enumerate(rows, 1)
    ]
)  # fmt: skip


@given(files, st.integers(0, 12_000), st.integers(0, 500), st.integers(0, 500))
def test_below_the_quota_nothing_goes_and_above_it_no_more_than_needed(
    files: list[DayFile], quota: int, free: int, keep: int
) -> None:
    limits = Limits(quota_bytes=quota, min_free_bytes=keep)
    found = plan(files, limits, free=free, cutoff=None, sinks=True)
    left, freed = {each.name: each for each in files}, 0
    for step in found:
        assert limits.overdraft(sum(each.size for each in left.values()), free + freed) == step.need > 0
        gone = left[step.name]
        if step.part is ALL:
            assert not gone.present
            freed += left.pop(step.name).size
        else:
            freed += gone.waveform_bytes
            left[step.name] = replace(gone, size=gone.size - gone.waveform_bytes, waveform_bytes=0)
    if limits.overdraft(sum(each.size for each in left.values()), free + freed) > 0:
        assert all(each.present and not each.waveform_bytes for each in left.values())


@given(files, st.integers(0, 12_000))
def test_numerics_that_no_sink_has_go_only_when_no_waveform_is_left(files: list[DayFile], quota: int) -> None:
    found = plan(files, Limits(quota_bytes=quota), free=10**6, cutoff=None, sinks=True)
    wanted = {each.name: each for each in files if not each.acknowledged or each.present}
    whole = [index for index, step in enumerate(found) if step.part is ALL and step.name in wanted]
    if whole:
        before = {step.name for step in found[: whole[0]] if step.part is WAVES}
        assert before == {name for name, each in wanted.items() if each.waveform_bytes}


@given(files, st.integers(0, 12_000))
def test_each_kind_of_step_takes_the_oldest_first(files: list[DayFile], quota: int) -> None:
    sent = {each.name for each in files if each.acknowledged}

    def kind(step: Step) -> tuple[bool, Part]:
        return step.name in sent, step.part

    found = plan(files, Limits(quota_bytes=quota), free=10**6, cutoff=None, sinks=True)
    for part in {step.part for step in found if step.name not in sent}:
        names = [step.name for step in found if kind(step) == (False, part)]
        assert names == sorted(names)
